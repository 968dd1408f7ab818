"""A problem in a folder as set-up left it for the evaluator: its objectives, what its units are,
and floors and ceilings as they were measured."""

from collections import Counter
from pathlib import Path

from pydantic import Field, model_validator

from aarlab.core.layout import TestbedFolder
from aarlab.core.objectives import Aims, Combine, Objective
from aarlab.core.records import Record, validated
from aarlab.core.strict_json import read_json
from aarlab.evaluation.scoring.unit_scores import Scale
from aarlab.evaluation.scoring.units import Units


class ServedProblem(Record, Aims):
    """private/served.json. `ends`: floor and ceiling of every objective on feedback, as unit
    scores. `comparator`: the baseline that a claim must beat, the best of all on feedback."""

    name: str
    version: str
    data_seed: int
    digest: str  # of all that decides a grading
    secrets: str  # digest of the grader's secrets: problems with the same have one meter
    objectives: tuple[Objective, ...] = Field(strict=False)
    combine: Combine
    trials: int
    ends: dict[str, tuple[float, float]]
    comparator: str
    units: dict[str, dict[str, str]]  # by split, each unit with its cluster

    @model_validator(mode="before")
    @classmethod
    def _pairs(cls, fields: object) -> object:
        """JSON has lists for pairs."""
        if isinstance(fields, dict) and isinstance(fields.get("ends"), dict):
            pairs = {n: tuple(e) if isinstance(e, list) else e for n, e in fields["ends"].items()}
            return fields | {"ends": pairs}
        return fields

    @model_validator(mode="after")
    def _fits(self) -> "ServedProblem":
        for o in self.objectives:
            if o.name not in self.ends:
                raise ValueError(f"'{o.name}' has no floor and ceiling")
            floor, ceiling = self.ends[o.name]
            if o.role == "climb" and not ceiling > floor:
                raise ValueError(f"the ceiling of '{o.name}' is not above its floor")
        return self

    @property
    def beside(self) -> tuple[str, ...]:
        """The baselines that a claim is run beside: the one that must be beaten, and those of
        floors and ceilings."""
        ends = (e.baseline for o in self.objectives for e in (o.floor, o.ceiling))
        return tuple(dict.fromkeys((self.comparator, *(name for name in ends if name))))

    def held_scale(self, split: str) -> Scale:
        """The scale of a split with floors and ceilings held as they were measured on feedback."""
        held = [o.held(*self.ends[o.name]) for o in self.objectives]
        return Scale(held, self.combine, self.units[split], {})

    def counted(self, split: str) -> Units:
        """How the units of a split are dependent: in their clusters. Nothing is dealt out in fixed
        numbers: units, or clusters of them, are assumed to be drawn independently."""
        sizes = Counter(self.units[split].values()).values()
        return Units(tuple(sizes), (), of_labels=False)


def served_problem(problem: Path) -> ServedProblem:
    """Of a folder that set-up made.

    Raises:
        Misconfigured: it is missing, or is not what set-up writes.
    """
    path = TestbedFolder(problem).served
    remedy = "Set the problem up again: `aar run`, or `aar evaluator` on its folder."
    return validated(ServedProblem, read_json(path, remedy), f"{path} ({remedy})")
