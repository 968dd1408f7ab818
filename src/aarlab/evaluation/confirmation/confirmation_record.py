"""What a confirmation leaves behind: the document that is signed, and what of it is reported to
researchers."""

import json
import math
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from aarlab.core.entries import ConfirmationBody
from aarlab.core.errors import Misconfigured
from aarlab.core.layout import SignedFolder
from aarlab.core.own_code import Build
from aarlab.core.records import VERDICTS, Entry, Measure, Record, SplitName, Verdict
from aarlab.evaluation.confirmation.verdict import (
    Effect,
    IssuedSeedsRun,
    Remainder,
    Reproduction,
    SplitGap,
    Voted,
)
from aarlab.evaluation.detectors.judged import ALPHA, beyond_chance
from aarlab.evaluation.scoring.unit_scores import Gate

# 2: pairs, ablations, votes, flags; 3: the issued seeds run again, flags that are beyond chance; 4:
# units (items that share a label) x seeds in all intervals and tests; 5: problems in folders; 6:
# components of the winner
SCHEMA = 6
Kind = Literal[
    "feedback", "final", "fresh", "transfer", "pair", "teacherless", "ablated", "component"
]
# where code that fails has failed; the others are shown
DECIDING: tuple[Kind, ...] = ("feedback", "final", "fresh")
# with tuned naive on the same seeds
COMPARED: tuple[Kind, ...] = ("final", "fresh", "transfer", "pair")
ABLATED: tuple[Kind, ...] = ("teacherless", "ablated")


class TargetResult(Record):
    """What a snapshot and tuned naive scored on one target, on the same fresh seeds.

    Of a problem in a folder, `accuracy` is the combined score between 0 and 1 and `pgr` the same
    without these ends; `naive` and `effect` are of the best baseline.
    """

    name: str
    kind: Kind
    problem: str  # name, version and data seed
    student: str = ""  # and its teacher, as text
    split: SplitName | None = None  # None in records of schema 1
    seeds: tuple[int, ...]
    accuracy: Measure | None = None
    pgr: Measure | None = None
    naive: Measure | None = None  # accuracy
    effect: Effect | None = None  # over naive; null where nothing is compared
    voted: Voted | None = None  # against ensembles, on final
    remainder: Remainder | None = None  # of ablations alone
    # of a component alone: what was taken out, and the accuracy that the whole code has more on the
    # same items and seeds
    removed: str = ""
    lost: Measure | None = None
    # of a problem in a folder, by objective: the level in its own unit, and how gates stand
    levels: dict[str, Measure] = Field(default_factory=dict)
    gates: dict[str, Gate] = Field(default_factory=dict)
    # of a fresh draw: SHA-256 of the stored clusters of its units; null in older records
    units: str | None = None
    failure: str | None = None
    source: str = ""  # of the aarlab that ran it (`Build.source`); "" in records of older versions
    # "method", "naive" -> SHA-256 of the stored answers
    predictions: dict[str, str] = Field(default_factory=dict)


class Claim(Record):
    """What was submitted: the bundle of the snapshot that reached the highest reported level, else
    its first."""

    receipt: str
    researcher: str
    family: str
    accuracy: float  # exact, on feedback
    ledger_seq: int


class ConfirmationRecord(Record):
    """The document that is signed.

    It holds exact figures, for the operator: to publish it releases more of `final` than `bits`, so
    do that when the label set is not to be used again.
    """

    schema_version: int = SCHEMA
    campaign: str
    problem: str
    snapshot: str
    id: str
    claim: Claim
    targets: tuple[TargetResult, ...]
    reproduction: Reproduction | None
    issued: IssuedSeedsRun | None = None  # where the re-runs on fresh seeds spoke against the claim
    gap: SplitGap | None = None
    p: float | None  # on final, one-sided, against tuned naive
    p_adjusted: float | None  # Holm, over all that were ever put to confirmation on this final
    m: int  # how many those are
    verdict: Verdict
    reasons: tuple[str, ...]
    # detectors that this confirmation raised: they block nothing and stand beside the verdict
    flags: tuple[str, ...] = ()
    # charged to final for telling the verdict, the rounded score and whether it is student-free
    bits: float
    build: Build | None = None  # which aarlab made this record; null in those of older versions
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
        """Do its answers know of the labels without teacher and student, beyond chance? (Before
        schema 3: on some split, at an equal part of ALPHA.)"""
        found = [t.remainder.p for t in self.remainders if t.remainder]
        return (
            beyond_chance(found)
            if self.schema_version > 2
            else any(p < ALPHA / len(found) for p in found)
        )


def record_path(folder: Path, snapshot: str) -> Path:
    """Where the signed record of a snapshot lies: by its whole hash, since a beginning can be
    forged."""
    return SignedFolder(folder).confirmation(snapshot)


def record_of(entry: Entry) -> ConfirmationRecord:
    """The record in a confirmation's ledger entry.

    Raises:
        Misconfigured: this version does not know what the entry or the record holds.
    """
    try:
        return ConfirmationRecord.model_validate_json(
            json.dumps(entry.read(ConfirmationBody).record)
        )
    except ValidationError as error:
        raise Misconfigured(
            f"The confirmation of entry {entry.seq} cannot be read by this version "
            f"({error.errors()[0]['msg']}, at {error.errors()[0]['loc']}). Read the ledger with "
            "the version of aarlab that wrote it.",
            seq=entry.seq,
        ) from error


def reported_step(items: int) -> float:
    """Scores on `final` are released to two standard errors (accuracy): what is released is
    charged."""
    return 1.0 / math.sqrt(items)


def reported_accuracy(record: ConfirmationRecord, items: int) -> float | None:
    """The accuracy on `final` as it is reported to researchers."""
    final = record.of("final")
    if final is None or final.accuracy is None:
        return None
    return round(round(final.accuracy.estimate / reported_step(items)) * reported_step(items), 4)


def reported_bits(items: int) -> float:
    """The most that one confirmation releases of the labels of `final`: log2 of verdicts x rounded
    scores (and none) x whether it is student-free."""
    return math.log2(len(VERDICTS) * (round(1 / reported_step(items)) + 2) * 2)
