"""What a confirmation leaves behind: the document that is signed, and what of it is told to researchers."""

import json
import math
from typing import Literal

from pydantic import Field

from aarlab.core.records import Entry, Measure, Record, SplitName
from aarlab.evaluation.verdict import VERDICTS, Effect, Reproduction, Verdict

Kind = Literal["feedback", "final", "fresh", "transfer"]


class Target(Record):
    """Something that a snapshot is re-run on. `folder` is a published problem's; its anchors and labels are graded against."""

    name: str
    kind: Kind
    folder: str

    @property
    def split(self) -> SplitName:
        return "feedback" if self.kind == "feedback" else "final"


class TargetResult(Record):
    """What a snapshot and tuned naive scored on one target, on the same fresh seeds."""

    name: str
    kind: Kind
    problem: str  # name, version and data seed
    seeds: tuple[int, ...]
    accuracy: Measure | None = None
    pgr: Measure | None = None
    naive: Measure | None = None  # accuracy
    effect: Effect | None = None  # over naive; null on feedback, where nothing is compared
    failure: str | None = None
    predictions: dict[str, str] = Field(default_factory=dict)  # "method", "naive" -> SHA-256 of the stored answers


class Claim(Record):
    """What was submitted: the best bundle of the snapshot."""

    receipt: str
    researcher: str
    family: str
    accuracy: float  # exact, on feedback
    ledger_seq: int


class ConfirmationRecord(Record):
    """The document that is signed.

    It holds exact figures, for the operator: to publish it tells more of `final` than `bits`, so do that when the label set is
    not to be used again.
    """

    schema_version: int = 1
    campaign: str
    problem: str
    snapshot: str
    id: str
    claim: Claim
    targets: tuple[TargetResult, ...]
    reproduction: Reproduction | None
    p: float | None  # on final, one-sided, against tuned naive
    p_adjusted: float | None  # Holm, over all that were ever put to confirmation on this final
    m: int  # how many those are
    verdict: Verdict
    reasons: tuple[str, ...]
    bits: float  # charged to final for telling the verdict and the rounded score
    ledger_head: str  # hash of the ledger's last entry when this was made
    made_at: str

    def of(self, kind: Kind) -> TargetResult | None:
        """The first target of that kind."""
        return next((t for t in self.targets if t.kind == kind), None)


def record_of(entry: Entry) -> ConfirmationRecord:
    """The record in a confirmation's ledger entry."""
    return ConfirmationRecord.model_validate_json(json.dumps(entry.body["record"]))


def told_step(items: int) -> float:
    """Scores on `final` are told to two standard errors (accuracy): what is told is charged."""
    return 1.0 / math.sqrt(items)


def told_accuracy(record: ConfirmationRecord, items: int) -> float | None:
    """The accuracy on `final` as it is told to researchers."""
    final = record.of("final")
    if final is None or final.accuracy is None:
        return None
    return round(round(final.accuracy.estimate / told_step(items)) * told_step(items), 4)


def told_bits(items: int) -> float:
    """The most that one confirmation tells of the labels of `final`: log2 of verdicts x rounded scores (and none)."""
    return math.log2(len(VERDICTS) * (round(1 / told_step(items)) + 2))
