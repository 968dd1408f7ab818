import numpy as np
import pytest
from pydantic import ValidationError

from aarlab.core.errors import Misconfigured
from aarlab.core.intervals import accuracy_measure, mean_measure, pgr_measure, ratio_measure
from aarlab.core.records import Measure


def coins(p, shape, seed=0):
    return np.random.default_rng(seed).random(shape) < p


def test_accuracy_interval_agrees_with_the_normal_approximation():
    correct = np.repeat(coins(0.7, (1, 4000)), 5, axis=0)  # seeds agree: only items vary
    measure = accuracy_measure(correct)
    half = 1.96 * np.sqrt(0.7 * 0.3 / 4000)
    assert measure.upper - measure.lower == pytest.approx(2 * half, rel=0.1)
    assert measure.lower < measure.estimate < measure.upper
    assert measure.n == 4000


def test_seeds_that_disagree_widen_the_interval():
    items = coins(0.5, 1000)
    agreeing, opposed = np.stack([items] * 4), np.stack([items, ~items, np.ones(1000, bool), np.zeros(1000, bool)])
    width = [m.upper - m.lower for m in (accuracy_measure(agreeing), accuracy_measure(opposed))]
    assert width[1] > 3 * width[0]


def test_pgr_of_the_anchors_is_zero_and_one():
    weak, ceiling = coins(0.6, (10, 2000)), coins(0.85, (10, 2000), seed=1)
    assert pgr_measure(weak, weak_SM=weak, ceiling_SM=ceiling).estimate == pytest.approx(0)
    assert pgr_measure(ceiling, weak_SM=weak, ceiling_SM=ceiling).estimate == pytest.approx(1)


def test_pgr_interval_covers_the_truth_about_as_often_as_it_says():
    """200 drawn worlds with a true PGR of one half: a 95 % interval covers it in most of them."""
    hits = 0
    for world in range(200):
        rng = np.random.default_rng(world)
        weak, ceiling, method = (rng.random((5, 600)) < p for p in (0.6, 0.8, 0.7))
        measure = pgr_measure(method, weak_SM=weak, ceiling_SM=ceiling, draws=200, seed=world)
        hits += measure.lower <= 0.5 <= measure.upper
    assert hits >= 180


def test_no_gap_raises_instead_of_dividing():
    same = coins(0.7, (3, 100))
    with pytest.raises(Misconfigured):
        pgr_measure(same, weak_SM=same, ceiling_SM=same)


def test_mean_of_equal_values_has_no_width():
    measure = mean_measure(np.full(5, 2.0), resampled="seeds")
    assert (measure.estimate, measure.lower, measure.upper) == pytest.approx((2.0, 2.0, 2.0))


def test_a_measure_refuses_an_interval_upside_down_and_nan():
    with pytest.raises(ValidationError, match="must not exceed"):
        Measure(estimate=0.5, lower=0.6, upper=0.4, n=3, resampled="items")
    with pytest.raises(ValidationError):
        Measure(estimate=float("nan"), lower=0.0, upper=1.0, n=3, resampled="items")


def test_a_ratio_is_of_sums_and_its_interval_is_what_resampling_pairs_gives():
    rng = np.random.default_rng(5)
    sizes_N = rng.uniform(1, 9, 12)
    amounts_N = sizes_N * rng.uniform(1, 3, 12)
    found = ratio_measure(amounts_N, sizes_N, draws=20_000, resampled="pairs")
    assert found.estimate == pytest.approx(amounts_N.sum() / sizes_N.sum())
    picks_BN = rng.integers(12, size=(20_000, 12))
    by_hand = np.quantile(amounts_N[picks_BN].sum(axis=1) / sizes_N[picks_BN].sum(axis=1), [0.025, 0.975])
    assert (found.lower, found.upper) == pytest.approx(by_hand, abs=0.01)
    same = ratio_measure(2 * sizes_N, sizes_N, resampled="pairs")
    assert (same.lower, same.upper) == pytest.approx((2.0, 2.0))
    assert ratio_measure(np.array([1.0, 0.0]), np.array([1.0, 0.0]), resampled="pairs").upper == 1.0, (
        "a draw of no size is none"
    )
