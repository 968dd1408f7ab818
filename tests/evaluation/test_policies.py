import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.errors import Misconfigured
from aarlab.evaluation.policies import POLICIES, on_grid, step

LADDER = POLICIES["ladder"]
accuracies = st.lists(st.floats(0, 1), max_size=60)
sizes = st.integers(10, 20_000)


def climb(scores, n, start):
    level = LADDER.start(start, n)
    yield None, level
    for score in scores:
        told = LADDER.tell(score, level, n)
        yield told, told.level
        level = told.level


def test_step_is_one_standard_error_by_hand():
    """0.5 / sqrt(2500) = 0.01"""
    assert step(2500) == pytest.approx(0.01)
    assert on_grid(0.7389, 2500) == pytest.approx(0.73)


@given(scores=accuracies, n=sizes, start=st.floats(0, 1))
def test_the_level_never_exceeds_an_accuracy_that_was_reached(scores, n, start):
    levels = [level for _, level in climb(scores, n, start)]
    for seen, level in enumerate(levels):
        assert level <= max([start, *scores[:seen]]) + 1e-9


@given(scores=accuracies, n=sizes, start=st.floats(0, 1))
def test_the_level_only_rises_and_by_whole_steps_of_the_grid(scores, n, start):
    levels = [level for _, level in climb(scores, n, start)]
    for before, after in itertools.pairwise(levels):
        assert after >= before
        assert math.isclose(after / step(n), round(after / step(n)), abs_tol=1e-6)


@given(scores=accuracies, n=sizes, start=st.floats(0, 1))
def test_an_answer_carries_no_more_than_improved_or_not_within_a_step(scores, n, start):
    """Two scores in the same step above the same level get the same answer: nothing finer leaks."""
    level = LADDER.start(start, n)
    answers = {}
    for score in scores:
        cell = on_grid(score, n) if score >= level + step(n) - 1e-12 else None
        told = LADDER.tell(score, level, n)
        assert answers.setdefault(cell, told) == told


@given(scores=st.lists(st.floats(0, 1), min_size=200, max_size=400), n=st.just(400))
def test_the_number_of_improvements_is_bounded_by_the_grid(scores, n):
    assert sum(bool(told and told.improved) for told, _ in climb(scores, n, 0.5)) <= 0.5 / step(n) + 1


def test_exact_is_there_by_name_and_an_unknown_policy_is_refused():
    assert POLICIES["exact"].tell(0.7123, 0.6, 100).level == 0.7123
    with pytest.raises(Misconfigured, match="exact"):
        POLICIES["generous"]
