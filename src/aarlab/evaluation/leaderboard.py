"""Boards, from the ledger alone. What researchers see holds told levels only; the operator's holds more."""

from bisect import insort
from collections.abc import Sequence
from typing import Any

from aarlab.core.records import Entry, Record
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.follow import View
from aarlab.evaluation.ledger import Ledger

PAGE = 20
CONFIRMED, OPEN, REFUTED = 0, 1, 2  # standing, in the order of the board


class Row(Record):
    """One told improvement. Verdict and rounded accuracy on `final` were charged to `final` when they were recorded."""

    receipt: str
    researcher: str
    family: str
    snapshot: str
    level_pgr: float
    provisional: bool
    verdict: str | None
    flags: tuple[str, ...]  # of the verdict's confirmation: what stands beside it
    final_accuracy: float | None


class Activity(Record):
    """What one submitter has done so far."""

    submissions: int = 0
    improvements: int = 0
    findings: int = 0
    latest_family: str | None = None


class Board(View):
    """The told improvements, and who submitted how much."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._told: list[Entry] = []
        self._order: list[tuple[int, int]] = []  # (standing, -number in _told): sorted as shown
        self._settled: dict[tuple[str, str], dict[str, Any]] = {}  # (snapshot, who claims with it) -> its confirmation
        self._by: dict[str, Activity] = {}

    def _take(self, entry: Entry) -> None:
        if entry.kind == "confirmation":
            self._settled[entry.body["snapshot"], entry.body["record"]["claim"]["researcher"]] = entry.body
            self._order = sorted((self._standing(e), -number) for number, e in enumerate(self._told))
        elif entry.kind == "submission":
            before, improved = self._by.get(entry.who, Activity()), entry.body["receipt"]["improved"]
            more = {"submissions": before.submissions + 1, "improvements": before.improvements + improved}
            self._by[entry.who] = before.model_copy(update={**more, "latest_family": entry.body["family"]})
            if improved:
                insort(self._order, (self._standing(entry), -len(self._told)))
                self._told.append(entry)

        elif entry.kind == "finding":
            before = self._by.get(entry.who, Activity())
            self._by[entry.who] = before.model_copy(update={"findings": before.findings + 1})

    def _standing(self, entry: Entry) -> int:
        return {"confirmed": CONFIRMED, None: OPEN}.get(self._confirmation(entry).get("verdict"), REFUTED)

    def _confirmation(self, told: Entry) -> dict[str, Any]:
        """The latest confirmation of a told improvement, {} if there is none. Answers handed in under another's snapshot share
        in none."""
        return self._settled.get((told.body["snapshot"], told.who), {})

    def page(self, number: int) -> tuple[Sequence[Row], int]:
        """One page (from 0): confirmed ones first, then best (latest) first, refuted ones last; and how many rows there are."""
        with self._current():
            shown = self._order[number * PAGE : (number + 1) * PAGE]
            return [self._row(standing, self._told[-negative]) for standing, negative in shown], len(self._order)

    def _row(self, standing: int, entry: Entry) -> Row:
        receipt, settled = entry.body["receipt"], self._confirmation(entry)
        return Row(
            receipt=receipt["id"],
            researcher=entry.who,
            family=entry.body["family"],
            snapshot=entry.body["snapshot"],
            level_pgr=receipt["level_pgr"],
            provisional=standing != CONFIRMED,
            verdict=settled.get("verdict"),
            flags=tuple(settled.get("told_flags", ())),
            final_accuracy=settled.get("told_accuracy"),
        )

    def activity(self, who: str) -> Activity:
        """What one submitter has done."""
        with self._current():
            return self._by.get(who, Activity())

    def by_submitter(self) -> dict[str, Activity]:
        """What each submitter has done."""
        with self._current():
            return dict(self._by)


def told_board(evaluator: Evaluator, page: int) -> list[dict[str, Any]]:
    """One page of the board, as plain fields."""
    return [row.model_dump() for row in Board(evaluator.ledger).page(page)[0]]


def campaign_state(evaluator: Evaluator) -> dict[str, Any]:
    """What has happened so far: events, seconds spent by all researchers, number of submissions."""
    ledger = evaluator.ledger
    return {
        "events": [e.body.get("event") for e in ledger.entries("campaign")],
        "wall_s": sum(e.body.get("wall_s", 0.0) for e in ledger.entries("spend")),
        "submissions": len(ledger.entries("submission")),
    }
