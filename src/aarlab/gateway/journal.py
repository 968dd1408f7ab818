"""What the supervisor and the gateway must not forget: incarnations, spends, events for the ledger,
and calls that are under way.

One SQLite file (write-ahead log, synced at every commit), opened by both processes at once; every
method is one short transaction. What the machine costs is charged every few seconds and reported to
the ledger every ten minutes, so that a campaign of days stays small there. Rows wait here until
they are posted to the ledger, where a row's id makes posting it twice the same as once.

A model call is opened, with what it reserves, before it is sent, and settled once with what it
took. One that a dead gateway left open is settled by `recover` with what had been noted, as
interrupted: that money has left, so it is charged to who asked. Where not even the start of an
answer was noted, nobody knows whether it cost anything: it is recorded as interrupted with no
dollars, and costs the researcher nothing, since the lab's own part failed.
"""

import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from aarlab.core.budget import Budget, Spent
from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.store import Connection, NotNow, Store, StoreError
from aarlab.gateway import call_health
from aarlab.gateway.admission import Account, Admission, CallOpened, InFlight, Reserve, decide_call
from aarlab.gateway.call_health import RefusedCalls, Trouble
from aarlab.gateway.journal_rows import (
    POSTED,
    REFUSED,
    SCHEMA,
    JournalRow,
    Taken,
    add,
    calls_of,
    closed,
    count_device,
    hold_device,
    put,
    record,
    release,
    release_device,
    spent_by,
)

ROW_S = 600.0  # of one researcher's running time that one row for the ledger holds


class Journal:
    """One campaign's journal. May be used from several threads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._store = Store(path)
        try:
            with self._store.reading():
                pass
        except StoreError as error:
            raise Misconfigured(
                f"{path} cannot be used as the journal ({error}). Restore it from a copy."
            ) from error
        with self._transaction() as db:
            for statement in SCHEMA:
                db.execute(statement)
            db.execute(
                "INSERT INTO journal SELECT ? WHERE NOT EXISTS (SELECT 1 FROM journal)",
                [secrets.token_hex(4)],
            )
            self._name: str = db.execute("SELECT name FROM journal").fetchone()["name"]

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """All of it or nothing.

        Raises:
            Transient: the other process held the journal too long, or the disk is full.
        """
        try:
            with self._store.writing() as db:
                yield db
        except NotNow as error:
            raise Transient(f"The journal could not be written ({error}). Try again.") from error

    def _read(self, query: str, *values: Any) -> Any:
        """The first row, or None. A single SELECT is a transaction of its own and waits for no
        writer."""
        with self._reading() as db:
            return db.execute(query, values).fetchone()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Raises Transient where the file cannot be read now."""
        try:
            with self._store.reading() as db:
                yield db
        except NotNow as error:
            raise Transient(f"The journal could not be read ({error}). Try again.") from error

    # --- incarnations ----------------------------------------------------------------------------

    def begin(self, who: str) -> int:
        """The number of this researcher's next incarnation, from 1; no two callers get the same."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO lives VALUES (?, 1) ON CONFLICT (who) DO UPDATE SET incarnation = "
                "incarnation + 1",
                [who],
            )
            return db.execute("SELECT incarnation FROM lives WHERE who = ?", [who]).fetchone()[0]

    def incarnation(self, who: str) -> int:
        """The number of its latest incarnation; 0 before the first."""
        row = self._read("SELECT incarnation FROM lives WHERE who = ?", who)
        return row[0] if row else 0

    def session(self, who: str) -> tuple[int, int]:
        """How many sessions it had before its present one, and after which incarnation that
        began."""
        row = self._read("SELECT number, after FROM sessions WHERE who = ?", who)
        return (row["number"], row["after"]) if row else (0, 0)

    def begin_session(self, who: str) -> int:
        """Its next incarnation begins another session; how many it had before."""
        with self._transaction() as db:
            return db.execute(
                "INSERT INTO sessions VALUES (?1, 1, ?2) ON CONFLICT (who) DO UPDATE SET number = "
                "number + 1, after = ?2 RETURNING number",
                [who, self.incarnation(who)],
            ).fetchone()[0]

    # --- what was spent ---------------------------------------------------------------------------

    def charge(self, who: str, *, wall_s: float, cpu_s: float, usd: float | None) -> None:
        """What the machine cost since the last charge; dollars are None where it has no price. It
        counts at once; a row for the ledger holds the charges of ROW_S, or what there is when
        `release` is called."""
        with self._transaction() as db:
            add(db, who, Spent(wall_s=wall_s, cpu_s=cpu_s, usd=usd or 0.0))
            held = db.execute("SELECT priced FROM held WHERE who = ?", [who]).fetchone()
            if held is not None and held["priced"] != (usd is not None):
                release(db, who)  # an unknown price is not 0
            db.execute(
                "INSERT INTO held VALUES (?, ?, ?, ?, ?) ON CONFLICT (who) DO UPDATE SET "
                "wall_s = wall_s + excluded.wall_s, cpu_s = cpu_s + excluded.cpu_s, "
                "usd = usd + excluded.usd",
                [who, wall_s, cpu_s, usd or 0.0, usd is not None],
            )
            spent = db.execute("SELECT wall_s, cpu_s FROM held WHERE who = ?", [who]).fetchone()
            if max(spent) >= ROW_S:
                release(db, who)

    def charge_device(
        self, slot: str, who: str, *, seconds: float, usd_per_hour: float | None
    ) -> None:
        """Charge by how much a meter's count rose since it was last charged: the same count twice
        costs nothing more. `seconds`: all that it counted; see `charge` for the rest."""
        with self._transaction() as db:
            if not (more := count_device(db, slot, who, seconds)):
                return
            usd = None if usd_per_hour is None else usd_per_hour * more / 3600
            add(db, who, Spent(usd=usd or 0.0))
            if hold_device(db, who, more, usd) >= ROW_S:
                release_device(db, who)

    def release(self, who: str | None = None) -> None:
        """Make a row for the ledger of what is held of one researcher, or (None) of all: it has
        ended, say."""
        with self._transaction() as db:
            held = db.execute("SELECT who FROM held WHERE ?1 IS NULL OR who = ?1", [who])
            for row in held.fetchall():
                release(db, row["who"])
            held = db.execute("SELECT who FROM held_devices WHERE ?1 IS NULL OR who = ?1", [who])
            for row in held.fetchall():
                release_device(db, row["who"])

    def spent(self, who: str | None) -> Spent:
        """By one researcher, or (None) by all of the campaign together."""
        with self._reading() as db:
            return spent_by(db, who)

    # --- rows for the ledger ----------------------------------------------------------------------

    def note(self, kind: Literal["researcher", "campaign"], who: str, body: dict[str, Any]) -> str:
        """Keep an event for the ledger; its row's id."""
        with self._transaction() as db:
            return self._id(put(db, kind, who, body))

    def unposted(self, limit: int) -> list[JournalRow]:
        """The oldest rows that are not known to be in the ledger, in order."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT * FROM outbox WHERE NOT posted ORDER BY seq LIMIT ?", [limit]
            ).fetchall()
        return [
            JournalRow(self._id(r["seq"]), r["kind"], r["who"], json.loads(r["body"])) for r in rows
        ]

    def posted(self, ids: Iterable[str], *, refused: bool = False) -> None:
        """These rows are in the ledger, or were refused for what is in them: they are not to be
        sent again."""
        mark = REFUSED if refused else POSTED
        if marked := [[mark, int(i.rpartition("-")[2])] for i in ids]:
            with self._transaction() as db:
                db.executemany("UPDATE outbox SET posted = ? WHERE seq = ?", marked)

    def refused(self) -> int:
        """How many rows the ledger refused."""
        return self._read(f"SELECT count(*) FROM outbox WHERE posted = {REFUSED}")[0]

    def _id(self, seq: int) -> str:
        return f"{self._name}-{seq:06d}"

    # --- model calls ------------------------------------------------------------------------------

    def open(
        self, who: str, model: str, reserve: Reserve, *, researcher: Budget, campaign: Budget
    ) -> Admission:
        """Decide by both budgets whether a call may be sent; if so it is open from here on."""
        with self._transaction() as db:
            mine = Account(who, researcher, spent_by(db, who), calls_of(db, who))
            everybodys = Account("the campaign", campaign, spent_by(db, None), calls_of(db, None))
            refusal = decide_call(reserve, mine, everybodys)
            if refusal is not None:
                return refusal
            values = [who, model, reserve.tokens, reserve.usd]
            made = db.execute(
                "INSERT INTO calls (who, model, tokens, usd) VALUES (?, ?, ?, ?)", values
            )
            call_health.note_call(db, who)
            assert made.lastrowid is not None
            return CallOpened(made.lastrowid)

    def in_flight(self, who: str | None) -> InFlight:
        """The open calls of one researcher, or (None) of all."""
        with self._reading() as db:
            return calls_of(db, who)

    def progress(self, call: int, taken: Taken) -> None:
        """What is known so far of what an open call takes."""
        with self._transaction() as db:
            db.execute(
                "UPDATE calls SET known = ? WHERE call = ?", [json.dumps(asdict(taken)), call]
            )

    def settle(
        self,
        call: int,
        taken: Taken,
        *,
        interrupted: bool = False,
        failed: bool = False,
        unread: str | None = None,
    ) -> None:
        """The call is over and took that much. Settling it again changes nothing. `failed`: what
        was cut off was the gateway's or the provider's doing, not the client's. `unread`: why
        `taken` is only the most that it can have been."""
        with self._transaction() as db:
            row = closed(db, call)
            if row is not None:
                record(
                    db, row, taken, taken.usd, interrupted=interrupted, assumed=unread is not None
                )
                call_health.note_end_of_call(db, row["who"], well=not failed)
                if unread is not None:
                    call_health.count_unread(db, row["model"], unread)

    def unread(self) -> list[str]:
        """See `call_health.unread`."""
        with self._reading() as db:
            return call_health.unread(db)

    def fail(self, call: int) -> None:
        """The call got no answer, or one that says that the provider could not: it cost nothing and
        is no result."""
        with self._transaction() as db:
            row = closed(db, call)
            if row is not None:
                call_health.note_end_of_call(db, row["who"], well=False)

    def drop(self, call: int) -> None:
        """The call was refused for what it asked (400, 403, 404): it cost nothing, and nothing of
        the lab is broken."""
        with self._transaction() as db:
            closed(db, call)

    def trouble(self, who: str, kind: Trouble, words: str, *, failing: bool = False) -> None:
        """A call of that researcher was refused or failed, in these words. `failing`: no call was
        closed for it, and its model API is to be seen as failing."""
        with self._transaction() as db:
            call_health.note_trouble(db, who, kind, words)
            if failing:
                call_health.note_end_of_call(db, who, well=False)

    def troubles(self) -> list[RefusedCalls]:
        """See `call_health.troubles`."""
        with self._reading() as db:
            return call_health.troubles(db)

    def recover(self) -> int:
        """Settle, as interrupted, what a dead gateway left open; how many those were. For the
        gateway's start alone."""
        with self._transaction() as db:
            rows = db.execute("SELECT * FROM calls ORDER BY call").fetchall()
            for row in rows:
                closed(db, row["call"])
                known = Taken(**json.loads(row["known"])) if row["known"] else None
                record(
                    db, row, known or Taken(0, 0, 0, 0, 0.0), known and known.usd, interrupted=True
                )
            return len(rows)

    def failing_since(self, who: str) -> float | None:
        """Seconds since 1970 at which its model calls began to fail for the provider's sake; None
        if the last went well."""
        row = self._read("SELECT failing_since FROM health WHERE who = ?", who)
        return row[0] if row else None

    def last_call(self, who: str) -> float | None:
        """Seconds since 1970 of the last time that it called a model or got an answer."""
        row = self._read("SELECT last_call FROM health WHERE who = ?", who)
        return row[0] if row else None


# --- inside a transaction -------------------------------------------------------------------------
