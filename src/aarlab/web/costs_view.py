"""The page of costs: by researcher, by model and by hour. What has no known price is unknown, never
0."""

from typing import Any

from aarlab.core.budget import Budget
from aarlab.fleet.spends import TOKEN_KINDS, Tally
from aarlab.web.campaign_book import CampaignBook
from aarlab.web.live_view import amounts
from aarlab.web.open_campaigns import OpenCampaign
from aarlab.web.page_query import PageQuery
from aarlab.web.shown_text import line

ROWS = 50


def costs_page(campaign: OpenCampaign, query: PageQuery) -> dict[str, Any]:
    """What the campaign has cost until now."""
    settings = campaign.settings()
    with campaign.book.reading() as book:
        limits = settings.campaign_budget if settings else Budget()
        budget = amounts(book.tally.spent, limits)
        hours, pager = query.paged(sorted(book.by_hour.items()), ROWS)
        return {
            "title": "Costs",
            "running": campaign.standing().startswith("running"),
            "total": _row("all", book.tally),
            "budget": [row for row in budget if row["limit"] is not None],
            "researchers": [_row(name, mine.tally) for name, mine in _spenders(book)],
            "models": _models(book.tally),
            "hours": [_row(f"{hour} to {hour + 1}", tally) for hour, tally in hours],
            "began_at": book.began_s,
            "pager": pager,
        }


def costs_table(page: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows in one table, each with what it is of."""
    parts = (
        ("campaign", [page["total"]]),
        ("researcher", page["researchers"]),
        ("model", page["models"]),
        ("hour", page["hours"]),
    )
    return [{"of": of, **row} for of, rows in parts for row in rows]


def _spenders(book: CampaignBook) -> list[tuple[str, Any]]:
    """Who has events, submissions or spends; one that spent nothing has a row, too."""
    return [
        (name, mine)
        for name, mine in book.researchers.items()
        if mine.events or mine.submissions or mine.tally.calls or mine.tally.machine
    ]


def _row(name: str, tally: Tally) -> dict[str, Any]:
    """One row; None is unknown."""
    processor_s, known = tally.processor_s, tally.spent.usd
    return {
        "name": line(name),
        "usd": _cents(tally.cost),
        "known_usd": _cents(known if known or not tally.unknown else None),
        "model_usd": _cents(tally.model_cost),
        "machine_usd": _cents(tally.machine_cost),
        "device_usd": _cents(tally.device_cost),
        "left_out": list(tally.unknown),
        "hours": round(tally.wall_s / 3600, 4),
        "device_hours": round(tally.device_s / 3600, 4),
        "processor_hours": None if processor_s is None else round(processor_s / 3600, 4),
        "calls": sum(tally.calls.values()),
        "interrupted_calls": tally.interrupted_calls,
        "tokens": sum(tally.tokens.values()),
    }


def _models(tally: Tally) -> list[dict[str, Any]]:
    """Calls of each model. Its dollars are those of calls whose price is known; None where that is
    so of no call."""
    return [
        {
            "name": line(model),
            "calls": calls,
            "known_usd": _cents(
                tally.usd_by_model[model] if tally.unpriced[model] < calls else None
            ),
            **{f"{kind}_tokens": tally.tokens[model, kind] for kind in TOKEN_KINDS},
        }
        for model, calls in sorted(tally.calls.items())
    ]


def _cents(usd: float | None) -> float | None:
    return None if usd is None else round(usd, 4)
