"""The schema of bench.json. Every number is a `Measure`."""

from typing import Literal

from aarlab.core.records import Family, Measure, Record

Labels = Literal["weak", "truth"]


class Comparison(Record):
    """PGR minus another method's, paired over items, seeds and anchors; p-values adjusted by Holm over the task's methods."""

    other: str
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
    accuracy_id: Measure
    accuracy_ood: Measure
    pgr: Measure
    pgr_id: Measure | None  # None where the anchors leave no gap in that part
    pgr_ood: Measure | None
    item_error: float  # standard error of `pgr` that the sample of items alone brings
    seconds: Measure  # of one run on one thread, data loaded
    accuracy_by_seed: tuple[float, ...]
    against_naive: Comparison | None  # None for naive itself
    against_best: Comparison | None  # None for the best itself


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
    def winner(self) -> str:
        return self.rows[0].method

    @property
    def with_winner(self) -> tuple[str, ...]:
        """The methods that are not distinguishable from the best."""
        return tuple(r.method for r in self.rows if r.against_best and not r.against_best.distinguishable)


class Transfer(Record):
    """How the ranking on one task says what happens on another."""

    source: str
    target: str
    tau: Measure  # Kendall's rank correlation of the methods' PGR
    winner: str  # the best on `source`
    winner_pgr: Measure  # its PGR on `target`
    winner_rank: int  # its rank on `target`, 1 is the best


class ControlRow(Record):
    """One control on one task: what it is, what a sound testbed shows, what was seen."""

    task: str
    control: str
    expected: str
    accuracy: Measure
    as_expected: bool


class LoraRow(Record):
    """Fine-tuning on weak labels (naive) or on true ones (the fine-tuned ceiling), against the frozen anchors."""

    task: str
    labels: Labels
    items: int  # that were trained on
    accuracy: Measure
    pgr: Measure  # with the frozen student's ceiling as 1
    seconds: Measure


class BenchReport(Record):
    """Everything that the tables and figures show, and what is needed to redo it."""

    schema_version: int = 1
    spec: dict
    student: str = ""  # who learns, and who teaches, in words
    anchor_seeds: int = 10
    command: str
    versions: dict[str, str]
    code: str  # SHA-256 of the methods' code
    selection_seed: int
    tables: tuple[TaskTable, ...]
    transfer: tuple[Transfer, ...]
    controls: tuple[ControlRow, ...]  # of `aar controls` under the same name, if it was run
    lora: tuple[LoraRow, ...]  # of `aar lora`, likewise
    failures: tuple[str, ...]
