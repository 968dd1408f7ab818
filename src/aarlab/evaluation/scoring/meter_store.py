"""The meter's tables: how a store begins, its rows as one digest, and a new store of old rows."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aarlab.core.errors import Misconfigured
from aarlab.core.store import Connection, Store
from aarlab.evaluation.scoring.policies import Answer, Channel

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS origin (n INTEGER NOT NULL, level FLOAT NOT NULL)",  # one row
    # of each scale
    "CREATE TABLE IF NOT EXISTS ends (weak FLOAT NOT NULL, ceiling FLOAT NOT NULL)",
    # one row: labels at the start
    "CREATE TABLE IF NOT EXISTS counted (independent INTEGER NOT NULL)",
    # question: SHA-256 of the canonical predictions
    """CREATE TABLE IF NOT EXISTS answers (
        seq INTEGER NOT NULL PRIMARY KEY, question VARCHAR NOT NULL UNIQUE,
        campaign VARCHAR NOT NULL, who VARCHAR NOT NULL, improved BOOLEAN NOT NULL,
        level FLOAT NOT NULL, bits FLOAT NOT NULL, mass FLOAT NOT NULL)""",
    # one row, of so many answers; in a meter of an older version none, or one that lags behind
    "CREATE TABLE IF NOT EXISTS head (one INTEGER NOT NULL PRIMARY KEY, answers INTEGER NOT NULL, "
    "head VARCHAR NOT NULL)",
)
FROM = "SELECT * FROM answers WHERE seq >= ? ORDER BY seq"
HEAD, SET_HEAD = "SELECT answers, head FROM head", "INSERT OR REPLACE INTO head VALUES (1, ?, ?)"
_KNOWN = "SELECT improved, level, bits, mass FROM answers WHERE question = ?"
QUESTIONS = "SELECT question FROM answers WHERE campaign = ?"
ANSWER = "SELECT seq, who, improved, level, bits, mass FROM answers WHERE question = ?"
# rows as texts, which no two of them share
_RAW_START = (
    "SELECT n || char(31) || quote(level) FROM origin UNION ALL SELECT independent FROM counted "
    "UNION ALL SELECT quote(weak) || char(31) || quote(ceiling) FROM ends"
)
_RAW = (
    "SELECT seq || char(31) || question || char(31) || campaign || char(31) || who || char(31) || "
    "improved || char(31) || quote(level) || char(31) || quote(bits) || char(31) || quote(mass) "
    "FROM answers WHERE seq > ? AND seq <= ? ORDER BY seq"
)
INSERT = "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_SET_ORIGIN, _SET_COUNTED = "INSERT INTO origin VALUES (?, ?)", "INSERT INTO counted VALUES (?)"
SCALES, _ADD_SCALE = "SELECT weak, ceiling FROM ends", "INSERT INTO ends VALUES (?, ?)"


@dataclass(frozen=True)
class MeterPosition:
    """Where the meter stood: how many answers it had, the chain's head (64 hexadecimal digits)
    after them, how many independent labels it was begun with, and the scales of PGR that were
    released (weak, ceiling). All of it was released."""

    answers: int
    head: str
    independent: int
    scales: tuple[tuple[float, float], ...]


def digest_of(connection: Connection, answers: int) -> str | None:
    """Of a store's first answers, and of all else in it; None where it has fewer."""
    return Digest().upto(connection, answers)


class Digest:
    """Of a store's first answers, as far as they were read."""

    def __init__(self) -> None:
        self._made, self._answers = hashlib.sha256(), 0

    def upto(self, connection: Connection, answers: int) -> str | None:
        """As `digest_of`; what was read before is not read again."""
        for (raw,) in connection.execute(_RAW, (self._answers, answers)):
            self._made.update(f"\n{raw}".encode(errors="surrogatepass"))
            self._answers += 1
        if self._answers != answers:
            return None
        start = [str(raw) for (raw,) in connection.execute(_RAW_START)]
        return hashlib.sha256("\n".join([self._made.hexdigest(), *start]).encode()).hexdigest()


def known_answer(connection: Connection, question: str) -> Answer | None:
    row = connection.execute(_KNOWN, (question,)).fetchone()
    return None if row is None else Answer(bool(row[0]), *row[1:])


def write_meter(
    path: Path, n: int, level: float, rows: Sequence[tuple[Any, ...]], place: MeterPosition
) -> None:
    """A new meter's store of n labels that begins at a level and has these answers, after which it
    stands at `place`."""
    store = Store(path)
    with store.writing() as connection:
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute(_SET_ORIGIN, (n, level))
        connection.executemany(INSERT, rows)
        connection.execute(_SET_COUNTED, (place.independent,))
        connection.executemany(_ADD_SCALE, place.scales)
        connection.execute(SET_HEAD, (place.answers, place.head))
    store.close()


def begun_at(connection: Connection, now: Channel) -> tuple[Channel, int]:
    """The channel at the start, at the level of the first opening, and how many independent labels
    were counted then."""
    begun, counted = (
        connection.execute(f"SELECT * FROM {table}").fetchone() for table in ("origin", "counted")
    )
    if begun is None:
        connection.execute(_SET_ORIGIN, (now.items, now.level))
    elif begun["n"] != now.items:
        raise Misconfigured(
            f"The meter is of {begun['n']} labels, the answers are {now.items}. Do not exchange "
            "private files."
        )
    if counted is None:  # a new meter, or one of before there were groups
        connection.execute(_SET_COUNTED, (now.n,))
    elif counted["independent"] < now.n:
        raise Misconfigured(
            f"The meter was begun with {counted['independent']} independent labels, and now they "
            f"count as {now.n}: private/groups.json was changed or taken away. Put it back; "
            "groups may be joined, not parted."
        )
    counted_then = now.n if counted is None else counted["independent"]
    return now if begun is None else replace(now, level=begun["level"]), counted_then


def note_ends(connection: Connection, ends: tuple[float, float]) -> None:
    """Record the ends of a scale, once."""
    rows = connection.execute(SCALES).fetchall()
    if not any(
        max(abs(row["weak"] - ends[0]), abs(row["ceiling"] - ends[1])) <= 1e-9 for row in rows
    ):
        connection.execute(_ADD_SCALE, ends)
