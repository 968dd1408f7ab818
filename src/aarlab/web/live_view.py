"""The pages "campaigns" and "campaign, live": what runs, what it has found, and what it costs."""

import time
from typing import Any

from aarlab.core.amounts import amount, duration, size
from aarlab.core.budget import Budget, Spent
from aarlab.core.errors import AarError
from aarlab.core.records import Released
from aarlab.fleet.alarms import alarms, ended
from aarlab.fleet.campaign_list import rows
from aarlab.fleet.progress import Work
from aarlab.fleet.state import FleetState, MemberState
from aarlab.fleet.step_note import step_of
from aarlab.nodes.messages import HERE
from aarlab.web import shown_score
from aarlab.web.campaign_book import CampaignBook
from aarlab.web.chart_axis import AXES, NAMES, ChartAxis, along
from aarlab.web.chart_data import chart
from aarlab.web.open_campaigns import OpenCampaign, OpenCampaigns
from aarlab.web.page_query import PageQuery
from aarlab.web.replay import as_shown, replay
from aarlab.web.shown_text import line

MOST_ALARMS = 20
LARGE = 256 << 20  # bytes of a ledger that the first page does not read


# --- campaigns ------------------------------------------------------------------------------------


def campaigns_page(campaigns: OpenCampaigns) -> dict[str, Any]:
    """Every campaign of the state folder, the latest first."""
    return {
        "title": "Campaigns",
        "campaigns": [_campaign(campaigns, row) for row in rows(campaigns.folder)],
    }


def _campaign(campaigns: OpenCampaigns, row: dict[str, object]) -> dict[str, Any]:
    name = str(row["name"])
    found = {key: row[key] for key in ("researchers", "kind", "changed")}
    found |= {
        "name": line(name),
        "state": line(row["state"]),
        "problem": line(row["problem"] or ""),
    }
    return found | (_summary(campaigns.get(name)) if row["problem"] else {})


def _summary(campaign: OpenCampaign) -> dict[str, Any]:
    """What its ledger says in a few numbers; nothing where that cannot be read now."""
    path = campaign.place.server.ledger
    if not campaign.has_ledger or (path.exists() and path.stat().st_size > LARGE):
        return {}
    try:
        with campaign.book.reading() as book:
            return {
                "experiments": book.experiments,
                "level": level_of(book),
                "unit": campaign.units()["unit"],
                "confirmed": sum(s.verdict == "confirmed" for s in book.settled.values()),
                "spent_usd": round(book.tally.spent.usd, 2),
                "cost_unknown": list(book.tally.unknown),
                "alarms": len(alarms(campaign.state(), book, time.time())),
            }
    except AarError as error:
        return {"trouble": line(error)}


# --- one campaign ---------------------------------------------------------------------------------


def live_page(campaign: OpenCampaign, query: PageQuery) -> dict[str, Any]:
    """A campaign as it is now, or as it was after an entry of its ledger (`at`); of one that is
    being set up, what is known already."""
    if not campaign.has_ledger:
        return being_set_up(campaign)
    with campaign.book.reading() as book:
        found = replay(book, query)
    if found["at"] is None:
        return _now(campaign, query) | {"replay": found}
    with campaign.as_it_was(found["at"]) as book:
        page = _shown(campaign, book, query) | {"replay": found, "seq": book.seq}
        page |= _of_fleet(book, None, book.last_s)
        return page | {
            "state": f"as it was after entry {book.seq} of {found['last']}",
            "running": False,
            "after_fleet": False,
            "step": None,
            "researchers": [as_shown(row, book) for row in page["researchers"]],
            "chart": chart(book, _axis(book, query, book.worked_s), (), campaign.k_families()),
        }


def being_set_up(campaign: OpenCampaign) -> dict[str, Any]:
    """What is known before anything was recorded."""
    page = {"title": campaign.name, "state": line(campaign.standing()), "ready": False}
    return page | {"step": _step(campaign, time.time())}


def _step(campaign: OpenCampaign, now: float) -> dict[str, Any] | None:
    """The step that goes on, where the campaign's process has said which."""
    step = step_of(campaign.folder)
    if step is None:
        return None
    counts = {"what": line(step.what), "done": step.done, "of": step.of}
    return counts | {"for": duration(max(0.0, now - step.began_at))}


def _now(campaign: OpenCampaign, query: PageQuery) -> dict[str, Any]:
    """As it is now. The process that ran the fleet confirms once that has ended."""
    state, words, now = campaign.state(), line(campaign.standing()), time.time()
    running = words.startswith("running")
    after = state is not None and ended(state) and f"(process {state.pid})" in words
    with campaign.book.reading() as book:
        axis = _axis(book, query, now if running and not after else book.worked_s)
        return {
            **_shown(campaign, book, query),
            **_of_fleet(book, state, now),
            "state": words.replace("running", "confirming", 1) if after else words,
            "running": running,
            "after_fleet": after,
            "step": _step(campaign, now) if running else None,
            "chart": chart(
                book, axis, [] if running else campaign.baselines(), campaign.k_families()
            ),
        }


def _axis(book: CampaignBook, query: PageQuery, ends_s: float) -> ChartAxis:
    return along(book, query.choice("axis", AXES, AXES[0]), ends_s)


def _of_fleet(book: CampaignBook, state: FleetState | None, now: float) -> dict[str, Any]:
    """What ledger and supervisor say at a moment (seconds since 1970)."""
    return {
        "headline": _headline(book, state, now),
        "alarms": [line(said, 1_000) for said in alarms(state, book, now)[:MOST_ALARMS]],
        "services": {line(k): line(v) for k, v in (state.services if state else {}).items()},
        "researchers": _researchers(book, state, now),
    }


def _shown(campaign: OpenCampaign, book: CampaignBook, query: PageQuery) -> dict[str, Any]:
    settings = campaign.settings()
    return {
        "title": campaign.name,
        "ready": True,
        "began_at": book.began_s,
        "problem": line(settings.problem if settings else ""),
        "student": line(settings.student if settings else ""),
        "whose": line(settings.whose if settings else ""),
        "axes": [
            {"name": name, "words": NAMES[name], "link": query.link(axis=name)} for name in AXES
        ],
    }


def _headline(book: CampaignBook, state: FleetState | None, now: float) -> dict[str, Any]:
    left = None if state is None or ended(state) else max(0.0, state.ends_at - now)
    spent = state.spent if state else book.tally.spent
    return {
        "experiments": book.experiments,
        "findings": book.findings,
        "improvements": sum(work.improvements for work in book.by_name.values()),
        "confirmed": sum(s.verdict == "confirmed" for s in book.settled.values()),
        "verdicts": len(book.settled),
        "level": level_of(book),
        "certified": shown_score.certified(book.handed_in[-1].receipt) if book.handed_in else None,
        "released": released(book.released),
        "left": None if left is None else duration(left),
        "spent": amounts(spent, state.campaign_budget if state else Budget()),
        "cost_unknown": list(book.tally.unknown),
    }


def level_of(book: CampaignBook) -> dict[str, Any] | None:
    """The label set's reported level, with the receipt that reported it."""
    if not book.handed_in:
        return None
    last = book.handed_in[book.improved[-1] if book.improved else -1]
    level = max(last.receipt.level_pgr, book.handed_in[-1].receipt.level_pgr)
    return shown_score.reported(last.receipt.model_copy(update={"level_pgr": level}))


def released(found: Released | None) -> dict[str, Any] | None:
    """Bits that answers have released about the labels, and the bound that follows."""
    if found is None:
        return None
    return {
        "bits": round(found.bits, 2),
        "cap_bits": found.cap_bits,
        "share_of_labels": round(found.share_of_labels, 4),
        "bound": round(found.inflation_bound, 3),
        "bound_pgr": found.inflation_bound_pgr and round(found.inflation_bound_pgr, 3),
    }


def amounts(spent: Spent, budget: Budget) -> list[dict[str, Any]]:
    """Each kind of spending, its limit (None: it has none), and both as text."""
    found = (
        ("dollars", spent.usd, budget.usd, lambda v: f"${v:.2f}"),
        ("tokens", float(spent.tokens), budget.tokens, lambda v: f"{amount(v)} tokens"),
        ("hours", spent.wall_s / 3600, budget.hours, lambda v: f"{v:.2f} h"),
        ("processor hours", spent.cpu_s / 3600, budget.cpu_hours, lambda v: f"{v:.2f} cpu-h"),
        ("device hours", spent.device_s / 3600, budget.device_hours, lambda v: f"{v:.2f} dev-h"),
    )
    return [
        {
            "what": what,
            "spent": round(used, 4),
            "limit": limit,
            "share": None if limit is None else round(min(1.0, used / limit), 4),
            "words": say(used) + ("" if limit is None else f" of {say(limit)}"),
        }
        for what, used, limit, say in found
    ]


def _researchers(book: CampaignBook, state: FleetState | None, now: float) -> list[dict[str, Any]]:
    members = {m.name: m for m in state.members} if state else {}
    seen = [name for name, mine in book.researchers.items() if mine.events or mine.submissions]
    budget = state.researcher_budget if state else Budget()
    return [
        researcher(name, book, members.get(name), budget, now)
        for name in dict.fromkeys([*members, *seen])
    ]


def researcher(
    name: str, book: CampaignBook, member: MemberState | None, budget: Budget, now: float
) -> dict[str, Any]:
    """One researcher in a row."""
    work, best = book.by_name.get(name, Work()), book.by(name).best
    spent = member.spent if member else book.by(name).tally.spent
    found = {
        "name": line(name),
        "experiments": work.experiments,
        "improvements": work.improvements,
        "findings": work.findings,
        "flags": work.flags,
        "family": work.family,
        "best": best and shown_score.reported(best),
        "best_ago": work.best_at and duration(now - work.best_at),
        "spent": amounts(spent, budget),
        "state": member.state if member else "no supervisor has spoken",
        "incarnation": member.incarnation if member else None,
        "host": line(member.host) if member and member.host != HERE else None,
    }
    return found | (_doing(member, now) if member else {})


def _doing(member: MemberState, now: float) -> dict[str, Any]:
    last = member.last_action_at
    return {
        "last_action": line(member.last_action),
        "last_ago": None if last is None else duration(now - last),
        "restarts": member.restarts,
        "memory": size(member.memory_bytes),
        "disk": size(member.disk_bytes),
    }
