"""The page of one researcher: its incarnations, what it spent, and its transcript."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aarlab.core.budget import Budget
from aarlab.core.errors import InvalidSubmission
from aarlab.fleet.transcripts import Step, transcript_paths
from aarlab.web.board_view import row
from aarlab.web.campaign_book import CampaignBook
from aarlab.web.live_view import researcher
from aarlab.web.open_campaigns import OpenCampaign
from aarlab.web.page_query import PageQuery
from aarlab.web.shown_text import line
from aarlab.web.transcript_pages import LINES, TranscriptPages, folded

LATEST = 20  # submissions and events
RECEIPT = re.compile(r"r-\d{6}\b")  # begins what the built-in search prints of a submission
KINDS = ("", "calls", "says", "thinks", "fails", "prints")


def _submits(step: Step) -> bool:
    """Whether a step hands something in."""
    if step.kind == "prints":
        return RECEIPT.match(step.text) is not None
    return step.kind == "calls" and step.text.startswith("submit")


JUMPS: dict[str, Callable[[Step], bool]] = {
    "error": lambda step: step.kind == "fails",  # so is what the lab refuses
    "submission": _submits,
}


def researcher_page(
    campaign: OpenCampaign, name: str, query: PageQuery, pages: TranscriptPages
) -> dict[str, Any]:
    """One researcher of a campaign.

    Raises:
        InvalidSubmission: there is none of that name (404).
    """
    state = campaign.state()
    member = next((m for m in state.members if m.name == name), None) if state else None
    with campaign.book.reading() as book:
        if member is None and name not in book.researchers:
            raise InvalidSubmission(
                f"There is no researcher '{line(name, 64)}' in this campaign. The live page lists "
                "those that there are.",
                absent=True,
            )
        budget = state.researcher_budget if state else Budget()
        page = {
            "title": line(name, 64),
            "researcher": researcher(name, book, member, budget, time.time()),
            "direction": book.by(name).direction or line(member.direction if member else "", 4_000),
            "calls_by_model": _calls(book, name),
            "cost_unknown": list(book.by(name).tally.unknown),
            "events": [_event(e) for e in reversed(book.by(name).events[-LATEST:])],
            "submissions": _latest(book, name),
        }
    return page | {"transcript": _transcript(campaign, name, query, pages)}


def _calls(book: CampaignBook, name: str) -> list[dict[str, Any]]:
    tally = book.by(name).tally
    return [
        {"model": line(model), "calls": n, "known_usd": round(tally.usd_by_model[model], 4)}
        for model, n in sorted(tally.calls.items())
    ]


def _event(event: Any) -> dict[str, Any]:
    return {"at": event.at, "event": event.event, "incarnation": event.incarnation}


def _latest(book: CampaignBook, name: str) -> list[dict[str, Any]]:
    places = book.by(name).submissions[-LATEST:]
    return [row(book, book.handed_in[place]) for place in reversed(places)]


def jump(campaign: OpenCampaign, name: str, query: PageQuery, pages: TranscriptPages) -> str:
    """The address of the next such step of a transcript: query and fragment.

    Raises:
        InvalidSubmission: there is no such transcript (404).
    """
    found = _transcripts_of(campaign, name)
    number = _incarnation(found, query)
    to, after = query.choice("to", tuple(JUMPS), "error"), query.number("after", 0)
    line_number = pages.find(found[number], after, JUMPS[to])
    if line_number is None:
        page, mark = after // LINES + 1, "transcript"
    else:
        page, mark = (line_number - 1) // LINES + 1, f"step-{line_number}"
    fields = {"incarnation": number, "page": page, "after": line_number or after or None}
    fields |= {"none": to if line_number is None else None, "to": None}
    return f"{query.link(**fields)}#{mark}"


def _transcripts_of(campaign: OpenCampaign, name: str) -> dict[int, Path]:
    root = campaign.place.transcripts
    known = {p.name for p in root.iterdir() if p.is_dir()} if root.is_dir() else set()
    return transcript_paths(root / name) if name in known else {}


def _incarnation(found: dict[int, Path], query: PageQuery) -> int:
    """The one that is asked for; the latest if none is."""
    number = query.number("incarnation", max(found, default=1))
    if number not in found:
        has = ", ".join(map(str, sorted(found))) or "none"
        raise InvalidSubmission(
            f"This researcher has no incarnation {number}. It has: {has}.", absent=True
        )
    return number


def _transcript(
    campaign: OpenCampaign, name: str, query: PageQuery, pages: TranscriptPages
) -> dict[str, Any]:
    """One page of the transcript of one incarnation."""
    found = _transcripts_of(campaign, name)
    only = query.choice("only", KINDS)
    empty = {"incarnations": sorted(found), "incarnation": None, "steps": [], "pager": None}
    if not found:
        return empty | {"only": only}
    number = _incarnation(found, query)
    wanted = query.number("page", 0) or None
    at = pages.page(found[number], wanted)
    return {
        "incarnations": sorted(found),
        "incarnation": number,
        "only": only,
        "after": query.number("after", 0) or (at.page - 1) * LINES,
        "none": query.choice("none", tuple(JUMPS)),
        "steps": [s for s in folded(at.steps) if not only or only in {s["kind"], *_kinds(s)}],
        "pager": query.pager(at.page, at.pages, at.lines),
    }


def _kinds(step: dict[str, Any]) -> set[str]:
    return {output["kind"] for output in step["outputs"]}
