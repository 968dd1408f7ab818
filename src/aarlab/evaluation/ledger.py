"""The append-only, hash-chained record of every submission, answer, finding and spend. The source of every figure."""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, Integer, MetaData, String, Table, create_engine, event, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.records import Entry, EntryKind

GENESIS = "0" * 64
_metadata = MetaData()
_entries = Table(
    "entries",
    _metadata,
    Column("seq", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("who", String, nullable=False),
    Column("kind", String, nullable=False, index=True),
    Column("body", String, nullable=False),
    Column("prev", String, nullable=False),
    Column("hash", String, nullable=False, unique=True),
)
_APPEND_ONLY = (
    "CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END",
)


def digest(seq: int, at: str, who: str, kind: str, body: str, prev: str) -> str:
    """SHA-256 over the canonical JSON of an entry's fields."""
    return hashlib.sha256(json.dumps([seq, at, who, kind, body, prev], separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class Draft:
    """An entry that is to be recorded, with the small blobs that it names."""

    kind: EntryKind
    who: str
    body: dict[str, Any]
    blobs: Mapping[str, bytes] = field(default_factory=dict)


class Ledger:
    """One SQLite file in WAL mode, synced at every append; one writer at a time."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._engine = _engine(path)
        with self._engine.begin() as connection:
            connection.execute(CreateTable(_entries, if_not_exists=True))  # another process may be opening it, too
            for index in _entries.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))
            for statement in _APPEND_ONLY:
                connection.execute(text(statement))

    def append(self, kind: EntryKind, who: str, body: dict[str, Any]) -> Entry:
        """Record one entry durably; it is on disk when this returns.

        Raises:
            Transient: the store could not take it (a full disk, say); nothing was recorded.
        """
        at, packed = datetime.now(UTC).isoformat(timespec="milliseconds"), json.dumps(body, sort_keys=True)
        try:
            with self._lock, self._engine.begin() as connection:
                last = _last(connection)
                seq, prev = (last.seq + 1, last.hash) if last else (1, GENESIS)
                hashed = digest(seq, at, who, kind, packed, prev)
                row = {"seq": seq, "at": at, "who": who, "kind": kind, "body": packed, "prev": prev, "hash": hashed}
                connection.execute(_entries.insert().values(row))
        except DBAPIError as error:
            raise Transient(f"Not recorded: the ledger cannot be written ({error.orig}). Try again later.") from error
        return Entry(**(row | {"body": json.loads(packed)}))

    def append_many(self, drafts: Sequence[Draft]) -> list[Entry]:
        made = []
        for d in drafts:
            with self._engine.begin() as connection:
                connection.execute(text("CREATE TABLE IF NOT EXISTS blobs (hash TEXT PRIMARY KEY, data BLOB)"))
                for name, data in d.blobs.items():
                    connection.execute(text("INSERT OR IGNORE INTO blobs VALUES (:h, :d)"), {"h": name, "d": data})
            made.append(self.append(d.kind, d.who, d.body))
        return made

    def blob(self, name: str) -> bytes:
        with self._engine.connect() as connection:
            return connection.execute(text("SELECT data FROM blobs WHERE hash = :h"), {"h": name}).scalar_one()

    def entries(self, kind: EntryKind | None = None, *, after: int = 0) -> list[Entry]:
        """Entries in order, optionally of one kind and after a sequence number."""
        query = select(_entries).where(_entries.c.seq > after).order_by(_entries.c.seq)
        if kind is not None:
            query = query.where(_entries.c.kind == kind)
        with self._engine.connect() as connection:
            return [Entry(**(row._asdict() | {"body": json.loads(row.body)})) for row in connection.execute(query)]

    def verify(self) -> int:
        """Check the whole chain; returns how many entries it has.

        Raises:
            Misconfigured: an entry was changed, removed or inserted; the message names the first.
        """
        prev, expected = GENESIS, 1
        with self._engine.connect() as connection:
            for r in connection.execute(select(_entries).order_by(_entries.c.seq)):
                good = r.seq == expected and r.prev == prev
                if not good or r.hash != digest(r.seq, r.at, r.who, r.kind, r.body, r.prev):
                    raise Misconfigured(f"The ledger's chain breaks at entry {r.seq}: it was rewritten.", seq=r.seq)
                prev, expected = r.hash, expected + 1
        return expected - 1

    def close(self) -> None:
        """Close the store."""
        self._engine.dispose()


def _last(connection: Connection) -> Any:
    return connection.execute(select(_entries.c.seq, _entries.c.hash).order_by(_entries.c.seq.desc()).limit(1)).first()


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, record: Any) -> None:
        del record
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
