"""Means over items and seeds, which are crossed: the one place where their uncertainty is computed.

Every item is answered on every seed. What varies is the sample of items, the draw of seeds (each
draws its teacher and rows, which shift all items together), and the rest. With the mean squares of
the two-way analysis of variance, the variance of a mean is (MS_seeds + MS_items - MS_rest) / SG
(Owen 2007, arXiv:0712.1111); the degrees of freedom are Satterthwaite's (1946), fewer where seeds
are few, and quantiles are Student's. Items that share a label are one unit: their sums are what is
counted (Liang & Zeger 1986).

Satterthwaite's formula divides by an estimate of the sum of x^2 / d, x the share of the variance
that d degrees of freedom estimate. It is largest where the variance is underestimated, which makes
the test of few seeds too liberal (5.8 % at 5 %, 1.0 % at 0.6 %). Here each x^2 is multiplied by
(1 + 2 / d)^2, the square of E[x^2] / E[x]^2: `experiments/crossed_design.py` shows what that gives.

Legend: C tables, S seeds of a table, M items, G units, N contrasts.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import scipy  # scipy.special takes half a second to import, and loads when it is first used
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Measure

LEVEL = 0.975  # of the upper end of a 95 % interval
NOTHING_VARIES = 1e-9  # an error below this is rounding: one answer weighs more
Array = NDArray[np.float64]
UnitNumbers = NDArray[np.intp]  # (M,): the number of each item's unit, from 0


def note_few_seeds(counts: Mapping[str, int]) -> tuple[str, ...]:
    """A note where something has two seeds alone; `counts`: how many, by what has them (a plural).
    `python experiments/crossed_design.py 1000` has the figures."""
    two = [what for what, seeds in counts.items() if seeds == 2]
    if not two:
        return ()
    words = f"{' and '.join(two).capitalize()} were run on two seeds: with so few, a test at 5 %"
    return (f"{words} errs in up to 6.6 % of cases, and intervals are too narrow. Use three.",)


class Crossed:
    """Means of C tables over the same items, and the uncertainty of their linear combinations.

    Tables of one block were made with the same seeds in the same order; the seeds of different
    blocks are independent.
    """

    def __init__(self, *blocks_CSM: NDArray, units_M: UnitNumbers | None = None) -> None:
        """Each block is (C, S, M), numbers or bools. `units_M`: which items share a label; None
        where every item stands alone.

        Raises:
            Misconfigured: there is no item.
        """
        self.items = blocks_CSM[0].shape[2]
        if not self.items:
            raise Misconfigured("There is nothing to measure: no item. Leave the figure out.")
        of_M = np.arange(self.items) if units_M is None else units_M
        sizes_G = np.bincount(of_M).astype(np.float64)
        self.units = len(sizes_G)
        # of units that differ in size, the large ones decide
        self._unit_freedom = (sizes_G**2).sum() ** 2 / (sizes_G**4).sum() - 1
        self.means_C: Array = np.concatenate([b.mean(axis=(1, 2)) for b in blocks_CSM])
        tables = [_by_unit(b, of_M, sizes_G, grouped=units_M is not None) for b in blocks_CSM]
        units_CG = np.concatenate([t.mean(axis=1) for t in tables])
        g = self.units
        self._units_CC = units_CG @ units_CG.T / (g * max(1, g - 1))
        starts = np.cumsum([0, *(len(t) for t in tables)])
        self._blocks = [slice(a, b) for a, b in pairwise(starts)]
        self._freedom = [t.shape[1] - 1 for t in tables]
        self._seeds = [_seed_squares(t) for t in tables]
        self._rest = [_rest_squares(t) for t in tables]

    def estimate(self, contrast_C: Array) -> float:
        """The sum of the tables' means, each times its weight."""
        return float(contrast_C @ self.means_C)

    def covariance(self, contrasts_NC: Array) -> Array:
        """The covariance (N, N) of the estimates of N contrasts."""
        return self._items(contrasts_NC) + sum(
            contrasts_NC[:, of] @ seeds @ contrasts_NC[:, of].T
            for of, seeds in zip(self._blocks, self._seeds, strict=True)
        )

    def item_error(self, contrast_C: Array) -> float:
        """The standard error that the sample of items alone brings: seeds are held."""
        return float(np.sqrt(max(0.0, contrast_C @ self._units_CC @ contrast_C)))

    def error(self, contrast_C: Array) -> tuple[float, float]:
        """Standard error and degrees of freedom; infinite of one unit, 0 where nothing varies."""
        if self.units < 2:
            return float("inf"), 1.0
        error = float(np.sqrt(self.covariance(contrast_C[None])[0, 0]))
        if error < NOTHING_VARIES:
            return 0.0, self._unit_freedom
        found = [(float(contrast_C @ self._units_CC @ contrast_C), self._unit_freedom)]
        for of, seeds, rest, d in zip(
            self._blocks, self._seeds, self._rest, self._freedom, strict=True
        ):
            c = contrast_C[of]
            if d:
                found.append((float(c @ seeds @ c), d))
                found.append((float(c @ rest @ c), d * (self.units - 1)))
        there = [(x, d) for x, d in found if x > 0]
        freedom = error**4 / sum(x**2 * (1 + 2 / d) ** 2 / d for x, d in there)
        return error, max(freedom, min(d for _, d in there))

    def measure(self, contrast_C: Array) -> Measure:
        """The estimate with its 95 % interval, not outside what accuracies allow."""
        estimate, (error, freedom) = self.estimate(contrast_C), self.error(contrast_C)
        half = float(scipy.special.stdtrit(freedom, LEVEL)) * error if error else 0.0
        least, most = float(contrast_C[contrast_C < 0].sum()), float(contrast_C.clip(0).sum())
        return Measure(
            estimate=estimate,
            lower=min(estimate, max(least, estimate - half)),
            upper=max(estimate, min(most, estimate + half)),
            n=self.items,
            resampled=self.words,
        )

    def ratio(self, top_C: Array, bottom_C: Array) -> Measure:
        """The ratio of two estimates, the second above 0, with Fieller's 95 % interval (1954).

        Where the bottom may be 0 by chance, Fieller's set has no end. The measure then says so in
        `resampled`, and its interval, of the delta method, is at least 1 to each side.
        """
        top, bottom = self.estimate(top_C), self.estimate(bottom_C)
        estimate = top / bottom
        error, freedom = self.error(top_C - estimate * bottom_C)
        t = float(scipy.special.stdtrit(freedom, LEVEL))
        of = self.covariance(np.stack([top_C, bottom_C])) if self.units > 1 else np.eye(2)
        square, middle = bottom**2 - t**2 * of[1, 1], top * bottom - t**2 * of[0, 1]
        if square > 0:
            root = float(np.sqrt(max(0.0, middle**2 - square * (top**2 - t**2 * of[0, 0]))))
            ends, words = ((middle - root) / square, (middle + root) / square), self.words
        else:
            half = max(1.0, t * error / bottom) if np.isfinite(error) else 1.0
            ends = estimate - half, estimate + half
            words = f"{self.words}; without an end, since the gap may be chance"
        return Measure(
            estimate=estimate,
            lower=min(float(ends[0]), estimate),
            upper=max(float(ends[1]), estimate),
            n=self.items,
            resampled=words,
        )

    def p_above(self, contrast_C: Array) -> float:
        """One-sided p of an estimate that is not above 0. Where nothing varies, all units agree,
        and the p-value is that of the sign-flip test."""
        estimate, (error, freedom) = self.estimate(contrast_C), self.error(contrast_C)
        if error:
            return float(scipy.special.stdtr(freedom, -estimate / error))
        return 0.5**self.units if estimate > NOTHING_VARIES else 1.0

    def p_apart(self, contrast_C: Array) -> float:
        """Two-sided p that the estimate is 0."""
        return min(1.0, 2 * min(self.p_above(contrast_C), self.p_above(-contrast_C)))

    @property
    def words(self) -> str:
        """What varies, for a `Measure`."""
        groups = f" in {self.units} groups" if self.units < self.items else ""
        seeds = " and seeds (crossed)" if any(self._freedom) else ""
        return f"items{groups}{seeds}"

    def _items(self, contrasts_NC: Array) -> Array:
        """The part of the covariance that items bring beyond the rest, which is never below 0."""
        rest = sum(
            contrasts_NC[:, of] @ rest @ contrasts_NC[:, of].T
            for of, rest in zip(self._blocks, self._rest, strict=True)
        )
        sizes, axes = np.linalg.eigh(contrasts_NC @ self._units_CC @ contrasts_NC.T - rest)
        return (axes * sizes.clip(0)) @ axes.T


def unit_numbers(names: Sequence[object]) -> UnitNumbers:
    """The number of each item's unit, from 0 in order; `names`: of M items, equal where they share
    a label."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.intp)


def sums_by_unit(values_SM: NDArray, units_M: UnitNumbers | None) -> NDArray:
    """Sums of whole numbers over the items of each unit, (S, G)."""
    if units_M is None:
        return values_SM
    sums_GS = np.zeros((int(units_M.max()) + 1, len(values_SM)), values_SM.dtype)
    np.add.at(sums_GS, units_M, values_SM.T)
    return sums_GS.T


def _by_unit(
    block_CSM: NDArray, of_M: UnitNumbers, sizes_G: NDArray[np.float64], *, grouped: bool
) -> Array:
    """What each unit adds to the mean of a table beyond its share of items, (C, S, G), scaled to
    the mean unit. Its mean over seeds and units is 0."""
    values = block_CSM.astype(np.float64)
    mean_C = values.mean(axis=(1, 2))
    if not grouped:
        return values - mean_C[:, None, None]
    c, s, m = values.shape
    sums = sums_by_unit(values.reshape(c * s, m), of_M).reshape(c, s, -1)
    return (sums - mean_C[:, None, None] * sizes_G) * (len(sizes_G) / m)


def _seed_squares(table_CSG: Array) -> Array:
    """MS_seeds / SG of every two tables, (C, C); 0 of one seed, of which nothing is known."""
    c, s, _ = table_CSG.shape
    rows_CS = table_CSG.mean(axis=2)
    return rows_CS @ rows_CS.T / (s * (s - 1)) if s > 1 else np.zeros((c, c))


def _rest_squares(table_CSG: Array) -> Array:
    """MS_rest / SG of every two tables, (C, C); 0 of one seed, where it is in that of items."""
    c, s, g = table_CSG.shape
    if s == 1 or g == 1:
        return np.zeros((c, c))
    left = table_CSG - table_CSG.mean(axis=2, keepdims=True) - table_CSG.mean(axis=1, keepdims=True)
    flat = left.reshape(c, -1)
    return flat @ flat.T / ((s - 1) * (g - 1) * s * g)
