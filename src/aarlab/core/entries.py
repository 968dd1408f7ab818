"""What the entries of a ledger say, a record for each kind:
`entry.read(SubmissionBody).receipt.improved`.

These are the readers of what older versions wrote and the writers of what is appended. A field with
a default is missing in some ledgers: those of older versions, or where it says nothing.
"""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field, field_serializer

from aarlab.core.operator_records import Event, Spend
from aarlab.core.own_code import Build
from aarlab.core.records import (
    B,
    Body,
    Entry,
    EntryKind,
    Failure,
    FamilyName,
    FindingKind,
    Receipt,
    Record,
    Verdict,
)


class UnreleasedAnswer(Record):
    """An answer that the meter was charged for and that the process ended before it was
    released."""

    answers: int  # the meter's number of it
    who: str
    improved: bool
    level: float
    bits: float
    mass: float


class EventBody(Event, Body):
    """What happened to a researcher or to the campaign."""

    KINDS: ClassVar[tuple[EntryKind, ...]] = ("campaign", "researcher")

    id: str | None = None  # of the row at the sender
    build: Build | None = None  # which aarlab opened the campaign
    untold: tuple[str, ...] = ()  # questions whose answers from the meter were not released
    # by question, the answers to these
    meter: dict[str, UnreleasedAnswer] = Field(default_factory=dict)
    snapshot: str | None = None  # of a confirmation that could not be run, and whose it is
    researcher: str | None = None
    detector: str | None = None  # that was set aside, or works again
    reads: bool = False  # from here on it is recorded who reads what; see `ReadBody`


class CodeBody(Body):
    """A snapshot that was committed."""

    KINDS: ClassVar[tuple[EntryKind, ...]] = ("code",)

    snapshot: str
    family: FamilyName
    bytes: int  # of the packed files


class MeterNote(Record):
    """Where the meter stood after a submission, and what it keeps of the answer if that was new."""

    answers: int
    head: str
    independent: int | None = None  # labels
    scales: tuple[tuple[float, float], ...] = ()  # of PGR, that had been released: weak, ceiling
    level: float | None = None  # None, and the next two: it was answered from memory
    bits: float | None = None
    mass: float | None = None

    @property
    def new(self) -> tuple[float, float, float] | None:
        """Level, bits and mass of a new answer."""
        if self.level is None or self.bits is None or self.mass is None:
            return None
        return self.level, self.bits, self.mass


class SubmissionBody(Body):
    """Graded answers. `exact_accuracy` and `exact_pgr` are the operator's alone."""

    KINDS: ClassVar[tuple[EntryKind, ...]] = ("submission",)

    snapshot: str
    family: FamilyName
    predictions: str  # SHA-256 of the stored answers
    receipt: Receipt
    exact_accuracy: float
    exact_pgr: float | None = None
    meter: MeterNote | None = None

    @field_serializer("receipt")
    def _whole(self, receipt: Receipt) -> dict[str, Any]:
        return receipt.model_dump(mode="json")


class ShownCode(Body):
    """What the lab's process knows of a committed snapshot."""

    KINDS: ClassVar[tuple[EntryKind, ...]] = ("code",)

    snapshot: str
    family: FamilyName


class ShownSubmission(Body):
    """What the lab's process knows of graded answers: nothing that is the operator's alone."""

    KINDS: ClassVar[tuple[EntryKind, ...]] = ("submission",)

    snapshot: str
    receipt: Receipt


class FindingBody(Body):
    """A post of the forum; see `core.records.Finding`."""

    KINDS: ClassVar[tuple[EntryKind, ...]] = ("finding",)

    kind: FindingKind
    title: str
    text: str
    family: FamilyName
    receipts: tuple[str, ...] = ()
    snapshot: str | None = None
    parent: str | None = None


class SpendBody(Spend, Body):
    """What was spent."""

    KINDS: ClassVar[tuple[EntryKind, ...]] = ("spend",)

    id: str | None = None  # of the row at the sender

    @property
    def measured(self) -> bool:
        """Whether the processor's time is known."""
        return "cpu_s" in self.model_fields_set


class Flag(Body):
    """A detector's suspicion. Flags that use labels are the operator's: they never reach a
    researcher."""

    KINDS: ClassVar[tuple[EntryKind, ...]] = ("flag",)

    detector: str
    submitter: str  # or "the problem"
    episode: str = ""
    receipts: tuple[str, ...]
    evidence: str | dict[str, Any]
    figures: dict[str, float] = Field(default_factory=dict)
    items: tuple[str, ...] = ()
    uses_labels: bool = True

    @property
    def key(self) -> tuple[str, str, str]:
        """What is never raised twice."""
        return self.detector, self.submitter, self.episode


class ConfirmationBody(Body):
    """A confirmation: what of it is released, the signed record, and the flags that it raised."""

    KINDS: ClassVar[tuple[EntryKind, ...]] = ("confirmation",)

    snapshot: str
    researcher: str
    id: str
    verdict: Verdict
    told_accuracy: float | None = None  # on final
    told_flags: tuple[str, ...] = ()
    record: dict[str, Any]  # as it was signed; see `confirmation_record.record_of`
    signature: str
    public_key: str
    raised: tuple[Flag, ...] = ()


class RequestBody(Body):
    """Code that waits to be run (code mode)."""

    KINDS: ClassVar[tuple[EntryKind, ...]] = ("request",)

    snapshot: str
    family: FamilyName


class OutcomeBody(Body):
    """What became of such code; see `core.records.Ticket`."""

    KINDS: ClassVar[tuple[EntryKind, ...]] = ("outcome",)

    ticket: str
    state: Literal["done", "failed"]
    receipt: Receipt | None = None
    failure: Failure | None = None
    log: str | None = None

    @field_serializer("receipt")
    def _whole(self, receipt: Receipt | None) -> dict[str, Any] | None:
        return receipt and receipt.model_dump(mode="json")


class ReadBody(Body):
    """What others wrote and a researcher was sent whole, for the first time: findings that it
    opened, or that were in a list; or code that it downloaded."""

    KINDS: ClassVar[tuple[EntryKind, ...]] = ("read",)

    how: Literal["opened", "listed", "downloaded"]
    what: tuple[str, ...]  # ids of findings, or one snapshot


BODIES: dict[EntryKind, type[Body]] = {
    kind: body
    for body in (
        EventBody,
        CodeBody,
        SubmissionBody,
        FindingBody,
        SpendBody,
        Flag,
        ConfirmationBody,
        RequestBody,
        OutcomeBody,
        ReadBody,
    )
    for kind in body.KINDS
}


def read_all(entries: Iterable[Entry], body: type[B]) -> Iterator[tuple[Entry, B]]:
    """The entries of the kinds that `body` is of, each with its body."""
    return ((entry, entry.read(body)) for entry in entries if entry.kind in body.KINDS)
