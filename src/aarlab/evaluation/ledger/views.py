"""Views of the ledger (see `core.view`): receipts by id, entries that somebody else numbered; and
all flags."""

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from aarlab.core.entries import (
    CodeBody,
    ConfirmationBody,
    EventBody,
    Flag,
    SubmissionBody,
)
from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Entry, EntryKind, Receipt
from aarlab.core.view import View
from aarlab.evaluation.ledger.ledger import Ledger

# rows of a journal that were not sent, between two that were: more, and an id is kept as it is
MOST_GAP = 10_000
# events of the campaign: a detector raised an error, and one that did so before works again
SET_ASIDE, WORKS_AGAIN = "detector set aside", "detector works again"


FLAGGED: tuple[EntryKind, ...] = ("flag", "confirmation")  # kinds of entry that hold flags


def flags_in(entries: Iterable[Entry]) -> Iterator[tuple[Entry, Flag]]:
    """Every flag that was raised, with the entry that holds it. A confirmation holds its own: how
    many it raised depends on hidden labels, and would show as entries of their own in the ledger's
    size."""
    for entry in entries:
        if entry.kind == "flag":
            yield entry, entry.read(Flag)
        elif entry.kind == "confirmation":
            yield from ((entry, flag) for flag in entry.read(ConfirmationBody).raised)


def flags_of(ledger: Ledger, *, after: int = 0) -> Iterator[tuple[Entry, Flag]]:
    """As `flags_in`, of all entries after a sequence number, kind by kind."""
    for kind in FLAGGED:
        yield from flags_in(ledger.each(kind, after=after))


def aside_in(
    entries: Iterable[Entry], before: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """The detectors that were set aside and do not work again yet, with why and since when.
    `before`: what that was before these entries."""
    aside = dict(before)
    for entry in entries:
        if entry.kind == "campaign":
            event = entry.read(EventBody)
            if event.detector is not None and event.event == SET_ASIDE:
                aside[event.detector] = event.detail or ""
            elif event.detector is not None:
                aside.pop(event.detector, None)
    return aside


class Receipts:
    """Every receipt that was given, by id: its number is the submission's."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def get(self, receipt: str) -> Receipt:
        """A receipt as it was when it was given.

        Raises:
            InvalidSubmission: there is none of that id.
        """
        number = int(receipt[2:]) if re.fullmatch("r-[0-9]{6,12}", receipt) else 0
        entry = self._ledger.number("submission", number)
        found = entry and entry.read(SubmissionBody).receipt
        if found and found.id != receipt:  # of a version that numbered in another way
            every = (e.read(SubmissionBody).receipt for e in self._ledger.each("submission"))
            found = next((one for one in every if one.id == receipt), None)
        if found is None:
            words = f"There is no receipt '{receipt[:40]}'. Cite receipts that the evaluator gave."
            raise InvalidSubmission(words, receipt=receipt[:40])
        return found


class Snapshots(View):
    """The snapshots that were committed."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._known: set[str] = set()

    def _take(self, entry: Entry) -> None:
        if entry.kind == "code":
            self._known.add(entry.read(CodeBody).snapshot)

    def __contains__(self, snapshot: object) -> bool:
        if snapshot in self._known:  # what is committed stays so
            return True
        with self._current():
            return snapshot in self._known


class Rows(View):
    """Entries that somebody else numbered, so that they can be sent again until it is known that
    they arrived. Of each, the entry's number alone is kept: there may be millions."""

    LIVE = View.LIVE | {"_ledger"}

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._ledger = ledger
        # journal -> numbers of entries, in the place of the row's number; 0: there is none
        self._numbered: dict[str, array[int]] = {}
        self._others: dict[str, int] = {}  # ids of another form

    def _take(self, entry: Entry) -> None:
        if entry.kind in {"spend", "researcher", "campaign"}:
            # not as a record, which takes six times as long
            row = entry.body.get("id")
            if row is not None:
                self._remember(row, entry.seq)

    def _remember(self, row: str, seq: int) -> None:
        journal, number = _parted(row)
        known = self._numbered.setdefault(journal, array("q")) if journal else None
        if known is None or number > len(known) + MOST_GAP:
            self._others[row] = seq
            return
        if number >= len(known):
            known.extend([0] * (number + 1 - len(known)))
        known[number] = seq

    def _known(self, row: str) -> Entry | None:
        journal, number = _parted(row)
        known = self._numbered.get(journal, ())
        seq = self._others.get(row) or (known[number] if number < len(known) else 0)
        return self._ledger.entries(after=seq - 1, limit=1)[0] if seq else None

    def append(self, kind: EntryKind, who: str, body: dict[str, Any], row: str | None) -> Entry:
        """Record an entry; if one with the id `row` is recorded already, that one, and nothing is
        added.

        Raises:
            InvalidSubmission: that one says something else.
            Transient: the store could not take it.
        """
        if row is None:
            return self._ledger.append(kind, who, body)
        named = body | {"id": row}
        with self._current():
            known = self._known(row) or self._ledger.append(kind, who, named)
        if (known.kind, known.who, known.body) != (kind, who, named):
            raise InvalidSubmission(
                f"The id '{row}' is taken by entry {known.seq}, which says something else.", id=row
            )
        return known


def _parted(row: str) -> tuple[str, int]:
    """The journal and the number in the id of one of its rows; "" where it is no such id."""
    journal, _, number = row.rpartition("-")
    plain = number.isascii() and number.isdigit() and number == f"{int(number):06d}"
    return (journal, int(number)) if plain else ("", 0)
