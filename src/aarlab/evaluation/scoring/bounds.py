"""How far a reported level can be above the truth, given the bits that have been released. Formulas
alone.

Legend: n independent labels, bits b released, delta the probability with which a bound may fail.
Where items are dependent in groups, n is `Units.independent` and m, the n of the bound with kl,
`Units.least`; why is in `MeteredLadder`.
"""

import math
from functools import lru_cache

DELTA = 0.05


def inflation_bound(bits: float, n: int, *, slack_bits: float = 0.0, delta: float = DELTA) -> float:
    """Largest excess (accuracy) of any reported level over the true accuracy of the submission that
    reached it.

    sqrt((b ln 2 + ln(1/delta)) / (2n)): Hoeffding 1963 with the description-length union bound of
    Dwork et al. 2015 ("Generalization in adaptive data analysis and holdout reuse"). `slack_bits`
    is log2 of the total weight of all answers in the code, over all that set-up can release
    (Theorem 1 of `MeteredLadder`).
    """
    return min(1.0, math.sqrt(((bits + slack_bits) * math.log(2) + math.log(1 / delta)) / (2 * n)))


@lru_cache(maxsize=1024)  # it changes with the level alone
def certified_at_least(
    level: float,
    bits: float,
    n: int,
    *,
    least: float | None = None,
    slack_bits: float = 0.0,
) -> float:
    """The least true accuracy that a reported level leaves possible: the smallest p <= level with m
    kl(level || p) <= b ln 2 + ln(1/DELTA), m = n if `least` is not given (Chernoff-Hoeffding; for m
    = n sharper than `inflation_bound`), or what `inflation_bound` leaves, whichever is more: for a
    fixed p both are one threshold."""
    allowed = ((bits + slack_bits) * math.log(2) + math.log(1 / DELTA)) / (least or n)
    low, high = max(0.0, level - inflation_bound(bits, n, slack_bits=slack_bits)), level
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if binary_kl(level, middle) > allowed else (low, middle)
    return low


def binary_kl(p: float, q: float) -> float:
    """kl(p || q) of two coins, in nats; infinite where q excludes what p allows."""

    def term(a: float, b: float) -> float:
        if a == 0:
            return 0.0
        return math.inf if b == 0 else a * math.log(a / b)

    return term(p, q) + term(1 - p, 1 - q)
