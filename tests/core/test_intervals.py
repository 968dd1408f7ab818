import numpy as np
import pytest
from pydantic import ValidationError

from aarlab.core.errors import Misconfigured
from aarlab.core.intervals import (
    GradedMethods,
    accuracy_measure,
    mean_measure,
    pgr_if_gap,
    pgr_measure,
    ratio_measure,
)
from aarlab.core.pgr import gap_trouble, pgr_words
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
    agreeing, opposed = (
        np.stack([items] * 4),
        np.stack([items, ~items, np.ones(1000, bool), np.zeros(1000, bool)]),
    )
    width = [m.upper - m.lower for m in (accuracy_measure(agreeing), accuracy_measure(opposed))]
    assert width[1] > 3 * width[0]


def test_pgr_of_the_anchors_is_zero_and_one():
    weak, ceiling = coins(0.6, (10, 2000)), coins(0.85, (10, 2000), seed=1)
    assert pgr_measure(weak, weak_SM=weak, ceiling_SM=ceiling).estimate == pytest.approx(0)
    assert pgr_measure(ceiling, weak_SM=weak, ceiling_SM=ceiling).estimate == pytest.approx(1)


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


def test_ratio_of_sums_has_the_interval_of_a_paired_bootstrap():
    rng = np.random.default_rng(5)
    sizes_N = rng.uniform(1, 9, 12)
    amounts_N = sizes_N * rng.uniform(1, 3, 12)
    found = ratio_measure(amounts_N, sizes_N, draws=20_000, resampled="pairs")
    assert found.estimate == pytest.approx(amounts_N.sum() / sizes_N.sum())
    picks_BN = rng.integers(12, size=(20_000, 12))
    by_hand = np.quantile(
        amounts_N[picks_BN].sum(axis=1) / sizes_N[picks_BN].sum(axis=1), [0.025, 0.975]
    )
    assert (found.lower, found.upper) == pytest.approx(by_hand, abs=0.01)
    same = ratio_measure(2 * sizes_N, sizes_N, resampled="pairs")
    assert (same.lower, same.upper) == pytest.approx((2.0, 2.0))
    assert (
        ratio_measure(np.array([1.0, 0.0]), np.array([1.0, 0.0]), resampled="pairs").upper == 1.0
    ), "a draw of no size is none"


def few(right_of_weak, right_of_ceiling, items=40):
    return tuple(
        np.repeat((np.arange(items) < right)[None], 3, axis=0)
        for right in (right_of_weak, right_of_ceiling)
    )


def test_a_pgr_on_a_gap_that_may_be_chance_says_that_its_interval_has_no_end(recwarn):
    weak, ceiling = few(20, 23)
    graded = GradedMethods({"half": few(22, 22)[0]}, weak_SM=weak, ceiling_SM=ceiling)
    pgr = graded.pgr("half")
    assert pgr.estimate == pytest.approx(2 / 3)
    assert "without an end" in pgr.resampled
    assert pgr_words(pgr).endswith("says nothing")
    assert 0.1 < graded.item_error("half") < 1.5
    assert not recwarn.list
    sure = pgr_measure(
        coins(0.7, (3, 900)), weak_SM=coins(0.6, (3, 900)), ceiling_SM=coins(0.9, (3, 900))
    )
    assert sure.resampled == "items and seeds (crossed), anchors"


def test_without_a_gap_there_is_no_pgr_and_a_difference_is_of_accuracy():
    weak, ceiling = few(24, 20)
    graded = GradedMethods({"weak": weak, "more": few(30, 30)[0]}, weak_SM=weak, ceiling_SM=ceiling)
    assert graded.item_error("weak") is None
    assert pgr_if_gap(weak, weak_SM=weak, ceiling_SM=ceiling) is None
    difference, p = graded.difference("more", "weak")
    assert difference.estimate == pytest.approx(6 / 40)
    assert difference.lower > 0
    assert p < 0.05


def test_a_pgr_never_stands_without_a_word_where_it_says_nothing():
    wide = Measure(estimate=0.6, lower=-12.0, upper=2.0, n=40, resampled="items")
    narrow = Measure(estimate=0.6, lower=0.5, upper=0.7, n=40, resampled="items")
    chance = Measure(estimate=0.02, lower=-0.03, upper=0.07, n=40, resampled="items")
    sure = Measure(estimate=0.2, lower=0.1, upper=0.3, n=40, resampled="items")
    assert pgr_words(wide) == "0.60 [-12.00, 2.00], says nothing"
    assert pgr_words(narrow, chance) == "0.60 [0.50, 0.70], says nothing"
    assert pgr_words(narrow, sure) == "0.60 [0.50, 0.70]"
    assert pgr_words(None) == "no gap"
    assert gap_trouble(sure, "final") is None
    assert "the gap is 0.020 [-0.030, 0.070]" in gap_trouble(chance, "final")


def test_an_interval_over_nothing_is_refused():
    with pytest.raises(Misconfigured, match="nothing to measure"):
        mean_measure(np.array([]), resampled="seeds")
    with pytest.raises(Misconfigured, match="no ratio"):
        ratio_measure(np.ones(2), np.zeros(2), resampled="pairs")
