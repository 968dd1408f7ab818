"""Which snapshots were ever put to confirmation on a label set's `final`, by whichever campaign,
and what that has released.

It lies with the hidden labels: the count of tries, by which p-values are adjusted, and the budget
belong to the label set. Append-only, in SQLite; a try is written before its seeds are given away.
"""

import hashlib
import hmac
import math
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.e_values import discoveries, e_of_p
from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.intervals import holm
from aarlab.core.layout import TestbedFolder
from aarlab.core.records import VERDICTS
from aarlab.core.store import Connection, NotNow, connect, transaction

# of `feedback`, released by one answer: its verdict, and whether it is student-free
FEEDBACK_BITS = math.log2(2 * len(VERDICTS))
CAP = 40  # snapshots that one label set's `final` may ever be asked about
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tries (
    seq INTEGER PRIMARY KEY, campaign TEXT NOT NULL, snapshot TEXT NOT NULL, nonce TEXT NOT NULL,
    UNIQUE (campaign, snapshot));
CREATE TABLE IF NOT EXISTS told (
    seq INTEGER PRIMARY KEY, campaign TEXT NOT NULL, snapshot TEXT NOT NULL, p REAL,
    verdict TEXT NOT NULL, bits REAL NOT NULL);
CREATE TRIGGER IF NOT EXISTS tries_stay BEFORE UPDATE ON tries
    BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS tries_kept BEFORE DELETE ON tries
    BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS told_stays BEFORE UPDATE ON told
    BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS told_kept BEFORE DELETE ON told
    BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""


@dataclass(frozen=True)
class Try:
    """A snapshot that was put to confirmation. Its seeds follow from the nonce alone, which was
    drawn after the code was fixed and lies with the label set: a campaign that is deleted and run
    again under its name gets the same seeds again."""

    campaign: str
    snapshot: str
    nonce: str

    @property
    def token(self) -> str:
        return f"{self.snapshot}.{self.nonce}"

    def seeds(self, target: str, count: int) -> list[int]:
        """The seeds on which it is run on a target, sorted."""
        digests = (
            hmac.digest(self.nonce.encode(), f"{target}|{n}".encode(), hashlib.sha256)
            for n in range(count)
        )
        return sorted(int.from_bytes(digest[:4], "big") >> 1 for digest in digests)


class Tries:
    """The tries of one label set."""

    def __init__(self, path: Path, *, cap: int = CAP) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path, self.cap = path, cap
        self._verdict_bits: tuple[object, float] = (
            None,
            0.0,
        )  # the file's state, and `verdict_bits_of_feedback` then
        with self._writing() as connection:
            for statement in _SCHEMA.strip().split(";\n"):
                if statement.strip():
                    connection.execute(statement)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One transaction that holds the write lock from its beginning."""
        try:
            with (
                closing(connect(self._path, write_ahead=False)) as connection,
                transaction(connection),
            ):
                yield connection
        except NotNow as error:
            raise Transient(
                f"Not recorded: {self._path.name} cannot be written ({error}). Try again later."
            ) from error

    def begin(self, campaign: str, snapshot: str, nonce: str) -> Try:
        """Count a snapshot as tried, or find it counted already (then with its first nonce: seeds
        cannot be drawn again).

        Raises:
            Misconfigured: this label set's budget of confirmations is spent.
        """
        with self._writing() as connection:
            found = connection.execute(
                "SELECT nonce FROM tries WHERE campaign = ? AND snapshot = ?", (campaign, snapshot)
            ).fetchone()
            if found is not None:
                return Try(campaign, snapshot, found[0])
            (tried,) = connection.execute("SELECT COUNT(*) FROM tries").fetchone()
            if tried >= self.cap:
                raise Misconfigured(
                    f"{tried} snapshots were put to confirmation on this label set, its whole "
                    "budget. Draw another data seed: --set data_seed=N.",
                    tried=tried,
                )
            connection.execute(
                "INSERT INTO tries (campaign, snapshot, nonce) VALUES (?, ?, ?)",
                (campaign, snapshot, nonce),
            )
            return Try(campaign, snapshot, nonce)

    def find(self, campaign: str, token: str) -> Try:
        """The try of a token.

        Raises:
            InvalidSubmission: it was not begun in this campaign.
        """
        with self._writing() as connection:
            for snapshot, nonce in connection.execute(
                "SELECT snapshot, nonce FROM tries WHERE campaign = ?", (campaign,)
            ):
                if token == f"{snapshot}.{nonce}":
                    return Try(campaign, snapshot, nonce)
        raise InvalidSubmission(
            f"No confirmation '{token[:100]}' was begun in this campaign.", token=token[:100]
        )

    def adjusted(self, of: Try, p: float | None) -> tuple[float | None, int]:
        """(`p` of that try adjusted by Holm for all tries so far, how many those are); tries
        without a p-value count as 1.

        If it was released before with a larger p-value, that one stays: a record that was lost is
        no second chance.
        """
        ps = self._p_values()
        if p is not None:
            ps[of.campaign, of.snapshot] = _largest(ps.get((of.campaign, of.snapshot)), p)
        if ps.get((of.campaign, of.snapshot)) is None:
            return None, len(ps)
        values = holm([1.0 if found is None else found for found in ps.values()])
        return dict(zip(ps, values, strict=True))[of.campaign, of.snapshot], len(ps)

    def evidence(self, of: Try, p: float | None, alpha: float) -> tuple[float, bool] | None:
        """(e-value of that try, whether it is a discovery among all tries so far at a rate alpha of
        false ones); tries without a p-value are no evidence. None: it has none itself."""
        ps, me = self._p_values(), (of.campaign, of.snapshot)
        if p is not None:
            ps[me] = _largest(ps.get(me), p)
        if ps.get(me) is None:
            return None
        es = [0.0 if found is None else e_of_p(found) for found in ps.values()]
        place = list(ps).index(me)
        return es[place], discoveries(es, alpha)[place]

    def _p_values(self) -> dict[tuple[str, str], float | None]:
        with self._writing() as connection:
            ps: dict[tuple[str, str], float | None] = {
                (campaign, snapshot): None
                for campaign, snapshot in connection.execute(
                    "SELECT campaign, snapshot FROM tries ORDER BY seq"
                )
            }
            for campaign, snapshot, p in connection.execute(
                "SELECT campaign, snapshot, p FROM told ORDER BY seq"
            ):
                # else a fresh draw of another campaign, which was no try here
                if (campaign, snapshot) in ps:
                    ps[campaign, snapshot] = _largest(ps[campaign, snapshot], p)
        return ps

    def note_answer(self, of: Try, *, p: float | None, verdict: str, bits: float) -> None:
        """Charge an answer; it is on disk before it is given."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO told (campaign, snapshot, p, verdict, bits) VALUES (?, ?, ?, ?, ?)",
                (of.campaign, of.snapshot, p, verdict, bits),
            )

    def spent(self, campaign: str | None = None) -> tuple[int, int, float]:
        """(snapshots tried, answers released, bits that those can have carried about `final`), of
        all campaigns or of one."""
        these, sums = "campaign = COALESCE(?, campaign)", "COUNT(*), COALESCE(SUM(bits), 0)"
        with self._writing() as connection:
            (tried,) = connection.execute(
                f"SELECT COUNT(*) FROM tries WHERE {these}", (campaign,)
            ).fetchone()
            answers, bits = connection.execute(
                f"SELECT {sums} FROM told WHERE {these}", (campaign,)
            ).fetchone()
        return tried, answers, float(bits)

    def verdict_bits_of_feedback(self) -> float:
        """Bits that all answers so far can have carried about the same label set's `feedback`: a
        verdict says whether re-runs score there as was claimed. A fresh draw's answers are about
        its `final` alone."""
        now = self._state()  # asked at every submission
        if self._verdict_bits[0] != now:
            with self._writing() as connection:
                (answers,) = connection.execute(
                    "SELECT COUNT(*) FROM told JOIN tries USING (campaign, snapshot)"
                ).fetchone()
            self._verdict_bits = now, answers * FEEDBACK_BITS
        return self._verdict_bits[1]

    def _state(self) -> object:
        """Another after each commit: the file's number, and SQLite's own count of its changes
        (https://www.sqlite.org/fileformat2.html, 1.3.7). None where there is no such file."""
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return os.fstat(file).st_ino, os.pread(file, 4, 24)
        finally:
            os.close(file)


def tries_of(problem: Path, *, cap: int = CAP) -> Tries:
    """The tries of a problem's label set; both splits of it are charged for them."""
    return Tries(TestbedFolder(problem).tries, cap=cap)


def _largest(one: float | None, other: float | None) -> float | None:
    known = [p for p in (one, other) if p is not None]
    return max(known) if known else None
