"""What is read often is kept: a view of a record that reads only what was recorded since it was
last asked."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, ClassVar, Protocol

from aarlab.core.records import Entry

PAGE = 1_000  # entries that are in memory at a time


class EntrySource(Protocol):
    """Where entries are read: the ledger, or in the lab's process what may be released of it."""

    def entries(self, *, after: int = 0, limit: int = -1) -> Sequence[Entry]:
        """Up to `limit` entries (-1: all) with a number above `after`, in order."""


class View:
    """Base of such views: `_take` is called once for every entry, in order, with the lock held."""

    LIVE: ClassVar[frozenset[str]] = frozenset({"_record", "_lock"})  # what is never kept

    def __init__(self, record: EntrySource) -> None:
        self._record, self._seq, self._lock = record, 0, threading.Lock()

    def _take(self, entry: Entry) -> None:
        raise NotImplementedError

    def kept(self) -> dict[str, Any]:
        """All that it holds now, to be resumed by the next process with `resume`."""
        with self._current():
            return {name: copy(v) for name, v in vars(self).items() if name not in self.LIVE}

    def resume(self, kept: Mapping[str, Any]) -> None:
        """Hold what an earlier process held."""
        with self._lock:
            vars(self).update(kept)

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Inside, the view holds all that is recorded, and nobody else changes it."""
        with self._lock:
            while page := self._record.entries(after=self._seq, limit=PAGE):
                for entry in page:
                    self._take(entry)
                    self._seq = entry.seq
                if len(page) < PAGE:
                    break
            yield
