"""Weak labels and anchors of fine-tuned models. The weak model is trained on the true labels of the
teacher split, the strong model (ceiling) on those of the student split; a critic is optional.

Legend: T teacher seeds, N student items, S seeds, M test items.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.special import expit

from aarlab.core.progress_callback import Progress
from aarlab.core.records import AnyItem, SplitName
from aarlab.methods.method import Array, student_rows
from aarlab.models.preset import Preset
from aarlab.models.workers import TuneJob, Workers
from aarlab.testbeds.anchors import CEILING_SEED, Labelled
from aarlab.testbeds.critiques import critic_labels, critic_of


def by_split(items: Sequence[AnyItem]) -> dict[SplitName, list[AnyItem]]:
    """The items of each split in the given order; only splits that have items."""
    found: dict[SplitName, list[AnyItem]] = {}
    for item in items:
        found.setdefault(item.split, []).append(item)
    return found


def label(
    items: Sequence[AnyItem],
    *,
    preset: Preset,
    workers: Workers,
    item_batch: str,
    store: Path,
    progress: Progress,
) -> Labelled:
    """Fine-tune the teachers and the ceilings, and make the weak labels and the critic's. The
    fine-tunings are spread over the workers, and their results are cached.

    `item_batch` names the batch that holds the questions of every split. Teacher t has seed t;
    ceiling s trains on the rows that seed CEILING_SEED + s draws. `store` caches the critic's
    adapters and critiques.

    Raises:
        Transient, Misconfigured: a worker failed; finished jobs are cached and the next call
            resumes.
    """
    splits = by_split(items)
    truth = {
        split: np.array([i.label for i in some], dtype=np.float64) for split, some in splits.items()
    }
    tested = tuple(s for s in splits if s not in ("teacher", "student"))
    weak = [
        TuneJob(
            model="weak",
            item_batch=item_batch,
            split="teacher",
            targets=truth["teacher"],
            seed=s,
            answer=("student", *tested),
        )
        for s in range(preset.seeds)
    ]
    ceilings = [
        _ceiling(truth["student"], CEILING_SEED + s, preset, item_batch, tested)
        for s in range(preset.seeds)
    ]
    answers = workers.map([*weak, *ceilings])
    taught, capped = answers[: preset.seeds], answers[preset.seeds :]
    weak_probs_TN = np.stack([expit(a["student"]) for a in taught])
    if preset.critic:
        critic = critic_of(workers, store)
        seeds = range(preset.seeds)
        critic_probs_TN = critic_labels(
            splits, workers=workers, critic=critic, store=store, seeds=seeds, progress=progress
        ).probs_TN
    else:
        critic_probs_TN = weak_probs_TN
    return Labelled(
        weak_probs_TN,
        critic_probs_TN,
        _correct(taught, truth, tested),
        _correct(capped, truth, tested),
    )


def _ceiling(
    truth_N: Array, seed: int, preset: Preset, item_batch: str, answer: tuple[SplitName, ...]
) -> TuneJob:
    rows = student_rows(len(truth_N), seed, preset.student_share)
    return TuneJob(
        model="strong",
        item_batch=item_batch,
        split="student",
        targets=truth_N[rows],
        rows=rows,
        seed=seed,
        answer=answer,
    )


def _correct(
    answers: Sequence[Mapping[str, Array]],
    truth: Mapping[SplitName, Array],
    tested: Sequence[SplitName],
) -> dict[SplitName, np.ndarray]:
    return {s: np.stack([(a[s] > 0) == (truth[s] > 0.5) for a in answers]) for s in tested}
