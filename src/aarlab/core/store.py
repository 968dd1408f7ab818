"""SQLite as every store of aarlab uses it: several processes and threads at once, synced to disk at
every commit."""

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from aarlab.core.held_folder import HeldFolder

PATIENCE_S = 30.0  # for a lock that another process holds
MAX_IDLE = 5  # connections that are kept for the next use
# 4 kB pages of the write-ahead log after which a commit moves them into the file, which makes it
# several times as long; SQLite's own 1,000 are one commit in thirty of a busy server
LOG_PAGES = 4_000

Connection = sqlite3.Connection
StoredRow = sqlite3.Row
StoreError = sqlite3.Error
# a lock, a full disk: it may go well next time. Others: the file is damaged
NotNow = sqlite3.OperationalError


def connect(path: Path, *, write_ahead: bool = True, read_only: bool = False) -> Connection:
    """A connection in autocommit, whose rows are found by place and by name: a statement is a
    transaction of its own, unless it stands in one (see `transaction`).

    Raises:
        NotNow: the file cannot be opened, or another process held it for PATIENCE_S.
        StoreError: it is no database.
    """
    where = f"{path.absolute().as_uri()}?mode={_to_read(path) if read_only else 'rwc'}"
    made = sqlite3.connect(
        where, uri=True, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False
    )
    made.row_factory = sqlite3.Row
    try:
        if not read_only:
            if write_ahead:
                _write_ahead(made)
            made.execute("PRAGMA synchronous=FULL")
            made.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
    except sqlite3.Error:
        made.close()
        raise
    return made


def _to_read(path: Path) -> str:
    """How a file is opened to be read. Where nothing can be written beside it (an archive, a
    read-only disk) SQLite cannot make the index that readers of a write-ahead log share: a flag
    says that the file does not change, if there is no such log."""
    log = _log(path)
    unwritten = log.exists() and log.stat().st_size
    return "ro" if unwritten or not only_readable(path) else "ro&immutable=1"


def only_readable(path: Path) -> bool:
    """Is there this file, in a folder in which nothing can be written?"""
    return path.is_file() and not os.access(path.parent, os.W_OK)


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


@contextmanager
def writable(path: Path) -> Iterator[Path]:
    """The file; or where nothing can be written beside it, a copy of it for as long as the block
    lasts."""
    if not only_readable(path):
        yield path
        return
    with HeldFolder() as held:
        for file in (path, _log(path)):
            if file.exists():
                shutil.copyfile(file, held.path / file.name)
        yield held.path / path.name


def _write_ahead(connection: Connection) -> None:
    """Switch to the write-ahead log. SQLite does not wait for others there, so those who open a new
    file at once must."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


@contextmanager
def transaction(connection: Connection) -> Iterator[Connection]:
    """All of the block or, if it raises anything, nothing; it holds the write lock from its
    beginning."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # a disk error has rolled it back already
                connection.execute("ROLLBACK")


class Store:
    """One SQLite file with a write-ahead log. Threads of this process write in turns; readers wait
    for nobody.

    Errors of SQLite pass through: each store says in its own words what could not be done.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Nothing is opened before it is used. `read_only`: for who looks on while another process
        writes."""
        self._path, self._read_only = path, read_only
        self._idle: list[Connection] = []
        self._mutex, self._writer = threading.Lock(), threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read from; each SELECT sees one moment."""
        with self._mutex:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = connect(self._path, read_only=self._read_only)
        broken = False
        try:
            yield connection
        except sqlite3.Error:
            broken = True
            raise
        finally:
            with self._mutex:
                if keep := not broken and len(self._idle) < MAX_IDLE:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that holds the write lock; see `transaction`."""
        with self._writer, self.reading() as connection, transaction(connection):
            yield connection

    def close(self) -> None:
        """Close the connections that are idle. A store that is used again opens new ones."""
        with self._mutex:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        if idle and not self._read_only:
            _leave_write_ahead(self._path)


def _leave_write_ahead(path: Path) -> None:
    """Make it one plain file, which can be copied, and read where nothing can be written; unless
    somebody has it open."""
    with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=0)) as last:
        last.execute("PRAGMA journal_mode=DELETE")


def opened_to_read(path: Path) -> Connection:
    """A plain connection that changes nothing. Text that is no UTF-8 any more is replaced, so that
    it is found and reported."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={_to_read(path)}", uri=True, timeout=PATIENCE_S
    )
    connection.text_factory = lambda data: data.decode(errors="replace")
    return connection


def unsound(path: Path) -> str | None:
    """What SQLite finds wrong with a file's pages, indices and types, in its words; None if
    nothing."""
    try:
        with closing(opened_to_read(path)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == ["ok"] else "; ".join(found)
