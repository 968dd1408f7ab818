"""The live page as it was after an entry of the ledger, and along each axis: the values are those
that a ledger which ended there gives."""

import shutil
import sqlite3
from types import SimpleNamespace

import pytest

from aarlab.core.chart_lines import ticks
from aarlab.core.layout import CampaignFolder
from aarlab.web import milestones
from aarlab.web.chart_axis import added_up, spent_at
from tests.fleet.fleets import call, confirmation, submission
from tests.web.scenes import GOLDEN, Browser, golden, ledger_of, small


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return golden(tmp_path_factory.mktemp("golden"))


def cut(home, seq: int) -> None:
    """Take all entries behind that one out of the ledger."""
    path = CampaignFolder(home / "campaigns" / "golden").server.ledger
    with sqlite3.connect(path) as base:
        for (name,) in base.execute(
            "SELECT name FROM sqlite_master WHERE type='trigger'"
        ).fetchall():
            base.execute(f'DROP TRIGGER "{name}"')
        base.execute("DELETE FROM entries WHERE seq > ?", (seq,))
    base.close()


@pytest.mark.parametrize("axis", ["time", "hours", "dollars"])
@pytest.mark.parametrize("seq", [1, 10, 11, 16, 60, 92, 219, 220, 223])
def test_the_page_as_it_was_is_that_of_a_ledger_that_ends_there(tmp_path, old, axis, seq):
    """But for what the supervisor's file and the report add."""
    golden(tmp_path)
    place = CampaignFolder(tmp_path / "campaigns" / "golden")
    cut(tmp_path, seq)
    place.fleet.unlink()
    shutil.rmtree(place.report)
    ended = Browser(tmp_path).log_in().json(f"{GOLDEN}/live.json?axis={axis}")
    page = old.json(f"{GOLDEN}/live.json?at={seq}&axis={axis}")
    assert page["seq"] == ended["seq"] == seq
    for name in ("chart", "services"):
        assert page[name] == ended[name]
    for name, value in ended["headline"].items():
        assert page["headline"][name] == value, name
    for then, now in zip(page["researchers"], ended["researchers"], strict=True):
        changed = {n for n in now if now[n] != then[n]} - {"best_ago"}
        assert changed <= {"state", "incarnation"}


def test_reported_certified_and_confirmed_are_those_of_that_entry(old):
    def at(seq: int) -> dict:
        return old.json(f"{GOLDEN}/live.json?at={seq}")

    assert at(9)["headline"]["level"] is None
    first, second, last = at(10)["headline"], at(16)["headline"], at(222)["headline"]
    assert (first["level"]["value"], first["level"]["receipt"]) == (0.8125, "r-000001")
    assert first["certified"]["value"] == 0.3704
    assert first["released"]["bits"] == 11.19
    assert (second["level"]["value"], second["level"]["receipt"]) == (0.9167, "r-000003")
    assert [at(s)["headline"]["confirmed"] for s in (219, 220, 222, 223)] == [0, 0, 1, 2]
    assert (last["verdicts"], last["experiments"]) == (2, 67)
    assert [p[1] for p in at(16)["chart"]["envelope"]] == [0.812, 0.917]
    assert at(10)["chart"]["bits"] == [[1.0, 11.19], [1.0, 11.19]]
    assert at(60)["chart"]["entropy"] == []
    assert at(216)["chart"]["entropy"] == old.json(f"{GOLDEN}/live.json")["chart"]["entropy"]


def test_pages_as_they_were_are_right_in_any_order(old):
    home = old.pages.campaigns.folder.parent
    handed_in = [e.seq for e in ledger_of(home, "golden", read_only=True).entries("submission")]
    for seq in (223, 10, 200, 16, 9, 16, 224, 12):
        page = old.json(f"{GOLDEN}/live.json?at={seq}")
        assert page["headline"]["experiments"] == sum(s <= seq for s in handed_in)


def test_the_page_as_it_was_follows_nothing_and_has_its_slider_and_links(old):
    page = old.json(f"{GOLDEN}/live.json?at=16")
    assert page["state"] == "as it was after entry 16 of 224"
    assert page["replay"]["links"] == {
        "first": "?at=1",
        "previous": "?at=15",
        "next": "?at=17",
        "last": "?at=224",
        "improvement_before": "?at=10",
        "improvement_after": None,
        "now": "?",
    }
    text = old.text(f"{GOLDEN}/live?at=16")
    assert "data-events" not in text
    assert 'type="range" id="choose-at" name="at" min="1" max="224" value="16"' in text
    assert '<a href="?at=10#choose-at">Improvement before</a>' in text
    assert "data-events" in old.text(f"{GOLDEN}/live")


def test_baselines_that_the_report_states_were_not_known_then(old):
    assert len(old.json(f"{GOLDEN}/live.json")["chart"]["lines"]) == 4
    assert len(old.json(f"{GOLDEN}/live.json?at=224")["chart"]["lines"]) == 1


@pytest.mark.parametrize("wrong", ["at=0", "at=225", "at=-1", "at=x", "at=1.5", "at=" + "9" * 30])
def test_an_entry_that_is_not_there_is_refused_in_a_sentence(old, wrong):
    answer = old.get(f"{GOLDEN}/live?{wrong}")
    assert answer.status_code == 422
    assert "Give a whole number from 1 to 224." in answer.text


def test_an_axis_that_is_none_is_refused(old):
    answer = old.get(f"{GOLDEN}/live?axis=seconds")
    assert answer.status_code == 422
    assert "time, hours, dollars" in answer.text


def test_a_researcher_has_the_state_of_its_latest_event(old):
    def states(seq: int) -> list:
        rows = old.json(f"{GOLDEN}/live.json?at={seq}")["researchers"]
        return [(row["name"], row["state"]) for row in rows]

    assert states(6)[0] == ("researcher-1", "running")
    assert states(224) == [("researcher-1", "stopped"), ("researcher-2", "stopped")]


# --- axes -----------------------------------------------------------------------------------------


def test_axes_of_hours_and_dollars_say_what_the_ledger_had_recorded(tmp_path):
    browser, ledger = small(tmp_path), ledger_of(tmp_path)
    spend = {"wall_s": 0.0, "cpu_s": 0.0, "usd": 0.75, "call": call(), "id": "j-3"}
    ledger.append("spend", "researcher-2", spend)
    ledger.append("submission", "researcher-2", submission(4, improved=True, level=0.5))
    ledger.append(
        "confirmation", "evaluator", confirmation("s", "researcher-2", verdict="confirmed")
    )
    ledger.close()
    page = browser.json("/campaign/small/live.json?axis=dollars")
    chart = page["chart"]
    assert (chart["axis"], chart["length"]) == ("dollars", 2.0)
    assert [dot["x"] for dot in chart["dots"]][-1] == 2.0
    assert chart["envelope"][-1] == [2.0, 0.5]
    assert "the machine's time" in chart["trouble"], "what has no price is said"
    assert "known dollars" in browser.text("/campaign/small/live?axis=dollars")
    hours = browser.json("/campaign/small/live.json?axis=hours")["chart"]
    assert (hours["length"], hours["envelope"][-1]) == (0.5, [0.5, 0.5])


def test_an_axis_without_a_figure_is_not_drawn(old):
    text = old.text(f"{GOLDEN}/live?axis=dollars")
    assert "No dollar is known yet" in text
    assert '<svg class="chart' not in text
    assert 'aria-current="true">dollars' in text


def test_what_was_spent_at_a_moment_is_what_was_recorded_until_then():
    steps = [(0.0, 0.0), (10.0, 1.0), (20.0, 1.5), (20.0, 1.75)]
    found = [spent_at(steps, at) for at in (-1.0, 0.0, 5.0, 10.0, 15.0, 20.0, 99.0)]
    assert found == [0.0, 0.0, 0.5, 1.0, 1.25, 1.75, 1.75]


def test_spends_of_one_time_that_are_recorded_together_are_spread_over_their_own_seconds():
    book = SimpleNamespace(began_s=0.0, spends=[(100.0, 90 / 3600, 1.0)] * 9 + [(50.0, 0.0, 0.5)])
    hours, dollars = added_up(book, 1), added_up(book, 2)
    assert spent_at(hours, 10.0) == 0.0
    assert spent_at(hours, 55.0) == pytest.approx(9 * 45 / 3600)
    assert hours[-1] == (100.0, pytest.approx(9 * 90 / 3600))
    assert [spent_at(dollars, at) for at in (49.0, 50.0, 100.0)] == pytest.approx(
        [9 * 39 / 90, 9 * 40 / 90 + 0.5, 9.5]
    )


def test_a_spend_counts_at_the_time_that_it_reports(tmp_path):
    """It may reach the ledger later, and behind another."""
    browser, ledger = small(tmp_path), ledger_of(tmp_path)
    began = browser.json("/campaign/small/live.json")["began_at"]
    for number, (after_s, usd) in enumerate([(-50.0, 2.0), (-100.0, 4.0)]):
        body = {"at": began + after_s, "wall_s": 3600.0, "usd": usd, "id": f"k-{number}"}
        ledger.append("spend", "researcher-2", body)
    ledger.close()
    chart = browser.json("/campaign/small/live.json?axis=dollars")["chart"]
    assert chart["length"] == 7.25
    assert chart["dots"][0]["x"] == 6.0, "both were spent before the first submission"


def test_marks_are_few_and_have_their_units():
    assert ticks("dollars", 7.3, 4) == [(0.0, "$0"), (2.0, "$2"), (4.0, "$4"), (6.0, "$6")]
    assert [words for _, words in ticks("hours", 0.0135, 4)] == ["0 h", "0.005 h", "0.01 h"]
    assert [words for _, words in ticks("time", 200, 4)] == ["0 m", "1 m", "2 m", "3 m"]
    assert [words for _, words in ticks("time", 115, 9)][-2:] == ["90 s", "105 s"], "no 2 m twice"
    assert [words for _, words in ticks("time", 7200, 4)][:2] == ["0 h", "0.5 h"]
    assert all(len(ticks("dollars", 10.0**n, 9)) <= 11 for n in range(-4, 8))


def test_a_receipt_from_memory_does_not_lower_the_level(tmp_path):
    """It says where the level was when it was first given."""
    browser, ledger = small(tmp_path), ledger_of(tmp_path)
    for number, level in ((91, 0.7), (92, 0.2)):
        ledger.append(
            "submission", "researcher-1", submission(number, improved=level > 0.5, level=level)
        )
    ledger.close()
    page = browser.json("/campaign/small/live.json")
    assert page["headline"]["level"]["value"] == 0.7
    assert page["chart"]["envelope"][-1][1] == 0.7


@pytest.mark.slow
def test_the_page_is_the_same_from_wherever_it_is_made(tmp_path, old, monkeypatch):
    """Kept states of a campaign, few and thinned out, change nothing; nothing changes them."""
    monkeypatch.setattr(milestones, "EVERY", 7)
    monkeypatch.setattr(milestones, "MOST", 4)
    many = golden(tmp_path)
    book = many.pages.campaigns.get("golden").book
    with book.reading():
        kept = list(book.milestones._kept)
    assert 2 <= len(kept) <= 4
    assert kept[-1] > 150
    for seq in (200, 60, 200, 16, 223, 92, kept[0], kept[0] - 1, kept[-1] + 1):
        for axis in ("time", "dollars"):
            path = f"{GOLDEN}/live.json?at={seq}&axis={axis}"
            assert many.json(path) == old.json(path), seq
