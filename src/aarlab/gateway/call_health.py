"""What the journal keeps of how model calls went: since when a researcher's fail, which were
refused and in which words, which answers could not be read. Each function is part of a transaction.

A refusal stays open until a call of the same researcher goes well. Causes are kept without what
changes from call to call (ids, seconds), so that those that are alike are counted together; a
researcher, who can make up any number of causes, has MOST_CAUSES.
"""

import re
import time
from typing import Literal, NamedTuple

from aarlab.core.store import Connection

# refused: what was asked, or the lab's key. failed: the model API cannot answer
Trouble = Literal["refused", "failed"]
MOST_CAUSES, MOST_WORDS = 20, 300
OTHER = "other causes"
_CHANGES = re.compile(r"[A-Za-z0-9_-]*\d[A-Za-z0-9_-]*")
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS unread (model TEXT NOT NULL, why TEXT NOT NULL, calls INTEGER "
    "NOT NULL, PRIMARY KEY (model, why))",
    "CREATE TABLE IF NOT EXISTS health (who TEXT PRIMARY KEY, last_call REAL NOT NULL, "
    "failing_since REAL)",
    "CREATE TABLE IF NOT EXISTS troubles (who TEXT NOT NULL, kind TEXT NOT NULL, cause TEXT NOT "
    "NULL, words TEXT NOT NULL, calls INTEGER NOT NULL, since REAL NOT NULL, last REAL NOT NULL, "
    "PRIMARY KEY (who, kind, cause))",
)


class RefusedCalls(NamedTuple):
    """Calls of one researcher that met the same trouble since its last good call."""

    who: str
    kind: Trouble
    cause: str  # the same for those that are alike
    words: str  # of the latest; others wrote them
    calls: int
    since: float  # seconds since 1970
    last: float


def note_call(db: Connection, who: str) -> None:
    """It called a model, or got an answer."""
    db.execute(
        "INSERT INTO health VALUES (?1, ?2, NULL) ON CONFLICT (who) DO UPDATE SET last_call = ?2",
        [who, time.time()],
    )


def note_end_of_call(db: Connection, who: str, *, well: bool) -> None:
    """A call of its ended well, or failed for the provider's or the lab's sake."""
    note_call(db, who)
    if well:
        db.execute("UPDATE health SET failing_since = NULL WHERE who = ?", [who])
        db.execute("DELETE FROM troubles WHERE who = ?", [who])
    else:
        db.execute(
            "UPDATE health SET failing_since = coalesce(failing_since, ?) WHERE who = ?",
            [time.time(), who],
        )


def note_trouble(db: Connection, who: str, kind: Trouble, words: str) -> None:
    """A call of its was refused or failed, in these words."""
    words, now = words[:MOST_WORDS], time.time()
    cause = _CHANGES.sub("#", words)
    known = {row["cause"] for row in db.execute("SELECT cause FROM troubles WHERE who = ?", [who])}
    if cause not in known and len(known) >= MOST_CAUSES:
        cause = OTHER
    db.execute(
        "INSERT INTO troubles VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5) ON CONFLICT DO UPDATE SET "
        "calls = calls + 1, words = ?4, last = ?5",
        [who, kind, cause, words, now],
    )


def troubles(db: Connection) -> list[RefusedCalls]:
    """All that are open, the latest last."""
    rows = db.execute("SELECT * FROM troubles ORDER BY last, who, cause").fetchall()
    return [RefusedCalls(*row) for row in rows]


def count_unread(db: Connection, model: str, why: str) -> None:
    """An answer of the model could not be read."""
    db.execute(
        "INSERT INTO unread VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET calls = calls + 1",
        [model, why],
    )


def unread(db: Connection) -> list[str]:
    """As text, by model and cause: how many answers were charged as the most that they can have
    been."""
    rows = db.execute("SELECT * FROM unread ORDER BY calls DESC, model, why").fetchall()
    return [
        f"{r['model']}: {r['calls']} calls were charged as the most that they can have been, since "
        f"{r['why']}"
        for r in rows
    ]
