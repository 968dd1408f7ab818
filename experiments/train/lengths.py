"""Lengths of preference pairs in tokens. No real file of them can be had here, so they are drawn
from a stated spread.

Legend: N items.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MICRO_BATCH = 32  # of the study's runs


@dataclass(frozen=True)
class Spread:
    """A lognormal spread: its sigma, its mean in tokens, the longest item it may have, and where
    these come from."""

    sigma: float
    mean: float
    longest: int
    source: str

    def draw(self, items: int, *, mean: float | None = None, seed: int = 0) -> NDArray[np.int64]:
        """Lengths (N,) whose own mean is the asked one up to rounding: scaled, so that the padding
        is the spread's."""
        mean = mean or self.mean
        raw = np.random.default_rng(seed).lognormal(0.0, self.sigma, items)
        longest = self.longest * mean / self.mean
        drawn = np.minimum(raw * mean / raw.mean(), longest)
        return np.maximum(np.rint(drawn * mean / drawn.mean()), 4).astype(np.int64)

    def typical(
        self, items: int, *, mean: float, batch: int = MICRO_BATCH, tries: int = 64
    ) -> NDArray[np.int64]:
        """The draw, of so many, whose padding is nearest to their mean: few items vary much in it,
        and a ratio with them."""
        draws = [self.draw(items, mean=mean, seed=seed) for seed in range(tries)]
        factors = np.array([padded(lengths_N, batch) / lengths_N.sum() for lengths_N in draws])
        return draws[int(np.argmin(np.abs(factors - factors.mean())))]


STUDY = Spread(
    0.52,
    1000,
    8192,
    "two published times of one job at micro-batch 32 and 8; mean estimated from published "
    "seconds, 800 to 1,200",
)
RM_BENCH = Spread(
    0.35,
    581,
    1139,
    "RM-Bench chat, 1,161 real pairs under Qwen's tokenizer: mean 581, median 547, longest 1,139 "
    "tokens",
)
SPREADS = {"study": STUDY, "rm-bench": RM_BENCH}


def padded(lengths_N: NDArray[np.int64], batch: int = MICRO_BATCH) -> int:
    """Tokens computed when each batch, in the given order, is padded to its longest item."""
    return sum(
        int(part.max()) * len(part)
        for part in (lengths_N[i : i + batch] for i in range(0, len(lengths_N), batch))
    )
