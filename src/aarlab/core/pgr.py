"""Performance gap recovered. Computed here and nowhere else."""

import math

from aarlab.core.errors import Misconfigured


def performance_gap_recovered(accuracy: float, *, weak: float, ceiling: float) -> float:
    """The share of the gap between weak and ceiling accuracy that `accuracy` recovers (unitless; 0 = weak, 1 = ceiling).

    PGR = (accuracy - weak) / (ceiling - weak): Burns et al. 2023 (arXiv:2312.09390), section 3.

    Raises:
        Misconfigured: the operator's anchors leave no gap (ceiling <= weak), or a value is not finite.
    """
    if not all(map(math.isfinite, (accuracy, weak, ceiling))):
        raise Misconfigured(f"PGR needs finite accuracies, got {accuracy=}, {weak=}, {ceiling=}.")
    if ceiling <= weak:
        raise Misconfigured(
            f"The ceiling accuracy {ceiling:.4f} does not exceed the weak accuracy {weak:.4f}, so there is no gap to "
            "recover. Use a weaker teacher, a stronger student or more student items.",
            weak=weak,
            ceiling=ceiling,
        )
    return (accuracy - weak) / (ceiling - weak)
