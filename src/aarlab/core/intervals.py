"""Bootstrap intervals. Every figure that the project shows comes through here as a `Measure`.

Legend: M test items, S seeds, B bootstrap draws.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.core.pgr import performance_gap_recovered
from aarlab.core.records import Measure

DRAWS = 1_000
Correct = NDArray[np.bool_]  # (S, M): was item m answered correctly by seed s


def _measure(estimate: float, draws_B: NDArray[np.float64], *, n: int, resampled: str) -> Measure:
    lower, upper = np.quantile(draws_B, [0.025, 0.975])
    return Measure(estimate=float(estimate), lower=float(lower), upper=float(upper), n=n, resampled=resampled)


def _resampled_mean(
    correct_SM: Correct, weights_BM: NDArray[np.float64], counts_BS: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean accuracy under B draws of items and seeds (each with replacement), shape (B,)."""
    return ((weights_BM @ correct_SM.T.astype(np.float64)) * counts_BS).sum(axis=1)


def _seed_counts(rng: np.random.Generator, seeds: int, draws: int) -> NDArray[np.float64]:
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds


def _item_weights(rng: np.random.Generator, items: int, draws: int) -> NDArray[np.float64]:
    return rng.multinomial(items, np.full(items, 1 / items), size=draws) / items


def accuracy_measure(correct_SM: Correct, *, seed: int = 0, draws: int = DRAWS) -> Measure:
    """Mean accuracy over seeds and items, with a bootstrap interval over both. `correct_SM`: (S, M) of bool."""
    rng = np.random.default_rng(seed)
    weights_BM = _item_weights(rng, correct_SM.shape[1], draws)
    draws_B = _resampled_mean(correct_SM, weights_BM, _seed_counts(rng, len(correct_SM), draws))
    return _measure(correct_SM.mean(), draws_B, n=correct_SM.shape[1], resampled="items and seeds")


class PgrBootstrap:
    """Bootstrap draws of PGR, paired over items, over the methods' seeds, and over both anchors and their seeds.

    All methods that are compared share M items and S seeds in one order (the same seed draws the same rows and teacher), and so
    share every draw: what they have in common cancels in a difference. Efron & Tibshirani 1993, chapter 13.
    """

    resampled = "items, seeds and anchors"

    def __init__(self, *, weak_SM: Correct, ceiling_SM: Correct, seeds: int, seed: int = 0, draws: int = DRAWS) -> None:
        rng = np.random.default_rng(seed)
        self.items = weak_SM.shape[1]
        self.weak, self.ceiling = float(weak_SM.mean()), float(ceiling_SM.mean())
        self._weights_BM = _item_weights(rng, self.items, draws)
        self._counts_BS = _seed_counts(rng, seeds, draws)
        anchors = (_resampled_mean(x, self._weights_BM, _seed_counts(rng, len(x), draws)) for x in (weak_SM, ceiling_SM))
        self._weak_B, self._ceiling_B = anchors
        self._weak_M, self._ceiling_M = weak_SM.mean(axis=0), ceiling_SM.mean(axis=0)
        self._drawn: dict[bytes, NDArray[np.float64]] = {}
        self._usable_B = self._ceiling_B > self._weak_B

    def draws(self, correct_SM: Correct) -> NDArray[np.float64]:
        """PGR under each draw that leaves a gap between the anchors; kept, since comparisons ask again."""
        key = hashlib.sha256(np.packbits(correct_SM).tobytes()).digest()
        if key not in self._drawn:
            accuracy_B = _resampled_mean(correct_SM, self._weights_BM, self._counts_BS)
            use = self._usable_B
            self._drawn[key] = (accuracy_B - self._weak_B)[use] / (self._ceiling_B - self._weak_B)[use]
        return self._drawn[key]

    def pgr(self, correct_SM: Correct) -> Measure:
        """PGR with its interval.

        Raises:
            Misconfigured: the ceiling does not exceed the weak accuracy.
        """
        estimate = performance_gap_recovered(float(correct_SM.mean()), weak=self.weak, ceiling=self.ceiling)
        return _measure(estimate, self.draws(correct_SM), n=self.items, resampled=self.resampled)

    def accuracy(self, correct_SM: Correct) -> Measure:
        """Mean accuracy under the same draws of items and seeds."""
        draws_B = _resampled_mean(correct_SM, self._weights_BM, self._counts_BS)
        return _measure(correct_SM.mean(), draws_B, n=self.items, resampled="items and seeds")

    def gap(self) -> Measure:
        """Ceiling minus weak accuracy, paired over items."""
        gap_B = self._ceiling_B - self._weak_B
        return _measure(self.ceiling - self.weak, gap_B, n=self.items, resampled="items and the anchors' seeds")

    def difference(self, correct_SM: Correct, other_SM: Correct) -> tuple[Measure, float]:
        """PGR minus another's, with a paired interval, and the two-sided bootstrap p-value that there is none."""
        draws_B = self.draws(correct_SM) - self.draws(other_SM)
        estimate = float(correct_SM.mean() - other_SM.mean()) / (self.ceiling - self.weak)
        below, above = int((draws_B <= 0).sum()), int((draws_B >= 0).sum())
        p = min(1.0, 2 * (min(below, above) + 1) / (len(draws_B) + 1))
        return _measure(estimate, draws_B, n=self.items, resampled=self.resampled), p

    def item_error(self, correct_SM: Correct) -> float:
        """The standard error of PGR that the sample of test items alone brings (seeds and anchors' seeds held)."""
        recovered_B = self._weights_BM @ (correct_SM.mean(axis=0) - self._weak_M)
        return float(np.std(recovered_B / (self._weights_BM @ (self._ceiling_M - self._weak_M))))


def pgr_measure(correct_SM: Correct, *, weak_SM: Correct, ceiling_SM: Correct, seed: int = 0, draws: int = DRAWS) -> Measure:
    """PGR of one method: see `PgrBootstrap`. All three arrays are (S, M) over the same M items; S may differ.

    Raises:
        Misconfigured: the ceiling does not exceed the weak accuracy.
    """
    seeds = len(correct_SM)
    return PgrBootstrap(weak_SM=weak_SM, ceiling_SM=ceiling_SM, seeds=seeds, seed=seed, draws=draws).pgr(correct_SM)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for how many were looked at: Holm 1979, the step-down that holds the family-wise error."""
    order = np.argsort(p_values)
    scaled = np.array(p_values)[order] * (len(p_values) - np.arange(len(p_values)))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return adjusted.tolist()


def mean_measure(values_N: NDArray[np.float64], *, seed: int = 0, draws: int = DRAWS, resampled: str) -> Measure:
    """The mean of N values with a bootstrap interval over them; `resampled` names what a value is."""
    rng = np.random.default_rng(seed)
    draws_B = _item_weights(rng, len(values_N), draws) @ values_N
    return _measure(float(np.mean(values_N)), draws_B, n=len(values_N), resampled=resampled)


def ratio_measure(
    amounts_N: NDArray[np.float64], sizes_N: NDArray[np.float64], *, seed: int = 0, draws: int = DRAWS, resampled: str
) -> Measure:
    """Sum of N amounts by the sum of their sizes, with a bootstrap interval over the pairs; draws of no size are left out."""
    weights_BN = _item_weights(np.random.default_rng(seed), len(sizes_N), draws)
    amounts_B, sizes_B = weights_BN @ amounts_N, weights_BN @ sizes_N
    usable_B = sizes_B > 0
    return _measure(
        amounts_N.sum() / sizes_N.sum(), amounts_B[usable_B] / sizes_B[usable_B], n=len(sizes_N), resampled=resampled
    )
