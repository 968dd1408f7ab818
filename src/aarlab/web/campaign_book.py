"""What the pages know of a campaign: one view of its ledger, read by an onlooker. Of an entry it
keeps the fields that are named here, and no exact score is among them."""

from bisect import insort
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Self

from aarlab.core.entries import (
    ConfirmationBody,
    Flag,
    OutcomeBody,
    RequestBody,
    SpendBody,
    SubmissionBody,
)
from aarlab.core.orders import NoEntries, Orders
from aarlab.core.records import Entry, Receipt
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.views import flags_in
from aarlab.fleet.progress import AFTERWARDS, Progress
from aarlab.fleet.spends import Tally
from aarlab.web import shown_score
from aarlab.web.milestones import Milestones
from aarlab.web.shown_text import block, line
from aarlab.web.who_read import WhoRead

WITHHELD = "The evidence may hold exact scores: it is in the report, which is the operator's."


class BookSubmission(NamedTuple):
    """A submission, without its exact score."""

    seq: int
    at_s: float  # seconds since 1970
    who: str
    receipt: Receipt


@dataclass(frozen=True)
class BookConfirmation:
    """What of a confirmation may be shown."""

    seq: int
    at: str
    snapshot: str
    researcher: str
    verdict: str
    score: dict[str, Any] | None  # see `shown_score.confirmed`
    flags: tuple[str, ...]
    receipt: str  # of the claim
    ran: tuple["BookTarget", ...]  # the targets, `final` among them


class BookTarget(NamedTuple):
    """What of a confirmation's run on one target may be shown."""

    name: str
    kind: str
    split: str
    problem: str
    student: str
    failure: str
    removed: str  # which component of the code, where it was run without one
    lost: dict[str, Any] | None  # by how much the whole code is better, then
    score: dict[str, Any] | None  # on `final` as it was released, elsewhere rounded in the same way


class BookFinding(NamedTuple):
    """A finding without its text, which is read when it is shown."""

    seq: int
    at: str
    who: str
    kind: str
    title: str
    family: str
    receipts: tuple[str, ...]
    snapshot: str | None
    parent: str | None

    @property
    def id(self) -> str:
        return f"f-{self.seq:06d}"


class BookFlag(NamedTuple):
    """A flag; its evidence only where it needed no hidden label."""

    seq: int
    at: str
    detector: str
    submitter: str
    receipts: tuple[str, ...]
    evidence: str


class BookCode(NamedTuple):
    """Code that was handed in to be run, and what became of it."""

    ticket: str
    at_s: float
    who: str
    snapshot: str
    family: str
    state: str = "waiting"
    ended_s: float | None = None
    failure: str | None = None
    receipt: str | None = None
    repeated: bool = False  # answered from memory


class BookEvent(NamedTuple):
    """An event of a researcher or of the campaign."""

    seq: int
    at: str
    event: str
    incarnation: int | None
    detail: str


Steps = list[tuple[float, float]]  # seconds since 1970, and the value from then on


@dataclass
class BookResearcher:
    """What one researcher has done and spent."""

    submissions: list[int] = field(default_factory=list)  # places in `CampaignBook.handed_in`
    best: Receipt | None = None  # that reported the highest level to it
    stairs: Steps = field(default_factory=list)  # that level over time
    code: list[str] = field(default_factory=list)  # snapshots, in order, each once
    events: list[BookEvent] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    direction: str = ""


class CampaignBook(Progress):
    """The campaign so far. All of it is read inside `reading`."""

    LIVE = Progress.LIVE | {"_ledger", "milestones", "board_rows"}

    def __init__(self, ledger: Ledger, milestones: Milestones | None = None) -> None:
        super().__init__(ledger)
        self._ledger, self.milestones = ledger, milestones
        # by receipt: rows of the board that were made, each with the verdict that it shows
        self.board_rows: dict[str, tuple[BookConfirmation | None, dict[str, Any]]] = {}
        self.handed_in: list[BookSubmission] = []
        self.place: dict[str, int] = {}  # receipt -> place in `handed_in`
        self.improved: list[int] = []  # places of reported improvements
        self.levels: Steps = []  # reported, of the label set
        self.certified: Steps = []
        self.bits: Steps = []  # released
        # when, hours of a researcher, known dollars; in order of time
        self.spends: list[tuple[float, float, float]] = []
        self.settled: dict[
            tuple[str, str], BookConfirmation
        ] = {}  # by snapshot and researcher, the latest
        self.posted: list[BookFinding] = []
        self.raised: list[BookFlag] = []
        self.happened: list[BookEvent] = []  # to the campaign
        self.researchers: dict[str, BookResearcher] = {}
        self.by_hour: dict[int, Tally] = {}  # hours since the first entry, from 0
        self.asked: dict[str, BookCode] = {}  # code that was handed in to be run, by ticket
        self.orders = Orders(NoEntries())  # what operators asked so far
        self.reads = WhoRead()
        self.began_s: float | None = None
        self.last_s = 0.0
        self.worked_s = 0.0  # of the last entry that is of the fleet's work

    @property
    def seq(self) -> int:
        """The number of the last entry that was read."""
        return self._seq

    @contextmanager
    def reading(self) -> Iterator[Self]:
        """A context in which it is up to date and does not change. The file is open inside it
        alone: as long as somebody has it open, the evaluator cannot close it in order, as one
        file without a write-ahead log.

        Raises:
            Transient: the ledger cannot be read now.
        """
        try:
            with self._current():
                yield self
        finally:
            self._ledger.close()

    def by(self, who: str) -> BookResearcher:
        """What that name has done."""
        return self.researchers.setdefault(who, BookResearcher())

    def submission(self, receipt: str) -> BookSubmission | None:
        """The submission that has this receipt."""
        place = self.place.get(receipt)
        return None if place is None else self.handed_in[place]

    def verdict_on(self, made: BookSubmission) -> BookConfirmation | None:
        """The latest confirmation of that claim."""
        return self.settled.get((made.receipt.snapshot, made.who))

    def _take(self, entry: Entry) -> None:
        if self.milestones is not None:
            held = {name: v for name, v in vars(self).items() if name not in self.LIVE}
            self.milestones.pass_by(self._seq, held)
        at_s = datetime.fromisoformat(entry.at).timestamp()
        self.began_s = at_s if self.began_s is None else self.began_s
        self.last_s = max(self.last_s, at_s)
        if entry.kind not in AFTERWARDS:
            self.worked_s = max(self.worked_s, at_s)
        super()._take(entry)
        self.reads.take(entry)
        if entry.kind == "code":
            self._commit(entry)
        elif entry.kind == "finding":
            self.posted.append(_posted(entry))
        elif entry.kind == "confirmation":
            settled = _settled(entry)
            self.settled[settled.snapshot, settled.researcher] = settled
        elif entry.kind == "spend":
            self._spend(entry)
        elif entry.kind in {"researcher", "campaign"}:
            self._happen(entry)
        elif entry.kind in {"request", "outcome"}:
            self._run(entry, at_s)
        self.raised += [_raised(entry, flag) for _, flag in flags_in([entry])]

    def _submission(self, entry: Entry) -> SubmissionBody:
        body = super()._submission(entry)
        self._hand_in(entry, datetime.fromisoformat(entry.at).timestamp(), body.receipt)
        return body

    def _hand_in(self, entry: Entry, at_s: float, receipt: Receipt) -> None:
        mine, place = self.by(entry.who), len(self.handed_in)
        self.place[receipt.id] = place
        mine.submissions.append(place)
        self.handed_in.append(BookSubmission(entry.seq, at_s, entry.who, receipt))
        # a receipt from memory says where the level was when it was first given
        before = self.levels[-1][1] if self.levels else receipt.level_pgr
        _step(self.levels, at_s, max(before, receipt.level_pgr))
        _step(self.certified, at_s, receipt.certified_pgr)
        _step(self.bits, at_s, receipt.released.bits)
        if receipt.improved:
            self.improved.append(place)
            if mine.best is None or receipt.level_pgr > mine.best.level_pgr:
                mine.best = receipt
                _step(mine.stairs, at_s, receipt.level_pgr)

    def _spend(self, entry: Entry) -> None:
        body = entry.read(SpendBody)
        self.by(entry.who).tally.add(body)
        at_s = self.last_s if body.at is None else body.at
        hour = max(0, int((at_s - (self.began_s or 0.0)) // 3600))
        self.by_hour.setdefault(hour, Tally()).add(body)
        insort(self.spends, (at_s, body.wall_s / 3600, body.usd or 0.0))

    def _commit(self, entry: Entry) -> None:
        mine, snapshot = self.by(entry.who), str(entry.body.get("snapshot"))
        if snapshot not in mine.code:
            mine.code.append(snapshot)

    def _run(self, entry: Entry, at_s: float) -> None:
        """Code that waits to be run, or what became of it; the first outcome counts."""
        if entry.kind == "request":
            body, ticket = entry.read(RequestBody), f"q-{entry.seq:06d}"
            self.by(entry.who)
            self.asked[ticket] = BookCode(ticket, at_s, entry.who, body.snapshot, body.family)
            return
        outcome = entry.read(OutcomeBody)
        waited = self.asked.get(outcome.ticket)
        if waited is not None and waited.ended_s is None:
            receipt = outcome.receipt
            self.asked[outcome.ticket] = waited._replace(
                state=outcome.state,
                ended_s=at_s,
                failure=outcome.failure,
                receipt=receipt.id if receipt else None,
                repeated=receipt.repeated if receipt else False,
            )

    def _happen(self, entry: Entry) -> None:
        body = entry.body
        event = BookEvent(
            entry.seq,
            entry.at,
            line(body.get("event", "")),
            body.get("incarnation"),
            line(body.get("detail") or "", 500),
        )
        if entry.kind == "campaign":
            self.orders.take(entry)
            self.happened.append(event)
            return
        mine = self.by(entry.who)
        mine.events.append(event)
        mine.direction = block(body.get("direction") or "", 4_000) or mine.direction


def _step(steps: Steps, at_s: float, value: float | None) -> None:
    """Add a step where the value is another than before."""
    if value is not None and (not steps or steps[-1][1] != value):
        steps.append((at_s, value))


class BookUntil(CampaignBook):
    """The campaign as it was after one of its entries: `last`, which may only grow."""

    LIVE = CampaignBook.LIVE | {"last"}

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.last = 0
        self._record = EntriesUntil(ledger, self)


class EntriesUntil:
    """The entries of a ledger until a book's last one."""

    def __init__(self, ledger: Ledger, book: BookUntil) -> None:
        self._ledger, self._book = ledger, book

    def entries(self, *, after: int = 0, limit: int = -1) -> list[Entry]:
        """Up to `limit` entries (-1: all) with a number above `after`, in order."""
        found = self._ledger.entries(after=after, limit=limit)
        return [entry for entry in found if entry.seq <= self._book.last]


def _settled(entry: Entry) -> BookConfirmation:
    body = entry.read(ConfirmationBody)
    flags = body.told_flags or tuple(body.record.get("flags", ()))
    return BookConfirmation(
        entry.seq,
        entry.at,
        body.snapshot,
        body.researcher,
        body.verdict,
        shown_score.confirmed(body),
        tuple(line(flag) for flag in flags),
        line(shown_score.claim_of(body)),
        tuple(_ran_on(body, target) for target in body.record.get("targets", ())),
    )


def _ran_on(body: ConfirmationBody, target: dict[str, Any]) -> BookTarget:
    kind = target.get("kind")
    score = (
        shown_score.confirmed(body)
        if kind == "final"
        else shown_score.run_again(target, shown_score.claim_of(body))
    )
    names = ("name", "kind", "split", "problem", "student", "failure", "removed")
    return BookTarget(
        **{name: line(target.get(name) or "", 200) for name in names},
        lost=shown_score.lost(target, shown_score.claim_of(body)),
        score=score,
    )


def _posted(entry: Entry) -> BookFinding:
    """Its body is what a researcher wrote: whatever it holds is shown as text."""
    body = entry.body
    receipts = body.get("receipts")
    return BookFinding(
        entry.seq,
        entry.at,
        entry.who,
        line(body.get("kind", "")),
        line(body.get("title", "")),
        line(body.get("family", "")),
        tuple(line(r, 40) for r in receipts) if isinstance(receipts, list) else (),
        _text(body.get("snapshot")),
        _text(body.get("parent")),
    )


def _text(value: object) -> str | None:
    return line(value, 80) if isinstance(value, str) else None


def _raised(entry: Entry, flag: Flag) -> BookFlag:
    plain = isinstance(flag.evidence, str) and not flag.uses_labels
    return BookFlag(
        entry.seq,
        entry.at,
        line(flag.detector),
        line(flag.submitter),
        tuple(line(r, 40) for r in flag.receipts),
        block(flag.evidence, 2_000) if plain else WITHHELD,
    )
