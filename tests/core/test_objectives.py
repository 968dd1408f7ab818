"""Objectives by hand, and the bounds on their combinations by enumeration."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aarlab.core.objectives import (
    LEAST,
    End,
    Objective,
    changes,
    combined,
    mcdiarmid_n,
    normalised,
    steepest,
)

HOW = ["mean", "geometric", "harmonic", "min"]
FLOOR, CEILING = End(baseline="guess"), End(value=0.0, source="no error")
SCORES = st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=4)


def brier(**changed):
    fields = {
        "name": "brier",
        "unit": "squared error",
        "direction": "lower",
        "range": (0.0, 0.5),
        "floor": FLOOR,
        "ceiling": CEILING,
    }
    return Objective(**(fields | changed))


def test_lower_is_better_and_what_is_beyond_the_range_counts_as_its_end():
    assert [brier().unit_score(x) for x in (-1, 0, 0.125, 0.5, 9)] == [1, 1, 0.75, 0, 0]
    assert brier(direction="higher").unit_score(0.125) == 0.25
    assert brier().natural(0.75) == 0.125
    assert brier(direction="higher").natural(0.75) == 0.375


def test_normalised_is_0_at_the_floor_and_1_at_the_ceiling():
    assert [normalised(x, 0.6, 0.8) for x in (0.6, 0.8)] == [0, pytest.approx(1)]
    assert normalised(0.5, 0.6, 0.8) == pytest.approx(-0.5)
    with pytest.raises(ValueError, match="not above"):
        normalised(0.5, 0.8, 0.8)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"range": (1.0, 1.0)}, "below the second"),
        ({"margin": 0.1}, "a gate, and nothing else"),
        ({"role": "gate"}, "a gate, and nothing else"),
    ],
)
def test_an_objective_that_says_two_things_is_refused(changed, words):
    with pytest.raises(ValueError, match=words):
        brier(**changed)


def test_an_end_is_measured_or_stated_with_a_source():
    for fields in ({}, {"baseline": "a", "value": 1.0, "source": "s"}, {"value": 1.0}):
        with pytest.raises(ValueError, match="source"):
            End(**fields)


@pytest.mark.parametrize(
    ("how", "value"), [("mean", 0.5), ("geometric", 0.4), ("harmonic", 0.32), ("min", 0.2)]
)
def test_combinations_by_hand(how, value):
    assert combined(how, [0.2, 0.8]) == pytest.approx(value)


@given(st.sampled_from(HOW), SCORES)
@example("harmonic", [1e-308] * 3)
def test_a_combination_lies_between_the_least_and_the_largest(how, scores):
    inside = [min(max(x, 0.0), 1.0) for x in scores]
    low = LEAST if how == "geometric" else 0.0
    assert min(inside) - 1e-9 <= combined(how, scores) <= max(*inside, low) + 1e-9


@given(st.sampled_from(HOW), SCORES, st.data())
def test_no_combination_changes_by_more_than_its_constant_says(how, scores, data):
    step = data.draw(st.floats(0, 1))
    other = [x + data.draw(st.floats(-step, step)) for x in scores]
    apart = abs(combined(how, scores) - combined(how, other))
    assert apart <= steepest(how, len(scores)) * step + 1e-9


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_constant_is_reached_by_a_fine_step(how, count):
    """No smaller constant would do: at one of the corners a small step changes so much."""
    low = LEAST if how == "geometric" else 1e-6
    step = 1e-9
    steepness = max(
        (combined(how, [x + step for x in corner]) - combined(how, corner)) / step
        for corner in itertools.product([low, 1 - step], repeat=count)
    )
    assert steepness == pytest.approx(steepest(how, count), rel=1e-2)


@pytest.mark.parametrize("how", HOW)
def test_bounded_differences_and_mcdiarmid_hold_by_enumeration(how):
    """Two objectives over three clusters of fair secrets, all eight outcomes: no secret changes the
    combined score by more than c_g, and no tail is heavier than McDiarmid's."""
    size, gaps = {"a": 1, "b": 2, "c": 1}, (0.5, 0.8)
    shares = [{g: n / 4 for g, n in size.items()}, {"a": 0.5, "b": 0.5}]

    def score(secret):
        means = [sum(part * secret[g] for g, part in share.items()) for share in shares]
        return combined(how, [m / gap for m, gap in zip(means, gaps, strict=True)])

    outcomes = [dict(zip(size, bits, strict=True)) for bits in itertools.product((0, 1), repeat=3)]
    limits = changes(how, gaps, shares)
    for secret in outcomes:
        for g in size:
            assert abs(score(secret) - score(secret | {g: 1 - secret[g]})) <= limits[g] + 1e-12
    values = np.array([score(secret) for secret in outcomes])
    n = mcdiarmid_n(limits)
    for e in np.linspace(0.01, 1, 50):
        assert (values - values.mean() >= e).mean() <= math.exp(-2 * n * e * e) + 1e-12


def test_equal_units_have_the_n_of_hoeffding():
    assert mcdiarmid_n(changes("mean", [1.0], [{str(i): 1 / 50 for i in range(50)}])) == (
        pytest.approx(50)
    )
    # half of the gap: a quarter of the n
    assert mcdiarmid_n(changes("mean", [0.5], [{str(i): 1 / 50 for i in range(50)}])) == (
        pytest.approx(12.5)
    )
