"""What has been released about one label set, on disk: every answer that was ever given about it, by whichever campaign.

It lies with the hidden labels, so that a new campaign, another endpoint or a restart goes on from the same level and the same
bits. An answer is written before it is told. It is keyed by what was asked, so that the same question is answered from memory
for ever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    event,
    func,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable

from aarlab.core.errors import Misconfigured, Transient
from aarlab.evaluation.bounds import certified_at_least, inflation_bound
from aarlab.evaluation.policies import Answer, Channel, Outlook, Policy, start
from aarlab.evaluation.store import open_store

_metadata = MetaData()
_origin = Table("origin", _metadata, Column("n", Integer, nullable=False), Column("level", Float, nullable=False))  # one row
_answers = Table(
    "answers",
    _metadata,
    Column("seq", Integer, primary_key=True),
    Column("question", String, nullable=False, unique=True),  # SHA-256 of the canonical predictions
    Column("campaign", String, nullable=False),
    Column("who", String, nullable=False),
    Column("improved", Boolean, nullable=False),
    Column("level", Float, nullable=False),
    Column("bits", Float, nullable=False),
    Column("mass", Float, nullable=False),
)

_AFTER = (
    "SELECT * FROM answers WHERE seq > ? ORDER BY seq"  # these two as plain text: to compile them takes longer than they do
)
_INSERT = f"INSERT INTO answers VALUES ({', '.join('?' * len(_answers.columns))})"


@dataclass(frozen=True)
class Question:
    """One submission as the meter sees it."""

    key: str
    campaign: str
    who: str
    accuracy: float


@dataclass(frozen=True)
class Told:
    """An answer, and where it leaves the channel."""

    answer: Answer
    outlook: Outlook
    level: float
    bits: float
    bound: float  # on inflation, at these bits
    certified: float | None  # least true accuracy of what reached the level; None at the public start
    repeated: bool


class Meter:
    """The meter of one label set. Several processes may use it at once; each answer is decided under the store's write lock.

    The level at the start is that of whoever opened it first: a baseline that is measured again tells nothing more.

    Raises:
        Misconfigured: the store is of another number of labels than n.
    """

    def __init__(self, path: Path, policy: Policy, *, baseline: float, n: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._policy, self._n = policy, n
        self._engine = _engine(path)
        with self._engine.begin() as connection:
            for table in _metadata.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
            self._level = _begun_at(connection, start(baseline, n))
            self._forget()
            self._catch_up(connection)

    def _forget(self) -> None:
        self.channel = Channel(self._n, self._level)
        self._known: dict[str, Answer] = {}
        self._seq = 0

    def _catch_up(self, connection: Connection) -> None:
        """Take up what was answered since, here or in another process."""
        for row in connection.exec_driver_sql(_AFTER, (self._seq,)):
            self._take(row.question, row.who, Answer(bool(row.improved), row.level, row.bits, row.mass))

    def _take(self, key: str, who: str, answer: Answer) -> None:
        self._seq += 1
        self.channel.record(who, answer)
        self._known[key] = answer

    def tell(self, questions: Sequence[Question]) -> list[Told]:
        """Answer in order; all answers are on disk when this returns. Not for concurrent use within a process.

        Raises:
            Transient: the store failed; nothing was answered.
        """
        try:
            with self._engine.begin() as connection:
                self._catch_up(connection)
                rows: list[tuple[Any, ...]] = []
                told = [self._tell(question, rows) for question in questions]
                if rows:
                    connection.exec_driver_sql(_INSERT, rows)
        except DBAPIError as error:
            self._forget()  # what was decided is void; the next call reads the store again
            raise Transient(f"Not recorded: the meter cannot be written ({error.orig}). Try again later.") from error
        return told

    def _tell(self, question: Question, rows: list[tuple[Any, ...]]) -> Told:
        if (known := self._known.get(question.key)) is not None:
            return self._told(question.who, known, repeated=True)
        answer = self._policy.tell(self.channel, question.who, question.accuracy)
        self._take(question.key, question.who, answer)
        asked = self._seq, question.key, question.campaign, question.who
        rows.append((*asked, answer.improved, answer.level, answer.bits, answer.mass))
        return self._told(question.who, answer, repeated=False)

    def _told(self, who: str, answer: Answer, *, repeated: bool) -> Told:
        outlook, channel = self._policy.outlook(self.channel, who), self.channel
        return Told(
            answer=answer,
            outlook=outlook,
            level=channel.level,
            bits=channel.released,
            bound=inflation_bound(channel.bits, self._n, slack_bits=outlook.slack_bits),
            certified=self._certified(outlook),
            repeated=repeated,
        )

    def _certified(self, outlook: Outlook) -> float | None:
        channel = self.channel
        if channel.level_bits is None:
            return None
        return certified_at_least(channel.level, channel.level_bits, self._n, slack_bits=outlook.slack_bits)

    def state(self, who: str = "operator") -> Mapping[str, Any]:
        """Where the channel stands: level (accuracy), bits in all and of improvements by campaign, cap, bound, tier, counts."""
        with self._engine.begin() as connection:
            self._catch_up(connection)
            by_campaign = select(_answers.c.campaign, func.sum(_answers.c.bits)).group_by(_answers.c.campaign)
            campaigns = {
                campaign: float(bits) for campaign, bits in connection.execute(by_campaign.order_by(_answers.c.campaign))
            }
            return self._state(who) | {"bits_by_campaign": campaigns}

    def _state(self, who: str) -> dict[str, Any]:
        told = self._told(who, Answer(False, self.channel.level), repeated=False)
        return {
            "items": self._n,
            "level_accuracy": self.channel.level,
            "certified_at_least": told.certified,
            "bits": told.bits,
            "cap_bits": told.outlook.cap_bits,
            "inflation_bound": told.bound,
            "tier": told.outlook.tier,
            "answers": self._seq,
            "improvements": self.channel.yes.total(),
        }

    def now(self, who: str) -> Told:
        """Where the channel stands for `who`, as if told after a "no" that nobody asked for.

        Raises:
            Transient: the store failed.
        """
        try:
            with self._engine.begin() as connection:  # the write lock: nobody answers meanwhile
                self._catch_up(connection)
                return self._told(who, Answer(False, self.channel.level), repeated=False)
        except DBAPIError as error:
            raise Transient(f"The meter cannot be read ({error.orig}). Try again later.") from error

    def asked_by(self, campaign: str) -> set[str]:
        """The questions that a campaign was the first to ask."""
        with self._engine.begin() as connection:
            rows = connection.execute(select(_answers.c.question).where(_answers.c.campaign == campaign))
            return set(rows.scalars())

    def close(self) -> None:
        """Close the store."""
        self._engine.dispose()


def _begun_at(connection: Connection, now: Channel) -> float:
    """The level at the start, of the first opening."""
    row = connection.execute(select(_origin)).one_or_none()
    if row is None:
        connection.execute(_origin.insert().values(n=now.n, level=now.level))
        return now.level
    if row.n != now.n:
        raise Misconfigured(f"The meter is of {row.n} labels, the answers are {now.n}. Do not exchange private files.")
    return row.level


def _engine(path: Path) -> Engine:
    """A store whose every transaction takes the write lock at its beginning, so that deciding and writing are one step."""
    engine = open_store(path)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
