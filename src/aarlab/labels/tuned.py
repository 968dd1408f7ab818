"""Weak labels and anchors where the models are fine-tuned: the weak one on the teacher split's true labels, the strong one on
the student split's, and what a critic adds.

Legend: T teacher seeds, N student items, S seeds, M test items.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.special import expit

from aarlab.core.records import AnyItem, SplitName
from aarlab.labels.anchors import CEILING_SEED, Labelled
from aarlab.labels.critiques import critic_labels, critic_of
from aarlab.methods.method import Array, student_rows
from aarlab.models.preset import Preset
from aarlab.models.workers import TuneJob, Workers

Say = Callable[[str, int, int], None]


def by_split(items: Sequence[AnyItem]) -> dict[SplitName, list[AnyItem]]:
    """Items of each split that there is, in the given order."""
    found: dict[SplitName, list[AnyItem]] = {}
    for item in items:
        found.setdefault(item.split, []).append(item)
    return found


def label(items: Sequence[AnyItem], *, preset: Preset, workers: Workers, deck: str, store: Path, say: Say) -> Labelled:
    """Teachers, their weak labels, the critic's, and the ceiling; every fine-tuning is spread over the workers and kept.

    `deck` holds the questions of every split already. Teacher seed t is `t`, ceiling seed s draws the rows of
    CEILING_SEED + s. What the critic learns and writes is kept in `store`.

    Raises:
        Transient, Misconfigured: a worker could not; what is done is kept, and the next call goes on.
    """
    splits = by_split(items)
    truth = {split: np.array([i.label for i in some], dtype=np.float64) for split, some in splits.items()}
    tested = tuple(s for s in splits if s not in ("teacher", "student"))
    weak = [
        TuneJob(model="weak", deck=deck, split="teacher", targets=truth["teacher"], seed=s, answer=("student", *tested))
        for s in range(preset.seeds)
    ]
    ceilings = [_ceiling(truth["student"], CEILING_SEED + s, preset, deck, tested) for s in range(preset.seeds)]
    answers = workers.map([*weak, *ceilings])
    taught, capped = answers[: preset.seeds], answers[preset.seeds :]
    weak_probs_TN = np.stack([expit(a["student"]) for a in taught])
    if preset.critic:
        critic = critic_of(workers, store)
        seeds = range(preset.seeds)
        critic_probs_TN = critic_labels(splits, workers=workers, critic=critic, store=store, seeds=seeds, say=say).probs_TN
    else:
        critic_probs_TN = weak_probs_TN
    return Labelled(weak_probs_TN, critic_probs_TN, _correct(taught, truth, tested), _correct(capped, truth, tested))


def _ceiling(truth_N: Array, seed: int, preset: Preset, deck: str, answer: tuple[SplitName, ...]) -> TuneJob:
    rows = student_rows(len(truth_N), seed, preset.student_share)
    return TuneJob(model="strong", deck=deck, split="student", targets=truth_N[rows], rows=rows, seed=seed, answer=answer)


def _correct(
    answers: Sequence[Mapping[str, Array]], truth: Mapping[SplitName, Array], tested: Sequence[SplitName]
) -> dict[SplitName, np.ndarray]:
    return {s: np.stack([(a[s] > 0) == (truth[s] > 0.5) for a in answers]) for s in tested}
