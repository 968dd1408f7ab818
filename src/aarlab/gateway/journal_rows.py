"""The rows of the journal: what is done with them inside a transaction."""

import json
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aarlab.core.budget import Spent
from aarlab.core.store import Connection, StoredRow
from aarlab.gateway import call_health
from aarlab.gateway.admission import InFlight

POSTED, REFUSED = 1, 2
SCHEMA = (
    # in every row's id: a new journal's are new ids
    "CREATE TABLE IF NOT EXISTS journal (name TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS lives (who TEXT PRIMARY KEY, incarnation INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS totals (who TEXT PRIMARY KEY, wall_s REAL NOT NULL DEFAULT 0, "
    "cpu_s REAL NOT NULL DEFAULT 0, tokens INTEGER NOT NULL DEFAULT 0, usd REAL NOT NULL DEFAULT "
    "0)",
    # what the machine cost and no row for the ledger holds yet; `priced`: usd is known
    "CREATE TABLE IF NOT EXISTS held (who TEXT PRIMARY KEY, wall_s REAL NOT NULL, cpu_s REAL NOT "
    "NULL, usd REAL NOT NULL, priced INTEGER NOT NULL)",
    # seconds of devices: what each meter counted and was charged; and what no row holds yet
    "CREATE TABLE IF NOT EXISTS device_meters (slot TEXT PRIMARY KEY, who TEXT NOT NULL, seconds "
    "REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS held_devices (who TEXT PRIMARY KEY, device_s REAL NOT NULL, usd "
    "REAL NOT NULL, priced INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT "
    "NULL, who TEXT NOT NULL, body TEXT NOT NULL, posted INTEGER NOT NULL DEFAULT 0)",
    "CREATE INDEX IF NOT EXISTS unposted ON outbox (seq) WHERE NOT posted",
    f"CREATE INDEX IF NOT EXISTS refused ON outbox (posted) WHERE posted = {REFUSED}",
    "CREATE TABLE IF NOT EXISTS calls (call INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT NOT "
    "NULL, model TEXT NOT NULL, tokens INTEGER NOT NULL, usd REAL NOT NULL, known TEXT)",
    # the session of each researcher: how many it had before, and after which of its incarnations it
    # began
    "CREATE TABLE IF NOT EXISTS sessions (who TEXT PRIMARY KEY, number INTEGER NOT NULL, after "
    "INTEGER NOT NULL)",
    *call_health.SCHEMA,
)


@dataclass(frozen=True)
class JournalRow:
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
        return (
            self.input_tokens
            + self.cache_write_tokens
            + self.cache_read_tokens
            + self.output_tokens
        )


def add(db: Connection, who: str, spent: Spent) -> None:
    db.execute("INSERT INTO totals (who) VALUES (?) ON CONFLICT DO NOTHING", [who])
    db.execute(
        "UPDATE totals SET wall_s = wall_s + ?, cpu_s = cpu_s + ?, tokens = tokens + ?, usd = usd "
        "+ ? WHERE who = ?",
        [spent.wall_s, spent.cpu_s, spent.tokens, spent.usd, who],
    )


def put(db: Connection, kind: str, who: str, body: dict[str, Any]) -> int:
    packed = json.dumps({"at": round(time.time(), 3), **body})
    seq = db.execute(
        "INSERT INTO outbox (kind, who, body) VALUES (?, ?, ?)", [kind, who, packed]
    ).lastrowid
    assert seq is not None
    return seq


def release(db: Connection, who: str) -> None:
    wall_s, cpu_s, usd, priced = db.execute(
        "DELETE FROM held WHERE who = ? RETURNING wall_s, cpu_s, usd, priced", [who]
    ).fetchone()
    body = {"wall_s": round(wall_s, 3), "cpu_s": round(cpu_s, 3), "usd": usd if priced else None}
    put(db, "spend", who, body)


def count_device(db: Connection, slot: str, who: str, seconds: float) -> float:
    """Note what a meter has counted in all; by how much that is more than before."""
    row = db.execute("SELECT seconds FROM device_meters WHERE slot = ?", [slot]).fetchone()
    more = seconds - (0.0 if row is None else row["seconds"])
    if more <= 0:
        return 0.0
    db.execute(
        "INSERT INTO device_meters VALUES (?1, ?2, ?3) ON CONFLICT (slot) DO UPDATE SET seconds = "
        "?3",
        [slot, who, seconds],
    )
    return more


def hold_device(db: Connection, who: str, device_s: float, usd: float | None) -> float:
    """Add to what no row for the ledger holds yet; how many seconds those are. An unknown price is
    not 0: seconds with and without one are never in one row."""
    held = db.execute("SELECT priced FROM held_devices WHERE who = ?", [who]).fetchone()
    if held is not None and held["priced"] != (usd is not None):
        release_device(db, who)
    db.execute(
        "INSERT INTO held_devices VALUES (?, ?, ?, ?) ON CONFLICT (who) DO UPDATE SET device_s = "
        "device_s + excluded.device_s, usd = usd + excluded.usd",
        [who, device_s, usd or 0.0, usd is not None],
    )
    found = db.execute("SELECT device_s FROM held_devices WHERE who = ?", [who]).fetchone()
    return found["device_s"]


def release_device(db: Connection, who: str) -> None:
    row = db.execute("DELETE FROM held_devices WHERE who = ? RETURNING *", [who]).fetchone()
    usd = row["usd"] if row["priced"] else None
    put(db, "spend", who, {"device_s": round(row["device_s"], 3), "usd": usd})


def spent_by(db: Connection, who: str | None) -> Spent:
    row = db.execute(
        "SELECT total(wall_s) AS wall_s, total(cpu_s) AS cpu_s, sum(tokens) AS tokens, "
        "total(usd) AS usd FROM totals WHERE ?1 IS NULL OR who = ?1",
        [who],
    ).fetchone()
    device_s = db.execute(
        "SELECT total(seconds) FROM device_meters WHERE ?1 IS NULL OR who = ?1", [who]
    ).fetchone()[0]
    return Spent(
        wall_s=row["wall_s"],
        cpu_s=row["cpu_s"],
        device_s=device_s,
        tokens=row["tokens"] or 0,
        usd=row["usd"],
    )


def calls_of(db: Connection, who: str | None) -> InFlight:
    row = db.execute(
        "SELECT count(*) AS calls, sum(tokens) AS tokens, total(usd) AS usd FROM calls WHERE ?1 "
        "IS NULL OR who = ?1",
        [who],
    ).fetchone()
    return InFlight(row["calls"], row["tokens"] or 0, row["usd"])


def closed(db: Connection, call: int) -> StoredRow | None:
    """The call, which is open no longer; None if it was not open."""
    return db.execute("DELETE FROM calls WHERE call = ? RETURNING *", [call]).fetchone()


def record(
    db: Connection,
    row: StoredRow,
    taken: Taken,
    usd: float | None,
    *,
    interrupted: bool,
    assumed: bool = False,
) -> None:
    """One spend of a call, in the totals and for the ledger."""
    call = {"model": row["model"], **asdict(taken), "interrupted": interrupted} | (
        {"assumed": True} if assumed else {}
    )
    del call["usd"]
    add(db, row["who"], Spent(tokens=taken.tokens, usd=taken.usd))
    put(db, "spend", row["who"], {"usd": usd, "call": call})
