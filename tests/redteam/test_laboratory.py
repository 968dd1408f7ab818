"""`aar simulate`: the figures by hand, the sentence, the pages, the commands."""

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aarlab.cli.main import app
from aarlab.core.errors import Misconfigured
from aarlab.core.records import Measure
from aarlab.evaluation.policies import POLICIES
from aarlab.redteam import scan as scanning
from aarlab.redteam.honest import START, Outcome, Plan
from aarlab.redteam.jobs import in_order, silent
from aarlab.redteam.laboratory import LIMIT, Honest, advise, compare, honest, honest_all, percent, protection
from aarlab.redteam.laboratory_page import markdown, tables
from aarlab.redteam.table import attack_all

PLAN = Plan(1_263, repetitions=40)


def outcome(final, *, told=10, real=9, tries=20, noticed=8):
    return Outcome(final, 100.0, told, real, tries, noticed)


@pytest.fixture(scope="module")
def made():
    return compare(["exact", "default", "none"], Plan(120, agents=3, bundles=12, repetitions=12))


def test_losses_by_hand():
    """Exact 0.87, policy 0.86, none 0.67, start 0.57: 0.01 / 0.20, 0.01 / 0.30, 0.01 / 0.87."""
    found = honest([outcome(0.86)] * 20, [outcome(0.87)] * 20, [outcome(0.67)] * 20)
    assert found.loss_of_gift.estimate == pytest.approx(0.05)
    assert found.loss_of_climb.estimate == pytest.approx(0.01 / (0.87 - START))
    assert found.loss_of_end.estimate == pytest.approx(0.01 / 0.87)
    assert found.loss_of_gift.lower == pytest.approx(found.loss_of_gift.upper)  # every fleet loses the same
    assert (found.noticed.estimate, found.false.estimate) == (pytest.approx(0.4), pytest.approx(0.1))


def test_intervals_are_over_pairs():
    """Fleets that end far apart, each losing exactly a tenth of what it was given: no uncertainty about the share."""
    exact = [outcome(0.7 + k / 100) for k in range(20)]
    policy = [outcome(0.6 + 0.9 * (run.final - 0.6)) for run in exact]
    loss = honest(policy, exact, [outcome(0.6)] * 20).loss_of_gift
    assert (loss.lower, loss.estimate, loss.upper) == pytest.approx((0.1, 0.1, 0.1))


def test_a_gift_of_nothing_has_no_shares():
    with pytest.raises(Misconfigured, match="more --bundles"):
        honest([outcome(0.6)], [outcome(0.6)], [outcome(0.6)])


def test_exact_loses_nothing_and_none_everything(made):
    exact, default, none = made.offers
    assert exact.honest.loss_of_gift.estimate == 0
    assert none.honest.loss_of_gift.estimate == 1
    assert 0 < default.honest.loss_of_gift.estimate < 1.2
    assert (none.honest.noticed, none.honest.false, none.attackers.worst) == (None, None, ())
    assert [cell.queries for cell in default.attackers.worst] == [1_000, 10_000]
    assert exact.attackers.worst[-1].recovered.estimate == 1


@pytest.mark.parametrize(("name", "n", "cap"), [("strict", 1_263, 70), ("default", 2_004, 140), ("roomy", 600, 150)])
def test_protection_by_hand(name, n, cap):
    found = protection(name, n)
    bits = cap + math.log2(15) + 3 * math.log2(2 * math.sqrt(n) + 1)
    assert found.cap_bits == cap
    assert found.share_of_labels == pytest.approx(cap / n)
    assert found.bound == pytest.approx(math.sqrt((bits * math.log(2) + math.log(20)) / (2 * n)))
    assert protection("exact", n).bound is None


def test_the_shipped_default_keeps_within_the_limit():
    """At both sizes, on seeds that it was not chosen on. docs/redteam/scan.md has 3,000 fleets."""
    for n in (1_263, 2_004):
        found = honest_all(["default"], Plan(n, repetitions=120, first=500_000))["default"]
        assert found.loss_of_gift.upper <= LIMIT


def losing(share):
    some = Measure(estimate=share, lower=share, upper=share, n=9, resampled="fleets")
    return Honest(end=some, loss_of_gift=some, loss_of_climb=some, loss_of_end=some, noticed=None, false=None, bits=some)


def test_the_advice_is_the_tightest_that_fits():
    said = advise(PLAN, {"strict": losing(0.5), "default": losing(0.03), "roomy": losing(0.01)})
    assert said.startswith("With 1,263 items take default")
    assert "0.214" in said
    assert "take strict" in advise(PLAN, {"strict": losing(0.04), "default": losing(0.03), "roomy": losing(0.01)})


def test_where_nothing_fits_more_items_are_advised_and_they_do_fit():
    said = advise(Plan(300, repetitions=40), {"strict": losing(0.9), "default": losing(0.5), "roomy": losing(0.3)})
    assert "take roomy, or " in said
    items, name = said.rstrip(".").split(", or ")[1].split(" items with ")
    again = honest_all([name], Plan(int(items.replace(",", "")), repetitions=40))[name]
    assert again.loss_of_gift.upper <= LIMIT


def test_pages_show_every_policy_and_the_advice(made):
    page = markdown([made], "aar simulate")
    assert made.advice in page
    for offer in made.offers:
        assert page.count(f"| {offer.policy} |") == 2
        assert percent(offer.honest.loss_of_gift) in page
    assert [table.row_count for table in tables(made)] == [3, 3]
    assert [len(table.columns) for table in tables(made)] == [7, 7]
    rows = [line.count("|") for line in page.splitlines() if line.startswith("|")]
    assert rows == [9] * 5 + [8] * 5


def test_workers_change_nothing():
    one, two = (attack_all(["default"], n=60, seeds=1, queries=(5, 20), workers=workers) for workers in (1, 2))
    assert one == two
    said = []
    assert list(in_order(pow, [(2, 3), (3, 2)], labels=["a", "b"], workers=1, say=said.append)) == [8, 9]
    assert said == ["1 of 2: a", "2 of 2: b"]
    silent("nothing")


def test_when_it_is_stopped_no_further_job_begins(tmp_path):
    jobs = [(tmp_path / str(number),) for number in range(200)]
    running = in_order(Path.touch, jobs, labels=[str(number) for number in range(200)], workers=2, say=silent)
    next(running)
    running.close()
    assert 1 <= len(list(tmp_path.iterdir())) < 200


def test_the_commands_write_what_they_print(tmp_path):
    small = ["--n", "80", "--workers", "1", "--out", str(tmp_path)]
    fleet = ["--agents", "6", "--bundles", "20", "--repetitions", "10"]
    done = CliRunner().invoke(app, ["simulate", *small, *fleet, "--policy", "default"])
    assert done.exit_code == 0, done.output
    saved = json.loads((tmp_path / "simulate.json").read_text())
    assert [[offer["policy"] for offer in lab["offers"]] for lab in saved] == [["default"]]
    assert saved[0]["advice"] in (tmp_path / "simulate.md").read_text()
    done = CliRunner().invoke(app, ["redteam", *small, "--policy", "default", "--queries", "20", "--seeds", "1"])
    assert done.exit_code == 0, done.output
    assert "--policy default --queries 20" in (tmp_path / "redteam.md").read_text()
    with pytest.raises(Misconfigured, match="generous"):
        CliRunner().invoke(app, ["simulate", *small, *fleet, "--policy", "generous"], catch_exceptions=False)


def test_the_scan_is_of_the_shipped_default(monkeypatch):
    monkeypatch.setattr(scanning, "NUMBERS", {"cap": (70, 140), "never": (1 / 16,)})
    monkeypatch.setattr(scanning, "HABITS", {"the model's": scanning.Habits()})
    monkeypatch.setattr(scanning, "FLEETS", {"1 agent": (1, 10)})
    found = scanning.scan(repetitions=12, confirmed_repetitions=12, items=(1_263,))
    by_code = {(row.changed, row.value): row for row in found.tries}
    assert by_code["cap", 140].loss_of_gift == by_code["never", 1 / 16].loss_of_gift
    assert by_code["cap", 70].loss_of_gift.estimate > by_code["cap", 140].loss_of_gift.estimate
    assert by_code["cap", 140].bound == pytest.approx(protection("default", 1_263).bound)
    page = scanning.markdown(found, "aar simulate --scan")
    assert "| cap | 140 (default) |" in page
    assert "cap_share 0.125" in page
    beyond = page.split("Beyond it: ")[1].split(".**")[0].split(", ")
    assert set(beyond) == {row.model for row in found.robust if row.loss_of_gift.upper > LIMIT}
    assert POLICIES["default"].cap == found.default["cap"]
