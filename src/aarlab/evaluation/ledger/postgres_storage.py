"""A ledger's rows in PostgreSQL, for an evaluator that is apart from its disk.

One appender: a transaction takes the ledger's advisory lock, reads what is new, appends and
commits. The database itself forbids a second row in one place (see migrations). A commit whose
answer was lost is looked up under that lock, which the lost transaction held until it ended: so it
is known whether it was recorded, and nothing is recorded twice.
"""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql

from aarlab.core.errors import Misconfigured
from aarlab.evaluation.ledger.chain import LedgerRow
from aarlab.evaluation.ledger.postgres_schema import ROLE, Connection, loosened, require_schema
from aarlab.evaluation.ledger.storage import StorageFailed, Unsettled, raw

PATIENCE_S = 30.0  # to learn what became of a commit whose answer was lost
AGAIN_S = 0.2  # between two looks
CONNECT_S = 10
PAGE = 2_000  # rows in one query
MAX_IDLE = 5  # connections that are kept for the next use
# of each session: limits in ms. What a frozen appender holds is released after a minute
_OPTIONS = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "role": ROLE,
        "search_path": "pg_catalog",
        "lock_timeout": "30000",
        "statement_timeout": "120000",
        "idle_in_transaction_session_timeout": "60000",
    }.items()
)
_NETWORK = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
# who made a campaign's folder chose the address to which its reader logs in: whoever answers there
# must not be sent the reader's password. PGREQUIREAUTH, the operator's own, decides otherwise
NO_PASSWORD = "!password,!md5"
_COLUMNS = ", ".join(LedgerRow._fields)
_ROWS = f"SELECT {_COLUMNS} FROM aar.entries WHERE log = %s AND seq > %s"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
_ARRAYS = ", ".join(["%s::bigint[]", *["%s::text[]"] * (len(LedgerRow._fields) - 1)])
_INSERT = f"INSERT INTO aar.entries (log, {_COLUMNS}) SELECT %s, * FROM unnest({_ARRAYS})"
_INSERT_BLOBS = (
    "INSERT INTO aar.blobs (log, hash, data) SELECT %s, * FROM unnest(%s::text[], %s::bytea[]) "
    "ON CONFLICT DO NOTHING"
)
GONE = "PostgreSQL does not answer; the operator must bring it back, and nothing is lost"
log = logging.getLogger("aarlab.evaluation")


class PostgresStorage:
    """See `Storage`. `log`: the ledger's name; one database may have many."""

    def __init__(self, url: str, log: str, *, read_only: bool = False) -> None:
        """
        Raises:
            Misconfigured: the database is no place for a ledger, or the login is refused.
            StorageFailed: it does not answer.
        """
        self._url, self._log, self._read_only = url, log, read_only
        self._idle: list[Connection] = []
        self._mutex, self._writer = threading.Lock(), threading.Lock()
        with self._failing(), self._borrowed() as connection:
            require_schema(connection)

    # --- connections ------------------------------------------------------------------------------

    def _connected(self) -> Connection:
        """
        Raises:
            Misconfigured: the login or the database's name is refused.
            psycopg.OperationalError: it does not answer.
        """
        try:
            made = psycopg.connect(
                self._url,
                autocommit=True,
                options=f"{_OPTIONS} -c default_transaction_read_only={self._read_only}",
                application_name=f"aar {self._log}"[:63],
                **_NETWORK,  # pyright: ignore[reportArgumentType]
                **({} if "PGREQUIREAUTH" in os.environ else {"require_auth": NO_PASSWORD}),
            )
        except psycopg.OperationalError as error:
            if "authentication method requirement" in str(error):
                raise Misconfigured(
                    f"The server of the ledger asks for the password itself ({_one_line(error)}), "
                    "and none was sent: whoever made the campaign's folder chose this server. Let "
                    "it take scram-sha-256; or, if it is yours, set PGREQUIREAUTH=password."
                ) from error
            if not _refused(error):
                raise
            raise Misconfigured(
                f"PostgreSQL refuses us ({_one_line(error)}). Correct store, the password in "
                f"PGPASSWORD or PGPASSFILE, or make the login a member of {ROLE}."
            ) from error
        # a database may have it off; on, or a stronger mode, stays
        made.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
        return made

    def _taken(self) -> tuple[Connection, bool]:
        """A connection, and whether it was made just now."""
        with self._mutex:
            if self._idle:
                return self._idle.pop(), False
        return self._connected(), True

    def _put_back(self, connection: Connection) -> None:
        with self._mutex:
            if keep := not connection.closed and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
        if not keep:
            connection.close()

    @contextmanager
    def _borrowed(self) -> Iterator[Connection]:
        """A connection; it is kept for the next use where all went well."""
        connection, _ = self._taken()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._put_back(connection)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """What the driver says names hosts: it stands in the log alone."""
        try:
            yield
        except psycopg.OperationalError as error:
            log.error("The ledger's database: %s", _one_line(error))
            raise StorageFailed(GONE) from error
        except psycopg.Error as error:
            log.error("The ledger's database: %s", _one_line(error))
            raise StorageFailed(f"PostgreSQL refused it: {type(error).__name__}") from error

    # --- reading ----------------------------------------------------------------------------------

    def _read(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """All rows of a query. A connection that the server has closed meanwhile is replaced
        once."""
        with self._failing():
            while True:
                connection, new = self._taken()
                try:
                    found = connection.execute(query.encode(), values).fetchall()
                except psycopg.OperationalError:
                    connection.close()
                    if new:
                        raise
                    self.close()  # the others will be as dead
                    continue
                except psycopg.Error:
                    connection.close()
                    raise
                self._put_back(connection)
                return found

    def rows(
        self, *, after: int = 0, kind: str | None = None, limit: int = -1
    ) -> Iterator[LedgerRow]:
        """See `Storage`. It reads in pages: rows never change."""
        left = limit
        while left:
            size = PAGE if left < 0 else min(PAGE, left)
            some = "" if kind is None else " AND kind = %s"
            values = [self._log, after, *([] if kind is None else [kind]), size]
            page = self._read(f"{_ROWS}{some} ORDER BY seq LIMIT %s", values)
            yield from map(LedgerRow._make, page)
            if len(page) < size:
                return
            after, left = page[-1][0], left - size if left > 0 else left

    def blobs(self, names: Sequence[str] | None = None) -> Iterator[tuple[str, bytes]]:
        """See `Storage`."""
        if names is None:
            found = self._read(
                "SELECT hash FROM aar.blobs WHERE log = %s ORDER BY hash", [self._log]
            )
            names = [name for (name,) in found]
        query = "SELECT hash, data FROM aar.blobs WHERE log = %s AND hash = ANY(%s)"
        for at in range(0, len(names), PAGE // 4):
            some = self._read(query, [self._log, list(names[at : at + PAGE // 4])])
            yield from ((name, bytes(data)) for name, data in some)

    def digest(self, size: int) -> "hashlib._Hash | None":
        """See `Storage`."""
        digest, count = hashlib.sha256(), 0
        for row in self.rows(limit=size):
            digest.update(raw(row))
            count += 1
        return digest if count == size else None

    def unsound(self) -> str | None:
        """See `Storage`: whether the database still forbids changes."""
        with self._failing(), self._borrowed() as connection:
            return loosened(connection)

    # --- appending --------------------------------------------------------------------------------

    @contextmanager
    def appending(self) -> Iterator["_Appending"]:
        """See `Storage`."""
        with self._writer, self._failing():
            connection = self._begun()
            made = _Appending(connection, self._log)
            try:
                yield made
                self._commit(connection, made.last)
            finally:
                if not connection.closed and connection.info.transaction_status:
                    with suppress(psycopg.Error):
                        connection.execute("ROLLBACK")
                self._put_back(connection)

    def _begun(self) -> Connection:
        """A connection in a transaction that holds the ledger's lock. One that the server has
        closed meanwhile is replaced once: nothing was sent on it."""
        connection, new = self._taken()
        try:
            self._lock(connection)
        except psycopg.OperationalError:
            connection.close()
            if new:
                raise
            self.close()
            connection = self._connected()
            self._lock(connection)
        return connection

    def _lock(self, connection: Connection) -> None:
        """Begin and lock in one round trip."""
        lock = sql.SQL("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended({}, 0))")
        try:
            connection.execute(lock.format(sql.Literal(self._log)))
        except psycopg.Error:
            connection.close()
            raise

    def _commit(self, connection: Connection, last: LedgerRow | None) -> None:
        try:
            connection.execute("COMMIT", prepare=False)  # its text is on the wire each time
        except psycopg.OperationalError as error:
            log.error("A commit of %s has no answer: %s", self._log, _one_line(error))
            connection.close()
            if last is not None and not self._recorded(last):
                raise

    def _recorded(self, last: LedgerRow) -> bool:
        """Was the transaction that ended with this row recorded? Asked under the lock, once that
        transaction has ended."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                with self._connected() as connection, connection.transaction():
                    connection.execute(_LOCK, (self._log,))
                    found = connection.execute(
                        "SELECT hash FROM aar.entries WHERE log = %s AND seq = %s",
                        (self._log, last.seq),
                    ).fetchone()
                    return found == (last.hash,)
            except (psycopg.OperationalError, Misconfigured) as error:
                if time.monotonic() > until:
                    raise Unsettled(GONE) from error
                time.sleep(AGAIN_S)

    def close(self) -> None:
        """See `Storage`."""
        with self._mutex:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class _Appending:
    """See `Appending`. `last`: the last row that was added."""

    def __init__(self, connection: Connection, log: str) -> None:
        self._connection, self._log = connection, log
        self.last: LedgerRow | None = None

    def rows(self, after: int) -> Iterator[LedgerRow]:
        query = f"{_ROWS} ORDER BY seq".encode()
        return map(LedgerRow._make, self._connection.execute(query, (self._log, after)))

    def add(self, rows: Sequence[LedgerRow], blobs: Mapping[str, bytes]) -> None:
        if blobs:
            values = (self._log, list(blobs), list(blobs.values()))
            self._connection.execute(_INSERT_BLOBS, values)
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            self._connection.execute(_INSERT.encode(), (self._log, *columns))
            self.last = rows[-1]


def _refused(error: psycopg.OperationalError) -> bool:
    """Did the server answer, and refuse the login, the role or the database? libpq gives such
    errors no code."""
    words = str(error)
    return "FATAL" in words and any(
        said in words
        for said in ("authentication failed", "no password", "does not exist", "permission denied",
                     "no pg_hba.conf entry")
    )  # fmt: skip


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
