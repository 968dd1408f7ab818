"""A meter that was lost or damaged, made again from the ledgers of its label set: exactly as it
was, or not at all.

Each ledger has the answers of its own campaign, with their numbers and the chain's head after them.
What an older copy of the meter still holds is taken, too; it alone has answers that were given by
versions which recorded no place.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import TestbedFolder
from aarlab.evaluation.agreement import (
    UNREAD,
    Book,
    MeterRow,
    RecordedAnswers,
    ledgers_of,
    read_book,
    read_recorded,
)
from aarlab.evaluation.scoring.marking import marking_of
from aarlab.evaluation.scoring.meter_store import MeterPosition, write_meter
from aarlab.evaluation.scoring.policies import start
from aarlab.evaluation.server_hold import hold_server

SPENT = (
    "Nothing was changed. Put back a copy of private/meter instead; without one, take another data "
    "seed."
)


def restore_meter(problem: Path, campaign: Path) -> tuple[int, Path | None]:
    """Make the meter again from the ledgers of the campaign and of those beside it, none of which
    may be served meanwhile.

    Returns how many answers it has, and the folder into which what was there was put, None if there
    was nothing.

    Raises:
        Misconfigured: a ledger is served or cannot be read, or together they do not give the meter
            that they record.
    """
    folders = list(ledgers_of(problem, campaign))
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(hold_server(folder))
        try:
            recorded = [read_recorded(folder, problem) for folder in folders]
        except UNREAD as error:
            raise Misconfigured(
                f"A ledger beside {campaign} cannot be read ({error}). {SPENT}"
            ) from error
        book = _book(problem, recorded)
        path = TestbedFolder(problem).meter
        new = path.with_name("restored.sqlite")
        new.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        assert book.begun is not None
        independent = book.independent or _independent(problem)
        write_meter(
            new,
            *book.begun,
            book.rows,
            MeterPosition(len(book.rows), book.heads[-1], independent, tuple(book.scales)),
        )
        replaced = _put_aside(path)
        new.replace(path)
    return len(book.rows), replaced


def _book(problem: Path, recorded: Iterable[RecordedAnswers]) -> Book:
    """The book that agrees with every ledger."""
    recorded, older = list(recorded), _older(TestbedFolder(problem).meter)
    rows: dict[int, MeterRow] = {row.seq: row for row in older.rows}
    for row in (row for one in recorded for row in _rows(one)):
        if rows.setdefault(row.seq, row) != row:
            raise Misconfigured(f"Two records differ on the meter's answer {row.seq}. {SPENT}")
    if older.begun is None:
        marking = marking_of(problem)
        n = marking.units.items
        older.begun = n, start(marking.pgr_scale.start, n).level
    most = max((s.meter.answers for one in recorded for s in one.submissions if s.meter), default=0)
    for seq in range(1, max(most, *rows, 0) + 1):
        if seq not in rows:
            raise Misconfigured(
                f"No ledger beside this campaign's has the meter's answer {seq} of {most}. {SPENT}"
            )
    book = Book.of(*older.begun, (rows[seq] for seq in sorted(rows)))
    notes = [s.meter for one in recorded for s in one.submissions if s.meter]
    book.scales = list(
        dict.fromkeys([*older.scales, *(scale for note in notes for scale in note.scales)])
    )
    book.independent = next(
        (n.independent for n in notes if n.independent is not None), older.independent
    )
    for one in recorded:
        for submission in one.submissions:
            if words := submission.unknown_to(book):
                raise Misconfigured(
                    f"{one.folder}, entry {submission.seq}: {words}, even as it was made again. "
                    f"{SPENT}"
                )
    return book


def _independent(problem: Path) -> int:
    """How the labels count now: for records of before they were counted in groups."""
    return marking_of(problem).units.independent


def _older(path: Path) -> Book:
    """What is still there; nothing where that is damaged."""
    try:
        return read_book(path)
    except Misconfigured:
        return Book()


def _rows(recorded: RecordedAnswers) -> Iterator[MeterRow]:
    campaign = recorded.folder.name
    for s in recorded.submissions:
        if (note := s.meter) is not None and note.new is not None:
            yield MeterRow(note.answers, s.question, campaign, s.who, s.receipt.improved, *note.new)
    for question, a in recorded.unreleased.items():
        yield MeterRow(a.answers, question, campaign, a.who, a.improved, a.level, a.bits, a.mass)


def _put_aside(path: Path) -> Path | None:
    here = [
        p
        for p in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm")))
        if p.exists()
    ]
    if not here:
        return None
    aside = path.parent / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    aside.mkdir()
    for one in here:
        one.replace(aside / one.name)
    return aside
