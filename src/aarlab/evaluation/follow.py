"""What is read often is kept: a view of the ledger that takes up only what was recorded since it was last asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Entry, EntryKind, Receipt
from aarlab.evaluation.ledger import Ledger


class View:
    """Base of such views: `_take` is called once for every entry, in order, with the lock held."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._seq, self._lock = ledger, 0, threading.Lock()

    def _take(self, entry: Entry) -> None:
        raise NotImplementedError

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Inside, the view holds all that is recorded, and nobody else changes it."""
        with self._lock:
            for entry in self._ledger.entries(after=self._seq):
                self._take(entry)
                self._seq = entry.seq
            yield


class Receipts(View):
    """Every receipt that was given, by id."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._by_id: dict[str, dict] = {}

    def _take(self, entry: Entry) -> None:
        if entry.kind == "submission":
            self._by_id[entry.body["receipt"]["id"]] = entry.body["receipt"]

    def get(self, receipt: str) -> Receipt:
        """A receipt as it was told when it was given.

        Raises:
            InvalidSubmission: there is none of that id.
        """
        with self._current():
            found = self._by_id.get(receipt)
        if found is None:
            words = f"There is no receipt '{receipt[:40]}'. Cite receipts that the evaluator gave."
            raise InvalidSubmission(words, receipt=receipt[:40])
        return Receipt.model_validate_json(json.dumps(found))


class Rows(View):
    """Entries that somebody else numbered, so that they can be sent again until it is known that they arrived."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._by_id: dict[str, Entry] = {}

    def _take(self, entry: Entry) -> None:
        if entry.kind in {"spend", "researcher", "campaign"} and "id" in entry.body:
            self._by_id[entry.body["id"]] = entry

    def append(self, kind: EntryKind, who: str, body: dict[str, Any], row: str | None) -> Entry:
        """Record an entry; if one with the id `row` is recorded already, that one, and nothing is added.

        Raises:
            InvalidSubmission: that one says something else.
            Transient: the store could not take it.
        """
        if row is None:
            return self._ledger.append(kind, who, body)
        named = body | {"id": row}
        with self._current():
            known = self._by_id.get(row) or self._ledger.append(kind, who, named)
        if (known.kind, known.who, known.body) != (kind, who, named):
            raise InvalidSubmission(f"The id '{row}' is taken by entry {known.seq}, which says something else.", id=row)
        return known
