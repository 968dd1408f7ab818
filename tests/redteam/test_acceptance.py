"""What the evaluator promises, against every known attack."""

import math
import zlib

import numpy as np
import pytest

from aarlab.evaluation.scoring.default_policy import NEVER
from aarlab.evaluation.scoring.policies import POLICIES
from aarlab.redteam.attack_table import attack_all
from aarlab.redteam.attacks import ATTACKS, SHARED, run_attack
from aarlab.redteam.channel import AnswerVector, World

pytestmark = pytest.mark.slow  # whole attacks, of thousands of questions

N, STOPS, SEEDS = 1_263, (100, 1_000, 10_000), 2


def attacked(policy, attack, *, n=N, seed=0, stops=STOPS):
    line = AnswerVector(
        World.draw(n, np.random.default_rng([seed, n])), POLICIES[policy], stops, seed
    )
    return run_attack(attack, line, np.random.default_rng([seed, 1]))


@pytest.fixture(scope="module")
def default_runs():
    """To 3,000 questions; docs/redteam/redteam.md has 100,000."""
    stops = (100, 1_000, 3_000)
    return {
        (attack, seed): attacked("default", attack, seed=seed, stops=stops)
        for attack in ATTACKS
        for seed in range(SEEDS)
    }


def test_no_attacker_exceeds_the_proven_bound(default_runs):
    beyond = {
        key: p for key, line in default_runs.items() for p in line.points if p.inflation > p.bound
    }
    assert not beyond


def test_no_ledger_exceeds_its_cap(default_runs):
    cap = POLICIES["default"].cap_bits(N)
    assert cap is not None
    released = {key: line.channel.released for key, line in default_runs.items()}
    assert max(released.values()) <= cap + math.log2(1 / NEVER) + 1e-9
    assert max(released.values()) > cap / 4, "no attack took anything: the attackers are broken"


@pytest.mark.parametrize("attack", ["single flips", "detecting matrix"])
def test_label_reading_works_on_exact_scores_only(attack, default_runs):
    exact = attacked("exact", attack)
    assert exact.points[-1].recovered == 1
    assert exact.points[-1].inflation > 0.4
    for seed in range(SEEDS):
        assert default_runs[attack, seed].points[-1].recovered < 0.15


def test_groups_need_far_fewer_questions_than_labels():
    line = attacked("exact", "detecting matrix")
    assert line.asked < N / 3
    assert line.channel.level == 1


def test_rounding_does_not_help():
    assert attacked("rounded", "step edge").points[-1].recovered == 1
    assert attacked("rounded", "boosting, coin flips").points[-1].recovered > 0.9


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_every_attack_runs_on_every_kind_of_answer(attack):
    for policy in ("exact", "rounded", "ladder", "default"):
        line = attacked(policy, attack, n=200, stops=(20, 300))
        assert [p.queries for p in line.points] == [20, 300]
        assert 0 < line.asked <= 300
        assert all(
            first.inflation <= then.inflation
            for first, then in zip(line.points, line.points[1:], strict=False)
        )


def test_attacks_learn_from_exact_scores_what_they_are_there_to_learn():
    for attack in ("hill climbing, 1", "boosting, whole set", "boosting, coin flips", "step edge"):
        assert attacked("exact", attack, n=300).points[-1].recovered > 0.9, attack
    for attack in ("hill climbing, 100", "staged search, 2", "best of k seeds"):
        assert attacked("exact", attack).points[-1].inflation > 0.02, attack


def test_idle_resending_and_constants_gain_nothing(default_runs):
    for attack in ("re-sending", "constant and majority"):
        assert default_runs[attack, 0].points[-1].inflation == 0
        assert default_runs[attack, 0].channel.bits == 0


def test_one_identity_cannot_burn_more_than_its_half(default_runs):
    cap = POLICIES["default"].cap_bits(N)
    for seed in range(SEEDS):
        assert default_runs["griefing", seed].channel.spent["eve"] <= cap / 2


def test_the_same_seed_gives_the_same_table():
    first, again = (attack_all(["default"], n=80, seeds=2, queries=(10, 50)) for _ in range(2))
    assert first == again
    assert first != attack_all(["default"], n=80, seeds=3, queries=(10, 50))


# items that share a label -> of six campaigns, those beyond the bound where items are counted;
# since the bound counts how labels were dealt, six that share one are too few to pass it
BLIND = {6: 0, 8: 6}


@pytest.mark.long
@pytest.mark.parametrize("attack", list(SHARED))
def test_shared_labels_break_the_bound_only_if_undeclared(attack):
    each, how = SHARED[attack]

    def attacked(seed, *, counted):
        world = World.draw(N // each, np.random.default_rng([seed, N]), each)
        line = AnswerVector(world, POLICIES["default"], (3_000, 30_000), seed, counted=counted)
        return run_attack(
            how, line, np.random.default_rng([seed, zlib.crc32(how.encode())])
        ).points[-1]

    blind, reported = (
        [attacked(seed, counted=counted) for seed in range(6)] for counted in (False, True)
    )
    assert sum(p.inflation > p.bound for p in blind) == BLIND[each]
    assert all(p.inflation <= p.bound for p in reported)
