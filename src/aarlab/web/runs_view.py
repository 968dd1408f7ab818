"""The page of runs: code that waits or was run, incarnations of researchers, how each ended, and
all of it over time."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from aarlab.core.records import NO_RESULT
from aarlab.fleet.alarms import OVER
from aarlab.web.campaign_book import BookCode, BookEvent, CampaignBook
from aarlab.web.chart_data import LANES
from aarlab.web.open_campaigns import OpenCampaign
from aarlab.web.page_query import PageQuery
from aarlab.web.shown_text import line

ROWS = 50
STATES = ("waiting", "done", "failed")
STARTS = {"running", "restarted"}
ENDED = "ended: "
SHOWN = 200  # incarnations in the table of the page, the latest
MOST_BARS = 300  # of a lane, the latest


def runs_page(campaign: OpenCampaign, query: PageQuery) -> dict[str, Any]:
    """What was run for the campaign, and by whom."""
    running, settings = campaign.standing().startswith("running"), campaign.settings()
    with campaign.book.reading() as book:
        began_s, ends_s = book.began_s or 0.0, time.time() if running else book.worked_s
        all_incarnations = sorted(
            (one for name in book.researchers for one in incarnations(book, name, running)),
            key=lambda one: one["from_s"],
        )
        chosen = query.choice("state", STATES)
        asked = [a for a in reversed(book.asked.values()) if chosen in ("", a.state)]
        rows, pager = query.paged(asked, ROWS)
        return {
            "title": "Runs",
            "code_mode": bool(book.asked) or (settings is not None and settings.mode == "code"),
            "queue": [_asked(book, a) for a in book.asked.values() if a.state == "waiting"][:ROWS],
            "waiting": sum(a.state == "waiting" for a in book.asked.values()),
            "chosen": {"state": chosen},
            "choices": {"state": STATES},
            "rows": [_asked(book, a) for a in rows],
            "pager": pager,
            "memory": {
                "answers": book.experiments,
                "from_memory": sum(m.receipt.repeated for m in book.handed_in),
                "cache_hits": None,  # of runs: the ledger does not record them
            },
            "failures": failures(book, all_incarnations),
            "incarnations": all_incarnations if query.whole else all_incarnations[-SHOWN:],
            "incarnations_left_out": 0 if query.whole else max(0, len(all_incarnations) - SHOWN),
            "gantt": _gantt(book, all_incarnations, began_s, ends_s),
        }


def runs_table(page: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each run of code and each incarnation."""
    code = [{"what": "code", **row} for row in page["rows"]]
    return code + [{"what": "incarnation", **row} for row in page["incarnations"]]


def incarnations(book: CampaignBook, name: str, running: bool) -> Iterator[dict[str, Any]]:
    """Each incarnation of a researcher, from its events in the ledger."""
    begun: BookEvent | None = None
    for event in book.by(name).events:
        ends = event.event.startswith(ENDED) or event.event in OVER
        if begun and (ends or event.event in STARTS):
            words = event.event.removeprefix(ENDED) if ends else "no end was recorded"
            yield _incarnation(name, begun, event.at, words)
            begun = None
        if event.event in STARTS:
            begun = event
    if begun:
        yield _incarnation(name, begun, None, "running" if running else "no end was recorded")


def _incarnation(name: str, begun: BookEvent, end: str | None, words: str) -> dict[str, Any]:
    ended_s = None if end is None else _seconds(end)
    return {
        "researcher": line(name),
        "incarnation": begun.incarnation,
        "from_s": round(_seconds(begun.at), 3),
        "to_s": None if ended_s is None else round(ended_s, 3),
        "ended": words,
    }


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def failures(book: CampaignBook, all_incarnations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How often each kind of end was seen, apart for code, confirmations and incarnations."""
    ran = [one for each in book.settled.values() for one in each.ran]
    found = (
        ("code", Counter(a.failure for a in book.asked.values() if a.failure)),
        ("confirmation", Counter("failed on a target" for one in ran if one.failure)),
        (
            "incarnation",
            Counter(one["ended"] for one in all_incarnations if one["to_s"] is not None),
        ),
    )
    return [
        {"of": of, "kind": line(kind), "times": n, "by_machine": kind in NO_RESULT}
        for of, kinds in found
        for kind, n in kinds.most_common()
    ]


def _asked(book: CampaignBook, asked: BookCode) -> dict[str, Any]:
    took = None if asked.ended_s is None else round(asked.ended_s - asked.at_s, 1)
    return {
        "ticket": asked.ticket,
        "researcher": line(asked.who),
        "family": asked.family,
        "snapshot": asked.snapshot,
        "state": asked.state,
        "failure": asked.failure,
        "from_memory": asked.repeated,
        "receipt": asked.receipt if asked.receipt in book.place else None,
        "from_s": round(asked.at_s, 3),
        "to_s": None if asked.ended_s is None else round(asked.ended_s, 3),
        "took_s": took,
    }


def _gantt(
    book: CampaignBook, all_incarnations: list[dict[str, Any]], began_s: float, ends_s: float
) -> dict[str, Any]:
    """A lane for each researcher: its incarnations, and its code from the request to the outcome.
    Times are seconds since the first entry."""
    started = {one["researcher"] for one in all_incarnations} | {a.who for a in book.asked.values()}
    names = [name for name in book.researchers if name in started]
    bars: dict[str, list[dict[str, Any]]] = {name: [] for name in names[:LANES]}

    def add(name: str, row: int, since: float, until: float | None, words: str) -> None:
        end = ends_s if until is None else until
        bar = {"row": row, "from": round(since - began_s, 1), "to": round(end - began_s, 1)}
        bars[name].append(bar | {"words": words, "open": until is None})

    for one in all_incarnations:
        if (name := one["researcher"]) in bars:
            words = f"{name}, incarnation {one['incarnation'] or 'unknown'}: {one['ended']}"
            add(name, 0, one["from_s"], one["to_s"], words)
    for asked in book.asked.values():
        if asked.who in bars:
            words = f"{asked.ticket}: {asked.failure or asked.state}"
            add(asked.who, 1, asked.at_s, asked.ended_s, words)
    return {
        "length": round(max(ends_s - began_s, 1.0), 3),
        "more": max(0, len(names) - LANES),
        "lanes": [{"name": name, "bars": found[-MOST_BARS:]} for name, found in bars.items()],
    }
