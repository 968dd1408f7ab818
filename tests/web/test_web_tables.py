"""The pages of confirmations, costs and runs, and tables as CSV: their values, by hand and against
the ledger; what is unknown is said to be; a spreadsheet computes nothing that a researcher
wrote."""

import csv
import io
import math

import pytest

from aarlab.core.entries import ConfirmationBody, OutcomeBody
from aarlab.core.records import Family
from aarlab.web.csv_table import UNKNOWN, KeptRow, as_csv, cell
from aarlab.web.gantt_shapes import gantt_shapes
from tests.fleet.fleets import call, confirmation
from tests.web.scenes import GOLDEN, golden, ledger_of, small, with_code

SMALL = "/campaign/small"


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return golden(tmp_path_factory.mktemp("golden"))


def rows_of(browser, path: str) -> list[dict[str, str]]:
    answer = browser.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="')
    return list(csv.DictReader(io.StringIO(answer.text)))


# --- confirmations --------------------------------------------------------------------------------


def test_each_claim_has_its_verdict_and_a_figure_for_each_target(old):
    page = old.json(f"{GOLDEN}/confirmations.json")
    assert [(c["receipt"], c["verdict"]) for c in page["claims"]] == [
        ("r-000038", "confirmed"),
        ("r-000024", "confirmed"),
        ("r-000003", "not reproducible"),
    ]
    assert [t["name"] for t in page["targets"]] == ["final", "feedback"]
    assert [t["name"] for t in page["ablations"]] == ["teacherless", "ablated", "ablated-feedback"]
    last = page["claims"][-1]
    assert (last["claimed"]["kind"], last["claimed"]["value"]) == ("reported", 0.9526)
    final = last["cells"]["final"]["score"]
    assert (final["kind"], final["value"], final["receipt"]) == (
        "not confirmed",
        0.9238,
        "r-000003",
    )


def test_figures_on_other_targets_are_rounded_to_two_standard_errors(old):
    """300 items: a step is 1 / sqrt(300); the interval is half a step to each side and holds the
    exact figure, which is not shown."""
    home, step = old.pages.campaigns.folder.parent, 1 / math.sqrt(300)
    page, checked = old.json(f"{GOLDEN}/confirmations.json"), 0
    claims = {claim["receipt"]: claim for claim in page["claims"]}
    for entry in ledger_of(home, "golden", read_only=True).entries("confirmation"):
        record = entry.read(ConfirmationBody).record
        for target in record["targets"]:
            exact = (target["accuracy"] or target["remainder"]["accuracy"])["estimate"]
            shown = claims[record["claim"]["receipt"]]["cells"][target["name"]]["score"]
            steps = shown["value"] / step
            assert steps == pytest.approx(round(steps), abs=0.02)
            assert shown["lower"] - 0.001 <= exact <= shown["upper"] + 0.001
            checked += 1
    assert checked == 15


def test_every_number_of_the_heat_map_has_its_kind_and_leads_to_its_receipt(old):
    text = old.text(f"{GOLDEN}/confirmations")
    cells = text.split('<td class="heat h')[1:]
    assert len(cells) == 15
    for one in cells:
        assert 'href="/campaign/golden/submission/r-0000' in one.partition("</td>")[0]
        assert 'class="kind"' in one.partition("</td>")[0]


def test_the_winner_without_a_component_stands_beside_the_whole(tmp_path):
    """400 items: a step is 0.05; the bounds of the difference are rounded outwards."""
    browser, ledger = small(tmp_path), ledger_of(tmp_path)
    with_code(tmp_path, "researcher-1", "a = 1\n")
    measure = {"estimate": 0.81, "lower": 0.78, "upper": 0.84, "n": 400, "resampled": "items"}
    lost = measure | {"estimate": 0.121, "lower": 0.06, "upper": 0.17}
    about = {"problem": "p", "student": "s", "split": "final", "failure": None}
    body = confirmation("s", "researcher-1", verdict="confirmed", final=0.95)
    body["record"]["targets"] = [
        about | {"name": "final", "kind": "final", "accuracy": measure},
        about
        | {"name": "without <b>", "kind": "component", "accuracy": measure}
        | {"removed": "2.0, replaced by 1.0", "lost": lost},
        about
        | {"name": "without heads", "kind": "component", "accuracy": None, "failure": "it raised"},
    ]
    ledger.append("confirmation", "evaluator", body)
    ledger.close()
    page = browser.json(f"{SMALL}/confirmations.json")
    assert [t["name"] for t in page["targets"]] == ["final"]
    assert page["ablations"] == []
    (of_claim,) = page["components"]
    shown, failed = of_claim["rows"]
    assert of_claim["whole"]["score"]["value"] == 0.95
    assert shown["removed"] == "2.0, replaced by 1.0"
    assert [shown["score"][end] for end in ("value", "lower", "upper")] == [0.8, 0.775, 0.825]
    assert [shown["lost"][end] for end in ("value", "lower", "upper")] == [0.1, 0.05, 0.2]
    assert (failed["failure"], failed["score"], failed["lost"]) == ("it raised", None, None)
    text = browser.text(f"{SMALL}/confirmations")
    part = text[text.index('id="components"') :]
    assert "without &lt;b&gt;" in part
    assert "failed: it raised" in part
    assert part.count('class="kind"') == 3


def test_without_confirmations_the_page_says_when_they_come(tmp_path):
    text = small(tmp_path).text(f"{SMALL}/confirmations")
    assert "Nothing was put to confirmation yet" in text


# --- costs ----------------------------------------------------------------------------------------


def test_costs_are_added_up_and_unknown_is_not_0(tmp_path):
    browser, ledger = small(tmp_path), ledger_of(tmp_path)
    spends = (
        {"wall_s": 3600.0, "cpu_s": 1800.0, "usd": 2.0},
        {"usd": 0.5, "call": call("other")},
        {"usd": None, "call": call("other")},
        {"usd": None, "call": call("local")},
    )
    for number, spend in enumerate(spends):
        ledger.append("spend", "researcher-2", {**spend, "id": f"k-{number}"})
    ledger.close()
    page = browser.json(f"{SMALL}/costs.json")
    first, second = page["researchers"]
    assert (first["usd"], first["machine_usd"], first["model_usd"]) == (None, None, 1.25)
    assert first["known_usd"] == 1.25
    assert (second["usd"], second["machine_usd"], second["model_usd"]) == (None, 2.0, None)
    assert (second["known_usd"], second["hours"], second["calls"]) == (2.5, 1.0, 3)
    assert page["total"]["known_usd"] == 3.75
    assert page["total"]["left_out"] == ["the machine's time", "2 model calls"]
    assert [(m["name"], m["known_usd"], m["calls"]) for m in page["models"]] == [
        ("claude-opus-4-6", 1.25, 1),
        ("local", None, 1),
        ("other", 0.5, 2),
    ]
    text = browser.text(f"{SMALL}/costs")
    assert text.count(">unknown<") >= 4
    table = rows_of(browser, f"{SMALL}/costs.csv")
    assert [(r["of"], r["name"], r["usd"]) for r in table[:3]] == [
        ("campaign", "all", UNKNOWN),
        ("researcher", "researcher-1", UNKNOWN),
        ("researcher", "researcher-2", UNKNOWN),
    ]


def test_what_costs_nothing_and_what_is_unknown_are_apart(tmp_path):
    browser, ledger = small(tmp_path), ledger_of(tmp_path)
    free = {"wall_s": 60.0, "cpu_s": 1.0, "usd": 0.0, "id": "k-1"}
    ledger.append("spend", "researcher-2", free)
    ledger.close()
    first, second = browser.json(f"{SMALL}/costs.json")["researchers"]
    assert (second["usd"], second["known_usd"]) == (0.0, 0.0)
    assert first["usd"] is None


def test_hours_are_those_in_which_money_was_spent(tmp_path):
    browser, ledger = small(tmp_path), ledger_of(tmp_path)
    began = browser.json(f"{SMALL}/costs.json")["began_at"]
    for number, (after_s, usd) in enumerate([(1800, 1.0), (3599, 2.0), (3601, 4.0), (9000, 8.0)]):
        body = {"at": began + after_s, "wall_s": 1.0, "usd": usd, "id": f"k-{number}"}
        ledger.append("spend", "researcher-2", body)
    ledger.close()
    hours = browser.json(f"{SMALL}/costs.json")["hours"]
    known = [(row["name"], row["known_usd"]) for row in hours]
    assert known == [("0 to 1", 4.25), ("1 to 2", 4.0), ("2 to 3", 8.0)]


# --- runs -----------------------------------------------------------------------------------------


def with_runs(home):
    """Four requests: one waits, one is done, one timed out, one was ended by the machine."""
    browser, ledger = small(home), ledger_of(home)
    receipt = next(iter(ledger.entries("submission"))).body["receipt"]
    tickets = []
    for number in range(4):
        body = {"snapshot": f"{number}", "family": Family.ENSEMBLE.value}
        entry = ledger.append("request", f"researcher-{1 + number % 2}", body)
        tickets.append(f"q-{entry.seq:06d}")
    outcomes = (
        {"ticket": tickets[1], "state": "done", "receipt": receipt},
        {"ticket": tickets[2], "state": "failed", "failure": "timed out", "log": "=1+1"},
        {"ticket": tickets[3], "state": "failed", "failure": "out of memory"},
        {"ticket": tickets[1], "state": "failed", "failure": "timed out"},
    )
    for outcome in outcomes:
        ledger.append(
            "outcome",
            "evaluator",
            OutcomeBody.model_validate(
                {**outcome, "receipt": outcome.get("receipt")}, strict=False
            ).plain(),
        )
    for event in ("running", "ended: crashed", "restarted"):
        ledger.append("researcher", "researcher-1", {"event": event, "incarnation": 1})
    ledger.close()
    return browser, tickets


def test_runs_show_queue_outcomes_and_failures_by_kind(tmp_path):
    browser, tickets = with_runs(tmp_path)
    page = browser.json(f"{SMALL}/runs.json")
    assert [row["ticket"] for row in page["queue"]] == tickets[:1]
    assert (page["waiting"], page["pager"]["rows"]) == (1, 4)
    states = {r["ticket"]: (r["state"], r["failure"], r["receipt"]) for r in page["rows"]}
    assert states == {
        tickets[0]: ("waiting", None, None),
        tickets[1]: ("done", None, "r-000001"),
        tickets[2]: ("failed", "timed out", None),
        tickets[3]: ("failed", "out of memory", None),
    }
    found = {(f["of"], f["kind"]): (f["times"], f["by_machine"]) for f in page["failures"]}
    assert found == {
        ("code", "timed out"): (1, False),
        ("code", "out of memory"): (1, True),
        ("incarnation", "crashed"): (1, False),
    }
    assert page["memory"] == {"answers": 3, "from_memory": 0, "cache_hits": None}
    only = browser.json(f"{SMALL}/runs.json?state=failed")["rows"]
    assert [row["ticket"] for row in only] == tickets[:1:-1]
    assert "unknown" in browser.text(f"{SMALL}/runs")


def test_incarnations_are_those_of_the_ledger(old, tmp_path):
    rows = old.json(f"{GOLDEN}/runs.json")["incarnations"]
    assert [(r["researcher"], r["incarnation"], r["ended"]) for r in rows] == [
        ("researcher-1", 1, "stopped"),
        ("researcher-2", 1, "stopped"),
    ]
    assert rows[0]["to_s"] - rows[0]["from_s"] == pytest.approx(24.366, abs=0.002)
    browser, _ = with_runs(tmp_path)
    ended = [r["ended"] for r in browser.json(f"{SMALL}/runs.json")["incarnations"]]
    assert ended == ["crashed", "no end was recorded"]


def test_bars_stand_where_their_times_are():
    bar = {"row": 0, "from": 25.0, "to": 75.0, "words": "w", "open": False}
    thin = bar | {"row": 1, "from": 75.0, "to": 75.0}
    gantt = {"length": 100.0, "more": 0, "lanes": [{"name": "a", "bars": [bar, thin]}]}
    made = gantt_shapes(gantt, 152.0)  # 100 units between the margins
    first, second = made["lanes"][0]["bars"]
    assert (first["x"], first["width"]) == (65.0, 50.0)
    assert (second["x"], second["width"]) == (115.0, 1.5), "it can be seen"
    assert second["y"] > first["y"] + first["height"]


# --- CSV ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["board", "confirmations", "costs", "runs"])
def test_a_table_as_csv_has_the_rows_of_its_json(old, page):
    rows_of(old, f"{GOLDEN}/{page}.csv")
    assert f'href="{GOLDEN}/{page}.csv"' in old.text(f"{GOLDEN}/{page}")


def test_csv_of_the_board_is_whole_and_filtered_as_the_page(old):
    assert len(rows_of(old, f"{GOLDEN}/board.csv?show=all")) == 67
    mine = rows_of(old, f"{GOLDEN}/board.csv?show=all&researcher=researcher-2")
    assert {row["researcher"] for row in mine} == {"researcher-2"}
    (best,) = [r for r in mine if r["receipt"] == "r-000003"]
    assert (best["claimed_kind"], best["claimed_value"]) == ("reported", "0.9167")
    assert (best["confirmed_kind"], best["verdict"]) == ("not confirmed", "not reproducible")


def test_pages_that_are_no_table_have_no_csv(old):
    assert old.get(f"{GOLDEN}/forum.csv").status_code == 404


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1+1", "' =1+1"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("a=1", "a=1"),
        (["=1", "b"], "'=1; b"),
        (-0.5, -0.5),
        (None, ""),
        (True, "yes"),
    ],
)
def test_a_cell_is_never_a_formula(value, shown):
    assert cell(value) == shown


def test_a_researcher_whose_name_is_a_formula_is_a_name(tmp_path):
    browser, ledger = small(tmp_path), ledger_of(tmp_path)
    name = '=HYPERLINK("http://evil.example")'
    ledger.append("spend", name, {"wall_s": 1.0, "usd": 1.0, "id": "k-1"})
    ledger.close()
    names = {row["name"] for row in rows_of(browser, f"{SMALL}/costs.csv")}
    assert f"'{name}" in names
    assert not any(n.startswith("=") for n in names)


def test_columns_are_stable_and_texts_are_whole():
    rows = [{"a": None, "b": 'x,\n"y"'}, {"a": {"value": 1, "kind": "k"}, "b": "ü"}]
    read = list(csv.DictReader(io.StringIO(as_csv(rows).decode())))
    assert read == [
        {"b": 'x,\n"y"', "a_value": "", "a_kind": ""},
        {"b": "ü", "a_value": "1", "a_kind": "k"},
    ]
    assert as_csv([]) == b"\n"


def test_a_row_that_is_kept_is_written_as_a_new_one_whatever_the_table():
    """Another row brings columns, or takes the place of one; then another word for None."""
    kept = [
        KeptRow(a=1, b=None, c="=x"),
        KeptRow(a=None, b={"value": 0.5, "lower": None}, c=["p", "q"]),
        KeptRow(d=True),
    ]
    for chosen in ([0], [0, 1], [1], [0, 1, 2], [0, 0], [2]):
        for missing in ("", UNKNOWN):
            rows = [kept[n] for n in chosen]
            assert as_csv(rows, missing) == as_csv([dict(row) for row in rows], missing)
    assert as_csv(kept[:2]) == b"a,c,b_value,b_lower\n1,'=x,,\n,p; q,0.5,\n"
    assert as_csv(kept[:1], UNKNOWN) == b"a,b,c\n1,unknown,'=x\n"
