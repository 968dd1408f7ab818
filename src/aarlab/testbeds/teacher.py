"""Weak labels: a teacher that is far weaker than the student, trained on a few hundred true labels.

Its features come from another kind of model than the student wherever possible: static vectors for
chat, a language model of counts for math and code (`aarlab.models`), under a logistic head. With a
critic, it also sees the strong model's own judgement, and learns from the same true labels how far
to trust it: the critic baseline in the form that a 135M model can bear (after Saunders et al. 2022,
arXiv:2206.05802, where the critique is text). Legend: T teacher items, N items to label, E features
of a choice for the teacher.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from aarlab.models.head_training import FittedLinear, LinearHead

Array = NDArray[np.float64]
SHARE = 0.8  # of the teacher split that one seed draws
L2, CRITIC_L2, FOLDS = 0.1, 0.001, 5


@dataclass(frozen=True)
class TeacherView:
    """The teacher's input for N items: its own features `own_N2E`, and the strong model's
    zero-shot logits as a critique."""

    own_N2E: NDArray[np.float32]
    zero_shot_logit_N: Array


@dataclass(frozen=True)
class Teacher:
    weak: FittedLinear
    critic: FittedLinear  # of (standardised weak logit, standardised zero-shot logit)
    weak_scale: float
    zero_shot_scale: float

    def weak_probs(self, view: TeacherView) -> Array:
        """Probability that `second` is better, from the teacher alone, shape (N,)."""
        return self.weak.probs(view.own_N2E)

    def critic_probs(self, view: TeacherView) -> Array:
        """The same probability from the teacher that also reads the critique, shape (N,)."""
        logits_N = self.weak.logits(view.own_N2E)
        return expit(
            _critique(logits_N / self.weak_scale, view.zero_shot_logit_N / self.zero_shot_scale)
            @ self.critic.direction_D
        )


def train_teacher(view: TeacherView, labels_T: Array, seed: int) -> Teacher:
    """Train the teacher of one seed, which draws SHARE of the T items with true labels.

    The critic's head is fitted on cross-fitted weak logits, so that it does not rely on the
    teacher's accuracy on its training items.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(labels_T))[: round(SHARE * len(labels_T))]
    own, labels = view.own_N2E[rows], labels_T[rows].astype(np.float64)
    held_out = np.zeros(len(rows))
    for fold in np.array_split(rng.permutation(len(rows)), FOLDS):
        rest = np.setdiff1d(np.arange(len(rows)), fold)
        held_out[fold] = LinearHead(L2).fit(own[rest], labels[rest]).logits(own[fold])
    # 0: a constant
    weak_scale, zero_shot_scale = (
        float(x.std()) or 1.0 for x in (held_out, view.zero_shot_logit_N)
    )
    critique = _critique(held_out / weak_scale, view.zero_shot_logit_N[rows] / zero_shot_scale)
    pairs = np.stack([np.zeros_like(critique), critique], axis=1)
    critic = LinearHead(CRITIC_L2).fit(pairs, labels)
    return Teacher(LinearHead(L2).fit(own, labels), critic, weak_scale, zero_shot_scale)


def _critique(weak_N: Array, zero_shot_logit_N: Array) -> Array:
    return np.stack([weak_N, zero_shot_logit_N], axis=1)
