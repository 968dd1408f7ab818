"""Objectives and what is made of them: unit scores in [0, 1], a normalised score for each
objective, one combined score; and by how much each of them can change.

Legend: K objectives that are climbed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, model_validator

from aarlab.core.records import Record

Direction = Literal["higher", "lower"]
Role = Literal["climb", "gate", "held-out", "shown"]
Combine = Literal["mean", "geometric", "harmonic", "min"]
LEAST = 0.05  # what a normalised score counts at least in a geometric mean


class End(Record):
    """A floor or a ceiling, in the objective's own unit: measured on a baseline, or stated with a
    source."""

    baseline: str | None = None
    value: float | None = None
    source: str = ""

    @model_validator(mode="after")
    def _one(self) -> "End":
        if (self.baseline is None) == (self.value is None):
            raise ValueError(
                "give either `baseline`, the name of one, or `value` with its `source`"
            )
        if self.value is not None and not self.source.strip():
            raise ValueError(
                "a stated value needs its `source`: a sentence that says where it is from"
            )
        return self


class Objective(Record):
    """A measured quantity.

    `range`: the least and the largest value of one unit; a value beyond them counts as the nearer
    one. `floor`, `ceiling`: 0 and 1 of the normalised score. `margin` (of a gate): by how much a
    claim may be worse than the floor on `final`.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    unit: str
    direction: Direction = "higher"
    range: tuple[float, float] = Field((0.0, 1.0), strict=False)
    role: Role = "climb"
    floor: End
    ceiling: End
    margin: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> "Objective":
        if not self.range[0] < self.range[1]:
            raise ValueError("the first number of `range` must be below the second")
        if (self.role == "gate") != (self.margin is not None):
            raise ValueError("a gate, and nothing else, has a `margin`")
        return self

    def unit_score(self, value: float) -> float:
        """A value of one unit, or a mean of values in the range, as a score in [0, 1]: 1 is
        best."""
        low, high = self.range
        share = (min(max(value, low), high) - low) / (high - low)
        return share if self.direction == "higher" else 1.0 - share

    def held(self, floor: float, ceiling: float) -> "Objective":
        """The same with these unit scores as its ends, as they were measured."""
        source = "measured by set-up"
        ends = {
            "floor": End(value=self.natural(floor), source=source),
            "ceiling": End(value=self.natural(ceiling), source=source),
        }
        return self.model_copy(update=ends)

    @property
    def unit_margin(self) -> float:
        """The margin of a gate in unit scores."""
        return (self.margin or 0.0) / (self.range[1] - self.range[0])

    def natural(self, score: float) -> float:
        """A unit score, or a mean of them, in the objective's own unit."""
        low, high = self.range
        return low + (high - low) * (score if self.direction == "higher" else 1.0 - score)


class Aims:
    """What has objectives."""

    objectives: tuple[Objective, ...]

    @property
    def climbed(self) -> tuple[Objective, ...]:
        """The objectives that are combined into the score."""
        return tuple(o for o in self.objectives if o.role == "climb")

    @property
    def gates(self) -> tuple[Objective, ...]:
        """What a claim must not make worse."""
        return tuple(o for o in self.objectives if o.role == "gate")


def normalised(score: float, floor: float, ceiling: float) -> float:
    """(score - floor) / (ceiling - floor), all three as unit scores. For weak-to-strong this is
    PGR.

    Raises:
        ValueError: the ceiling is not above the floor.
    """
    if not ceiling > floor:
        raise ValueError(f"The ceiling {ceiling:g} is not above the floor {floor:g}.")
    return (score - floor) / (ceiling - floor)


def combined(how: Combine, scores: Sequence[float]) -> float:
    """One number in [0, 1] of K normalised scores, each counted between 0 and 1 (in a geometric
    mean at least LEAST, so that no score of 0 hides all others and the change is bounded)."""
    if not scores:
        raise ValueError("There is nothing to combine.")
    inside = [min(max(x, 0.0), 1.0) for x in scores]
    if how == "mean":
        return math.fsum(inside) / len(inside)
    if how == "min":
        return min(inside)
    if how == "geometric":
        return math.exp(math.fsum(math.log(max(x, LEAST)) for x in inside) / len(inside))
    # below, a sum of 1 / x is no float
    return 0.0 if min(inside) < 1e-300 else len(inside) / math.fsum(1 / x for x in inside)


def gradient(how: Combine, scores: Sequence[float]) -> list[float]:
    """By how much the combined score changes with each of K normalised scores, at these; each
    counted between LEAST and 1, where no derivative is infinite. Of a mean it is exact everywhere.
    """
    inside = [min(max(x, LEAST), 1.0) for x in scores]
    count, whole = len(inside), combined(how, inside)
    if how == "mean":
        return [1.0 / count] * count
    if how == "min":
        return [float(k == inside.index(whole)) for k in range(count)]
    power = 1 if how == "geometric" else 2
    return [whole**power / (count * x**power) for x in inside]


def steepest(how: Combine, count: int) -> float:
    """L: if no normalised score changes by more than d, the combined one of `count` changes by L d
    at most.

    mean, min: L = 1. harmonic: with p_k = (1/x_k) / sum_j (1/x_j), the partial derivatives are K
    p_k^2, whose sum is at most K. geometric: the sum of the partial derivatives is the mean of
    exp(mean log x - log x_k), convex in log x, so largest at a vertex of [LEAST, 1]^K.
    """
    if how in {"mean", "min"}:
        return 1.0
    if how == "harmonic":
        return float(count)
    return max(LEAST ** (m / count) * (m / LEAST + count - m) / count for m in range(count + 1))


def changes(
    how: Combine, gaps: Sequence[float], shares: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """c_g by cluster: by how much the combined score can change if the secrets of cluster g do and
    nothing else. `gaps`: of each objective, ceiling - floor as unit scores. `shares`: of each
    objective, by cluster, its share of the objective's units.

    A cluster's units are a share of a mean of scores in [0, 1]: the mean changes by that share at
    most, its normalised score by share / gap, and never by more than 1.
    """
    top = steepest(how, len(gaps))
    found: dict[str, float] = {}
    for gap, share in zip(gaps, shares, strict=True):
        for cluster, part in share.items():
            found[cluster] = max(found.get(cluster, 0.0), min(1.0, top * part / gap))
    return found


def mcdiarmid_n(differences: Mapping[str, float]) -> float:
    """The n of Hoeffding's inequality that has the same bound: P(f - E f >= e) <= exp(-2 n e^2)
    with n = 1 / sum c_g^2 (McDiarmid 1989) for independent clusters."""
    return 1.0 / math.fsum(c * c for c in differences.values())
