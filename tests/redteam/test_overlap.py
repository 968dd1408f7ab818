"""The attackers who have read the policy: that their arithmetic is right, and that it is worth
something."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import truncnorm

from aarlab.evaluation.scoring.policies import POLICIES, start
from aarlab.redteam.attacks import run_attack
from aarlab.redteam.channel import ACCURACY, AnswerVector, World
from aarlab.redteam.shared_vectors import NAMES, Cheapest, Climber, _truncated
from experiments.policy_costs import reach

N = 1_263


def line(policy="default", *, seed=0, stops=(200, 3_000), n=N):
    return AnswerVector(
        World.draw(n, np.random.default_rng([seed, n])), POLICIES[policy], stops, seed
    )


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (-math.inf, 1.7),
        (0.3, 2.0),
        (1.0, 1.2),
        (4.0, 5.0),
        (9.0, 12.0),
        (-2.0, -1.0),
        (-9.5, -9.0),
        (-9.0, math.inf),
    ],
)
def test_truncated_means_are_scipys(low, high):
    assert _truncated(low, high) == pytest.approx(truncnorm.mean(low, high), abs=1e-6)


def test_the_best_share_is_the_likeliest():
    """Of all numbers of flips, k with 1 - 2k/m = s/T has the least standardised distance to the
    next step."""
    climber = Climber(line())
    climber.excess = 0.6 * climber.target()
    m, k = len(climber.coins), climber.share(1)
    distance = {
        j: (climber.target() - climber.excess * (1 - 2 * j / m)) / math.sqrt(j * (1 - j / m))
        for j in range(1, m)
    }
    assert abs(k - min(distance, key=distance.get)) <= 1
    assert k == pytest.approx(0.2 * m, abs=1)


def test_the_target_is_the_least_excess_that_is_reported():
    """To one answer: the start vector is right on the nearest whole number to 0.57 n."""
    asked = line()
    climber = Climber(asked)
    wrong = asked.world.coins[~asked.world.right_n[asked.world.coins]]
    enough = math.ceil(climber.target() - 1e-9)
    assert not asked.ask(wrong[: enough - 2]).improved
    assert asked.ask(wrong[: enough + 1]).improved
    assert (asked.channel.level - ACCURACY) * N <= enough + 1


@pytest.mark.slow
def test_what_is_believed_of_the_base_is_about_right():
    """Mean over 30 label sets of the believed and the true excess after 300 questions."""
    believed, true = [], []
    for seed in range(30):
        asked, rng = line(seed=seed), np.random.default_rng(seed)
        climber = Climber(asked)
        for _ in range(300):
            climber.ask(rng.permutation(len(climber.coins))[: climber.share(1)], "eve")
        believed.append(climber.excess)
        true.append(
            int((asked.world.right_n != asked.flipped_n).sum()) - int(asked.world.right_n.sum())
        )
    assert np.mean(true) == pytest.approx(np.mean(believed), abs=3)
    assert np.mean(true) > 15


def test_the_cheapest_identity_is_the_cheapest():
    asked = line()
    cheapest, rng = Cheapest(asked, NAMES), np.random.default_rng(0)
    for _ in range(200):
        name = cheapest.name()
        assert asked.price(name) == pytest.approx(min(asked.price(other) for other in NAMES))
        answer = asked.ask(rng.permutation(asked.world.coins)[:300], name)
        cheapest.asked(name, improved=answer.improved)


@pytest.mark.long
def test_nine_cheap_identities_pay_less_for_the_same_climb_than_one():
    """Bits for each step that was reported, over 8 label sets."""
    spent = {}
    for attack in ("best overlap, cheapest of nine", "hill climbing, 100"):
        runs = [
            run_attack(attack, line(seed=seed, stops=(2_000,)), np.random.default_rng(seed))
            for seed in range(8)
        ]
        spent[attack] = sum(run.channel.bits for run in runs) / sum(
            run.channel.yes.total() for run in runs
        )
    assert spent["best overlap, cheapest of nine"] < spent["hill climbing, 100"]


@pytest.mark.slow
def test_each_identity_of_the_relay_spends_at_most_its_half():
    asked = run_attack(
        "half the cap each, in turn", line("strict", stops=(5_000,)), np.random.default_rng(0)
    )
    assert max(asked.channel.spent.values()) <= 35
    assert asked.channel.bits <= 70


@pytest.mark.long
def test_what_is_reckoned_at_a_cap_is_what_is_measured_under_it():
    """A cap of 24 bits ends the climb within some hundred questions: mean over 30 label sets, to
    half a step."""
    policy = replace(POLICIES["default"], cap=24.0, identity_share=1.0)
    ends = []
    for seed in range(30):
        asked = AnswerVector(
            World.draw(N, np.random.default_rng([seed, N])), policy, (3_000,), seed
        )
        ends.append(
            run_attack(
                "best overlap, cheapest of nine", asked, np.random.default_rng(seed)
            ).inflation
        )
    far = reach(policy, N)
    assert far.steps == 2
    assert 12 < far.bits <= 24
    assert np.mean(ends) == pytest.approx(far.inflation, abs=policy.step(start(ACCURACY, N)) / 2)


def test_reach_grows_with_the_cap_and_shrinks_with_items():
    caps = [reach(POLICIES[name], N) for name in ("strict", "default", "roomy")]
    assert [far.inflation for far in caps] == sorted(far.inflation for far in caps)
    assert [far.questions for far in caps] == sorted(far.questions for far in caps)
    assert reach(POLICIES["default"], 10_000).inflation < reach(POLICIES["default"], N).inflation
    # beyond nine standard deviations
    assert reach(POLICIES["roomy"], 10_000).steps > reach(POLICIES["default"], 10_000).steps
    assert reach(POLICIES["ladder"], N).steps == 0
