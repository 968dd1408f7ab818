"""What a label set is worth to honest researchers, said before anybody starts."""

import re

import pytest
from typer.testing import CliRunner

from aarlab.cli.main import app
from aarlab.core.errors import Misconfigured
from aarlab.core.records import Measure
from aarlab.evaluation.scoring.hidden_labels import PgrScale
from aarlab.fleet.simulated_fleet import percent
from aarlab.fleet.start_outlook import advice, start_outlook

STUDY = PgrScale(0.528, 0.7325, 0.55)


@pytest.mark.slow
def test_enough_items_are_said_to_cost_little_and_to_bound_what_is_reported():
    made = start_outlook("default", 1_263, STUDY)
    assert made.trouble is None
    assert made.steps == 10
    assert made.loss.upper < 0.05
    assert "no reported level is more than 0.2" in made.words
    assert "That is much" not in made.words


@pytest.mark.slow
def test_few_items_are_said_to_cost_most_of_the_climb():
    made = start_outlook("default", 300, STUDY)
    assert made.loss.lower > 0.3
    assert (
        "That is much: see `aar simulate --n 300 --agents 9 --bundles 60 --start 0.550 --ceiling "
        "0.733 --policy" in made.words
    )


@pytest.mark.parametrize(("policy", "n"), [("default", 20), ("default", 40), ("strict", 100)])
def test_too_few_items_for_two_improvements_is_reported_with_remedy(policy, n):
    made = start_outlook(policy, n, STUDY, fleets=0)
    assert made.steps < 2
    more = int(made.trouble.split("Give ")[1].split()[0].replace(",", ""))
    assert start_outlook(policy, more, STUDY, fleets=0).trouble is None


@pytest.mark.slow
def test_gap_under_two_steps_is_not_mended_by_more_items():
    made = start_outlook("default", 5_000, PgrScale(0.6, 0.63, 0.61), fleets=0)
    assert "No number of items fixes that" in made.trouble


@pytest.mark.slow
def test_of_unit_scores_the_remedy_is_a_narrower_range():
    few, narrow = PgrScale(0.0, 0.5, 0.0, combined=True), PgrScale(0.0, 1e-6, 0.0, combined=True)
    made = start_outlook("default", 20, few, fleets=0).trouble
    assert "independent feedback units or more, narrow the `range`" in made
    made += start_outlook("default", 300, narrow, fleets=0).trouble
    assert "No number of units fixes that: the gap is too small; narrow the `range`" in made
    for word in ("teacher", "items", "aar simulate"):
        assert word not in made


def test_policy_of_exact_scores_has_no_bound():
    made = start_outlook("exact", 100, STUDY, agents=2, bundles=5)
    assert made.trouble is None
    assert "every score is released" in made.words
    assert "no reported level is bounded" in made.words
    with pytest.raises(Misconfigured, match="no policy named"):
        start_outlook("kind", 100, STUDY)


def test_where_the_ceiling_is_below_the_start_nothing_is_simulated():
    assert start_outlook("default", 2_000, PgrScale(0.6, 0.62, 0.65)).loss is None


@pytest.mark.long
@pytest.mark.process
def test_the_command_that_is_named_simulates_the_same_loss():
    """The same climb and fleet: `aar simulate` says of it what was said before anybody started."""
    made = start_outlook("roomy", 100, PgrScale(0.5, 0.9, 0.57), agents=3, bundles=20)
    said = re.search(r"`aar (simulate [^`]*)`", made.words)
    assert said
    result = CliRunner().invoke(
        app, [*said[1].split(), "--repetitions", "60"], env={"COLUMNS": "300"}
    )
    printed = " ".join(result.output.split())
    assert f"3 honest researchers of 20 submissions lose {percent(made.loss)} of" in printed
    assert "3 honest researchers of 20 submissions, from 0.570 to 0.900, lose" in printed
    again = CliRunner().invoke(app, ["simulate", "--start", "0.9", "--ceiling", "0.6"])
    assert again.exit_code == 2


def test_the_advice_is_the_strictest_policy_that_costs_little(monkeypatch):
    """With losses by policy and labels: the tightest within 5 %, else the fewest labels for one."""
    losses = {("strict", 1_263): 0.5, ("default", 1_263): 0.03, ("roomy", 1_263): 0.01}
    losses |= {(policy, 300): 0.9 for policy in ("strict", "default", "roomy")}

    def lost(policy, n, *_):
        share = losses.get((policy, n), 0.3)
        return Measure(estimate=share, lower=share, upper=share, n=9, resampled="fleets")

    monkeypatch.setattr("aarlab.fleet.start_outlook._loss", lost)
    fleet = {"agents": 9, "bundles": 60}
    assert advice(1_263, 0.57, 0.9, **fleet).startswith(
        "With 1,263 labels, use policy default. In simulation, "
    )
    assert "give 1,263 labels and use policy default" in advice(300, 0.57, 0.9, **fleet)
    assert "up to 10,000 labels: use policy roomy" in advice(2_000, 0.57, 0.9, **fleet)
    losses["strict", 1_263] = 0.05
    assert "use policy strict. In" in advice(1_263, 0.57, 0.9, **fleet)


def test_the_fewest_items_are_said_to_be_no_promise():
    words = start_outlook("default", 40, STUDY, fleets=0).trouble
    assert "the fewest with which anything is reported" in words
    n = words.split("Give ")[1].split()[0]
    assert f"`aar simulate --n {n} --agents 9" in words


@pytest.mark.parametrize(("agents", "bundles"), [(1, 2), (2, 1)])
def test_no_share_is_reported_of_a_gain_that_is_chance(agents, bundles):
    """One researcher of two submissions was told to lose -1300 % [-800, 269]."""
    made = start_outlook(
        "default", 300, PgrScale(0.64, 0.974, 0.842), agents=agents, bundles=bundles
    )
    assert made.loss is None
    assert "would gain nothing by exact scores either" in made.words
    assert "simulated" not in made.words


@pytest.mark.parametrize("n", [100, 300, 1_263])
def test_a_loss_lies_within_its_interval(n):
    made = start_outlook("default", n, STUDY, agents=2, bundles=20)
    assert made.loss is None or made.loss.lower <= made.loss.estimate <= made.loss.upper
