"""Idea diversity: Shannon entropy over the eleven method families, over time."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import Family, Measure

DRAWS = 1_000
LEAST = 5  # windows with fewer experiments are dropped, as the study drops points with fewer than five workers


def shannon_bits(counts: Sequence[int]) -> float:
    """H = -sum p log2 p of the counts' shares, in bits (Shannon 1948); between 0 and log2 of the number of families."""
    total = sum(counts)
    if total == 0:
        raise ValueError("The entropy of no experiments is unknown, not zero.")
    shares = np.array([c / total for c in counts if c])
    return float(-(shares * np.log2(shares)).sum() + 0.0)


def family_entropy(families: Sequence[Family], *, seed: int = 0) -> Measure:
    """Entropy of the families of some experiments, with a bootstrap interval over the experiments.

    The plug-in estimate is biased low for few experiments, and its bootstrap more so; n is there to be looked at.
    """
    order = sorted(set(families))
    counts = Counter(families)
    observed = np.array([counts[f] for f in order])
    estimate = shannon_bits(observed.tolist())
    draws_BF = np.random.default_rng(seed).multinomial(len(families), observed / observed.sum(), size=DRAWS)
    bits_B = np.array([shannon_bits(row.tolist()) for row in draws_BF])
    lower, upper = np.quantile(bits_B, [0.025, 0.975])
    return Measure(
        estimate=estimate,
        lower=min(float(lower), estimate),
        upper=max(float(upper), estimate),
        n=len(families),
        resampled="experiments",
    )


def over_time(at_s: NDArray[np.float64], families: Sequence[Family], *, windows: int = 6) -> list[tuple[float, float, Measure]]:
    """Entropy in equal windows of time: (from, to, bits); windows with fewer than LEAST experiments are left out."""
    if not len(at_s):
        return []
    edges = np.linspace(0, float(at_s.max()) + 1e-9, windows + 1)
    rows: list[tuple[float, float, Measure]] = []
    for low, high in pairwise(edges):
        inside = [f for t, f in zip(at_s, families, strict=True) if low <= t < high]
        if len(inside) >= LEAST:
            rows.append((float(low), float(high), family_entropy(inside)))
    return rows
