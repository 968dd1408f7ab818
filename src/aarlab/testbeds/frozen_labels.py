"""What set-up makes of a frozen student's reading: states, weak labels and anchors. States are
z-scored over the student split, so that the same hyper-parameters fit every problem.

Legend: N items, C choices an item, D features, S seeds, M test items.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import AnyItem, SplitName
from aarlab.problems.publish import PUBLISHED_SPLITS
from aarlab.testbeds.anchors import CEILING_SEED, SEEDS, Labelled, ceiling_correct, weak_correct
from aarlab.testbeds.student import RawFeatures
from aarlab.testbeds.task_data import States, against_reference, inputs_of
from aarlab.testbeds.teacher import TeacherView, train_teacher

CLIP = 5.0  # standard deviations


def _rows(items: Sequence[AnyItem]) -> dict[SplitName, list[int]]:
    """Split -> the rows of its items, for the splits that the problem has."""
    splits: tuple[SplitName, ...] = ("teacher", *PUBLISHED_SPLITS)
    return {s: found for s in splits if (found := [n for n, i in enumerate(items) if i.split == s])}


def by_heads(
    items: Sequence[AnyItem], reading: RawFeatures, tested: Sequence[SplitName]
) -> Labelled:
    """Weak labels, and anchors on the tested splits, of a teacher and a student that are heads on
    frozen features."""
    rows = _rows(items)
    labels = {split: np.array([items[i].label for i in r]) for split, r in rows.items()}
    views, states = _views(reading, rows), states_of(items, reading)
    teachers = [train_teacher(views["teacher"], labels["teacher"], seed) for seed in range(SEEDS)]
    tested = [s for s in tested if s in rows]
    inputs = {s: inputs_of([items[i] for i in rows[s]], states[s]) for s in ("student", *tested)}
    seeds = range(CEILING_SEED, CEILING_SEED + SEEDS)
    return Labelled(
        weak_probs_TN=np.stack([t.weak_probs(views["student"]) for t in teachers]),
        critic_probs_TN=np.stack([t.critic_probs(views["student"]) for t in teachers]),
        weak_correct={s: weak_correct(teachers, views[s], labels[s]) for s in tested},
        ceiling_correct={
            s: ceiling_correct(inputs["student"], labels["student"], inputs[s], labels[s], seeds)
            for s in tested
        },
    )


def _views(reading: RawFeatures, rows: dict[SplitName, list[int]]) -> dict[SplitName, TeacherView]:
    teacher = _z_scored(reading.teacher_NCE, rows["student"])
    zero_shot_logit = against_reference(_centred(reading.zero_shot_logit_NC, rows["student"]))
    return {
        s: TeacherView(against_reference(teacher[r]), zero_shot_logit[r, 1] - zero_shot_logit[r, 0])
        for s, r in rows.items()
    }


def states_of(items: Sequence[AnyItem], reading: RawFeatures) -> dict[SplitName, States]:
    """The states of the items of each split but `teacher`, whose texts the student need not have
    read. The state at a layer: the mean hidden state and the surprisal profile, all features with
    equal weight."""
    rows = _rows(items)
    profile = _z_scored(reading.profile_NCP, rows["student"])
    layers = {
        layer: np.concatenate([_z_scored(h, rows["student"]), profile], axis=2).astype(np.float16)
        for layer, h in reading.hidden.items()
    }
    zero_shot_logit = _centred(reading.zero_shot_logit_NC, rows["student"])
    return {
        s: States({layer: x[r] for layer, x in layers.items()}, zero_shot_logit[r])
        for s, r in rows.items()
        if s != "teacher"
    }


def _z_scored(values_NCD: NDArray, rows: Sequence[int]) -> NDArray[np.float32]:
    """Z-scores of each feature, clipped. Mean and standard deviation are over the choices of the
    student split."""
    reference = values_NCD[rows].astype(np.float64)
    z = (values_NCD - reference.mean(axis=(0, 1))) / (reference.std(axis=(0, 1)) + 1e-6)
    return np.clip(z, -CLIP, CLIP).astype(np.float32)


def _centred(zero_shot_logit_NC: NDArray, rows: Sequence[int]) -> NDArray[np.float32]:
    """Zero-shot logits minus the student split's median, so that a single choice is compared
    with the median one."""
    return (zero_shot_logit_NC - np.median(zero_shot_logit_NC[rows])).astype(np.float32)
