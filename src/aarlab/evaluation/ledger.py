"""The append-only, hash-chained record of every submission, answer, finding and spend. The source of every figure."""

import hashlib
import json
import threading
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Column, Connection, Integer, LargeBinary, MetaData, String, Table, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.records import Entry, EntryKind
from aarlab.evaluation.chain import GENESIS, Row, canonical, walk
from aarlab.evaluation.checkpoints import Checkpoints, Keeper
from aarlab.evaluation.group import GroupCommit
from aarlab.evaluation.merkle import Tree, leaf_hash
from aarlab.evaluation.store import open_store

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
_blobs = Table("blobs", _metadata, Column("hash", String, primary_key=True), Column("data", LargeBinary, nullable=False))
_APPEND_ONLY = tuple(
    f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE {act} ON {table} BEGIN SELECT RAISE(ABORT, 'append-only'); END"
    for table, prefix in (("entries", "no"), ("blobs", "blobs_no"))
    for act, name in (("UPDATE", f"{prefix}_update"), ("DELETE", f"{prefix}_delete"))
)
_INSERT = f"INSERT INTO entries VALUES ({', '.join('?' * len(_entries.columns))})"  # to compile these takes longer than they do
_INSERT_BLOB = "INSERT INTO blobs VALUES (?, ?) ON CONFLICT DO NOTHING"
_AFTER = "SELECT * FROM entries WHERE seq > ? ORDER BY seq"
_IN_ORDER = select(_entries).order_by(_entries.c.seq)

_Placed = tuple[Entry, Row, bytes]  # with the leaf's hash


@dataclass(frozen=True)
class Draft:
    """An entry that is to be recorded, with the small blobs (by their SHA-256) that it names."""

    kind: EntryKind
    who: str
    body: dict[str, Any]
    blobs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class _Ready:
    """A draft that can be recorded: all but its place in the chain."""

    entry: Entry
    packed: str
    blobs: Mapping[str, bytes]

    def placed(self, seq: int, at: str, prev: str) -> _Placed:
        text = canonical(seq, at, self.entry.who, self.entry.kind, self.packed, prev)
        place = {"seq": seq, "at": at, "prev": prev, "hash": hashlib.sha256(text).hexdigest()}
        entry = self.entry.model_copy(update=place)
        return entry, Row(seq, at, entry.who, entry.kind, self.packed, prev, entry.hash), leaf_hash(text)


class Ledger:
    """One SQLite file in WAL mode, synced at every commit; what many threads append at the same moment is one commit.

    Entries are kept in memory, parsed: do not change their bodies. With checkpoints, what was recorded is signed from time to
    time (see `Keeper`), outside the file. `read_only`: for who looks on while another process writes.

    Raises:
        Misconfigured: the entries no longer fit the newest checkpoint.
    """

    def __init__(self, path: Path, checkpoints: Checkpoints | None = None, *, read_only: bool = False) -> None:
        self._engine = open_store(path, read_only=read_only)
        if not read_only:
            self._create()
        self._mutex = threading.Lock()  # guards what is in memory
        self._all: list[Entry] = []
        self._by_kind: dict[str, list[Entry]] = {}
        self._tree = Tree()
        self._group: GroupCommit[Sequence[_Ready], list[Entry]] = GroupCommit(self._commit)
        self._checkpoints = checkpoints
        self._keeper = self._kept(checkpoints) if checkpoints else None

    def _create(self) -> None:
        with self._engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # another process may be opening it, too
            for table in _metadata.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))
            for statement in _APPEND_ONLY:
                connection.exec_driver_sql(statement)

    def _kept(self, checkpoints: Checkpoints) -> Keeper:
        last = max(checkpoints.all(), key=lambda c: c.size, default=None)
        size = self.count()
        if last is not None and (last.size > size or self._tree.root(last.size) != last.root):
            raise Misconfigured(
                f"The ledger no longer fits its checkpoint of {last.size} entries. Run `aar ledger verify`; restore a copy.",
                size=last.size,
            )
        keeper = Keeper(checkpoints, self.head)
        keeper.grew(size)
        return keeper

    # --- writing ------------------------------------------------------------------------------------------------------

    def append(self, kind: EntryKind, who: str, body: dict[str, Any]) -> Entry:
        """Record one entry durably; it is on disk when this returns.

        Raises:
            Transient: the store could not take it (a full disk, say); nothing was recorded.
            InvalidSubmission: it is not plain JSON.
        """
        return self.append_many([Draft(kind, who, body)])[0]

    def append_many(self, drafts: Sequence[Draft]) -> list[Entry]:
        """Record entries and their blobs together, all or none; as `append`."""
        ready = [_ready(draft) for draft in drafts]
        return self._group.do(ready) if ready else []

    def _commit(self, batch: Sequence[Sequence[_Ready]]) -> list[list[Entry]]:
        """One transaction for the whole batch."""
        try:
            with self._engine.begin() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                with self._mutex:
                    self._catch_up(connection)
                    seq, prev = (self._all[-1].seq, self._all[-1].hash) if self._all else (0, GENESIS)
                made = _placed([ready for group in batch for ready in group], seq, prev)
                connection.exec_driver_sql(_INSERT, [tuple(row) for _, row, _ in made])
                blobs = {name: data for group in batch for ready in group for name, data in ready.blobs.items()}
                if blobs:
                    connection.exec_driver_sql(_INSERT_BLOB, list(blobs.items()))
        except DBAPIError as error:
            raise Transient(f"Not recorded: the ledger cannot be written ({error.orig}). Try again later.") from error
        with self._mutex:
            self._take(made)
        if self._keeper:
            self._keeper.grew(made[-1][0].seq)
        entries = iter([entry for entry, _, _ in made])
        return [[next(entries) for _ in group] for group in batch]

    # --- reading ------------------------------------------------------------------------------------------------------

    def entries(self, kind: EntryKind | None = None, *, after: int = 0) -> list[Entry]:
        """Entries in order, optionally of one kind and after a sequence number; another process's, too."""
        with self._mutex:
            found = self._up_to_date(kind)
            return found[bisect_right(found, after, key=lambda e: e.seq) :]

    def count(self, kind: EntryKind | None = None) -> int:
        """How many entries there are, optionally of one kind."""
        with self._mutex:
            return len(self._up_to_date(kind))

    def head(self) -> tuple[int, bytes]:
        """Size and Merkle root (32 bytes) of what this process has taken up; see `merkle`."""
        with self._mutex:
            return self._tree.size, self._tree.root()

    def blob(self, name: str) -> bytes:
        """The bytes of a blob that was recorded with an entry.

        Raises:
            InvalidSubmission: there is none of that name.
            Misconfigured: what is stored has another hash; somebody changed it.
        """
        with self._engine.connect() as connection:
            data = connection.execute(select(_blobs.c.data).where(_blobs.c.hash == name)).scalar_one_or_none()
        if data is None:
            raise InvalidSubmission(f"There is no blob '{name[:80]}'.", name=name)
        if hashlib.sha256(data).hexdigest() != name:
            raise Misconfigured(f"The blob {name} was changed in the ledger. Restore it from a backup.", name=name)
        return data

    def _up_to_date(self, kind: EntryKind | None) -> list[Entry]:
        try:
            with self._engine.connect() as connection:
                self._catch_up(connection)
        except DBAPIError as error:
            raise Transient(f"The ledger cannot be read ({error.orig}). Try again later.") from error
        return self._all if kind is None else self._by_kind.get(kind, [])

    def _catch_up(self, connection: Connection) -> None:
        """Take up what was recorded since, here or in another process. Under the mutex."""
        last = self._all[-1].seq if self._all else 0
        rows = connection.exec_driver_sql(_AFTER, (last,)).all()
        self._take((_entry(row), Row(*row), leaf_hash(canonical(*row[:-1]))) for row in rows)

    def _take(self, made: Iterable[_Placed]) -> None:
        last = self._all[-1].seq if self._all else 0
        for entry, _, leaf in made:
            if entry.seq > last:  # else a reader was faster
                self._all.append(entry)
                self._by_kind.setdefault(entry.kind, []).append(entry)
                self._tree.append(leaf)

    # --- checking -----------------------------------------------------------------------------------------------------

    def verify(self) -> int:
        """Check the whole chain on disk, and every checkpoint if there are any; returns how many entries it has.

        Raises:
            Misconfigured: an entry was changed, removed or inserted; the message names the first.
        """
        checkpoints = self._checkpoints.all() if self._checkpoints else []
        with self._engine.connect() as connection:
            tree, broken = walk(Row(*row) for row in connection.execute(_IN_ORDER))
        if broken:
            raise Misconfigured(str(broken), seq=broken.seq)
        for checkpoint in checkpoints:
            if checkpoint.size > tree.size or tree.root(checkpoint.size) != checkpoint.root:
                raise Misconfigured(
                    f"The ledger does not fit its checkpoint of {checkpoint.size} entries.", size=checkpoint.size
                )
        return tree.size

    def close(self) -> None:
        """Sign what no checkpoint covers, and close the store.

        Raises:
            Transient, Misconfigured: the last checkpoint cannot be written; the entries are recorded.
        """
        try:
            if self._keeper:
                self._keeper.close()
        finally:
            self._engine.dispose()


def open_ledger(campaign: Path) -> Ledger:
    """The ledger of a campaign's folder, with its checkpoints beside the database: checkpoints/checkpoints.txt and key.pub.

    Raises:
        Misconfigured: the entries no longer fit the newest checkpoint, or the key does not.
    """
    server = campaign / "server"
    server.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(campaign / "checkpoints", server / "checkpoint.key", f"aarlab/{campaign.name}")
    return Ledger(server / "ledger.sqlite", checkpoints)


def _ready(draft: Draft) -> _Ready:
    """A draft, checked in its caller's thread, so that a bad one spoils nobody else's commit."""
    try:
        packed = json.dumps(draft.body, sort_keys=True, allow_nan=False)
        body = json.loads(packed)
        entry = Entry(seq=0, at="", who=draft.who, kind=draft.kind, body=body, prev="", hash="")
        named = all(hashlib.sha256(data).hexdigest() == name and name in packed for name, data in draft.blobs.items())
    except (TypeError, ValueError, RecursionError, ValidationError) as error:
        raise InvalidSubmission(f"Not recorded: {error}. An entry is plain JSON without NaN.") from error
    if not named:
        raise InvalidSubmission("Not recorded: a blob's name is its SHA-256, and the entry names it.")
    return _Ready(entry, packed, draft.blobs)


def _placed(ready: Sequence[_Ready], seq: int, prev: str) -> list[_Placed]:
    """Each in its place after entry `seq` of hash `prev`."""
    at, made = datetime.now(UTC).isoformat(timespec="milliseconds"), []
    for number, one in enumerate(ready, start=seq + 1):
        made.append(one.placed(number, at, prev))
        prev = made[-1][0].hash
    return made


def _entry(row: Any) -> Entry:
    try:
        return Entry(**(row._asdict() | {"body": json.loads(row.body)}))
    except (ValueError, TypeError) as error:
        raise Misconfigured(
            f"The ledger's entry {row.seq} cannot be read: it was rewritten. Run `aar ledger verify`."
        ) from error
