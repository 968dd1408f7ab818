"""items -> weak labels: a teacher far weaker than the student, trained on a few hundred true labels.

The teacher sees only the first block of SmolLM2 (the mean of its output over a snippet), that is a cut-down model, under a
logistic head. With a critic, it also sees the strong model's own judgement of the pair, and learns from the same true
labels how far to trust it: the critic baseline in the form that a 135M model can bear (after Saunders et al. 2022,
arXiv:2206.05802, where the critique is text). Legend: T teacher pairs, N pairs to label, D hidden width.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from aarlab.models.head import FittedLinear, LinearHead

Array = NDArray[np.float64]
TEACHER_LAYER = 1
SHARE = 0.8  # of the teacher split that one seed draws
L2, CRITIC_L2, FOLDS = 0.01, 0.001, 5


@dataclass(frozen=True)
class TeacherView:
    """What a teacher can read of N pairs: `shallow_N2D` of its own, and the strong model's `favour_N` as a critique."""

    shallow_N2D: NDArray[np.float16]
    favour_N: Array


@dataclass(frozen=True)
class Teacher:
    weak: FittedLinear
    critic: FittedLinear  # over (standardised weak logit, standardised favour)
    weak_scale: float
    favour_scale: float

    def weak_probs(self, view: TeacherView) -> Array:
        """Probability that `second` is better, from the teacher alone, shape (N,)."""
        return self.weak.probs(view.shallow_N2D)

    def critic_probs(self, view: TeacherView) -> Array:
        """The same from the teacher that has read the critique, shape (N,)."""
        logits_N = self.weak.logits(view.shallow_N2D)
        return expit(_critique(logits_N / self.weak_scale, view.favour_N / self.favour_scale) @ self.critic.direction_D)


def train_teacher(view: TeacherView, labels_T: Array, seed: int) -> Teacher:
    """A teacher for one seed, which draws SHARE of the T true-labelled pairs.

    The critic's head is fitted on cross-fitted weak logits, so that it does not trust the teacher's training fit.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(labels_T))[: round(SHARE * len(labels_T))]
    shallow, labels = view.shallow_N2D[rows], labels_T[rows].astype(np.float64)
    held_out = np.zeros(len(rows))
    for fold in np.array_split(rng.permutation(len(rows)), FOLDS):
        rest = np.setdiff1d(np.arange(len(rows)), fold)
        held_out[fold] = LinearHead(L2).fit(shallow[rest], labels[rest]).logits(shallow[fold])
    weak_scale, favour_scale = float(held_out.std()), float(view.favour_N.std())
    critique = _critique(held_out / weak_scale, view.favour_N[rows] / favour_scale)
    pairs = np.stack([np.zeros_like(critique), critique], axis=1)
    critic = LinearHead(CRITIC_L2).fit(pairs, labels)
    return Teacher(LinearHead(L2).fit(shallow, labels), critic, weak_scale, favour_scale)


def _critique(weak_N: Array, favour_N: Array) -> Array:
    return np.stack([weak_N, favour_N], axis=1)
