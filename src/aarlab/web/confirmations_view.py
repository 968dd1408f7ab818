"""The page of confirmations: what was claimed beside what the evaluator's own runs gave, on each
target; ablations; and the verdict of each claim."""

from typing import Any

from aarlab.evaluation.confirmation.confirmation_record import ABLATED
from aarlab.web import shown_score
from aarlab.web.campaign_book import BookConfirmation, BookTarget, CampaignBook
from aarlab.web.open_campaigns import OpenCampaign
from aarlab.web.shown_text import line

ORDER = ("final", "feedback", "fresh", "pair", "transfer", *ABLATED)
COMPONENT = "component"  # the kind of target without one component of the code
SHADES = 6
CHANCE = 0.5  # accuracy: the lightest shade
STANDING = {"confirmed": 0}  # every other verdict stands below


def confirmations_page(campaign: OpenCampaign) -> dict[str, Any]:
    """Every claim that was put to confirmation, confirmed ones first."""
    chance = 0.0 if campaign.in_folder else CHANCE
    with campaign.book.reading() as book:
        settled = sorted(book.settled.values(), key=lambda s: (STANDING.get(s.verdict, 1), s.seq))
        ran = [one for each in settled for one in each.ran]
        return {
            "title": "Confirmations",
            "targets": _targets(ran, ablated=False),
            "ablations": _targets(ran, ablated=True),
            "components": [_components(one, chance) for one in settled if _taken(one)],
            "claims": [_claim(book, one, chance) for one in settled],
            "chance": chance,
            "shades": list(range(SHADES)),
        }


def confirmations_table(page: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each claim and target."""
    own = ("receipt", "researcher", "family", "verdict", "claimed", "flags")
    return [
        {name: claim[name] for name in own}
        | {"target": name, "kind": cell["kind"], "ran": cell["score"], "failure": cell["failure"]}
        for claim in page["claims"]
        for name, cell in claim["cells"].items()
    ]


def _targets(ran: list[BookTarget], *, ablated: bool) -> list[dict[str, Any]]:
    """The columns, each once, in the order of what decides."""
    known = {
        one.name: one for one in ran if (one.kind in ABLATED) == ablated and one.kind != COMPONENT
    }
    rows = sorted(known.values(), key=lambda one: (_rank(one.kind), one.name))
    return [
        {"name": r.name, "kind": r.kind, "split": r.split, "problem": r.problem, "on": r.student}
        for r in rows
    ]


def _taken(settled: BookConfirmation) -> list[BookTarget]:
    return [one for one in settled.ran if one.kind == COMPONENT]


def _components(settled: BookConfirmation, chance: float) -> dict[str, Any]:
    """One claim beside its code without each component."""
    whole = next((one for one in settled.ran if one.kind == "final"), None)
    rows = [
        _cell(one, chance) | {"name": one.name, "removed": one.removed, "lost": one.lost}
        for one in _taken(settled)
    ]
    return {
        "receipt": settled.receipt,
        "whole": None if whole is None else _cell(whole, chance),
        "rows": rows,
    }


def _rank(kind: str) -> int:
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


def _claim(book: CampaignBook, settled: BookConfirmation, chance: float) -> dict[str, Any]:
    """One claim: what it claimed, its verdict, and a cell for each target that it was run on."""
    made = book.submission(settled.receipt)
    return {
        "receipt": settled.receipt,
        "known": made is not None,
        "researcher": line(settled.researcher),
        "family": made.receipt.family if made else "",
        "claimed": shown_score.reported_accuracy(made.receipt) if made else None,
        "claimed_pgr": shown_score.reported(made.receipt) if made else None,
        "improved": made is not None and made.receipt.improved,
        "verdict": settled.verdict,
        "flags": list(settled.flags),
        "at": settled.at,
        "cells": {one.name: _cell(one, chance) for one in settled.ran},
    }


def _cell(ran: BookTarget, chance: float) -> dict[str, Any]:
    shade = None if ran.score is None else _shade(ran.score["value"], chance)
    return {"kind": ran.kind, "score": ran.score, "failure": ran.failure, "shade": shade}


def _shade(score: float, chance: float) -> int:
    """From 0, the lightest, at chance and below; of a combined score, at the floor."""
    share = (score - chance) / (1 - chance)
    return max(0, min(SHADES - 1, int(share * SHADES)))
