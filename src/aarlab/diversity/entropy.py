"""Idea diversity: Shannon entropy over K families of methods, in bits, with a correction for
small counts and an interval.

The plug-in entropy of few ideas is too low, and its bootstrap lower still. The estimate is
Grassberger's; the interval is that of the posterior under a prior that holds every entropy equally
likely beforehand (Nemenman, Shafee & Bialek 2002), and reaches up to log2 K where the
counts could be those of equally frequent families. Why these, by simulation: docs/diversity.md.

Legend: K families of the taxonomy (the study's eleven where nothing else is said), G values of the
prior's concentration, B posterior draws.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import scipy  # scipy.optimize takes half a second to import, and loads when it is first used
from numpy.typing import NDArray
from scipy.special import gammaln, psi, xlogy

from aarlab.core.records import STUDY_FAMILIES, Measure

STUDY_K = len(STUDY_FAMILIES)
LEAST = 5  # points with fewer are dropped, as the study drops those with fewer than five workers
DRAWS, GRID = 2_000, 60
Counts = NDArray[np.int_]


def most_bits(k: int = STUDY_K) -> float:
    """The most that the entropy over K families can be, log2 K."""
    return float(np.log2(k))


def shannon_bits(counts: Sequence[int]) -> float:
    """H = -sum p log2 p of the counts' shares, in bits (Shannon 1948): the plug-in, too low for
    few.

    Raises:
        ValueError: nothing was counted; its entropy is unknown, not zero.
    """
    shares = _some(counts) / sum(counts)
    return float(-(shares * np.log2(shares)).sum() + 0.0)


def grassberger_bits(counts: Sequence[int], k: int = STUDY_K) -> float:
    """ln n - (1/n) sum n_i G(n_i) in bits, G(m) = psi(m) + (-1)^m (psi((m + 1) / 2) - psi(m / 2)) /
    2 (Grassberger 2003, eq. 27); at most log2 K."""
    some = _some(counts)
    signs = np.where(some % 2, -1.0, 1.0)
    g = psi(some) + signs * (psi((some + 1) / 2) - psi(some / 2)) / 2
    bits = float((np.log(some.sum()) - (some * g).sum() / some.sum()) / np.log(2))
    return min(most_bits(k), max(0.0, bits))


def _some(counts: Sequence[int]) -> Counts:
    some = np.array([c for c in counts if c], dtype=np.int64)
    if not some.size:
        raise ValueError("The entropy of no ideas is unknown, not zero.")
    return some


@lru_cache(maxsize=16)
def _concentrations(k: int) -> NDArray[np.float64]:
    """Concentrations of a symmetric Dirichlet over K families whose mean entropies lie evenly
    between none and log2 K, (G,)."""

    def short(log_beta: float, wanted: float) -> float:
        beta = np.exp(log_beta)
        return float(psi(k * beta + 1) - psi(beta + 1) - wanted)

    evenly_G = (np.arange(GRID) + 0.5) / GRID * np.log(k)
    return np.exp([scipy.optimize.brentq(short, -20, 20, args=(wanted,)) for wanted in evenly_G])


@lru_cache(maxsize=4_096)
def posterior_bits(counts: tuple[int, ...], k: int = STUDY_K) -> NDArray[np.float64]:
    """B draws of the entropy in bits, given sorted counts of the families that were seen;
    deterministic in its arguments."""
    counts_K = np.zeros(k)
    counts_K[: len(counts)] = counts
    beta_G = _concentrations(k)
    log_G = gammaln(k * beta_G) - gammaln(counts_K.sum() + k * beta_G)
    log_G = log_G + (gammaln(counts_K + beta_G[:, None]) - gammaln(beta_G)[:, None]).sum(axis=1)
    weights_G = np.exp(log_G - log_G.max())
    rng = np.random.default_rng(0)
    beta_B = rng.choice(beta_G, size=DRAWS, p=weights_G / weights_G.sum())
    gamma_BK = rng.standard_gamma(counts_K + beta_B[:, None]) + 1e-300
    shares_BK = gamma_BK / gamma_BK.sum(axis=1, keepdims=True)
    return -xlogy(shares_BK, shares_BK).sum(axis=1) / np.log(2)


@lru_cache(maxsize=4_096)
def _least_of_even(n: int, k: int) -> float:
    """The plug-in entropy that n draws of K equally frequent families fall short of in one case of
    forty."""
    drawn_BK = np.random.default_rng(n).multinomial(n, np.full(k, 1 / k), size=DRAWS) / n
    return float(np.quantile(-xlogy(drawn_BK, drawn_BK).sum(axis=1) / np.log(2), 0.025))


def interval_bits(counts: tuple[int, ...], k: int = STUDY_K) -> tuple[float, float]:
    """The 95 % interval of the entropy, given sorted counts of the families that were seen."""
    lower, upper = np.quantile(posterior_bits(counts, k=k), [0.025, 0.975])
    even = shannon_bits(counts) >= _least_of_even(sum(counts), k)
    return float(lower), most_bits(k) if even else float(upper)


def family_entropy(
    families: Sequence[str], *, k: int = STUDY_K, resampled: str = "ideas"
) -> Measure:
    """Entropy of the families of some ideas in bits, with a 95 % interval. `resampled` says what an
    idea is here.

    It takes them for independent draws. A researcher's ideas resemble each other: where campaigns
    are compared, the interval over campaigns is the one to look at.

    Raises:
        ValueError: there are none.
    """
    counts = tuple(sorted(Counter(families).values(), reverse=True))
    estimate = grassberger_bits(counts, k)
    lower, upper = interval_bits(counts, k)
    low, high = min(lower, estimate), max(upper, estimate)
    return Measure(estimate=estimate, lower=low, upper=high, n=len(families), resampled=resampled)


def scaled(bits: Measure, by: Callable[[float], float]) -> Measure:
    """The same measure on an increasing other scale: `normalised`, `effective`."""
    ends = {end: by(getattr(bits, end)) for end in ("estimate", "lower", "upper")}
    return Measure(n=bits.n, resampled=bits.resampled, **ends)


def normalised(bits: float, k: int = STUDY_K) -> float:
    """Entropy as a share of the most there can be, log2 K: 0 to 1."""
    return bits / most_bits(k)


def effective(bits: float) -> float:
    """exp H: how many equally frequent families have this entropy (Hill 1973), 1 to K."""
    return float(2.0**bits)


Window = tuple[float, float, Measure]  # from, to (seconds), bits


def over_time(
    at_s: NDArray[np.float64], families: Sequence[str], *, k: int = STUDY_K, windows: int = 6
) -> list[Window]:
    """Entropy in equal windows of time; windows with fewer than LEAST ideas are left out."""
    if not len(at_s):
        return []
    edges = np.linspace(0, float(at_s.max()) + 1e-9, windows + 1)
    inside = [
        [f for t, f in zip(at_s, families, strict=True) if low <= t < high]
        for low, high in pairwise(edges)
    ]
    rows = zip(pairwise(edges), inside, strict=True)
    return [
        (float(low), float(high), family_entropy(row, k=k))
        for (low, high), row in rows
        if len(row) >= LEAST
    ]


def across_researchers(
    ideas: Sequence[tuple[str, str]], *, k: int = STUDY_K
) -> list[tuple[int, Measure]]:
    """The study's measure: entropy across the researchers' n-th ideas, for n = 1, 2, ...; points
    with fewer than LEAST researchers are left out. `ideas`: (researcher, family) in order."""
    by: dict[int, list[str]] = {}
    done: Counter[str] = Counter()
    for who, family in ideas:
        done[who] += 1
        by.setdefault(done[who], []).append(family)
    return [
        (n, family_entropy(row, k=k, resampled="researchers"))
        for n, row in sorted(by.items())
        if len(row) >= LEAST
    ]
