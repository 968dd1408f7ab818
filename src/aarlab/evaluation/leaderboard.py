"""Boards, from the ledger alone. What researchers see holds reported levels only; the operator's
holds more."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aarlab.core.entries import (
    CodeBody,
    ConfirmationBody,
    EventBody,
    FindingBody,
    SubmissionBody,
)
from aarlab.core.operation_records import Activity, Row
from aarlab.core.quotas import Stored, code_cost, finding_cost
from aarlab.core.records import Entry
from aarlab.core.view import View
from aarlab.evaluation.ledger.ledger import Ledger

PAGE = 20
CONFIRMED, OPEN, REFUTED = 0, 1, 2  # standing, in the order of the board


class Board(View):
    """The reported improvements, and who submitted how much."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._improvements: list[Entry] = []
        self._order: list[
            tuple[int, int]
        ] = []  # (standing, -number in _improvements): sorted as shown
        # (snapshot, who claims with it) -> its confirmation
        self._settled: dict[tuple[str, str], ConfirmationBody] = {}
        self._by: dict[str, Activity] = {}
        self._wall_s = 0.0
        self._stored: dict[str, Stored] = {}
        self._snapshots: set[str] = set()

    def _take(self, entry: Entry) -> None:
        if entry.kind == "spend":  # most are: they are not made records
            self._wall_s += entry.body.get("wall_s", 0.0)
        elif entry.kind == "confirmation":
            body = entry.read(ConfirmationBody)
            self._settled[body.snapshot, body.researcher] = body
            self._order = sorted(
                (self._standing(e), -number) for number, e in enumerate(self._improvements)
            )
        elif entry.kind == "submission":
            before, body = self._by.get(entry.who, Activity()), entry.read(SubmissionBody)
            improved = body.receipt.improved
            more = {
                "submissions": before.submissions + 1,
                "improvements": before.improvements + improved,
            }
            self._by[entry.who] = before.model_copy(update={**more, "latest_family": body.family})
            if improved:
                insort(self._order, (self._standing(entry), -len(self._improvements)))
                self._improvements.append(entry)
        elif entry.kind == "code":
            code = entry.read(CodeBody)
            new = code.snapshot not in self._snapshots
            self._snapshots.add(code.snapshot)
            stored, cost = self._of(entry.who), code_cost(code.bytes, new=new)
            self._stored[entry.who] = replace(stored, code=stored.code + cost)
        elif entry.kind == "finding":
            finding = entry.read(FindingBody)
            stored, cost = self._of(entry.who), finding_cost(finding.title, finding.text)
            self._stored[entry.who] = replace(stored, findings=stored.findings + cost)
            before = self._by.get(entry.who, Activity())
            self._by[entry.who] = before.model_copy(update={"findings": before.findings + 1})

    def _of(self, who: str) -> Stored:
        return self._stored.get(who, Stored())

    def stored(self, who: str) -> Stored:
        """How much one researcher has stored."""
        with self._current():
            return self._of(who)

    def require_room_for_code(self, who: str, snapshot: str, size: int) -> None:
        """Raises InvalidSubmission where a snapshot of `size` bytes is beyond its quota."""
        with self._current():
            new = snapshot not in self._snapshots
            self._of(who).require_room(code=code_cost(size, new=new))

    def _standing(self, entry: Entry) -> int:
        settled = self._confirmation(entry)
        return OPEN if settled is None else CONFIRMED if settled.verdict == "confirmed" else REFUTED

    def _confirmation(self, submission: Entry) -> ConfirmationBody | None:
        """The latest confirmation of a reported improvement, if there is one. Answers handed in
        under another's snapshot share in none."""
        return self._settled.get((submission.read(SubmissionBody).snapshot, submission.who))

    def page(self, number: int) -> tuple[Sequence[Row], int]:
        """One page (from 0): confirmed ones first, then best (latest) first, refuted ones last; and
        how many rows there are."""
        with self._current():
            shown = self._order[number * PAGE : (number + 1) * PAGE]
            return [
                self._row(standing, self._improvements[-negative]) for standing, negative in shown
            ], len(self._order)

    def _row(self, standing: int, entry: Entry) -> Row:
        submitted, settled = entry.read(SubmissionBody), self._confirmation(entry)
        return Row(
            receipt=submitted.receipt.id,
            researcher=entry.who,
            family=submitted.family,
            snapshot=submitted.snapshot,
            level_pgr=submitted.receipt.level_pgr,
            provisional=standing != CONFIRMED,
            verdict=settled.verdict if settled else None,
            flags=settled.told_flags if settled else (),
            final_accuracy=settled.told_accuracy if settled else None,
        )

    def activity(self, who: str) -> Activity:
        """What one submitter has done."""
        with self._current():
            return self._by.get(who, Activity())

    def wall_s(self) -> float:
        """Seconds that all researchers spent."""
        with self._current():
            return self._wall_s

    def by_submitter(self) -> dict[str, Activity]:
        """What each submitter has done."""
        with self._current():
            return dict(self._by)


def campaign_state(ledger: Ledger, board: Board) -> dict[str, Any]:
    """What has happened so far: events, seconds spent by all researchers, number of submissions."""
    return {
        "events": events_of(ledger),
        "wall_s": board.wall_s(),
        "submissions": ledger.count("submission"),
    }


def events_of(ledger: Ledger) -> list[str]:
    """What happened to the campaign, in order."""
    return [e.read(EventBody).event for e in ledger.entries("campaign")]
