"""A ledger's rows in one SQLite file, with a write-ahead log and synced at every commit: the
default."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from aarlab.core.store import Connection, Store, StoreError, opened_to_read, unsound
from aarlab.evaluation.ledger.chain import LedgerRow
from aarlab.evaluation.ledger.storage import StorageFailed, raw_bytes

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS entries (
        seq INTEGER NOT NULL PRIMARY KEY, at VARCHAR NOT NULL, who VARCHAR NOT NULL,
        kind VARCHAR NOT NULL, body VARCHAR NOT NULL, prev VARCHAR NOT NULL,
        hash VARCHAR NOT NULL UNIQUE, hidden VARCHAR, salt VARCHAR)""",
    "CREATE INDEX IF NOT EXISTS ix_entries_kind ON entries (kind)",
    "CREATE TABLE IF NOT EXISTS blobs (hash VARCHAR NOT NULL PRIMARY KEY, data BLOB NOT NULL)",
)
# columns that a ledger of before there were salts lacks; null in its rows
_SINCE = ("hidden", "salt")
_APPEND_ONLY = tuple(
    f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE {act} ON {table} BEGIN SELECT RAISE(ABORT, "
    "'append-only'); END"
    for table, prefix in (("entries", "no"), ("blobs", "blobs_no"))
    for act, name in (("UPDATE", f"{prefix}_update"), ("DELETE", f"{prefix}_delete"))
)
_INSERT = f"INSERT INTO entries VALUES ({', '.join('?' * len(LedgerRow._fields))})"
_INSERT_BLOB = "INSERT INTO blobs VALUES (?, ?) ON CONFLICT DO NOTHING"
_BLOBS = "SELECT hash, CAST(data AS BLOB) FROM blobs"
_AFTER = "SELECT * FROM entries WHERE seq > ? ORDER BY seq"
_SOME = "SELECT * FROM entries WHERE seq > ? ORDER BY seq LIMIT ?"
_SOME_OF = "SELECT * FROM entries WHERE kind = ? AND seq > ? ORDER BY seq LIMIT ?"
# as `storage.raw` makes it of a row
_RAW = "SELECT {} FROM entries WHERE seq <= ? ORDER BY seq".format(
    " || char(31) || ".join(
        f"ifnull({name}, char(30))" if name in _SINCE else name for name in LedgerRow._fields
    )
)
AT_ONCE = 500  # names in one query


class SqliteStorage:
    """See `Storage`. `read_only`: for who looks on while another process writes. `lenient`: text
    that is no UTF-8 any more is replaced, so that it is found and reported."""

    def __init__(self, path: Path, *, read_only: bool = False, lenient: bool = False) -> None:
        """Nothing is opened before it is used, unless the file is to be written."""
        self._path, self._lenient = path, lenient
        self._store = Store(path, read_only=read_only)
        if not read_only:
            with _failing():
                self._create()

    def _create(self) -> None:
        with self._store.writing() as connection:  # another process may be opening it, too
            for statement in _SCHEMA:
                connection.execute(statement)
            here = {column["name"] for column in connection.execute("PRAGMA table_info(entries)")}
            for name in _SINCE:
                if name not in here:
                    connection.execute(f"ALTER TABLE entries ADD COLUMN {name} VARCHAR")
            for statement in _APPEND_ONLY:
                connection.execute(statement)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _failing():
            if self._lenient:
                with closing(opened_to_read(self._path)) as connection:
                    yield connection
            else:
                with self._store.reading() as connection:
                    yield connection

    def rows(
        self, *, after: int = 0, kind: str | None = None, limit: int = -1
    ) -> Iterator[LedgerRow]:
        """See `Storage`."""
        with self._reading() as connection:
            found = (
                connection.execute(_SOME, (after, limit))
                if kind is None
                else connection.execute(_SOME_OF, (kind, after, limit))
            )
            for row in found:
                yield LedgerRow(*row)

    def blobs(self, names: Sequence[str] | None = None) -> Iterator[tuple[str, bytes]]:
        """See `Storage`."""
        with self._reading() as connection:
            if names is None:
                yield from map(tuple, connection.execute(_BLOBS))
                return
            for at in range(0, len(names), AT_ONCE):
                some = list(names[at : at + AT_ONCE])
                marks = ", ".join("?" * len(some))
                found = connection.execute(f"{_BLOBS} WHERE hash IN ({marks})", some)
                yield from map(tuple, found)

    def digest(self, size: int) -> "hashlib._Hash | None":
        """See `Storage`."""
        digest, count = hashlib.sha256(), 0
        with self._reading() as connection:
            for (text,) in connection.execute(_RAW, (size,)):
                digest.update(raw_bytes(text))
                count += 1
        return digest if count == size else None

    @contextmanager
    def appending(self) -> Iterator["_Appending"]:
        """See `Storage`."""
        with _failing(), self._store.writing() as connection:
            yield _Appending(connection)

    def unsound(self) -> str | None:
        """See `Storage`."""
        return unsound(self._path)

    def close(self) -> None:
        """See `Storage`."""
        self._store.close()


class _Appending:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, after: int) -> Iterator[LedgerRow]:
        return (LedgerRow(*row) for row in self._connection.execute(_AFTER, (after,)))

    def add(self, rows: Sequence[LedgerRow], blobs: Mapping[str, bytes]) -> None:
        self._connection.executemany(_INSERT, rows)
        if blobs:
            self._connection.executemany(_INSERT_BLOB, list(blobs.items()))


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise StorageFailed(str(error)) from error
