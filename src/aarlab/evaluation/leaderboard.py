"""Boards, computed from the ledger alone. What researchers see holds told levels only; the operator's holds more."""

from typing import Any

from aarlab.core.records import Entry
from aarlab.evaluation.evaluator import Evaluator

PAGE = 20


def told_board(evaluator: Evaluator, page: int) -> list[dict[str, Any]]:
    """One page of the told improvements: confirmed ones first, then best (latest) first, refuted ones last.

    Verdict and rounded accuracy on `final` were charged to `final` when they were recorded.
    """
    told = [e for e in evaluator.ledger.entries("submission") if e.body["receipt"]["improved"]]
    settled = {e.body["snapshot"]: e.body for e in evaluator.ledger.entries("confirmation")}

    def standing(e: Entry) -> int:
        verdict = settled.get(e.body["snapshot"], {}).get("verdict")
        return {"confirmed": 0, None: 1}.get(verdict, 2)

    rows = sorted(told[::-1], key=standing)[page * PAGE : (page + 1) * PAGE]
    return [
        {
            "receipt": e.body["receipt"]["id"],
            "researcher": e.who,
            "family": e.body["family"],
            "snapshot": e.body["snapshot"],
            "level_pgr": e.body["receipt"]["level_pgr"],
            "provisional": standing(e) != 0,
            "verdict": settled.get(e.body["snapshot"], {}).get("verdict"),
            "final_accuracy": settled.get(e.body["snapshot"], {}).get("told_accuracy"),
        }
        for e in rows
    ]


def operator_board(evaluator: Evaluator) -> dict[str, Any]:
    """Counts by submitter and the told level, for the live view."""
    by: dict[str, dict[str, Any]] = {}
    submissions = evaluator.ledger.entries("submission")
    for e in submissions:
        row = by.setdefault(e.who, {"submissions": 0, "improvements": 0})
        row["submissions"] += 1
        row["improvements"] += e.body["receipt"]["improved"]
        row["latest_family"] = e.body["family"]
    level = evaluator.pgr(evaluator.level)
    return {"submissions": len(submissions), "level_pgr": round(level, 4), "by_submitter": by}


def campaign_state(evaluator: Evaluator) -> dict[str, Any]:
    """What has happened so far: events, seconds spent by all researchers, number of submissions."""
    ledger = evaluator.ledger
    return {
        "events": [e.body.get("event") for e in ledger.entries("campaign")],
        "wall_s": sum(e.body["wall_s"] for e in ledger.entries("spend")),
        "submissions": len(ledger.entries("submission")),
    }
