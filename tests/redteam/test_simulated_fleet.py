"""The simulated researchers, against their own description and against what is known without a
simulation."""

import math

import numpy as np
import pytest

from aarlab.evaluation.scoring.policies import POLICIES
from aarlab.fleet.simulated_fleet import (
    BETWEEN,
    GAIN,
    HARM,
    P_GOOD,
    SEEDS,
    START,
    WITHIN,
    Habits,
    SimulatedFleet,
    SimulationPlan,
    simulate,
)

PLAN, HABITS = SimulationPlan(1_263, repetitions=30), Habits()


def ends(policy, plan=PLAN, habits=HABITS):
    return np.array([run.final for run in simulate(policy and POLICIES[policy], plan, habits)])


def fleet(policy="default", *, seed=0, n=1_263, agents=9, habits=HABITS):
    return SimulatedFleet(POLICIES[policy], n=n, agents=agents, seed=seed, habits=habits)


def test_the_same_seeds_give_the_same_fleets_and_others_do_not():
    assert simulate(POLICIES["default"], SimulationPlan(300, repetitions=3)) == simulate(
        POLICIES["default"], SimulationPlan(300, repetitions=3)
    )
    later = simulate(POLICIES["default"], SimulationPlan(300, repetitions=2, first=1))
    assert simulate(POLICIES["default"], SimulationPlan(300, repetitions=3))[1:] == later


def test_without_a_proxy_and_answers_a_stack_is_never_kept():
    """A proxy of noise alone says P(good) = 0.35 of every change: 0.35 x 0.010 - 0.65 x 0.012 < 0,
    so nothing is taken up."""
    assert (ends(None, habits=Habits(proxy_noise=1e6)) == START).all()


def test_with_a_perfect_proxy_and_no_answers_only_good_changes_are_kept():
    """Sixty changes, each good with probability 0.35, each worth 0.010: 0.78 on average; SD 0.037
    of one, 0.012 of nine."""
    found = ends(None, SimulationPlan(1_263, repetitions=200), Habits(proxy_noise=2e-3))
    assert found.mean() == pytest.approx(
        START + 60 * P_GOOD * GAIN, abs=4 * 0.0123 / math.sqrt(200)
    )


def test_scores_scatter_as_bundles_of_five_seeds_do():
    """Variance over methods of one accuracy: (between + within / 5) / n."""
    scores = [fleet("default", seed=seed, n=400).best.score for seed in range(3_000)]
    assert np.mean(scores) == pytest.approx(START, abs=4 * 0.022 / math.sqrt(3_000))
    assert np.var(scores) == pytest.approx((BETWEEN + WITHIN / SEEDS) / 400, rel=0.1)


def test_a_descendant_differs_on_as_many_items_as_stated():
    """Single runs of method and descendant disagree on 17 % of items: the variance of their
    accuracies' difference is 0.17 / n, where two re-runs of one method have 2 x 0.068 / n."""
    differences = []
    for seed in range(3_000):
        made = fleet(seed=seed, n=400)
        differences.append(made.descendant(START).luck - made.best.luck)
    assert np.var(differences) + 2 * WITHIN / 400 == pytest.approx(0.17 / 400, rel=0.05)


def test_the_level_starts_at_the_baselines_measured_accuracy():
    for seed in range(20):
        made = fleet(seed=seed)
        assert made.channel.level == pytest.approx(made.best.score, abs=0.05 / 1_263 + 1e-9)


@pytest.mark.slow
def test_exact_scores_give_most_and_the_order_of_caps_is_the_order_of_ends():
    found = {name: ends(name).mean() for name in ("exact", "roomy", "default", "strict", None)}
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert found["exact"] > found[None] + 0.2


def test_no_fleet_outgrows_the_ceiling_or_the_cap():
    runs = simulate(POLICIES["strict"], PLAN, Habits(ceiling=0.65))
    assert len(runs) == PLAN.repetitions
    for run in runs:
        assert run.final <= 0.65
        assert run.bits <= 70 + 4
        assert 0 <= run.real <= run.reported
        assert 0 <= run.noticed <= run.tries


@pytest.mark.slow
def test_habits_do_what_they_say():
    base = ends("default").mean()
    assert ends("default", habits=Habits(screens=1.0)) == pytest.approx(
        ends(None, habits=Habits(screens=1.0))
    )
    assert ends("default", habits=Habits(patience=0)).mean() < base
    assert ends("default", habits=Habits(proxy_noise=1e-3)).mean() > base


def test_agents_share_answers_and_drop_stacks_without_porting():
    for ports in (True, False):
        made = fleet(habits=Habits(ports=ports))
        made._stacks = [[made._change()] for _ in range(9)]
        made._adopt(made.descendant(0.6), 0)
        assert made.best.true == 0.6
        assert [len(stack) for stack in made._stacks] == [0] + [int(ports)] * 8


@pytest.mark.slow
def test_the_proxys_probability_is_bayes_rule():
    made = fleet()
    changes = [made._change() for _ in range(20_000)]
    good = np.array([change.effect == GAIN for change in changes])
    said = np.array([change.p_good for change in changes])
    assert good.mean() == pytest.approx(P_GOOD, abs=0.02)
    for low, high in ((0.0, 0.3), (0.3, 0.4), (0.4, 1.0)):
        inside = (said > low) & (said <= high)
        assert good[inside].mean() == pytest.approx(said[inside].mean(), abs=0.04)
    assert {change.effect for change in changes} == {GAIN, HARM}
