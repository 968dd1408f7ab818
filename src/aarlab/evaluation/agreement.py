"""Do a label set's meter and the ledgers of its campaigns agree? Checked before a server answers,
and by `audit`.

The meter may know more than one ledger, for other campaigns move it, too. It never knows less:
every submission that a ledger records is in the meter with the same answer, and the meter has been
where the ledger says that it was. What was put to confirmation is in the record of tries in the
same way. So a store that was deleted, put back from an older copy or stripped of its write-ahead
log is found, and does not give the budget a second time.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aarlab.core.entries import (
    ConfirmationBody,
    EventBody,
    MeterNote,
    SubmissionBody,
    UnreleasedAnswer,
    read_all,
)
from aarlab.core.errors import Misconfigured
from aarlab.core.label_set import of_same_labels, same_labels
from aarlab.core.layout import CampaignFolder, ServerFolder, TestbedFolder
from aarlab.core.records import Entry, Receipt
from aarlab.core.store import opened_to_read, unsound
from aarlab.evaluation.derived import head_of
from aarlab.evaluation.ledger.ledger import Ledger, Read
from aarlab.evaluation.ledger.places import has_ledger, storage_at
from aarlab.evaluation.ledger.storage import StorageFailed
from aarlab.evaluation.scoring.marking import stored
from aarlab.evaluation.scoring.meter import REMEDY, first_head, next_head
from aarlab.evaluation.scoring.meter_store import digest_of
from aarlab.evaluation.scoring.policies import Answer

# what reading a ledger of any store may end with
UNREAD = (sqlite3.DatabaseError, StorageFailed, OSError, Misconfigured, ValueError, TypeError)
_ANSWERS = (
    "SELECT seq, question, campaign, who, improved, level, bits, mass FROM answers ORDER BY seq"
)


class MeterRow(NamedTuple):
    """One row of the meter's store; `seq` from 1."""

    seq: int
    question: str
    campaign: str
    who: str
    improved: bool
    level: float
    bits: float
    mass: float

    @property
    def answer(self) -> Answer:
        """What was answered."""
        return Answer(bool(self.improved), float(self.level), float(self.bits), float(self.mass))


@dataclass
class Book:
    """What the meter's store holds: `begun` is (number of labels, level at the start), `rows` are
    its answers in order."""

    begun: tuple[int, float] | None = None
    rows: list[MeterRow] = field(default_factory=list)
    # question -> improved, reported level (6 decimals)
    answers: dict[str, tuple[bool, float]] = field(default_factory=dict)
    # of the chain, after 0, 1, 2, ... answers
    heads: list[str] = field(default_factory=lambda: [""])
    # labels that were counted when it was begun; None in meters of before there were groups
    independent: int | None = None
    # of PGR, each released and charged: weak, ceiling
    scales: list[tuple[float, float]] = field(default_factory=list)

    @classmethod
    def of(cls, n: int, level: float, rows: Iterable[MeterRow]) -> "Book":
        """The book of these answers.

        Raises:
            ValueError: one is missing.
        """
        book = cls((n, level), heads=[first_head(n, level)])
        for row in rows:
            if row.seq != len(book.heads):
                raise ValueError(f"its answer {len(book.heads)} is missing")
            book.rows.append(row)
            book.heads.append(next_head(book.heads[-1], *row[:4], row.answer))
            book.answers[row.question] = row.answer.improved, round(row.answer.level, 6)
        return book


@dataclass(frozen=True)
class RecordedSubmission:
    """What a ledger records of one submission and the meter must know."""

    seq: int  # of the entry
    who: str
    question: str
    receipt: Receipt
    meter: MeterNote | None  # None in ledgers of older versions

    def unknown_to(self, book: Book) -> str | None:
        """In what way the meter does not know it; None if it does."""
        if book.answers.get(self.question) != (self.receipt.improved, self.receipt.level_accuracy):
            return "the meter has another answer to it, or none"
        if self.meter is not None:
            answers, head = self.meter.answers, self.meter.head
            if answers >= len(book.heads):
                return f"the meter had {answers} answers then, and has {len(book.heads) - 1} now"
            if book.heads[answers] != head:
                return f"the meter's first {answers} answers are not what they were then"
            if self.meter.independent not in {None, book.independent}:
                return (
                    f"the meter was begun with {self.meter.independent} independent labels, not "
                    f"{book.independent}"
                )
            if any(scale not in book.scales for scale in self.meter.scales):
                return "the meter does not know a scale of PGR that had been released then"
        return None


def require_sound(path: Path) -> None:
    """Raise unless the meter's store is there and whole.

    Raises:
        Misconfigured: it is not; the message says what was found.
    """
    if not path.exists():
        raise Misconfigured(
            f"The meter {path} is gone: what was released of these labels is unknown. {REMEDY}"
        )
    if words := unsound(path):
        raise Misconfigured(f"The meter {path} is damaged ({words}). {REMEDY}")


def read_book(path: Path) -> Book:
    """The meter's store, checked by itself: pages, numbering, and the digest that was written with
    the answers.

    Raises:
        Misconfigured: there is none, or it is damaged; the message says what was found.
    """
    require_sound(path)
    try:
        with closing(opened_to_read(path)) as connection:
            return _read(connection, path)
    except (sqlite3.DatabaseError, TypeError, ValueError) as error:
        raise Misconfigured(f"The meter {path} cannot be read ({error}). {REMEDY}") from error


def _read(connection: sqlite3.Connection, path: Path) -> Book:
    connection.execute("BEGIN")  # one state of it, also while it is written
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return Book()  # the process ended while it made the file
    begun = connection.execute("SELECT n, level FROM origin").fetchone()
    book = Book.of(*begun, (MeterRow(*row) for row in connection.execute(_ANSWERS)))
    book.scales = (
        connection.execute("SELECT weak, ceiling FROM ends").fetchall() if "ends" in tables else []
    )
    counted = (
        connection.execute("SELECT independent FROM counted").fetchone()
        if "counted" in tables
        else None
    )
    book.independent = counted and counted[0]
    # none in older versions
    stored = connection.execute("SELECT answers, head FROM head") if "head" in tables else ()
    for answers, head in stored:
        if not 0 <= answers < len(book.heads) or book.heads[answers] != head:
            raise Misconfigured(
                f"The meter {path} was changed, at or before its answer {answers}. {REMEDY}",
                seq=answers,
            )
    return book


def submissions(entries: Iterable[Entry], blobs: Mapping[str, bytes]) -> list[RecordedSubmission]:
    """What the meter must know of entries that are submissions. One whose stored answers are gone
    is left out."""
    return [
        RecordedSubmission(e.seq, e.who, stored(data).question, body.receipt, body.meter)
        for e, body in read_all(entries, SubmissionBody)
        if (data := blobs.get(body.predictions)) is not None
    ]


def lost_tries(entries: Iterable[Entry], campaign: str, tries: Path) -> list[int]:
    """The numbers of the entries whose confirmation the label set's record of tries does not know.

    Raises:
        sqlite3.DatabaseError: that record cannot be read.
    """
    tokens = {e.seq: body.id for e, body in read_all(entries, ConfirmationBody)}
    known: set[str] = set()
    if tokens and tries.exists():
        with closing(opened_to_read(tries)) as connection:
            rows = connection.execute(
                "SELECT snapshot, nonce FROM tries WHERE campaign = ?", (campaign,)
            )
            known = {f"{snapshot}.{nonce}" for snapshot, nonce in rows}
    return [seq for seq, token in tokens.items() if token not in known]


@dataclass(frozen=True)
class RecordedAnswers:
    """What one campaign's ledger records that the label set's stores must know."""

    folder: Path
    submissions: list[RecordedSubmission]
    # question -> the meter's answer, of those that the process ended before they were released
    unreleased: dict[str, UnreleasedAnswer]
    lost_tries: list[int]


def read_recorded(folder: Path, problem: Path, after: int = 0) -> RecordedAnswers:
    """Of the ledger in a campaign's folder; of submissions, those after entry `after`.

    Raises:
        UNREAD: it, or the record of tries, cannot be read.
    """
    ledger = CampaignFolder(folder).server.ledger
    with closing(storage_at(ledger, read_only=True, lenient=True)) as storage:
        wanted = {"confirmation": 0, "campaign": 0, "submission": after}
        entries = [
            row.entry for kind, seq in wanted.items() for row in storage.rows(after=seq, kind=kind)
        ]
        entries.sort(key=lambda entry: entry.seq)
        named = (str(e.body.get("predictions")) for e in entries if e.kind == "submission")
        blobs = dict(storage.blobs(sorted(set(named))))
    events = [e for e in entries if e.kind == "campaign"]
    unreleased = {
        question: row
        for _, body in read_all(events, EventBody)
        for question, row in body.meter.items()
    }
    tries = TestbedFolder(problem).tries
    return RecordedAnswers(
        folder, submissions(entries, blobs), unreleased, lost_tries(entries, folder.name, tries)
    )


def agreed(folder: Path, problem: Path, same: Read | None = None) -> int:
    """How many entries of a campaign's ledger were found to agree with the meter by an evaluator
    that kept so (see `derived`), where the rows of both are still the same; else 0. `same`: what
    was found of the ledger already.

    Raises:
        StorageFailed: the ledger cannot be read.
    """
    server, meter = CampaignFolder(folder).server, TestbedFolder(problem).meter
    head = head_of(server.root)
    if head is None or not meter.exists():
        return 0
    try:
        with closing(opened_to_read(meter)) as connection:
            connection.execute("BEGIN")
            if digest_of(connection, head.answers) != head.meter:
                return 0
    except sqlite3.DatabaseError:
        return 0  # `read_book` says what is wrong with it
    if same is not None and (same.size, same.digest) == (head.entries, head.ledger):
        return head.entries
    with closing(storage_at(server.ledger, read_only=True, lenient=True)) as storage:
        found = storage.digest(head.entries)
    return head.entries if found and found.hexdigest() == head.ledger else 0


def ledgers_of(problem: Path, campaign: Path) -> Iterator[Path]:
    """The folders of the campaign and of those beside it that are on the same label set and have a
    ledger."""
    for note in sorted(
        campaign.absolute().parent.glob(str(CampaignFolder(Path("*")).server.problem))
    ):
        name = noted(note)
        if (
            name
            and same_labels(problem.absolute().with_name(name), problem.absolute())
            and has_ledger(ServerFolder(note.parent).ledger)
        ):
            yield note.parent.parent


def noted(note: Path) -> str | None:
    """The folder's name of the testbed that a campaign's problem.txt names; None where it names
    none that can be read."""
    try:
        return Path(note.read_text()).name or None
    except (OSError, ValueError):
        return None


def require_agreement(problem: Path, campaign: Path, same: Read | None = None) -> None:
    """To be called before the meter is opened, which would begin a new one. `same`: what was kept
    of the campaign's ledger, and was found to be still so.

    The ledgers are read before the meter, so that answers that are given meanwhile are no
    disagreement. A ledger of another campaign that cannot be read is that campaign's to fix, as
    long as there is a meter.

    Raises:
        Misconfigured: the meter, or the record of tries, knows less than a ledger, or the label set
            has two of them; the message says what and the remedy.
    """
    own = TestbedFolder(problem)
    recorded, unread, seen = [], [], False
    for folder in ledgers_of(problem, campaign):
        try:
            own_ledger = folder.name == campaign.absolute().name
            after = agreed(folder, problem, same if own_ledger else None)
            recorded.append(read_recorded(folder, problem, after))
            seen |= after > 0
        except UNREAD as error:
            unread.append(folder)
            if own_ledger:
                words = (
                    f"The ledger of {folder}, or {own.tries}, cannot be read ({error}). Run `aar "
                    "ledger verify`."
                )
                raise Misconfigured(f"{words} Restore a copy.") from error
    _require_one_place(problem.absolute())
    for one in recorded:
        _require_tries(one, own.tries)
    if seen and not any(one.submissions for one in recorded):
        require_sound(own.meter)  # whoever opens it checks its digests
    elif any(one.submissions for one in recorded) or own.meter.exists():
        book = read_book(own.meter)
        for one in recorded:
            require_known(book, own.meter, one)
    elif unread:
        raise Misconfigured(
            f"{own.meter} is not there, and the ledger of {unread[0]}, which is on the same "
            f"labels, cannot be read: what was released of them is unknown. {REMEDY}"
        )


def _require_one_place(problem: Path) -> None:
    """What was released of a label set is counted once, whichever code made the testbed (see
    `label_set`)."""
    own = TestbedFolder(problem)
    for store in (own.meter.relative_to(problem), own.tries.relative_to(problem)):
        mine = (problem / store).parent
        if mine.is_symlink() and not mine.exists():
            raise Misconfigured(f"{mine} stands for {mine.readlink()}, which is gone. {REMEDY}")
        there = {
            one.resolve() for folder in of_same_labels(problem) if (one := folder / store).exists()
        }
        if others := there - {(problem / store).resolve()}:
            raise Misconfigured(
                f"{min(others)} counts what was released of the same labels as those of {problem}, "
                f"apart from {mine}. There must be one place: stop what runs on either, and make "
                f"{mine} a symbolic link to {min(others).parent}, unless {mine} counts something, "
                "too. If both do, these labels are spent: take another data seed."
            )


def _require_tries(recorded: RecordedAnswers, path: Path) -> None:
    if recorded.lost_tries:
        raise Misconfigured(
            f"{path} does not know {len(recorded.lost_tries)} confirmations that the ledger of "
            f"{recorded.folder} records (the first: entry {recorded.lost_tries[0]}): it was lost "
            "or replaced by an older copy, and the budget of confirmations would begin again. Put "
            "back a copy as new as the ledger; without one, take another data seed.",
            entries=recorded.lost_tries,
        )


def require_known(book: Book, path: Path, recorded: RecordedAnswers) -> None:
    """Raise unless the meter's store at `path` knows every submission that a ledger records.

    Raises:
        Misconfigured: it does not; the message says which.
    """
    unknown = [(s, words) for s in recorded.submissions if (words := s.unknown_to(book))]
    if unknown:
        first, words = unknown[0]
        raise Misconfigured(
            f"The meter {path} does not know {len(unknown)} of {len(recorded.submissions)} "
            f"submissions that the ledger of {recorded.folder} records (the first: entry "
            f"{first.seq}, receipt {first.receipt.id}: {words}). {REMEDY}",
            entries=[s.seq for s, _ in unknown],
        )


def note_unreported(ledger: Ledger, answers: Mapping[str, Mapping[str, Any]]) -> None:
    """Record which answers the meter has and the ledger has not: the process ended between the two,
    before it released them. `answers`: those of the meter that the ledger has not, by question."""
    noted = {q for e in ledger.entries("campaign") for q in e.read(EventBody).untold}
    if unreleased := {q: UnreleasedAnswer(**row) for q, row in answers.items() if q not in noted}:
        recovered = EventBody(event="recovered", untold=tuple(sorted(unreleased)), meter=unreleased)
        ledger.append("campaign", "evaluator", recovered.plain())
