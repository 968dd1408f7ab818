"""The pages that compare campaigns and show the problem: values by hand, and unknown where a report
does not state them."""

import json
import shutil

import numpy as np
import pytest

from aarlab.core.intervals import difference_measure
from aarlab.core.layout import CampaignFolder, PublicFolder, ReportFolder
from aarlab.core.records import Measure
from aarlab.fleet.campaign import load
from tests.fleet.fleets import campaign_folder, fleet
from tests.web.scenes import GOLDEN, golden, small


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The finished campaign, a copy of it whose report has other figures, and a small one."""
    home = tmp_path_factory.mktemp("two")
    browser = golden(home)
    other = home / "campaigns" / "other"
    shutil.copytree(home / "campaigns" / "golden", other)
    record = ReportFolder(CampaignFolder(other).report).record
    report = json.loads(record.read_text())
    report["diversity"]["bits"] |= {"estimate": 1.0, "lower": 0.7, "upper": 1.2}
    cost = {"estimate": 3.0, "lower": 2.0, "upper": 4.0, "n": 2, "resampled": "researchers"}
    report["costs"]["usd_per_researcher_hour"] = cost
    record.write_text(json.dumps(report))
    settings = CampaignFolder(other).settings
    settings.write_text(
        settings.read_text().replace("directed: true", "directed: false").replace("golden", "other")
    )
    campaign_folder(home / "campaigns", fleet())
    return browser


def row(page: dict, part: str, what: str) -> dict:
    (found,) = [row for row in page[part] if row["what"].startswith(what)]
    return found


def test_figures_stand_beside_each_other_and_a_difference_has_its_interval(two):
    page = two.json(f"{GOLDEN}/compare.json?with=other")
    assert page["sides"] == ["golden", "other"]
    assert page["same_labels"]
    confirmed = row(page, "scores", "first confirmed")
    assert (confirmed["first"]["receipt"], confirmed["first"]["kind"]) == ("r-000038", "confirmed")
    lower, upper = confirmed["first"]["lower"], confirmed["first"]["upper"]
    assert confirmed["difference"] == {
        "value": 0.0,
        "lower": pytest.approx(lower - upper),
        "upper": pytest.approx(upper - lower),
    }
    entropy = row(page, "measured", "entropy of submitted")
    assert entropy["first"]["value"] == 1.729
    apart = entropy["difference"]
    assert apart["value"] == pytest.approx(0.729, abs=1e-3)
    below, above = np.hypot(1.7288 - 1.4981, 0.2), np.hypot(1.9653 - 1.7288, 0.3)
    assert apart["lower"] == pytest.approx(0.7288 - below, abs=2e-3)
    assert apart["upper"] == pytest.approx(0.7288 + above, abs=2e-3)
    assert {r["name"]: (r["first"], r["second"]) for r in page["settings"]} == {
        "directed": ("True", "False")
    }


def test_what_a_report_does_not_state_is_unknown(two):
    page = two.json(f"{GOLDEN}/compare.json?with=other")
    cost = row(page, "measured", "cost of an hour")
    assert (cost["first"], cost["second"]["value"], cost["difference"]) == (None, 3.0, None)
    assert row(page, "counts", "dollars") == {"what": "dollars", "first": None, "second": None}
    assert "unknown: no report states it" in two.text(f"{GOLDEN}/compare?with=other")


def test_scores_about_other_labels_have_no_difference(two):
    page = two.json(f"{GOLDEN}/compare.json?with=small")
    assert not page["same_labels"]
    assert all(r.get("difference") is None for r in page["scores"])
    assert page["scores"][0]["second"]["value"] == 0.42
    assert "no difference is stated" in two.text(f"{GOLDEN}/compare?with=small")


def test_each_number_leads_to_the_receipt_of_its_own_campaign(two):
    text = two.text(f"{GOLDEN}/compare?with=other")
    assert 'href="/campaign/other/submission/r-000038"' in text
    assert 'href="/campaign/golden/submission/r-000038"' in text


def test_a_campaign_that_is_not_there_cannot_be_compared_with(two):
    answer = two.get(f"{GOLDEN}/compare?with=none")
    assert answer.status_code == 422
    assert "It may be: other, small" in answer.text


def test_alone_there_is_nothing_to_compare_with(tmp_path):
    assert "There is no other campaign" in small(tmp_path).text("/campaign/small/compare")


def test_the_interval_of_a_difference_covers_the_truth_as_often_as_it_says():
    """Means of 40 skewed values each, 2,000 times."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(2_000):
        one, other = rng.exponential(1.0, 40), rng.exponential(2.0, 40)
        covered += _covers(one, other, truth=-1.0)
    assert 0.925 < covered / 2_000 < 0.965


def _covers(one: np.ndarray, other: np.ndarray, truth: float) -> bool:
    found = difference_measure(_mean(one), _mean(other))
    return found.lower <= truth <= found.upper


def _mean(values: np.ndarray) -> Measure:
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    mean = float(values.mean())
    return Measure(estimate=mean, lower=mean - half, upper=mean + half, n=40, resampled="values")


# --- the problem ----------------------------------------------------------------------------------


def test_the_problem_page_shows_card_sizes_policy_and_prompt(two):
    page = two.json(f"{GOLDEN}/problem.json")
    assert page["name"] == "generated-chat"
    assert {r["split"]: r["items"] for r in page["items"]} == {
        "teacher": 60,
        "student": 300,
        "feedback": 300,
        "final": 300,
    }
    words = {r["what"]: r["words"] for r in page["policy"]}
    assert words["bits that may be released in all"] == "37.50 bits"
    assert words["the next improvement releases at most"].startswith("nothing")
    assert page["level"]["receipt"] == "r-000003", "that which reached the level"
    assert page["prompt"].startswith("You are researcher-1, one of 2 AI researchers")
    naive = page["baselines"][0]
    assert (naive["kind"], naive["name"], naive["lower"], naive["upper"]) == (
        "baseline",
        "naive",
        0.41,
        0.73,
    )
    assert "with its 95 % interval" in two.text(f"{GOLDEN}/problem")


def test_the_card_of_the_report_is_shown_where_the_testbed_is_not_here(tmp_path):
    browser = golden(tmp_path)
    shutil.rmtree(tmp_path / "problems")
    assert browser.json(f"{GOLDEN}/problem.json")["card"].startswith("A generated look-alike")


def test_without_card_and_report_the_page_says_so(tmp_path):
    browser = small(tmp_path)
    assert "card is not here" in browser.text("/campaign/small/problem")


def test_baselines_are_not_shown_while_a_campaign_runs(two, monkeypatch):
    campaign = two.pages.campaigns.get("golden")
    monkeypatch.setattr(campaign, "standing", lambda: "running (process 7)")
    two.pages._kept.clear()
    page = two.json(f"{GOLDEN}/problem.json")
    two.pages._kept.clear()
    assert page["baselines"] == []


def test_only_the_published_part_of_a_testbed_is_looked_into(two):
    place = two.pages.campaigns.get("golden").public()
    assert isinstance(place, PublicFolder)
    assert place.root.name == "public"
    assert load(CampaignFolder(two.pages.campaigns.folder / "other").settings).name == "other"
