"""Unit scores of submissions to a problem in a folder, and the scale on which they are read:
levels, normalised and combined scores with their intervals.

Legend: S seeds, T trials, M units of a split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aarlab.core.crossed import NOTHING_VARIES, Crossed, unit_numbers
from aarlab.core.objectives import Aims, Combine, Objective, combined, gradient
from aarlab.core.records import Measure, Record

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """By objective, unit scores in [0, 1] of every seed and trial, (S, T, M), and the share of the
    values that lay beyond the objective's range."""

    scores: Mapping[str, Array]
    beyond: Mapping[str, float]

    def of_seeds(self, objective: str) -> Array:
        """Unit scores over trials, (S, M)."""
        return self.scores[objective].mean(axis=1)


def unit_scores(objective: Objective, values: Array) -> tuple[Array, float]:
    """Values in the objective's own unit as unit scores, and the share of them beyond its range."""
    low, high = objective.range
    share = (values.clip(low, high) - low) / (high - low)
    beyond = float(((values < low) | (values > high)).mean())
    return (share if objective.direction == "higher" else 1.0 - share), beyond


class Gate(Record):
    """How a submission stands to a gate: `worse`, by how much it is worse than the floor, in the
    objective's own unit, with its interval. `verdict`: holds if all of the interval is within the
    margin, broken if none of it is."""

    worse: Measure
    margin: float
    verdict: Literal["holds", "not shown", "broken"]


class Scale(Aims):
    """The floors and ceilings of one split, and what submissions score between them."""

    def __init__(
        self,
        objectives: Sequence[Objective],
        combine: Combine,
        units: Mapping[str, str],
        baselines: Mapping[str, Measured],
        *,
        paired: bool = False,
    ) -> None:
        """`units`: each with its cluster; `baselines`: at least those that a floor or a ceiling
        names. `paired`: they, and what is measured, were run on the same seeds."""
        self.combine: Combine = combine
        self.objectives, self._paired = tuple(objectives), paired
        self._baselines, self._count = baselines, len(units)
        clusters = list(units.values())
        self._units_M = unit_numbers(clusters) if len(set(clusters)) < len(clusters) else None

    @cached_property
    def ends(self) -> dict[str, tuple[float, float]]:
        """Floor and ceiling of every objective, as unit scores."""
        return {
            o.name: (float(self._floor(o).mean()), float(self._ceiling(o).mean()))
            for o in self.objectives
        }

    def level(self, measured: Measured, objective: Objective) -> Measure:
        """The mean in the objective's own unit."""
        found = self._crossed(measured.of_seeds(objective.name)).measure(np.ones(1))
        ends = sorted((objective.natural(found.lower), objective.natural(found.upper)))
        middle = min(max(objective.natural(found.estimate), ends[0]), ends[1])
        return found.model_copy(update={"estimate": middle, "lower": ends[0], "upper": ends[1]})

    def normalised(self, measured: Measured, objective: Objective) -> Measure | None:
        """The normalised score with Fieller's interval; None where the ceiling is not above the
        floor."""
        floor, ceiling = self.ends[objective.name]
        if not ceiling > floor:
            return None
        tables = (measured.of_seeds(objective.name), self._floor(objective))
        crossed = self._crossed(*tables, self._ceiling(objective))
        return crossed.ratio(np.array([1.0, -1.0, 0.0]), np.array([0.0, -1.0, 1.0]))

    def combined(self, measured: Measured) -> Measure | None:
        """The combined score. Its interval is that of the objectives' lower and of their upper
        ends; None where an objective has no normalised score."""
        parts = [self.normalised(measured, o) for o in self.climbed]
        known = [p for p in parts if p is not None]
        if len(known) < len(parts):
            return None
        how = self.combine
        lower, middle, upper = (
            combined(how, [getattr(p, end) for p in known])
            for end in ("lower", "estimate", "upper")
        )
        return known[0].model_copy(
            update={"estimate": middle, "lower": min(lower, middle), "upper": max(upper, middle)}
        )

    def above_floor(self, measured: Measured, objective: Objective) -> tuple[Measure, float]:
        """Unit score minus the floor's, paired by unit, with its interval; and its standard
        error."""
        crossed = self._crossed(measured.of_seeds(objective.name), self._floor(objective))
        contrast = np.array([1.0, -1.0])
        return crossed.measure(contrast), crossed.error(contrast)[0]

    def linear(self, one: Measured, other: Measured) -> tuple[Array, Array, float]:
        """Both as one number a seed and unit, (S, M), whose difference is `width` times that of the
        combined scores, as these are; how it varies is taken to first order, for each at its own
        place (delta method). Of one objective they are its unit scores."""
        how, ends = self.combine, [self.ends[name] for name in self._climbed]
        tables = [[m.of_seeds(name) for name in self._climbed] for m in (one, other)]
        at = [
            [
                (t.mean() - floor) / (ceiling - floor)
                for t, (floor, ceiling) in zip(some, ends, strict=True)
            ]
            for some in tables
        ]
        slopes = [
            [
                d / (ceiling - floor)
                for d, (floor, ceiling) in zip(gradient(how, x), ends, strict=True)
            ]
            for x in at
        ]
        width = 1.0 / max(map(sum, slopes))
        one_SM, other_SM = (
            np.sum([width * s * table for s, table in zip(of, some, strict=True)], axis=0)
            for of, some in zip(slopes, tables, strict=True)
        )
        if len(ends) > 1:  # else a score beyond its ceiling counts as it is
            apart = combined(how, at[0]) - combined(how, at[1])
            one_SM = one_SM + (width * apart - (one_SM.mean() - other_SM.mean()))
        return one_SM, other_SM, width

    def p_better(self, one: Measured, other: Measured, *, shared: bool) -> float:
        """One-sided p of a combined score that is not above the other's. `shared`: both were run on
        the same seeds.

        A minimum has no slope where two objectives meet, and to first order the other objectives
        would be forgotten. It is above the other's minimum if each objective is above one of the
        other's, j: so the largest p of these is one for any j (intersection-union test, Berger
        1982), and K times it for the j that is lowest here (Bonferroni).
        """
        contrast = np.array([1.0, -1.0])
        if self.combine != "min" or len(self._climbed) == 1:
            pair = self.linear(one, other)[:2]
            return self._pair(*pair, shared=shared).p_above(contrast)
        own, others = self._normalised(one), self._normalised(other)
        lowest = min(others, key=lambda table: table.mean())
        ps = [self._pair(table, lowest, shared=shared).p_above(contrast) for table in own]
        return min(1.0, len(own) * max(ps))

    def _normalised(self, measured: Measured) -> list[Array]:
        """Normalised scores of every seed and unit, (S, M), by climbed objective; none is cut."""
        ends = [(name, *self.ends[name]) for name in self._climbed]
        return [(measured.of_seeds(n) - floor) / (ceiling - floor) for n, floor, ceiling in ends]

    def _pair(self, one_SM: Array, other_SM: Array, *, shared: bool) -> Crossed:
        both = [np.stack([one_SM, other_SM])] if shared else [one_SM[None], other_SM[None]]
        return self.crossed(*both)

    @property
    def _climbed(self) -> list[str]:
        return [o.name for o in self.climbed]

    def apart(self, one: Measured, other: Measured, *, shared: bool) -> Measure:
        """The difference of the combined scores, to first order."""
        *pair, width = self.linear(one, other)
        found = self._pair(*pair, shared=shared).measure(np.array([1.0, -1.0]))
        ends = {e: getattr(found, e) / width for e in ("estimate", "lower", "upper")}
        return Measure(**ends, n=found.n, resampled=found.resampled)

    def gate(self, measured: Measured, objective: Objective) -> Gate:
        """Whether a submission is not worse than the floor by more than the margin, paired by
        unit."""
        above, width = self.above_floor(measured, objective)[0], float(np.ptp(objective.range))
        margin = objective.margin or 0.0
        ends = (-width * above.upper, -width * above.lower)
        verdict = "holds" if ends[1] <= margin else "broken" if ends[0] > margin else "not shown"
        worse = above.model_copy(
            update={"estimate": -width * above.estimate, "lower": ends[0], "upper": ends[1]}
        )
        return Gate(worse=worse, margin=margin, verdict=verdict)

    def unit_error(self, measured: Measured, objective: Objective) -> float:
        """The standard error of a mean unit score that the sample of units brings."""
        return self._crossed(measured.of_seeds(objective.name)).item_error(np.ones(1))

    def noise(self, measured: Measured, objective: Objective) -> float:
        """The standard deviation of one submission's mean unit score: of units, seed and trials."""
        seeds = seed_spread(measured, objective.name)
        return float(np.hypot(self.unit_error(measured, objective), seeds))

    def _floor(self, objective: Objective) -> Array:
        return self._end(objective, objective.floor.baseline, objective.floor.value)

    def _ceiling(self, objective: Objective) -> Array:
        return self._end(objective, objective.ceiling.baseline, objective.ceiling.value)

    def _end(self, objective: Objective, baseline: str | None, value: float | None) -> Array:
        if baseline is not None:
            return self._baselines[baseline].of_seeds(objective.name)
        assert value is not None
        return np.full((1, self._count), objective.unit_score(value))

    def crossed(self, *blocks_CSM: Array) -> Crossed:
        """Tables over this split's units, in the blocks that were made with the same seeds."""
        return Crossed(*blocks_CSM, units_M=self._units_M)

    def _crossed(self, *tables_SM: Array) -> Crossed:
        if self._paired and len(tables_SM) > 1 and tables_SM[0].shape == tables_SM[1].shape:
            return self.crossed(np.stack(tables_SM[:2]), *(t[None] for t in tables_SM[2:]))
        return self.crossed(*(t[None] for t in tables_SM))


def seed_spread(measured: Measured, objective: str) -> float:
    """The standard deviation of mean unit scores over seeds; 0 of one seed."""
    means_S = measured.of_seeds(objective).mean(axis=1)
    found = float(means_S.std(ddof=1)) if len(means_S) > 1 else 0.0
    return found if found > NOTHING_VARIES else 0.0


def trial_spread(measured: Measured, objective: str) -> float | None:
    """The standard deviation of mean unit scores over trials, of the mean seed; None of one
    trial."""
    means_ST = measured.scores[objective].mean(axis=2)
    if means_ST.shape[1] < 2:
        return None
    return float(np.sqrt(means_ST.var(axis=1, ddof=1).mean()))
