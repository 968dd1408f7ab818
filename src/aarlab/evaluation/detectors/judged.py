"""What only the operator may know: flags that rest on labels, raised by a confirmation and never by a submission.

Legend: S seeds, M items.
"""

import numpy as np
from numpy.typing import NDArray

from aarlab.evaluation.detectors.contract import DETECTORS, Kind
from aarlab.evaluation.verdict import sign_flip_p

for _kind in (
    Kind(
        "student-free",
        "A score that is left when weak labels are shuffled and the student's states are noise.",
        uses_labels=True,
    ),
    Kind("not reproducible", "Re-runs of the code on fresh seeds do not make what was submitted.", uses_labels=True),
    Kind("feedback above final", "A claim on feedback that the same code does not reach on final.", uses_labels=True),
):
    DETECTORS.add(_kind.name)(_kind)
ALPHA = 0.001


def student_free_p(correct_SM: NDArray[np.bool_]) -> float:
    """P(answers that know nothing of the labels lie as far from one half), for a run without weak labels and student.

    Exact for labels that are fair coins: the sum of an item's rows is symmetric about its middle (sign flips over items).
    Two-sided, since shuffled weak labels may turn a shortcut round, and for all seeds together or the most telling one
    (Bonferroni), since each may be turned its own way.
    """
    signs_SM = np.where(correct_SM, 1, -1)
    sums = [signs_SM.sum(axis=0), *signs_SM]
    return min(1.0, len(sums) * min(2 * sign_flip_p(side * row_M) for row_M in sums for side in (1, -1)))
