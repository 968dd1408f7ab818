"""Each page of a finished campaign and of a running one: what it shows, as a page and as JSON, and
that no exact score is on any of them."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlsplit

import pytest
from jinja2 import UndefinedError

from aarlab.core.chart_lines import Axis, known_lines
from aarlab.core.entries import ConfirmationBody, Flag, SubmissionBody
from aarlab.fleet.campaign import Campaign
from aarlab.web.page_query import PageQuery
from aarlab.web.receipt_view import why_no_more
from aarlab.web.rendering import environment
from aarlab.web.scatter_shapes import scatter_shapes
from tests.fleet.fleets import confirmation, fleet, member, submission
from tests.web.scenes import GOLDEN, Browser, addresses, golden, ledger_of, small, with_code

STEPS = "researcher/researcher-1/steps"
PAGES = (
    *("live", "board", "confirmations", "forum", "integrity", "runs", "costs"),
    *("problem", "compare", "submission/r-000003", STEPS),
)
VOID = {"meta", "link", "line", "path", "circle", "input", "br", "rect"}


class Nested(HTMLParser):
    """Every element that is opened is closed, in order; what is written in attributes is kept."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value for name, value in attrs if name == "id"]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.attributes |= {name for name, _ in attrs}


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return golden(tmp_path_factory.mktemp("golden"))


@pytest.fixture
def now(tmp_path):
    return small(tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_each_page_is_well_formed_and_has_its_json(old, page):
    text = old.text(f"{GOLDEN}/{page}")
    read = Nested(text)
    assert not {a for a in read.attributes if a.startswith("on") or a == "style"}
    assert len(read.ids) == len(set(read.ids)), "an id is unique"
    assert read.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(read.headings, read.headings[1:], strict=False))
    assert "<script>" not in text
    assert f'href="{GOLDEN}/{page}.json"' in text
    found = old.json(f"{GOLDEN}/{page}.json")
    assert (found["campaign"], found["seq"]) == ("golden", 224)


def test_the_first_page_lists_campaigns(old):
    (row,) = old.json("/campaigns.json")["campaigns"]
    assert (row["name"], row["state"], row["experiments"]) == ("golden", "finished", 67)
    assert (row["level"]["kind"], row["unit"]) == ("reported", "PGR")
    assert f'href="{GOLDEN}/live"' in old.text("/campaigns")


def test_an_empty_state_folder_says_how_to_begin(tmp_path):
    assert "aar demo" in Browser(tmp_path).log_in().text("/campaigns")


def test_live_page_shows_level_band_staircases_and_a_dot_for_each_submission(old):
    page = old.json(f"{GOLDEN}/live.json")
    chart = page["chart"]
    assert sum(dot["submissions"] for dot in chart["dots"]) == 67
    assert len(chart["improvements"]) == 2
    level = page["headline"]["level"]["value"]
    assert chart["envelope"][-1][1] == pytest.approx(level, abs=1e-3)
    assert chart["certified"][-1][1] < chart["envelope"][-1][1]
    assert [found["name"] for found in chart["lines"]] == [
        "naive",
        "naive-tuned",
        "best baseline: elicitation",
        "ceiling",
    ]
    text = old.text(f"{GOLDEN}/live")
    assert text.count('class="dot ') == 2 * 67, "a wide and a narrow picture"
    assert 'role="group" aria-labelledby="wide-title wide-desc"' in text
    assert "The same numbers are in the table" in text


def test_baselines_are_not_drawn_while_a_campaign_runs(old, monkeypatch):
    campaign = old.pages.campaigns.get("golden")
    monkeypatch.setattr(campaign, "standing", lambda: "running (process 7)")
    old.pages._kept.clear()
    lines = old.json(f"{GOLDEN}/live.json")["chart"]["lines"]
    old.pages._kept.clear()
    assert [found["name"] for found in lines] == ["ceiling"]


def test_live_page_of_a_running_fleet_shows_states_budgets_and_alarms(now):
    page = now.json("/campaign/small/live.json")
    first = page["researchers"][0]
    assert (first["name"], first["state"], first["incarnation"]) == ("researcher-1", "running", 3)
    assert first["best"] == {
        "kind": "reported",
        "unit": "PGR",
        "value": 0.42,
        "lower": None,
        "upper": None,
        "receipt": "r-000003",
    }
    assert first["spent"][0]["words"] == "$1.25 of $5.00"
    assert any("flags raised: near copies 1" in words for words in page["alarms"])
    assert "Bash: python method.py" in now.text("/campaign/small/live")


def test_board_puts_claimed_beside_confirmed(old):
    rows = {row["receipt"]: row for row in old.json(f"{GOLDEN}/board.json")["rows"]}
    best = rows["r-000003"]
    assert best["verdict"] == "not reproducible"
    assert best["claimed"]["kind"] == "reported"
    assert best["confirmed"]["kind"] == "not confirmed"
    assert best["confirmed"]["lower"] < best["confirmed"]["value"] < best["confirmed"]["upper"]
    confirmed = [row for row in rows.values() if row["verdict"] == "confirmed"]
    assert {row["confirmed"]["kind"] for row in confirmed} == {"confirmed"}


def test_board_is_paged_sorted_and_filtered_by_its_address(old):
    whole = old.json(f"{GOLDEN}/board.json?show=all&sort=newest")
    assert (whole["pager"]["rows"], len(whole["rows"])) == (67, 50)
    rest = old.json(f"{GOLDEN}/board.json?show=all&sort=newest&page=2")
    numbers = [row["receipt"] for row in (*whole["rows"], *rest["rows"])]
    assert numbers == sorted(numbers, reverse=True)
    mine = old.json(f"{GOLDEN}/board.json?show=all&researcher=researcher-2&sort=oldest")["rows"]
    assert {row["researcher"] for row in mine} == {"researcher-2"}
    level = old.json(f"{GOLDEN}/board.json?show=all&sort=level")["rows"]
    assert [row["receipt"] for row in level[:2]] == ["r-000003", "r-000001"]
    for wrong in ("sort=best", "page=0", "page=x", "family=ensembles", "show=1"):
        answer = old.get(f"{GOLDEN}/board?{wrong}")
        assert answer.status_code == 422
        assert "It may be" in answer.text or "whole number" in answer.text


def test_submission_page_says_what_was_reported_and_why_no_more(old):
    yes = old.json(f"{GOLDEN}/submission/r-000003.json")
    assert yes["row"]["improved"]
    assert "exact score stays with the evaluator" in yes["why_no_more"]
    no = old.json(f"{GOLDEN}/submission/r-000002.json")
    assert "did not pass the next step above the level" in no["why_no_more"]
    assert "bits" in no["why_no_more"]
    assert no["row"]["claimed"] is None
    assert old.get(f"{GOLDEN}/submission/r-999999").status_code == 404


def test_submission_page_says_that_no_score_can_pass_a_step_above_all():
    body = json.dumps(submission(1, improved=False, level=0.9))
    receipt = SubmissionBody.model_validate_json(body).receipt
    assert "did not pass the next step above the level, accuracy 0.900" in why_no_more(receipt)
    above = receipt.model_copy(update={"next_step_accuracy": 1.004})
    words = "None can be reported any more: the next step above the level lies above accuracy 1."
    assert why_no_more(above) == f"No improvement was reported. {words}"
    assert why_no_more(above.model_copy(update={"improved": True})).endswith(f"labels. {words}")


def test_words_of_baselines_that_are_near_stand_apart_at_the_end_of_their_lines():
    lines = [{"name": n, "kind": "baseline", "pgr": v} for n, v in (("a", 0.61), ("b", 0.59))]
    chart = {"lines": [*lines, {"name": "c", "kind": "ceiling", "pgr": 1.0}]}
    rows = known_lines(chart["lines"], Axis(0.0, 1.0, 300.0, 0.0))
    assert [(row["of"]["name"], row["y"], row["words_y"]) for row in rows] == [
        ("c", 0.0, 4.0),
        ("a", 117.0, 121.0),
        ("b", 123.0, 134.0),
    ]


def test_a_claim_lies_on_the_line_where_final_agrees_with_it_and_below_where_it_is_lower(old):
    page = old.json(f"{GOLDEN}/integrity.json")
    rows = {row["receipt"]: row for row in old.json(f"{GOLDEN}/board.json")["rows"]}
    assert page["claims"], "the golden campaign confirmed some"
    for claim in page["claims"]:
        assert claim["final"] == rows[claim["receipt"]]["confirmed"]
        assert (claim["claimed"]["kind"], claim["claimed"]["unit"]) == ("reported", "accuracy")
    claim = page["claims"][0]
    value = claim["claimed"]["value"]
    same, less = (
        {"value": value - d, "lower": value - 0.1, "upper": value + 0.1} for d in (0, 0.04)
    )
    shapes = scatter_shapes([claim | {"final": found} for found in (same, less)])
    on, below = shapes["points"]
    wide, high = shapes["right"] - shapes["left"], shapes["bottom"] - shapes["top"]
    assert (on["x"] - shapes["left"]) / wide == pytest.approx(
        (shapes["bottom"] - on["y"]) / high, abs=1e-3
    )
    assert (on["x"], on["upper"], on["lower"]) == (below["x"], below["upper"], below["lower"])
    assert below["y"] - on["y"] == pytest.approx(0.04 / 0.24 * high, abs=0.2)


def test_services_are_shown_while_the_campaign_runs_alone(now, monkeypatch):
    campaign = now.pages.campaigns.get("small")
    assert campaign.state().services
    assert "Services" not in now.text("/campaign/small/live?n=1"), "they ended with the campaign"
    monkeypatch.setattr(campaign, "standing", lambda: "running (process 7)")
    assert "Services" in now.text("/campaign/small/live?n=2")


def test_submission_page_compares_with_the_nearest_earlier_code(tmp_path):
    far, near, new = "x = 1\n", "a = 1\nb = 2\nc = 3\n", "a = 1\nb = 5\nc = 3\n"
    browser = small(tmp_path)
    first, _, last = with_code(tmp_path, "researcher-1", far, near, new)
    page = browser.json(f"/campaign/small/submission/{last}.json")
    rows = [(row["kind"], row["text"]) for row in page["difference"]]
    assert ("removed", "-b = 2") in rows
    assert ("added", "+b = 5") in rows
    assert ("same", " a = 1") in rows
    assert page["code"][0]["text"] == new
    assert browser.json(f"/campaign/small/submission/{first}.json")["difference"] is None


def test_researcher_page_folds_calls_with_their_outputs(tmp_path):
    browser = small(tmp_path)
    folder = tmp_path / "campaigns" / "small" / "transcripts" / "researcher-1"
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_text("".join(_session(230)))
    page = browser.json(f"/campaign/small/{STEPS}.json")
    pager = page["transcript"]["pager"]
    assert (pager["page"], pager["pages"]) == (5, 5), "the last page is where one begins"
    steps = [
        step
        for number in range(1, 6)
        for step in browser.json(f"/campaign/small/{STEPS}.json?page={number}")["transcript"][
            "steps"
        ]
    ]
    assert [s["text"] for s in steps if s["kind"] == "calls"] == [
        f"Bash: run {n}" for n in range(230)
    ]
    assert {len(s["outputs"]) for s in steps if s["kind"] == "calls"} == {1}
    assert [s["outputs"][0]["text"] for s in steps if s["kind"] == "calls"][:2] == [
        "out 0",
        "out 1",
    ]
    failed = browser.json(f"/campaign/small/{STEPS}.json?only=fails&page=1")
    assert {s["outputs"][0]["kind"] for s in failed["transcript"]["steps"]} == {"fails"}
    text = browser.text(f"/campaign/small/{STEPS}?page=2")
    assert "<details" in text


def test_researcher_page_leads_to_the_next_error_and_the_next_submission(tmp_path):
    browser = small(tmp_path)
    folder = tmp_path / "campaigns" / "small" / "transcripts" / "researcher-1"
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_text("".join(_session(110)) + "r-000007 improved\n")

    def after(line: int, to: str) -> tuple[str, dict[str, str], str]:
        given = f"?to={to}" + (f"&after={line}" if line else "")
        link = browser.get(f"/campaign/small/{STEPS[:-5]}next{given}").headers["location"]
        found = urlsplit(link)
        assert found.path == f"/campaign/small/{STEPS}"
        return link, dict(parse_qsl(found.query)), found.fragment

    def at(page: str, after: str) -> dict[str, str]:
        return {"incarnation": "1", "page": page, "after": after}

    assert after(0, "error")[1:] == (at("1", "16"), "step-16")
    assert after(16, "error")[1:] == (at("2", "116"), "step-116")
    assert after(0, "submission")[1:] == (at("3", "221"), "step-221")
    link, *none = after(216, "error")
    assert none == [at("3", "216") | {"none": "error"}, "transcript"]
    assert "No error comes after line 216" in browser.text(link)
    assert 'id="step-221"' in browser.text(link)
    nobody = browser.get("/campaign/small/researcher/nobody/next?to=error")
    assert (nobody.status_code, "It has: none" in nobody.text) == (404, True)
    assert browser.get(f"/campaign/small/{STEPS}?incarnation=9").status_code == 404


def _session(count: int):
    for n in range(count):
        call = {"type": "tool_use", "id": f"t{n}", "name": "Bash", "input": {"command": f"run {n}"}}
        said = {"type": "text", "text": f"Now {n}"}
        yield _event("assistant", {"id": f"m{n}", "content": [said, call]})
        result = {"type": "tool_result", "content": f"out {n}", "is_error": n % 50 == 7}
        yield _event("user", {"content": [result]})


def _event(kind: str, message: dict) -> str:
    return json.dumps({"type": kind, "message": message}) + "\n"


def test_forum_citations_lead_to_receipts_and_unknown_ones_are_no_link(tmp_path):
    browser = small(tmp_path)
    ledger = ledger_of(tmp_path)
    body = {"kind": "result", "title": "t", "text": "x", "family": "ensemble", "snapshot": None}
    ledger.append(
        "finding", "researcher-1", body | {"receipts": ["r-000001", "r-000777"], "parent": None}
    )
    ledger.close()
    text = browser.text("/campaign/small/forum")
    assert 'href="/campaign/small/submission/r-000001"' in text
    assert "submission/r-000777" not in text
    assert "r-000777, which is no receipt of this campaign" in text


def test_forum_shows_who_read_and_downloaded_what_and_unknown_where_it_is_not_recorded(
    old, tmp_path
):
    finding = old.json(f"{GOLDEN}/forum.json")["findings"][0]
    assert finding["read"] == {"opened": [], "listed": [], "downloaded": [], "all": False}
    said = old.text(f"{GOLDEN}/forum")
    assert "who read what is unknown" in said
    assert "nobody" not in said

    browser, ledger = small(tmp_path), ledger_of(tmp_path)
    body = {"kind": "result", "title": "t", "text": "x", "family": "ensemble", "receipts": []}
    for event in ({"event": "server started"}, {"event": "server started", "reads": True}):
        early = ledger.append("finding", "researcher-1", body | {"snapshot": "a" * 64})
        ledger.append("campaign", "evaluator", event)
    late = ledger.append("finding", "researcher-1", body)
    for who, how, what in (
        ("researcher-2", "listed", f"f-{early.seq:06d}"),
        ("researcher-2", "opened", f"f-{early.seq:06d}"),
        ("researcher-3", "listed", f"f-{early.seq:06d}"),
        ("researcher-3", "downloaded", "a" * 64),
        ("researcher-3", "downloaded", "b" * 64),
    ):
        ledger.append("read", who, {"how": how, "what": [what]})
    ledger.close()
    page = browser.json("/campaign/small/forum.json")
    found = {f["id"]: f["read"] for f in page["findings"]}
    names = {
        how: [one["researcher"] for one in some]
        for how, some in found[f"f-{early.seq:06d}"].items()
        if how != "all"
    }
    assert names == {
        "opened": ["researcher-2"],
        "listed": ["researcher-3"],
        "downloaded": ["researcher-3"],
    }
    assert [found[f"f-{one.seq:06d}"]["all"] for one in (early, late)] == [False, True]
    assert [code["snapshot"] for code in page["other_code"]] == ["b" * 64]
    said = browser.text("/campaign/small/forum")
    assert 'Opened by: <span class="none">nobody</span>' in said
    assert "earlier ones are unknown" in said


def test_integrity_page_adds_up_bits_by_submitter_and_checks_the_signature(old):
    page = old.json(f"{GOLDEN}/integrity.json")
    assert sum(row["bits"] for row in page["bits_by"]) == pytest.approx(
        page["released"]["bits"], abs=0.02
    )
    assert "is signed, and covers 224 of 224 entries" in page["checkpoint"]["words"]
    (flag,) = page["flags"]
    assert (flag["detector"], flag["submitter"]) == ("not reproducible", "researcher-2")
    assert "0.041" not in old.text(f"{GOLDEN}/integrity"), "evidence that needed hidden labels"


def test_a_broken_checkpoint_is_said_to_be(tmp_path):
    browser = golden(tmp_path)
    path = tmp_path / "campaigns" / "golden" / "checkpoints" / "checkpoints.txt"
    path.write_bytes(path.read_bytes().replace(b"\n224\n", b"\n225\n"))
    words = browser.json(f"{GOLDEN}/integrity.json")["checkpoint"]["words"]
    assert "cannot be believed" in words


# --- hidden numbers -------------------------------------------------------------------------------


def exact_scores(home, name: str) -> list[float]:
    """Every exact score in a ledger, with those of signed records and flags."""
    found: list[float] = []
    for entry in ledger_of(home, name, read_only=True).entries():
        if entry.kind == "submission":
            body = entry.read(SubmissionBody)
            found += [body.exact_accuracy, *([body.exact_pgr] if body.exact_pgr else [])]
        elif entry.kind == "confirmation":
            found += _floats(entry.read(ConfirmationBody).record)
        elif entry.kind == "flag":
            found += entry.read(Flag).figures.values()
    return found


def _floats(value: object) -> list[float]:
    if isinstance(value, float):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [number for one in inner for number in _floats(one)]


def spelled(score: float) -> set[str]:
    """A score as it could stand on a page, with four digits or more: three may be another's."""
    ways = {str(score), *(f"{score:.{digits}f}" for digits in (4, 5, 6))}
    shares = {f"{100 * score:.{digits}f}" for digits in (3, 4) if abs(score) > 0.1}
    long = {way for way in ways if len(way.rstrip("0").partition(".")[2]) >= 4}
    return long | {share for share in shares if len(share.rstrip("0").partition(".")[2]) >= 3}


def released_of(home, name: str) -> set[str]:
    """Numbers of receipts and verdicts, which the evaluator did release."""
    ledger, words = ledger_of(home, name, read_only=True), set()
    for entry in ledger.entries("submission"):
        words |= set(re.findall(r"\d+\.\d+", entry.read(SubmissionBody).receipt.model_dump_json()))
    return words | {
        str(entry.read(ConfirmationBody).told_accuracy) for entry in ledger.entries("confirmation")
    }


def on_page(text: str, ways: set[str], known: set[str]) -> set[str]:
    return (set(re.findall(r"\d+\.\d+", text)) - known) & ways


def all_spelled(scores: list[float]) -> set[str]:
    return {way for score in scores for way in spelled(score)}


@pytest.mark.slow
def test_no_exact_score_is_on_any_page(old):
    home = old.pages.campaigns.folder.parent
    scores, known = exact_scores(home, "golden"), released_of(home, "golden")
    assert len(scores) > 200
    paths = addresses(old, "golden")
    assert sum("/submission/" in path for path in paths) >= 3 * 67
    for part in (".csv", "?at=", "axis=dollars", "/confirmations", "/costs", "/runs", "/proof"):
        assert any(part in path for path in paths), part
    ways = all_spelled(scores)
    assert {path for path in paths if on_page(old.get(path).text, ways, known)} == set()


def test_the_search_for_exact_scores_can_fail(old):
    home = old.pages.campaigns.folder.parent
    scores = exact_scores(home, "golden")
    ways = all_spelled(scores)
    assert on_page(f"<td>{scores[0]:.4f}</td>", ways, set())
    assert on_page(json.dumps({"a": scores[1]}), ways, set())


def test_a_score_without_its_kind_is_not_rendered():
    made = environment().from_string(
        '{% from "macros.jinja" import score with context %}{{ score(found) }}'
    )
    shown = {"kind": "reported", "value": 0.5, "lower": None, "upper": None, "unit": "PGR"}
    assert "reported" in made.render(found=shown)
    with pytest.raises(UndefinedError, match="kind"):
        made.render(found={k: v for k, v in shown.items() if k != "kind"})
    with pytest.raises(UndefinedError):
        made.render(found=shown | {"kind": "exact"})


# --- what is not there, or not whole --------------------------------------------------------------


def test_what_is_not_there_is_said_in_a_sentence(now):
    for path in (
        "/campaign/none/live",
        "/campaign/../live",
        "/x",
        "/campaign/small/researcher/x/steps",
    ):
        answer = now.get(path)
        assert answer.status_code == 404
    assert "first page" in now.get("/campaign/none/live").text
    assert now.get("/campaign/none/live.json").json()["whose_move"] == "submitter"


def test_a_campaign_that_is_set_up_or_damaged_hides_no_other(tmp_path):
    browser = small(tmp_path)
    Campaign(name="new").save(tmp_path / "campaigns" / "new")
    bad = tmp_path / "campaigns" / "bad"
    bad.mkdir()
    (bad / "campaign.yaml").write_text("{")
    rows = {row["name"]: row for row in browser.json("/campaigns.json")["campaigns"]}
    assert set(rows) == {"small", "new", "bad"}
    assert rows["bad"]["state"].startswith("damaged")
    assert "This page follows the campaign" in browser.text("/campaign/new/live")
    board = browser.text("/campaign/new/board")
    assert 'data-events="/campaign/new/events"' in board, "it becomes the board by itself"
    assert '"/campaign/new/board" aria-current="page"' in board
    assert "being set up" in browser.get("/campaign/new/board.csv").text
    assert browser.get("/campaign/new/board.csv").status_code == 404
    assert browser.json("/campaign/new/live.json")["seq"] == 0
    (tmp_path / "campaigns" / "new" / "server").mkdir()
    ledger_of(tmp_path, "new").append("campaign", "operator", {"event": "started"})
    browser.pages._kept.clear()
    assert browser.json("/campaign/new/live.json")["headline"]["experiments"] == 0


def test_a_confirmed_claim_counts_and_has_its_rounding(tmp_path):
    browser, (receipt,) = small(tmp_path), with_code(tmp_path, "researcher-1", "a = 1\n")
    made = browser.json(f"/campaign/small/submission/{receipt}.json")["row"]["snapshot"]
    ledger = ledger_of(tmp_path)
    ledger.append(
        "confirmation", "evaluator", confirmation(made, "researcher-1", verdict="confirmed")
    )
    ledger.close()
    row = browser.json(f"/campaign/small/submission/{receipt}.json")["row"]
    assert row["confirmed"]["value"] == 0.5
    assert row["confirmed"]["lower"] is None, "nobody knows its grid"
    assert browser.json("/campaign/small/live.json")["headline"]["confirmed"] == 1


@pytest.mark.long
def test_who_looks_on_does_not_keep_the_ledger_open(tmp_path):
    """A ledger that was closed in order is one file, which can be copied."""
    browser, ledger = small(tmp_path), ledger_of(tmp_path)
    ledger.append("campaign", "operator", {"event": "goes on"})
    ledger.append("researcher", "researcher-1", {"event": "enrolled", "detail": "You are"})
    for path in addresses(browser, "small"):
        browser.get(path)
    ledger.close()
    server = tmp_path / "campaigns" / "small" / "server"
    assert [p.name for p in server.glob("ledger.sqlite*")] == ["ledger.sqlite"]


def test_a_page_is_made_once_while_nothing_is_new(now, monkeypatch):
    made = []
    monkeypatch.setattr("aarlab.web.web_app.time.time", lambda: 1000.0)
    monkeypatch.setattr(
        "aarlab.web.web_app.forum_page", lambda *_: made.append(1) or {"title": "x", "n": len(made)}
    )
    for _ in range(3):
        assert now.json("/campaign/small/forum.json")["n"] == 1


def test_who_asks_for_the_same_page_at_once_waits_for_one(now, monkeypatch):
    made = []

    def slow(*_: object) -> dict:
        made.append(1)
        time.sleep(0.2)
        return {"title": "x"}

    monkeypatch.setattr("aarlab.web.web_app.time.time", lambda: 1000.0)
    monkeypatch.setattr("aarlab.web.web_app.forum_page", slow)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(now.json, ["/campaign/small/forum.json"] * 8))
    assert len(made) == 1


def test_a_query_keeps_what_it_does_not_change():
    query = PageQuery({"sort": "level", "page": "3", "show": ""})
    assert query.link(page=4) == "?sort=level&page=4"
    assert query.link(sort="newest", page=None) == "?sort=newest"


def test_alarms_of_researchers_are_text(tmp_path):
    browser = small(tmp_path)
    fleet(member("researcher-1"), alarms=("<b>x</b>",)).write(tmp_path / "campaigns" / "small")
    assert "&lt;b&gt;x&lt;/b&gt;" in browser.text("/campaign/small/live")
