import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.evaluation.scoring import default_policy as metered
from aarlab.evaluation.scoring.policies import POLICIES
from aarlab.redteam.channel import ACCURACY, AnswerVector, OutOfQuestions, World


def line(policy="exact", n=200, stops=(50, 400), seed=0):
    return AnswerVector(World.draw(n, np.random.default_rng(seed)), POLICIES[policy], stops)


@pytest.mark.parametrize("n", [11, 300, 1_263])
def test_the_world_is_as_described(n):
    world = World.draw(n, np.random.default_rng(1))
    assert abs(2 * world.labels_n.sum() - n) <= 1
    assert world.right_n.mean() == pytest.approx(ACCURACY, abs=1.5 / n)
    assert world.right_n[world.coins].mean() == pytest.approx(0.5, abs=0.5 / len(world.coins))
    assert sorted([*world.coins, *world.informed]) == list(range(n))


def test_recovered_is_one_for_the_truth_and_about_zero_by_chance():
    world = World.draw(2_000, np.random.default_rng(2))
    assert world.recovered(~world.right_n) == 1
    assert world.recovered(world.right_n) == -1
    assert abs(world.recovered(np.zeros(2_000, bool))) < 1e-9


@given(
    moves=st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 39), min_size=1)), max_size=12)
)
def test_incremental_counts_are_the_scores(moves):
    asked = line(n=40, stops=(1_000,))
    right_n = asked.world.right_n.copy()
    for adopt, items in moves:
        flips = np.array(sorted(items), np.intp)
        after_n = right_n.copy()
        after_n[flips] ^= True
        assert asked.ask(flips).level == pytest.approx(after_n.mean())
        if adopt:
            asked.adopt(flips)
            right_n = after_n
    assert (asked.world.right_n ^ asked.flipped_n == right_n).all()


def test_repeated_vector_is_answered_from_memory():
    asked = line()
    some, rest = np.array([1, 2]), np.array([2, 3])
    first = asked.ask(some)
    bits = asked.channel.bits
    asked.adopt(some)
    assert asked.ask(np.zeros(0, np.intp), "another") is first
    asked.adopt(rest)
    assert asked.ask(np.array([2, 3])) is first
    assert asked.channel.bits == bits
    assert asked.asked == 3


def test_inflation_is_what_fresh_data_would_not_show():
    """Naming all coin-flip labels lifts the score from 0.57 to 0.82, and nothing on fresh data."""
    asked = line(n=200)
    asked.ask(asked.world.coins[~asked.world.right_n[asked.world.coins]])
    assert asked.inflation == pytest.approx(0.25)
    asked.ask(np.flatnonzero(~asked.world.right_n))
    assert asked.inflation == pytest.approx(1 - (0.57 - 36 * 0.28 / 200), abs=1e-9)


def test_questions_are_limited_and_points_are_taken_at_the_stops():
    asked = line(stops=(5, 10))
    with pytest.raises(OutOfQuestions):
        for item in range(20):
            asked.ask(np.array([item]))
    assert [p.queries for p in asked.finish()] == [5, 10]
    assert asked.asked == 10


def test_an_attack_that_ends_early_stays_where_it_was():
    asked = line(stops=(5, 10))
    asked.ask(np.array([1]))
    five, ten = asked.finish()
    assert (five.bits, ten.bits) == (asked.channel.released, asked.channel.released)


def test_refusals_are_not_scores():
    assert line("rounded").tells_scores
    assert not line("ladder").tells_scores
    assert not line("default").tells_scores
    assert isinstance(POLICIES["default"], metered.MeteredLadder)


def test_a_start_and_a_gap_of_another_testbed():
    world = World.draw(2_000, np.random.default_rng(3), 1, 0.636, 0.25)
    assert world.right_n.mean() == pytest.approx(0.636, abs=1e-3)
    assert world.right_n[world.coins].mean() == pytest.approx(0.5, abs=1e-3)
    assert world.known == pytest.approx(0.772)
    made = AnswerVector(world, POLICIES["default"], (10,))
    assert made.channel.level == 0.636
    assert made.step() == pytest.approx(0.25 / 16)
