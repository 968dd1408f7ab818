"""What a campaign cost: by hand, and by identities; what is not known is said and never 0."""

import io
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from aarlab.core.budget import Budget
from aarlab.core.records import Entry
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet.campaign import Campaign
from aarlab.report.build import build
from aarlab.report.costs import costs
from aarlab.report.figure_words import rate
from aarlab.report.pages import write
from aarlab.report.terminal import print_report
from tests.fleet.fleets import HOSTILE, call

SEVERAL = Campaign(budget=Budget(usd=5.0, hours=2.0), campaign_budget=Budget(tokens=1000))


def entry(kind: str, who: str, **body) -> Entry:
    return Entry(
        seq=1,
        at="2026-01-01T00:00:00+00:00",
        who=who,
        kind=kind,
        text=json.dumps(body),
        prev="",
        hash="",
    )


def machine(who: str, wall_s: float, usd: float | None = None, cpu_s: float = 0.0) -> Entry:
    return entry("spend", who, wall_s=wall_s, cpu_s=cpu_s, usd=usd, call=None)


def model(who: str, usd: float | None, **more) -> Entry:
    return entry("spend", who, wall_s=0.0, cpu_s=0.0, usd=usd, call=call(**more))


def test_by_hand():
    entries = [
        machine("a", 3600.0, usd=0.5, cpu_s=1800.0),
        model("a", 1.25),
        model("a", 0.25, model="claude-haiku-4-5", interrupted=True),
        machine("b", 7200.0, usd=1.0),
        entry("researcher", "b", event="ended: outage", direction="d", lost_s=360.0),
        entry("researcher", "b", event="stopped", direction="d", lost_s=None),
        entry("campaign", "operator", event="server is back", lost_s=36.0),
        entry("researcher", "idle", event="enrolled", direction="d"),
    ]
    found = costs(SEVERAL, entries)
    rows = {row.name: row for row in found.researchers}
    a = rows["a"]
    assert (a.hours.estimate, a.cpu_hours.estimate, a.calls.estimate, a.interrupted.estimate) == (
        1.0,
        0.5,
        2,
        1,
    )
    assert (
        a.model_usd.estimate,
        a.machine_usd.estimate,
        a.usd.estimate,
        a.usd_per_hour.estimate,
    ) == (1.5, 0.5, 2.0, 2.0)
    assert [(x.what, x.spent.estimate, x.limit.estimate) for x in a.limits] == [
        ("USD", 2.0, 5.0),
        ("hours", 1.0, 2.0),
    ]
    assert rows["b"].lost_hours.estimate == pytest.approx(0.1)
    assert rows["b"].model_usd.estimate == 0.0, "it called no model, and that is known"
    assert (rows["idle"].usd, rows["idle"].usd_per_hour, rows["idle"].cpu_hours) == (
        None,
        None,
        None,
    )
    assert found.campaign.usd.estimate == 3.0
    assert [(x.what, x.spent.estimate) for x in found.campaign.limits] == [("tokens", 200)]
    assert [(m.model, m.calls.estimate, m.known_usd.estimate) for m in found.models] == [
        ("claude-haiku-4-5", 1, 0.25),
        ("claude-opus-4-6", 1, 1.25),
    ]
    assert (found.models[0].input_tokens.estimate, found.models[0].cache_read_tokens.estimate) == (
        10,
        30,
    )
    assert found.usd_per_researcher_hour.estimate == 1.0
    assert (found.usd_per_researcher_hour.lower, found.usd_per_researcher_hour.upper) == (
        0.5,
        2.0,
    ), "all a, or all b"
    assert (found.usd_per_researcher_hour.n, found.usd_per_researcher_hour.resampled) == (
        2,
        "researchers",
    )
    assert found.services_down_hours.estimate == pytest.approx(0.01)


def test_unpriced_machine_makes_the_total_unknown():
    found = costs(Campaign(), [machine("a", 3600.0), model("a", 1.25)])
    row = found.campaign
    assert (row.machine_usd, row.usd, row.usd_per_hour) == (None, None, None)
    assert row.model_usd.estimate == row.known_usd.estimate == 1.25
    assert row.total == "$1.25 without the machine's time"
    assert found.usd_per_researcher_hour is None
    assert rate(found) == "$1.25 without the machine's time"
    assert rate(costs(Campaign(), [machine("a", 3600.0)])) == "unknown", (
        "nothing is known, and that is not $0.00"
    )


def test_a_call_without_price_does_the_same():
    found = costs(Campaign(), [machine("a", 3600.0, usd=1.0), model("a", None, interrupted=True)])
    assert (found.campaign.model_usd, found.campaign.usd, found.usd_per_researcher_hour) == (
        None,
        None,
        None,
    )
    assert found.campaign.total == "$1.00 without 1 model calls"


def test_nothing_recorded_is_unknown():
    found = costs(Campaign(), [])
    assert found.campaign.total == "unknown: without the machine's time"
    assert (found.campaign.usd, found.usd_per_researcher_hour, found.researchers, found.models) == (
        None,
        None,
        (),
        (),
    )


def test_ledgers_from_before_processor_time_was_measured_do_not_say_0():
    found = costs(Campaign(), [entry("spend", "a", wall_s=10.0, usd=0.1)])
    assert found.campaign.cpu_hours is None
    assert found.campaign.usd.estimate == 0.1
    assert found.usd_per_researcher_hour.resampled == "exact count", (
        "of one researcher there is no interval"
    )


USD = st.none() | st.floats(0, 10)
SPENDS = st.lists(
    st.builds(machine, st.sampled_from("abc"), st.floats(0, 1e4), USD, st.floats(0, 1e4))
    | st.builds(
        lambda who, usd, cut: model(who, usd, interrupted=cut),
        st.sampled_from("abc"),
        USD,
        st.booleans(),
    ),
    max_size=30,
)


@example([machine("a", 5e-324, usd=1.0)])
@given(SPENDS)
def test_the_campaign_is_the_sum_of_its_researchers(entries):
    found = costs(SEVERAL, entries)
    for field in ("hours", "lost_hours", "calls", "interrupted", "tokens", "known_usd"):
        parts = [getattr(row, field).estimate for row in found.researchers]
        assert getattr(found.campaign, field).estimate == pytest.approx(sum(parts))
    assert found.campaign.calls.estimate == sum(m.calls.estimate for m in found.models)
    kinds = ("input_tokens", "cache_write_tokens", "cache_read_tokens", "output_tokens")
    assert found.campaign.tokens.estimate == sum(
        getattr(m, kind).estimate for m in found.models for kind in kinds
    )
    unknown = any(e.body["usd"] is None for e in entries) or not any(
        e.body["call"] is None for e in entries
    )
    assert (found.campaign.usd is None) == unknown
    assert bool(found.campaign.left_out) == unknown
    ran = [row for row in found.researchers if row.hours.estimate * 3600 >= 0.001]
    assert (found.known_usd_per_researcher_hour is None) == (not ran)
    if ran:
        rates = [row.known_usd.estimate / row.hours.estimate for row in ran]
        assert min(rates) * (1 - 1e-9) <= found.known_usd_per_researcher_hour.lower
        assert found.known_usd_per_researcher_hour.upper <= max(rates) * (1 + 1e-9)
        assert (found.usd_per_researcher_hour is None) == any(row.usd is None for row in ran)


@pytest.fixture
def report(starts_processes, bed, evaluator):
    """Of a ledger that holds what a hostile researcher and a model of a hostile name left there."""
    ledger: Ledger = evaluator.ledger
    ledger.append(
        "researcher", "researcher-1", {"event": "enrolled", "direction": HOSTILE + "| <script>"}
    )
    ledger.append(
        "spend", "researcher-1", {"wall_s": 3600.0, "cpu_s": 60.0, "usd": 0.5, "call": None}
    )
    ledger.append(
        "spend",
        "researcher-1",
        {"wall_s": 0.0, "cpu_s": 0.0, "usd": 1.0, "call": call(model=HOSTILE)},
    )
    ledger.append(
        "flag",
        "evaluator",
        {"detector": "d", "submitter": HOSTILE, "receipts": [], "evidence": HOSTILE + "<b>"},
    )
    aside = {"event": "detector set aside", "detector": "own", "detail": "'own' raised KeyError"}
    ledger.append("campaign", "evaluator", aside)
    campaign = Campaign(
        problem="generated-chat",
        student="double",
        usd_per_researcher_hour=0.5,
        budget=Budget(usd=5.0),
    )
    return build(campaign, bed, evaluator, isolation="bubblewrap: all")


def test_the_pages_say_what_it_cost_and_hold_no_control_character(report, tmp_path):
    page = write(report, tmp_path)
    for path in (page, tmp_path / "report.md"):
        text = path.read_text()
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        for words in ("$1.50", "1.5 of 5 USD (30%)", "$0.50", "$1.00", "raised KeyError"):
            assert words in text
    assert "<script>" not in page.read_text()
    assert "<b>" not in page.read_text()
    assert report.model_validate_json((tmp_path / "report.json").read_text()) == report


def test_the_terminal_says_what_it_cost_and_obeys_nobody(report):
    console = Console(file=io.StringIO(), width=250, force_terminal=True, color_system=None)
    hostile = report.model_copy(update={"notes": (HOSTILE,), "isolation": HOSTILE})
    print_report(hostile, console)
    text = console.file.getvalue()
    assert "cost $1.50, per researcher-hour $1.50" in text
    assert "1.5 of 5 USD (30%)" in text
    assert "[bold red]x[/bold red]" in text
    assert not re.search(
        r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", re.sub(r"\x1b\[[0-9;]*m", "", text)
    )
