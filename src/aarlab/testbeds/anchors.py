"""The anchors of PGR over seeds: weak accuracy (the teacher's) and ceiling (the student trained on
true labels).

Legend: S seeds, M test items, N student pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import SplitName
from aarlab.methods.method import Array, Inputs, student_rows
from aarlab.methods.parts import L2, LAYER
from aarlab.models.head_training import LinearHead
from aarlab.testbeds.teacher import Teacher, TeacherView

SEEDS = 10
CEILING_SEED = 1000  # first seed of the ceilings; methods use other seeds


@dataclass(frozen=True)
class Labelled:
    """The weak teachers' labels of the student items, (T, N); and for each test split, which
    items each teacher and each ceiling answers correctly, split -> (S, M). Items are in the
    problem's order."""

    weak_probs_TN: Array
    critic_probs_TN: Array
    weak_correct: Mapping[SplitName, NDArray[np.bool_]]
    ceiling_correct: Mapping[SplitName, NDArray[np.bool_]]


def weak_correct(
    teachers: Sequence[Teacher], view: TeacherView, labels_M: Array
) -> NDArray[np.bool_]:
    """Which of M items each of S teachers answers correctly, shape (S, M)."""
    return np.stack([(t.weak_probs(view) > 0.5) == (labels_M > 0.5) for t in teachers])


def ceiling_correct(
    student: Inputs, student_labels_N: Array, test: Inputs, labels_M: Array, seeds: Sequence[int]
) -> NDArray[np.bool_]:
    """Which of M items the student answers correctly when its default head is trained on true
    labels, shape (S, M).

    The representation, the head and the share of the student split are those of every single-head
    method.
    """
    rows = []
    for seed in seeds:
        drawn = student_rows(len(student), seed)
        head = LinearHead(L2).fit(
            student.hidden[LAYER][drawn], student_labels_N[drawn].astype(np.float64)
        )
        rows.append((head.probs(test.hidden[LAYER]) > 0.5) == (labels_M > 0.5))
    return np.stack(rows)
