"""Intervals. Every figure that the project shows comes through here as a `Measure`: accuracies and
PGR by the crossed design of items and seeds (`aarlab.core.crossed`), means of other values by
bootstrap.

Legend: M test items, S seeds, C tables of `Crossed`, B draws.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.core.crossed import Crossed, UnitNumbers
from aarlab.core.errors import Misconfigured
from aarlab.core.pgr import performance_gap_recovered
from aarlab.core.records import Measure

DRAWS = 1_000
Correct = NDArray[np.bool_]  # (S, M): was item m answered correctly by seed s


def _measure(estimate: float, draws_B: NDArray[np.float64], *, n: int, resampled: str) -> Measure:
    lower, upper = np.quantile(draws_B, [0.025, 0.975])
    return Measure(
        estimate=float(estimate), lower=float(lower), upper=float(upper), n=n, resampled=resampled
    )


def _item_weights(rng: np.random.Generator, items: int, draws: int) -> NDArray[np.float64]:
    if items == 0:
        raise Misconfigured(
            "There is nothing to measure: no item and no value. Leave the figure out."
        )
    return rng.multinomial(items, np.full(items, 1 / items), size=draws) / items


def accuracy_measure(correct_SM: Correct, units_M: UnitNumbers | None = None) -> Measure:
    """Mean accuracy over seeds and items with its interval. `correct_SM`: (S, M) of bool;
    `units_M`: which items share a label.

    Raises:
        Misconfigured: there is no item.
    """
    return Crossed(correct_SM[None], units_M=units_M).measure(np.ones(1))


class GradedMethods:
    """Methods that were graded against a weak teacher and a ceiling, on the same M items.

    The methods share S seeds in one order (the same seed draws the same rows and teacher), so that
    what they have in common cancels in a difference; the anchors have seeds of their own. A PGR is
    a ratio, and has Fieller's interval. Where that has no end, the ratio is not determined, and
    `aarlab.core.pgr.says_nothing` is what to ask.
    """

    def __init__(
        self,
        correct: Mapping[str, Correct],
        *,
        weak_SM: Correct,
        ceiling_SM: Correct,
        units_M: UnitNumbers | None = None,
    ) -> None:
        """`correct`: method -> (S, M). The anchors' numbers of seeds may differ."""
        methods = [np.stack(list(correct.values()))] if correct else []
        self._crossed = Crossed(*methods, weak_SM[None], ceiling_SM[None], units_M=units_M)
        self._of = {name: n for n, name in enumerate(correct)}
        self._weak_C, self._ceiling_C = np.eye(len(correct) + 2)[-2:]
        self.weak, self.ceiling = (float(m) for m in self._crossed.means_C[-2:])

    def _one(self, name: str) -> NDArray[np.float64]:
        return np.eye(len(self._of) + 2)[self._of[name]]

    def accuracy(self, name: str) -> Measure:
        """Mean accuracy."""
        return self._crossed.measure(self._one(name))

    def gap(self) -> Measure:
        """Ceiling minus weak accuracy, paired over items."""
        return self._crossed.measure(self._ceiling_C - self._weak_C)

    def pgr(self, name: str) -> Measure:
        """PGR with its interval.

        Raises:
            Misconfigured: the ceiling does not exceed the weak accuracy.
        """
        accuracy = float(self._crossed.means_C[self._of[name]])
        performance_gap_recovered(accuracy, weak=self.weak, ceiling=self.ceiling)
        return self._ratio(self._one(name) - self._weak_C)

    def difference(self, name: str, other: str) -> tuple[Measure, float]:
        """PGR minus another's, paired, and the two-sided p-value that there is no difference.
        Without a gap (`ceiling` <= `weak`) it is of accuracy."""
        apart_C = self._one(name) - self._one(other)
        found = self._ratio(apart_C) if self.ceiling > self.weak else self._crossed.measure(apart_C)
        return found, self._crossed.p_apart(apart_C)

    def item_error(self, name: str) -> float | None:
        """The standard error of PGR that the sample of test items alone brings (all seeds held);
        None where there is no gap."""
        if self.ceiling <= self.weak:
            return None
        bottom_C = self._ceiling_C - self._weak_C
        share = performance_gap_recovered(
            self._crossed.estimate(self._one(name)), weak=self.weak, ceiling=self.ceiling
        )
        apart_C = self._one(name) - self._weak_C - share * bottom_C
        return self._crossed.item_error(apart_C) / (self.ceiling - self.weak)

    def draws(
        self, names: Sequence[str], *, seed: int = 0, draws: int = DRAWS
    ) -> NDArray[np.float64]:
        """Accuracies (B, len(names)) of samples of items and seeds, drawn from the normal law with
        their estimated covariance: what rankings are judged by."""
        contrasts = np.stack([self._one(name) for name in names])
        sizes, axes = np.linalg.eigh(self._crossed.covariance(contrasts))
        normal = np.random.default_rng(seed).normal(size=(draws, len(names)))
        return contrasts @ self._crossed.means_C + normal * np.sqrt(sizes.clip(0)) @ axes.T

    def _ratio(self, top_C: NDArray[np.float64]) -> Measure:
        found = self._crossed.ratio(top_C, self._ceiling_C - self._weak_C)
        return found.model_copy(update={"resampled": f"{found.resampled}, anchors"})


def gap_measure(
    *, weak_SM: Correct, ceiling_SM: Correct, units_M: UnitNumbers | None = None
) -> Measure:
    """Ceiling minus weak accuracy over the same M items, with its interval; both arrays are (S, M),
    S may differ."""
    return GradedMethods({}, weak_SM=weak_SM, ceiling_SM=ceiling_SM, units_M=units_M).gap()


def pgr_measure(
    correct_SM: Correct,
    *,
    weak_SM: Correct,
    ceiling_SM: Correct,
    units_M: UnitNumbers | None = None,
) -> Measure:
    """PGR of one method: see `GradedMethods`. All three arrays are (S, M) over the same M items; S
    may differ.

    Raises:
        Misconfigured: the ceiling does not exceed the weak accuracy.
    """
    graded = GradedMethods(
        {"": correct_SM}, weak_SM=weak_SM, ceiling_SM=ceiling_SM, units_M=units_M
    )
    return graded.pgr("")


def pgr_if_gap(
    correct_SM: Correct,
    *,
    weak_SM: Correct,
    ceiling_SM: Correct,
    units_M: UnitNumbers | None = None,
) -> Measure | None:
    """As `pgr_measure`; None where the ceiling does not exceed the weak accuracy."""
    return (
        pgr_measure(correct_SM, weak_SM=weak_SM, ceiling_SM=ceiling_SM, units_M=units_M)
        if ceiling_SM.mean() > weak_SM.mean()
        else None
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for how many were looked at: Holm 1979, the step-down that holds the
    family-wise error."""
    order = np.argsort(p_values)
    scaled = np.array(p_values)[order] * (len(p_values) - np.arange(len(p_values)))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return adjusted.tolist()


def mean_measure(values_N: NDArray[np.float64], *, resampled: str) -> Measure:
    """The mean of N values with a bootstrap interval over them; `resampled` names what a value
    is."""
    draws_B = _item_weights(np.random.default_rng(0), len(values_N), DRAWS) @ values_N
    return _measure(float(np.mean(values_N)), draws_B, n=len(values_N), resampled=resampled)


def ratio_measure(
    amounts_N: NDArray[np.float64],
    sizes_N: NDArray[np.float64],
    *,
    draws: int = DRAWS,
    resampled: str,
) -> Measure:
    """Sum of N amounts by the sum of their sizes, with a bootstrap interval over the pairs; draws
    of no size are left out.

    Raises:
        Misconfigured: the sizes sum to nothing.
    """
    if not sizes_N.sum() > 0:
        raise Misconfigured(
            f"There is no ratio to a sum of sizes of {sizes_N.sum():g}. Leave the figure out."
        )
    weights_BN = _item_weights(np.random.default_rng(0), len(sizes_N), draws)
    amounts_B, sizes_B = weights_BN @ amounts_N, weights_BN @ sizes_N
    usable_B = sizes_B > 0
    return _measure(
        amounts_N.sum() / sizes_N.sum(),
        amounts_B[usable_B] / sizes_B[usable_B],
        n=len(sizes_N),
        resampled=resampled,
    )


def difference_measure(first: Measure, second: Measure) -> Measure:
    """First minus second, of two figures that were measured independently of each other, each with
    its 95 % interval: the method of variance estimates recovery (Newcombe 1998; Zou and Donner
    2008), which needs no symmetric intervals."""
    apart = first.estimate - second.estimate
    below = np.hypot(first.estimate - first.lower, second.upper - second.estimate)
    above = np.hypot(first.upper - first.estimate, second.estimate - second.lower)
    return Measure(
        estimate=apart,
        lower=apart - float(below),
        upper=apart + float(above),
        n=min(first.n, second.n),
        resampled=f"{first.resampled}; {second.resampled}",
    )
