"""Where the rows and blobs of a ledger lie: the contract of its stores.

A store keeps rows as they are given and never changes one. It knows no entry, chain or tree: the
ledger makes each row follow the one before, and verifies so. A store that other processes can write
to forbids two rows in one place by itself.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from aarlab.evaluation.ledger.chain import LedgerRow


class StorageFailed(Exception):
    """The store could not do it, and nothing was recorded. The text may reach submitters: it names
    no host and no path beyond what SQLite says."""


class Unsettled(StorageFailed):
    """The connection was lost during a commit, and the store was not back in time: nobody knows
    whether it was recorded."""


class Appending(Protocol):
    """A transaction that appends; nobody else appends meanwhile."""

    def rows(self, after: int) -> Iterable[LedgerRow]:
        """The rows with a number above `after`, in order."""
        ...

    def add(self, rows: Sequence[LedgerRow], blobs: Mapping[str, bytes]) -> None:
        """Record rows, and blobs by name; a blob that is there already is left as it is."""
        ...


class Storage(Protocol):
    """A ledger's store. Every method may be called from several threads, and raises StorageFailed
    where the store cannot do it."""

    def rows(
        self, *, after: int = 0, kind: str | None = None, limit: int = -1
    ) -> Iterator[LedgerRow]:
        """Rows in order, optionally of one kind, with a number above `after`, up to `limit` of them
        (-1: all)."""
        ...

    def blobs(self, names: Sequence[str] | None = None) -> Iterator[tuple[str, bytes]]:
        """The blobs of these names that are there, or all."""
        ...

    def digest(self, size: int) -> "hashlib._Hash | None":
        """SHA-256 of all that the first `size` rows hold (see `raw`); None where there are
        fewer."""
        ...

    def appending(self) -> AbstractContextManager[Appending]:
        """A context whose rows are all recorded durably at its end; none, if it raises anything.

        Raises:
            Unsettled: see there.
        """
        ...

    def unsound(self) -> str | None:
        """What the store finds wrong with itself, as text; None if nothing."""
        ...

    def close(self) -> None:
        """Close its connections. A store that is used again opens new ones."""
        ...


def raw(row: LedgerRow) -> bytes:
    """A row as bytes that no two rows share: JSON and hexadecimal digits have no such
    separators."""
    return raw_bytes("\x1f".join("\x1e" if field is None else str(field) for field in row))


def raw_bytes(text: str) -> bytes:
    """The same of a row that the store joined by itself."""
    return f"{text}\n".encode(errors="surrogatepass")
