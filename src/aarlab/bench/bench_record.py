"""The schema of bench.json. Every number is a `Measure`."""

from typing import Literal

from pydantic import Field, JsonValue

from aarlab.core.own_code import Build
from aarlab.core.pgr import gap_trouble
from aarlab.core.records import Family, Measure, Record


class MethodComparison(Record):
    """PGR minus another method's, paired over items, seeds and anchors (without a gap, accuracy
    minus another's); p-values adjusted by Holm over the task's methods."""

    other: str
    of: Literal["PGR", "accuracy"] = "PGR"
    difference: Measure
    p: float
    p_holm: float

    @property
    def distinguishable(self) -> bool:
        """At a family-wise error of 5 %."""
        return self.p_holm < 0.05


class MethodRow(Record):
    """One method on one task."""

    method: str
    family: Family
    accuracy: Measure
    accuracy_id: Measure | None  # None where no test item is of that part
    accuracy_ood: Measure | None
    pgr: Measure | None  # None where the anchors leave no gap
    # None where no test item is of that part, or the anchors leave no gap in it
    pgr_id: Measure | None
    pgr_ood: Measure | None
    item_error: float | None  # standard error of `pgr` that the sample of items alone brings
    seconds: Measure  # of a run in its sandbox, start and loading included, by seed; over testbeds
    accuracy_by_seed: tuple[float, ...]
    against_naive: MethodComparison | None  # None for naive itself
    against_best: MethodComparison | None  # None for the best itself


class TaskTable(Record):
    """All methods on one task, best first."""

    task: str
    split: str
    fingerprints: tuple[str, ...]  # of the testbeds, one a data seed
    weak: Measure
    ceiling: Measure
    gap: Measure
    rows: tuple[MethodRow, ...]

    @property
    def trouble(self) -> str | None:
        """A sentence if the table's PGRs carry no information; None if the anchors leave a gap."""
        return gap_trouble(self.gap, self.split)

    @property
    def winner(self) -> str:
        return self.rows[0].method

    @property
    def with_winner(self) -> tuple[str, ...]:
        """The methods that are not distinguishable from the best."""
        return tuple(
            r.method for r in self.rows if r.against_best and not r.against_best.distinguishable
        )


class Transfer(Record):
    """How the ranking on one task says what happens on another."""

    source: str
    target: str
    tau: Measure  # Kendall's rank correlation of the methods' PGR
    winner: str  # the best on `source`
    winner_pgr: Measure | None  # its PGR on `target`
    winner_rank: int  # its rank on `target`, 1 is the best


class ControlRow(Record):
    """One control on one task: what it is, what a sound testbed shows, what was seen."""

    task: str
    control: str
    expected: str
    accuracy: Measure
    as_expected: bool


class BenchReport(Record):
    """Everything that the tables and figures show, and what is needed to redo it."""

    schema_version: int = 3
    spec: dict
    student: str = ""  # who learns, and who teaches, in words
    anchor_seeds: int = 10
    command: str
    versions: dict[str, str]
    # SHA-256 of the code that the methods' answers depend on, all of them together, and of their
    # libraries' versions
    code: str
    build: Build | None = None  # which aarlab measured it; null in reports of older versions
    selection_seed: int
    tables: tuple[TaskTable, ...]
    transfer: tuple[Transfer, ...]
    controls: tuple[ControlRow, ...]  # of `aar controls` under the same name, if it was run
    failures: tuple[str, ...]
    notes: tuple[str, ...] = ()
    # of `aar lora`, which 0.1.0 had; read, not written
    lora: tuple[dict[str, JsonValue], ...] = Field((), exclude=True)
