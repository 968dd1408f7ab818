"""What has been released about one label set, on disk: every answer that was ever given about it,
by whichever campaign.

It lies with the hidden labels, so that a new campaign, another endpoint or a restart resumes at
the same level and the same bits. An answer is written before it is released. It is keyed by what
was asked, so that the same question is answered from memory for ever.

A hash chain runs over the answers. Its head is stored beside them, and each campaign's ledger
records it with every submission: a meter that was lost, replaced by an older copy or changed agrees
with neither (see `agreement`). Head 0 is the SHA-256 of the number of labels and the level at the
start, head k that of head k - 1 and answer k. All of it was released or follows from what was
released, and is charged; nothing else goes in.

An answer is charged when the meter's transaction commits: after the text to release has been made
of it, and before it is released. What fails until then has decided and charged nothing. What fails
afterwards (the ledger's disk is full, the process ends) leaves an answer that is charged and
unreleased; the same question gets the same answer later, at no further charge.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.store import Connection, NotNow, Store, StoreError
from aarlab.evaluation.scoring.bounds import certified_at_least, inflation_bound
from aarlab.evaluation.scoring.meter_store import (
    ANSWER,
    FROM,
    HEAD,
    INSERT,
    QUESTIONS,
    SCALES,
    SCHEMA,
    SET_HEAD,
    Digest,
    MeterPosition,
    begun_at,
    known_answer,
    note_ends,
)
from aarlab.evaluation.scoring.policies import (
    Answer,
    Outlook,
    Policy,
    grid_bits,
    plain_answer,
    plain_outlook,
    start,
)
from aarlab.evaluation.scoring.units import Units, units_of

REMEDY = (
    "Nothing is answered, since the budget of bits would begin again. Stop the servers of this "
    "label set, then put back a copy of private/meter that is as new as the ledger, or make it "
    "again from the ledgers: `aar ledger restore-meter CAMPAIGN`. If neither is possible, these "
    "labels are spent: take another data seed."
)


@dataclass(frozen=True)
class MeteredSubmission:
    """One submission as the meter sees it."""

    key: str
    campaign: str
    who: str
    accuracy: float


@dataclass(frozen=True)
class ReportedAnswer:
    """An answer, and where it leaves the channel."""

    answer: Answer
    outlook: Outlook
    level: float
    bits: float
    bound: float  # on inflation, at these bits and those of verdicts
    bound_at_cap: float | None  # on inflation, with the whole cap spent; None: no cap
    verdict_bits: float
    # least true accuracy of what reached the level; None at the public start
    certified: float | None
    repeated: bool
    place: MeterPosition  # after this answer, which is the last one unless it was repeated


def first_head(n: int, level: float) -> str:
    """Head 0: of a meter of n labels that begins at a level (accuracy)."""
    return _digest([n, float(level)])


def next_head(head: str, seq: int, question: str, campaign: str, who: str, answer: Answer) -> str:
    """The head after answer `seq`."""
    reported = [bool(answer.improved), float(answer.level), float(answer.bits), float(answer.mass)]
    return _digest([head, seq, question, campaign, who, *reported])


def _digest(fields: list[Any]) -> str:
    return hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest()


class Reached(NamedTuple):
    """How far a meter has come."""

    answers: int
    digest: str  # of these, and of the start, on disk: see `digest_of`


class Meter:
    """The meter of one label set. Several processes may use it at once; each answer is decided
    under the store's write lock.

    The level at the start is that of whoever opened it first: a baseline that is measured again
    releases nothing more. `ends`: of the scale on which PGR is reported, (weak, ceiling). A second
    scale (anchors that other code measured) releases more of the labels, and is charged: two
    accuracies on the grid of `reported_once`. `n`: how many labels, where each stands alone, or how
    they are dependent. `verdicts`: the bits that verdicts of confirmations have released about them
    by now; they do not count against the cap.

    Raises:
        Misconfigured: the store is of another number of labels, or of fewer independent ones, or
            its answers are not those that were written.
    """

    def __init__(
        self,
        path: Path,
        policy: Policy,
        *,
        baseline: float,
        n: Units | int,
        ends: tuple[float, float] | None = None,
        verdicts: Callable[[], float] = lambda: 0.0,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._policy, self._units, self._verdicts = path, policy, units_of(n), verdicts
        self._mutex, self._reached = threading.Lock(), MeterPosition(0, "", 0, ())
        self._store, self._digest = Store(path), Digest()
        try:
            self._open(baseline, ends)
        except BaseException as error:
            self.close()
            if isinstance(error, StoreError):
                raise self._failed(error, "read") from error
            raise

    def _open(self, baseline: float, ends: tuple[float, float] | None) -> None:
        with self._store.writing() as connection:
            for statement in SCHEMA:
                connection.execute(statement)
            self._begun, self._counted = begun_at(connection, start(baseline, self._units))
            if ends is not None:
                note_ends(connection, ends)
            self._forget()
            self._catch_up(connection)
            connection.execute(SET_HEAD, (self._seq, self._head))
        self._reached = self._place()

    def _place(self) -> MeterPosition:
        return MeterPosition(self._seq, self._head, self._counted, self._scales)

    def _failed(self, error: StoreError, what: str) -> Transient | Misconfigured:
        """A disk or a lock may do it next time; a store that is damaged is the operator's to
        fix."""
        if isinstance(error, NotNow):
            return Transient(
                f"Not recorded: the meter cannot be {what} ({error}). Try again later."
            )
        return Misconfigured(f"The meter {self._path} is damaged ({error}). {REMEDY}")

    def _forget(self) -> None:
        self.channel = deepcopy(self._begun)
        self._last = ""  # the latest question
        self._seq, self._head = 0, first_head(self._units.items, self._begun.level)

    def _catch_up(self, connection: Connection) -> None:
        """Read what was answered and what verdicts released since, here or in another process.

        Raises:
            Misconfigured: the answers do not have the digest that was written with them, or are
                not, or no longer, those that
            this process knows: the store was replaced while it ran.
        """
        self._scales = tuple((weak, ceiling) for weak, ceiling in connection.execute(SCALES))
        # set-up's own is in `set_up_bits`
        more = max(0, len(self._scales) - 1) * 2 * grid_bits(self._units.items)
        self.channel.gap = _gap(self._scales)
        self._verdict_bits = self._verdicts()
        self.channel.beside = self._begun.beside + self._verdict_bits + more
        stored = connection.execute(HEAD).fetchone()
        rows = connection.execute(FROM, (self._seq,)).fetchall()
        if self._seq and (not rows or rows.pop(0)["question"] != self._last):
            raise self._changed(self._seq)
        for seq, question, campaign, who, improved, level, bits, mass in rows:
            answer = Answer(bool(improved), level, bits, mass)
            self._take(MeteredSubmission(question, campaign, who, 0.0), answer)
            before = seq == self._reached.answers and self._head != self._reached.head
            if (
                seq != self._seq
                or before
                or (stored and self._seq == stored["answers"] and self._head != stored["head"])
            ):
                raise self._changed(seq)
        if self._seq < self._reached.answers:
            raise self._changed(self._seq + 1)
        if stored and (
            stored["answers"] > self._seq
            or (stored["answers"] == self._seq and stored["head"] != self._head)
        ):
            raise self._changed(stored["answers"])

    def _changed(self, seq: int) -> Misconfigured:
        self._forget()
        return Misconfigured(
            f"The meter {self._path} was changed, at or before its answer {seq}. {REMEDY}", seq=seq
        )

    def _take(self, question: MeteredSubmission, answer: Answer) -> None:
        self._seq += 1
        self._head = next_head(
            self._head, self._seq, question.key, question.campaign, question.who, answer
        )
        self.channel.record(question.who, answer)
        self._last = question.key

    def answer_all(self, questions: Sequence[MeteredSubmission]) -> list[ReportedAnswer]:
        """Answer in order; all answers are on disk when this returns. As `answers`."""
        with self.answers(questions) as reported:
            return reported

    @contextmanager
    def answers(self, questions: Sequence[MeteredSubmission]) -> Iterator[list[ReportedAnswer]]:
        """Answers in order. They are on disk, and charged, when the block has ended; where it or a
        policy raises anything, nothing was answered. Threads take turns; the block must not ask the
        meter.

        Raises:
            Transient: the store failed; nothing was answered.
            Misconfigured: the store was changed or is damaged, or the policy answered what no
                policy may; nothing was answered.
        """
        try:
            with self._turn() as connection:
                rows: list[tuple[Any, ...]] = []
                new: dict[str, Answer] = {}
                yield [self._answer(question, rows, new, connection) for question in questions]
                if rows:
                    connection.executemany(INSERT, rows)
                    connection.execute(SET_HEAD, (self._seq, self._head))
        except StoreError as error:
            raise self._failed(error, "written") from error

    @contextmanager
    def _turn(self) -> Iterator[Connection]:
        """One transaction, with all that was answered before it read; no other thread sees what
        it has not committed."""
        with self._mutex:
            try:
                with self._store.writing() as connection:
                    self._catch_up(connection)
                    yield connection
                self._reached = self._place()
            except BaseException:
                self._forget()  # what was decided is void; the next turn reads the store again
                raise

    def _answer(
        self,
        question: MeteredSubmission,
        rows: list[tuple[Any, ...]],
        new: dict[str, Answer],
        connection: Connection,
    ) -> ReportedAnswer:
        """`rows` and `new`: what this turn adds to the store, and by question."""
        if (known := new.get(question.key) or known_answer(connection, question.key)) is not None:
            return self._reported(question.who, known, repeated=True)
        answer = plain_answer(self._policy.answer(self.channel, question.who, question.accuracy))
        self._take(question, answer)
        new[question.key] = answer
        asked = self._seq, question.key, question.campaign, question.who
        rows.append((*asked, answer.improved, answer.level, answer.bits, answer.mass))
        return self._reported(question.who, answer, repeated=False)

    def _reported(self, who: str, answer: Answer, *, repeated: bool) -> ReportedAnswer:
        outlook, channel = plain_outlook(self._policy.outlook(self.channel, who)), self.channel
        cap, slack = outlook.cap_bits, outlook.slack_bits
        return ReportedAnswer(
            answer=answer,
            outlook=outlook,
            level=channel.level,
            bits=channel.released,
            bound=inflation_bound(channel.bits, channel.n, slack_bits=slack),
            bound_at_cap=None
            if cap is None
            else inflation_bound(max(cap, channel.bits), channel.n, slack_bits=slack),
            verdict_bits=self._verdict_bits,
            certified=self._certified(outlook),
            repeated=repeated,
            place=self._place(),
        )

    def _certified(self, outlook: Outlook) -> float | None:
        channel = self.channel
        if channel.level_bits is None:
            return None
        return certified_at_least(
            channel.level,
            channel.level_bits,
            channel.n,
            least=self._units.least,
            slack_bits=outlook.slack_bits,
        )

    def state(self, who: str = "operator") -> Mapping[str, Any]:
        """Where the channel stands: level (accuracy), bits in all and of improvements by campaign,
        cap, bound, tier, counts."""
        with self._turn() as connection:
            query = "SELECT campaign, sum(bits) FROM answers GROUP BY campaign ORDER BY campaign"
            campaigns = {campaign: float(bits) for campaign, bits in connection.execute(query)}
            return self._state(who) | {"bits_by_campaign": campaigns}

    def _state(self, who: str) -> dict[str, Any]:
        reported = self._reported(who, Answer(False, self.channel.level), repeated=False)
        return {
            "items": self._units.items,
            "independent_labels": self.channel.n,
            "verdict_bits": reported.verdict_bits,
            "level_accuracy": self.channel.level,
            "certified_at_least": reported.certified,
            "bits": reported.bits,
            "cap_bits": reported.outlook.cap_bits,
            "inflation_bound": reported.bound,
            "inflation_bound_at_cap": reported.bound_at_cap,
            "tier": reported.outlook.tier,
            "answers": self._seq,
            "improvements": self.channel.yes.total(),
        }

    def now(self, who: str) -> ReportedAnswer:
        """Where the channel stands for `who`, as if reported after a "no" that nobody asked for.

        Raises:
            Transient: the store failed.
        """
        try:
            with self._turn():  # with the write lock: nobody answers meanwhile
                return self._reported(who, Answer(False, self.channel.level), repeated=False)
        except StoreError as error:
            raise self._failed(error, "read") from error

    def answers_to(self, campaign: str, besides: Container[str] = ()) -> dict[str, dict[str, Any]]:
        """By question, what was answered to a campaign that was the first to ask it, except for
        those questions: {"answers" (its number), "who", ...}."""
        kept = ("who", "level", "bits", "mass")
        with self._store.reading() as connection:
            asked = connection.execute(QUESTIONS, (campaign,))
            left = [question for (question,) in asked if question not in besides]
            rows = {q: connection.execute(ANSWER, (q,)).fetchone() for q in left}
        found = {
            q: {"answers": row["seq"], "improved": bool(row["improved"])}
            | {name: row[name] for name in kept}
            for q, row in rows.items()
        }
        return dict(sorted(found.items(), key=lambda one: one[1]["answers"]))

    def reached(self) -> Reached:
        """How far it has come now.

        Raises:
            Transient, Misconfigured: the store failed, or was changed.
        """
        try:
            with self._turn() as connection:
                digest = self._digest.upto(connection, self._seq)
                if digest is None:
                    raise self._changed(self._seq)
                return Reached(self._seq, digest)
        except StoreError as error:
            raise self._failed(error, "read") from error

    def close(self) -> None:
        """Close the store."""
        self._store.close()


def _gap(scales: Sequence[tuple[float, float]]) -> float | None:
    """Of the first scale that was released, so that a step does not change; None where there is
    none, or nothing between its ends."""
    weak, ceiling = scales[0] if scales else (0.0, 0.0)
    return ceiling - weak if ceiling > weak else None
