"""What the supervisor and the gateway must not forget: lives, spends, events for the ledger, and calls that are under way.

One SQLite file (write-ahead log, synced at every commit), opened by both processes at once; every method is one short
transaction. Rows wait here until they are posted to the ledger, where a row's id makes posting it twice the same as once.

A model call is opened, with what it reserves, before it is sent, and settled once with what it took. One that a dead gateway
left open is settled by `recover` with what had been noted, as interrupted: that money has left, so it is charged to who asked.
Where not even the start of an answer was noted, nobody knows whether it cost anything: it is recorded as interrupted with no
dollars, and costs the researcher nothing, since it was ours that failed.
"""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from aarlab.core.budget import Budget, Spent
from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.sqlite import PATIENCE_S, write_ahead
from aarlab.gateway.admission import Account, Admission, Go, InFlight, Reserve, decide

_POSTED, _REFUSED = 1, 2
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS journal (name TEXT NOT NULL)",  # in every row's id: a new journal's are new ids
    "CREATE TABLE IF NOT EXISTS lives (who TEXT PRIMARY KEY, incarnation INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS totals (who TEXT PRIMARY KEY, wall_s REAL NOT NULL DEFAULT 0, cpu_s REAL NOT NULL DEFAULT 0,"
    " tokens INTEGER NOT NULL DEFAULT 0, usd REAL NOT NULL DEFAULT 0)",
    "CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, who TEXT NOT NULL,"
    " body TEXT NOT NULL, posted INTEGER NOT NULL DEFAULT 0)",
    "CREATE INDEX IF NOT EXISTS unposted ON outbox (seq) WHERE NOT posted",
    f"CREATE INDEX IF NOT EXISTS refused ON outbox (posted) WHERE posted = {_REFUSED}",
    "CREATE TABLE IF NOT EXISTS calls (call INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT NOT NULL, model TEXT NOT NULL,"
    " tokens INTEGER NOT NULL, usd REAL NOT NULL, known TEXT)",
    "CREATE TABLE IF NOT EXISTS health (who TEXT PRIMARY KEY, last_call REAL NOT NULL, failing_since REAL)",
)


@dataclass(frozen=True)
class Row:
    """Something for the ledger. `body` is what the server's entry of that kind takes."""

    id: str
    kind: Literal["researcher", "campaign", "spend"]
    who: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Taken:
    """What a call took, as far as is known: tokens by kind, and dollars by list price."""

    input_tokens: int  # neither written to nor read from a cache
    cache_write_tokens: int
    cache_read_tokens: int
    output_tokens: int
    usd: float

    @property
    def tokens(self) -> int:
        """Of all kinds."""
        return self.input_tokens + self.cache_write_tokens + self.cache_read_tokens + self.output_tokens


class Journal:
    """One campaign's journal. May be used from several threads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._mutex = threading.Lock()
        self._db = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        try:
            write_ahead(self._db)
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise Misconfigured(f"{path} cannot be used as the journal ({error}). Restore it from a copy.") from error
        self._db.execute("PRAGMA synchronous=FULL")
        with self._transaction() as db:
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute("INSERT INTO journal SELECT ? WHERE NOT EXISTS (SELECT 1 FROM journal)", [secrets.token_hex(4)])
            self._name: str = db.execute("SELECT name FROM journal").fetchone()["name"]

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing.

        Raises:
            Transient: the other process held the journal too long, or the disk is full.
        """
        with self._mutex:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise Transient(f"The journal could not be written ({error}). Try again.") from error
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _read(self, query: str, *values: Any) -> Any:
        """The first row, or None. A single SELECT is a transaction of its own and waits for no writer."""
        with self._reading() as db:
            return db.execute(query, values).fetchone()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Raises Transient where the file cannot be read now."""
        with self._mutex:
            try:
                yield self._db
            except sqlite3.OperationalError as error:
                raise Transient(f"The journal could not be read ({error}). Try again.") from error

    # --- lives ---------------------------------------------------------------------------------------------------------

    def begin(self, who: str) -> int:
        """The number of this researcher's next life, from 1; no two callers get the same."""
        with self._transaction() as db:
            db.execute("INSERT INTO lives VALUES (?, 1) ON CONFLICT (who) DO UPDATE SET incarnation = incarnation + 1", [who])
            return db.execute("SELECT incarnation FROM lives WHERE who = ?", [who]).fetchone()[0]

    def incarnation(self, who: str) -> int:
        """The number of its latest life; 0 before the first."""
        row = self._read("SELECT incarnation FROM lives WHERE who = ?", who)
        return row[0] if row else 0

    # --- what was spent ------------------------------------------------------------------------------------------------

    def charge(self, who: str, *, wall_s: float, cpu_s: float, usd: float | None) -> None:
        """What the machine cost since the last charge; dollars are None where it has no price."""
        with self._transaction() as db:
            _add(db, who, Spent(wall_s=wall_s, cpu_s=cpu_s, usd=usd or 0.0))
            _put(db, "spend", who, {"wall_s": wall_s, "cpu_s": cpu_s, "usd": usd})

    def spent(self, who: str | None) -> Spent:
        """By one researcher, or (None) by all of the campaign together."""
        with self._reading() as db:
            return _spent(db, who)

    # --- rows for the ledger -------------------------------------------------------------------------------------------

    def note(self, kind: Literal["researcher", "campaign"], who: str, body: dict[str, Any]) -> str:
        """Keep an event for the ledger; its row's id."""
        with self._transaction() as db:
            return self._id(_put(db, kind, who, body))

    def unposted(self, limit: int) -> list[Row]:
        """The oldest rows that are not known to be in the ledger, in order."""
        with self._reading() as db:
            rows = db.execute("SELECT * FROM outbox WHERE NOT posted ORDER BY seq LIMIT ?", [limit]).fetchall()
        return [Row(self._id(r["seq"]), r["kind"], r["who"], json.loads(r["body"])) for r in rows]

    def posted(self, ids: Iterable[str], *, refused: bool = False) -> None:
        """These rows are in the ledger, or were refused for what is in them: they are not to be sent again."""
        mark = _REFUSED if refused else _POSTED
        if marked := [[mark, int(i.rpartition("-")[2])] for i in ids]:
            with self._transaction() as db:
                db.executemany("UPDATE outbox SET posted = ? WHERE seq = ?", marked)

    def refused(self) -> int:
        """How many rows the ledger refused."""
        return self._read(f"SELECT count(*) FROM outbox WHERE posted = {_REFUSED}")[0]

    def _id(self, seq: int) -> str:
        return f"{self._name}-{seq:06d}"

    # --- model calls ---------------------------------------------------------------------------------------------------

    def open(self, who: str, model: str, reserve: Reserve, *, researcher: Budget, campaign: Budget) -> Admission:
        """Decide by both budgets whether a call may be sent; if so it is open from here on."""
        with self._transaction() as db:
            mine = Account(who, researcher, _spent(db, who), _in_flight(db, who))
            everybodys = Account("the campaign", campaign, _spent(db, None), _in_flight(db, None))
            refusal = decide(reserve, mine, everybodys)
            if refusal is not None:
                return refusal
            values = [who, model, reserve.tokens, reserve.usd]
            made = db.execute("INSERT INTO calls (who, model, tokens, usd) VALUES (?, ?, ?, ?)", values)
            _called(db, who)
            assert made.lastrowid is not None
            return Go(made.lastrowid)

    def in_flight(self, who: str | None) -> InFlight:
        """The open calls of one researcher, or (None) of all."""
        with self._reading() as db:
            return _in_flight(db, who)

    def progress(self, call: int, taken: Taken) -> None:
        """What is known so far of what an open call takes."""
        with self._transaction() as db:
            db.execute("UPDATE calls SET known = ? WHERE call = ?", [json.dumps(asdict(taken)), call])

    def settle(self, call: int, taken: Taken, *, interrupted: bool = False, failed: bool = False) -> None:
        """The call is over and took that much. Settling it again changes nothing. `failed`: what was cut off was ours or the
        provider's doing, not the client's."""
        with self._transaction() as db:
            row = _closed(db, call)
            if row is not None:
                _record(db, row, taken, taken.usd, interrupted=interrupted)
                _healthy(db, row["who"], not failed)

    def fail(self, call: int) -> None:
        """The call got no answer, or one that says that the provider could not: it cost nothing and is no result."""
        with self._transaction() as db:
            row = _closed(db, call)
            if row is not None:
                _healthy(db, row["who"], False)

    def drop(self, call: int) -> None:
        """The call was refused for what it asked (400, 403, 404): it cost nothing, and nothing of ours is broken."""
        with self._transaction() as db:
            _closed(db, call)

    def recover(self) -> int:
        """Settle, as interrupted, what a dead gateway left open; how many those were. For the gateway's start alone."""
        with self._transaction() as db:
            rows = db.execute("SELECT * FROM calls ORDER BY call").fetchall()
            for row in rows:
                _closed(db, row["call"])
                known = Taken(**json.loads(row["known"])) if row["known"] else None
                _record(db, row, known or Taken(0, 0, 0, 0, 0.0), known and known.usd, interrupted=True)
            return len(rows)

    def failing_since(self, who: str) -> float | None:
        """Seconds since 1970 at which its model calls began to fail for the provider's sake; None if the last went well."""
        row = self._read("SELECT failing_since FROM health WHERE who = ?", who)
        return row[0] if row else None

    def last_call(self, who: str) -> float | None:
        """Seconds since 1970 of the last time that it called a model or got an answer."""
        row = self._read("SELECT last_call FROM health WHERE who = ?", who)
        return row[0] if row else None


# --- inside a transaction ----------------------------------------------------------------------------------------------------


def _add(db: sqlite3.Connection, who: str, spent: Spent) -> None:
    db.execute("INSERT INTO totals (who) VALUES (?) ON CONFLICT DO NOTHING", [who])
    db.execute(
        "UPDATE totals SET wall_s = wall_s + ?, cpu_s = cpu_s + ?, tokens = tokens + ?, usd = usd + ? WHERE who = ?",
        [spent.wall_s, spent.cpu_s, spent.tokens, spent.usd, who],
    )


def _put(db: sqlite3.Connection, kind: str, who: str, body: dict[str, Any]) -> int:
    packed = json.dumps({"at": round(time.time(), 3), **body})
    seq = db.execute("INSERT INTO outbox (kind, who, body) VALUES (?, ?, ?)", [kind, who, packed]).lastrowid
    assert seq is not None
    return seq


def _spent(db: sqlite3.Connection, who: str | None) -> Spent:
    row = db.execute(
        "SELECT total(wall_s) AS wall_s, total(cpu_s) AS cpu_s, sum(tokens) AS tokens, total(usd) AS usd"
        " FROM totals WHERE ?1 IS NULL OR who = ?1",
        [who],
    ).fetchone()
    return Spent(wall_s=row["wall_s"], cpu_s=row["cpu_s"], tokens=row["tokens"] or 0, usd=row["usd"])


def _in_flight(db: sqlite3.Connection, who: str | None) -> InFlight:
    row = db.execute(
        "SELECT count(*) AS calls, sum(tokens) AS tokens, total(usd) AS usd FROM calls WHERE ?1 IS NULL OR who = ?1", [who]
    ).fetchone()
    return InFlight(row["calls"], row["tokens"] or 0, row["usd"])


def _closed(db: sqlite3.Connection, call: int) -> sqlite3.Row | None:
    """The call, which is open no longer; None if it was not open."""
    return db.execute("DELETE FROM calls WHERE call = ? RETURNING *", [call]).fetchone()


def _record(db: sqlite3.Connection, row: sqlite3.Row, taken: Taken, usd: float | None, *, interrupted: bool) -> None:
    """One spend of a call, in the totals and for the ledger."""
    call = {"model": row["model"], **asdict(taken), "interrupted": interrupted}
    del call["usd"]
    _add(db, row["who"], Spent(tokens=taken.tokens, usd=taken.usd))
    _put(db, "spend", row["who"], {"usd": usd, "call": call})


def _called(db: sqlite3.Connection, who: str) -> None:
    now = time.time()
    db.execute("INSERT INTO health VALUES (?1, ?2, NULL) ON CONFLICT (who) DO UPDATE SET last_call = ?2", [who, now])


def _healthy(db: sqlite3.Connection, who: str, went_well: bool) -> None:
    _called(db, who)
    if went_well:
        db.execute("UPDATE health SET failing_since = NULL WHERE who = ?", [who])
    else:
        db.execute("UPDATE health SET failing_since = coalesce(failing_since, ?) WHERE who = ?", [time.time(), who])
