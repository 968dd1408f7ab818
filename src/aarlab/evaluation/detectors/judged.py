"""What only the operator may know: flags that rest on labels, raised by a confirmation and never by
a submission.

Legend: S seeds, M items.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.core.crossed import UnitNumbers, sums_by_unit
from aarlab.core.sign_flip import BEYOND_CHANCE, sign_flip_p
from aarlab.evaluation.detectors.contract import DETECTORS, Kind

for _kind in (
    Kind(
        "student-free",
        "A score that is left when weak labels are shuffled and the student's states are noise.",
        uses_labels=True,
    ),
    Kind(
        "not reproducible",
        "Re-runs of the code, on fresh seeds and on those that were issued, do not make what was "
        "submitted.",
        uses_labels=True,
    ),
    Kind(
        "feedback above final",
        "Code that on fresh seeds is better on feedback than on final: it may hold answers of "
        "feedback.",
        uses_labels=True,
    ),
):
    DETECTORS.add(_kind.name)(_kind)
ALPHA = BEYOND_CHANCE**0.5  # 0.001: two independent splits that agree are beyond chance together


def beyond_chance(ps: Sequence[float]) -> bool:
    """Do p-values on independent splits speak for a flag: one beyond chance by itself, or two of
    them together? Chance does with at most 3e-6 on two splits."""
    return sum(p < ALPHA for p in ps) > 1 or any(p < BEYOND_CHANCE for p in ps)


def student_free_p(correct_SM: NDArray[np.bool_], units_M: UnitNumbers | None = None) -> float:
    """P(answers that know nothing of the labels lie as far from one half), for a run without weak
    labels and student.

    Exact for labels that are fair coins: the sum of a unit's rows is symmetric about its middle
    (sign flips over units; `units_M`: which items share a label). Two-sided, since shuffled weak
    labels may turn a shortcut round, and for all seeds together or the most telling one
    (Bonferroni), since each may be turned its own way.
    """
    signs_SM = sums_by_unit(np.where(correct_SM, 1, -1), units_M)
    sums = [signs_SM.sum(axis=0), *signs_SM]
    return min(
        1.0, len(sums) * min(2 * sign_flip_p(side * row_M) for row_M in sums for side in (1, -1))
    )
