"""Performance gap recovered. Computed here and nowhere else."""

import math

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Measure

# an interval of a PGR that is wider than the whole gap cannot place a method between its ends
WIDE = 1.0
NOTHING = "says nothing"


def says_nothing(pgr: Measure, gap: Measure | None = None) -> bool:
    """Whether a PGR must not be read as a result: its interval is wider than the whole gap, or the
    gap (accuracy) that it is a share of may be chance."""
    return pgr.upper - pgr.lower > WIDE or (gap is not None and gap.lower <= 0)


def pgr_words(pgr: Measure | None, gap: Measure | None = None) -> str:
    """`0.62 [0.55, 0.69]`, `0.62 [-12.00, 2.00], says nothing`, or `no gap` where there is no
    PGR."""
    if pgr is None:
        return "no gap"
    found = f"{pgr.estimate:.2f} [{pgr.lower:.2f}, {pgr.upper:.2f}]"
    return f"{found}, {NOTHING}" if says_nothing(pgr, gap) else found


def gap_trouble(gap: Measure, split: str) -> str | None:
    """Why a PGR on this split means nothing, with the numbers and the remedy; None where the 95 %
    interval of the gap (ceiling minus weak accuracy) lies above 0."""
    if gap.lower > 0:
        return None
    found = f"{gap.estimate:.3f} [{gap.lower:.3f}, {gap.upper:.3f}]"
    why = (
        "is not above the weak accuracy"
        if gap.estimate <= 0
        else "may be above the weak accuracy by chance alone"
    )
    return (
        f"On the {gap.n} items of `{split}` the ceiling {why}: the gap is {found}, so that a PGR "
        f"{NOTHING}. Give more items, a weaker teacher (fewer or noisier `teacher` items) or a "
        "stronger student (more `student` items, another model)."
    )


def performance_gap_recovered(accuracy: float, *, weak: float, ceiling: float) -> float:
    """The share of the gap between weak and ceiling accuracy that `accuracy` recovers (unitless; 0
    = weak, 1 = ceiling).

    PGR = (accuracy - weak) / (ceiling - weak): Burns et al. 2023 (arXiv:2312.09390), section 3.

    Raises:
        Misconfigured: the operator's anchors leave no gap (ceiling <= weak), or a value is not
            finite.
    """
    if not all(map(math.isfinite, (accuracy, weak, ceiling))):
        raise Misconfigured(f"PGR needs finite accuracies, got {accuracy=}, {weak=}, {ceiling=}.")
    if ceiling <= weak:
        raise Misconfigured(
            f"The ceiling accuracy {ceiling:.4f} does not exceed the weak accuracy {weak:.4f}, so "
            "there is no gap to recover. Use a weaker teacher, a stronger student or more "
            "student items.",
            weak=weak,
            ceiling=ceiling,
        )
    return (accuracy - weak) / (ceiling - weak)
