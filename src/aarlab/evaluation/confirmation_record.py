"""What a confirmation leaves behind: the document that is signed, and what of it is told to researchers."""

import json
import math
from pathlib import Path
from typing import Literal

from pydantic import Field

from aarlab.core.records import Entry, Measure, Record, SplitName
from aarlab.evaluation.detectors.judged import ALPHA
from aarlab.evaluation.verdict import VERDICTS, Effect, Remainder, Reproduction, SplitGap, Verdict, Voted

SCHEMA = 2  # 2: pairs, ablations, votes, flags
Kind = Literal["feedback", "final", "fresh", "transfer", "pair", "teacherless", "ablated"]
DECIDING: tuple[Kind, ...] = ("feedback", "final", "fresh")  # where code that fails has failed; the others are shown
COMPARED: tuple[Kind, ...] = ("final", "fresh", "transfer", "pair")  # with tuned naive on the same seeds
ABLATED: tuple[Kind, ...] = ("teacherless", "ablated")


class Target(Record):
    """Something that a snapshot is re-run on. `folder` is a published problem's; its anchors and labels are graded against.

    feedback, final: the campaign's own. fresh: another draw of its data. transfer: another problem. pair: its data, another
    teacher and student. teacherless: weak labels dealt to other items. ablated: and the student replaced by noise.
    """

    name: str
    kind: Kind
    folder: str
    split: SplitName = "final"

    @property
    def compared(self) -> bool:
        return self.kind in COMPARED


class TargetResult(Record):
    """What a snapshot and tuned naive scored on one target, on the same fresh seeds."""

    name: str
    kind: Kind
    problem: str  # name, version and data seed
    student: str = ""  # and its teacher, in words
    split: SplitName | None = None  # None in records of schema 1
    seeds: tuple[int, ...]
    accuracy: Measure | None = None
    pgr: Measure | None = None
    naive: Measure | None = None  # accuracy
    effect: Effect | None = None  # over naive; null where nothing is compared
    voted: Voted | None = None  # against ensembles, on final
    remainder: Remainder | None = None  # of ablations alone
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

    schema_version: int = SCHEMA
    campaign: str
    problem: str
    snapshot: str
    id: str
    claim: Claim
    targets: tuple[TargetResult, ...]
    reproduction: Reproduction | None
    gap: SplitGap | None = None
    p: float | None  # on final, one-sided, against tuned naive
    p_adjusted: float | None  # Holm, over all that were ever put to confirmation on this final
    m: int  # how many those are
    verdict: Verdict
    reasons: tuple[str, ...]
    flags: tuple[str, ...] = ()  # detectors that this confirmation raised: they block nothing and stand beside the verdict
    bits: float  # charged to final for telling the verdict, the rounded score and whether it is student-free
    ledger_head: str  # hash of the ledger's last entry when this was made
    made_at: str

    def of(self, kind: Kind) -> TargetResult | None:
        """The first target of that kind."""
        return next((t for t in self.targets if t.kind == kind), None)

    @property
    def remainders(self) -> tuple[TargetResult, ...]:
        """What was left without teacher and student, split by split; () where that was not run."""
        return tuple(t for t in self.targets if t.kind == "ablated" and t.remainder)

    @property
    def student_free(self) -> bool:
        """Do its answers know of the labels without teacher and student? Tested on each split at an equal part of ALPHA."""
        found = [t.remainder.p for t in self.remainders if t.remainder]
        return any(p < ALPHA / len(found) for p in found)


def record_path(folder: Path, snapshot: str) -> Path:
    """Where the signed record of a snapshot lies: by its whole hash, since a beginning can be forged."""
    return folder / f"{snapshot}.json"


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
    """The most that one confirmation tells of the labels of `final`: log2 of verdicts x rounded scores (and none) x whether it
    is student-free."""
    return math.log2(len(VERDICTS) * (round(1 / told_step(items)) + 2) * 2)
