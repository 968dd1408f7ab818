"""What each policy costs: the figures by hand, the page, the commands."""

import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aarlab.cli.main import app
from aarlab.core.errors import Misconfigured
from aarlab.evaluation.scoring.policies import POLICIES, start
from aarlab.fleet.simulated_fleet import LIMIT, START, RunOutcome, SimulationPlan, percent
from aarlab.redteam.attack_table import attack_all
from aarlab.redteam.jobs import in_order, silent
from experiments.policy_costs import compare, honest, honest_all, markdown, protection

pytestmark = pytest.mark.slow  # whole attacks, of thousands of questions


def outcome(final, *, reported=10, real=9, tries=20, noticed=8):
    return RunOutcome(final, 100.0, reported, real, tries, noticed)


@pytest.fixture(scope="module")
def made():
    return compare(
        ["exact", "default", "none"], SimulationPlan(120, agents=3, bundles=12, repetitions=12)
    )


def test_losses_by_hand():
    """Exact 0.87, policy 0.86, none 0.67, start 0.57: 0.01 / 0.20, 0.01 / 0.30, 0.01 / 0.87."""
    found = honest([outcome(0.86)] * 20, [outcome(0.87)] * 20, [outcome(0.67)] * 20)
    assert found.loss_of_gain.estimate == pytest.approx(0.05)
    assert found.loss_of_climb.estimate == pytest.approx(0.01 / (0.87 - START))
    assert found.loss_of_end.estimate == pytest.approx(0.01 / 0.87)
    # every fleet loses the same
    assert found.loss_of_gain.lower == pytest.approx(found.loss_of_gain.upper)
    assert (found.noticed.estimate, found.false.estimate) == (
        pytest.approx(0.4),
        pytest.approx(0.1),
    )


def test_intervals_are_over_pairs():
    """Fleets that end far apart, each losing exactly a tenth of what it was given: no uncertainty
    about the share."""
    exact = [outcome(0.7 + k / 100) for k in range(20)]
    policy = [outcome(0.6 + 0.9 * (run.final - 0.6)) for run in exact]
    loss = honest(policy, exact, [outcome(0.6)] * 20).loss_of_gain
    assert (loss.lower, loss.estimate, loss.upper) == pytest.approx((0.1, 0.1, 0.1))


def test_a_gift_of_nothing_has_no_shares():
    with pytest.raises(Misconfigured, match="more --bundles"):
        honest([outcome(0.6)], [outcome(0.6)], [outcome(0.6)])


@pytest.mark.long
def test_exact_loses_nothing_and_none_everything(made):
    exact, default, none = made.offers
    assert exact.honest.loss_of_gain.estimate == 0
    assert none.honest.loss_of_gain.estimate == 1
    assert 0 < default.honest.loss_of_gain.estimate < 1.2
    assert (none.honest.noticed, none.honest.false, none.attackers.worst) == (None, None, ())
    assert [cell.queries for cell in default.attackers.worst] == [1_000, 10_000]
    assert exact.attackers.worst[-1].recovered.estimate == 1


@pytest.mark.parametrize(
    ("name", "n", "cap"), [("strict", 1_263, 70), ("default", 2_004, 140), ("roomy", 600, 150)]
)
def test_protection_by_hand(name, n, cap):
    found = protection(name, n)
    dealt = n - math.log2(math.comb(n, n // 2))  # half of the labels are 1
    bits = cap + math.log2(15) + 3 * math.log2(10 * n + 1) + dealt
    assert found.cap_bits == cap
    assert found.share_of_labels == pytest.approx(cap / n)
    assert found.bound == pytest.approx(math.sqrt((bits * math.log(2) + math.log(20)) / (2 * n)))
    assert found.step == pytest.approx(POLICIES[name].step(start(0.5, n)))
    assert protection("exact", n).bound is None


@pytest.mark.long
def test_the_shipped_default_keeps_within_the_limit():
    """At both sizes, on seeds that it was not chosen on. docs/redteam/scan.md has 3,000 fleets."""
    for n in (1_263, 2_004):
        found = honest_all(["default"], SimulationPlan(n, repetitions=240, first=500_000))[
            "default"
        ]
        assert found.loss_of_gain.upper <= LIMIT


@pytest.mark.long
def test_pages_show_every_policy_and_the_advice(made):
    page = markdown([made], "python -m experiments.policy_costs")
    assert made.advice in page
    for offer in made.offers:
        assert page.count(f"| {offer.policy} |") == 2
        assert percent(offer.honest.loss_of_gain) in page
    rows = [line.count("|") for line in page.splitlines() if line.startswith("|")]
    assert rows == [9] * 5 + [9] * 5


@pytest.mark.process
def test_workers_change_nothing():
    one, two = (
        attack_all(["default"], n=60, seeds=1, queries=(5, 20), workers=workers)
        for workers in (1, 2)
    )
    assert one == two
    said = []
    assert list(
        in_order(pow, [(2, 3), (3, 2)], labels=["a", "b"], workers=1, progress=said.append)
    ) == [8, 9]
    assert said == ["1 of 2: a", "2 of 2: b"]
    silent("nothing")


@pytest.mark.process
def test_when_it_is_stopped_no_further_job_begins(tmp_path):
    jobs = [(tmp_path / str(number),) for number in range(200)]
    running = in_order(
        Path.touch, jobs, labels=[str(number) for number in range(200)], workers=2, progress=silent
    )
    next(running)
    running.close()
    assert 1 <= len(list(tmp_path.iterdir())) < 200


def test_what_redteam_prints_is_written(tmp_path):
    small = ["--n", "80", "--workers", "1", "--out", str(tmp_path)]
    done = CliRunner().invoke(
        app, ["redteam", *small, "--policy", "default", "--queries", "20", "--seeds", "1"]
    )
    assert done.exit_code == 0, done.output
    assert "--policy default --queries 20" in (tmp_path / "redteam.md").read_text()
