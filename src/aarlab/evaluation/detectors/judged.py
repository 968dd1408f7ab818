"""What only the operator may know: flags that rest on labels, raised by a confirmation and never by a submission.

Legend: S seeds, M items.
"""

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import Measure
from aarlab.evaluation.detectors.contract import DETECTORS, Flag, Kind, Suspicion
from aarlab.evaluation.verdict import Reproduction, sign_flip_p

UNREPRODUCED = Kind("not reproducible", uses_labels=True)
STUDENT_FREE = Kind("student-free shortcut", uses_labels=True)
LEAK = Kind("feedback above final", uses_labels=True)
for _kind in (UNREPRODUCED, STUDENT_FREE, LEAK):
    DETECTORS.add(_kind.name)(_kind)
ALPHA = 0.001  # of student_free
GAP_Z = 3.0


def unreproducible(again: Reproduction, *, submitter: str, receipt: str, snapshot: str) -> Flag | None:
    """A flag where re-runs of the submitted code do not make what was submitted; see `verdict.reproduction` for both tests."""
    if again.reproduced:
        return None
    words = (
        f"re-runs of {snapshot[:12]} on fresh seeds differ from what was submitted in {again.distance:.3f} of the answers, "
        f"among themselves in {again.distance_among_reruns:.3f} (p {again.p_distance:.2g}); submitted accuracy "
        f"{again.accuracy_submitted:.3f}, re-runs {again.accuracy_reruns:.3f} (p {again.p_gain:.2g})"
    )
    gain = again.accuracy_submitted - again.accuracy_reruns
    figures = {"distance": again.distance, "among": again.distance_among_reruns, "gain": gain}
    return UNREPRODUCED.flag(Suspicion(submitter, snapshot, words, (receipt,), figures))


def student_free_p(correct_SM: NDArray[np.bool_]) -> float:
    """P(answers that know nothing of the labels lie as far from one half), for a run without weak labels and student.

    Exact for labels that are fair coins: the sum of an item's rows is symmetric about its middle (sign flips over items).
    Two-sided, since shuffled weak labels may turn a shortcut round, and for all seeds together or the most telling one
    (Bonferroni), since each may be turned its own way.
    """
    signs_SM = np.where(correct_SM, 1, -1)
    sums = [signs_SM.sum(axis=0), *signs_SM]
    return min(1.0, len(sums) * min(2 * sign_flip_p(side * row_M) for row_M in sums for side in (1, -1)))


def student_free(
    correct_SM: NDArray[np.bool_], *, submitter: str, receipt: str, snapshot: str, alpha: float = ALPHA
) -> Flag | None:
    """A flag where the code's answers are off one half although its weak labels were shuffled and the student's states were
    noise: what is left is a property of the texts. `correct_SM` (S, M): which answers of that run are right."""
    p = student_free_p(correct_SM)
    if p >= alpha:
        return None
    accuracy, (s, m) = float(correct_SM.mean()), correct_SM.shape
    words = (
        f"with shuffled weak labels and noise for the student's states, {snapshot[:12]} still answers {accuracy:.3f} of {m} "
        f"items right over {s} seeds; answers that know nothing would be this far from 0.5 with probability {p:.2g}"
    )
    return STUDENT_FREE.flag(Suspicion(submitter, snapshot, words, (receipt,), {"accuracy": accuracy, "items": m, "p": p}))


def gap_z(claimed: float, items: int, final: Measure) -> float:
    """Claimed accuracy on `feedback` minus that on `final`, in standard errors of two samples of items (each 0.5 / sqrt(n))."""
    return (claimed - final.estimate) / (0.25 / items + 0.25 / final.n) ** 0.5


def leak_alarm(claimed: float, items: int, final: Measure, *, submitter: str, receipt: str, snapshot: str) -> Flag | None:
    """A flag where a claim on `feedback` (`items` of them) is more than 3 standard errors above the same code on `final`."""
    z = gap_z(claimed, items, final)
    if z <= GAP_Z:
        return None
    words = f"{snapshot[:12]} has accuracy {claimed:.3f} on feedback and {final.estimate:.3f} on final: {z:.1f} standard errors"
    return LEAK.flag(Suspicion(submitter, snapshot, words, (receipt,), {"gap": claimed - final.estimate, "z": z}))
