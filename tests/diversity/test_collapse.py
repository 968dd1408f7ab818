"""The collapse alarm: when it fires, when it must not, how long it stands, and that its rule is the
chart it says."""

from statistics import mean

import numpy as np
import pytest
from scipy.stats import t

from aarlab.core.records import Family
from aarlab.diversity import collapse as module
from aarlab.diversity.collapse import (
    LEAST_DROP,
    PAST,
    RUNS,
    WINDOW,
    Drop,
    collapse,
    collapse_alarm,
    states,
)
from aarlab.diversity.entropy import grassberger_bits

FAMILIES = tuple(Family)
WIDE = [FAMILIES[n % 8] for n in range(WINDOW)]
NARROW = [Family.DISTILLATION] * WINDOW


def test_a_collapse_is_reported_in_words_after_two_windows():
    assert collapse_alarm(WIDE * PAST + NARROW) is None
    words = collapse_alarm(WIDE * PAST + NARROW * RUNS)
    assert words.startswith(
        "the diversity of ideas has collapsed: the last 20 ideas have 1.0 effective families (0.0 "
        "bits)"
    )
    assert "before idea 81" in words
    assert words.endswith("most ideas are now distillation")


def test_a_single_low_window_and_a_short_past_are_no_alarm():
    assert collapse((WIDE * PAST + NARROW + WIDE + NARROW) * 3) is None
    assert collapse(WIDE * (PAST - 1) + NARROW) is None
    assert collapse([]) is None
    assert collapse(NARROW * 20) is None, "what was always narrow has not collapsed"


def test_a_fleet_that_moves_to_other_families_has_not_collapsed():
    moving = [FAMILIES[(block + n) % 11] for block in range(12) for n in [0, 0, 0, 1, 1, 2] * 4][
        : 12 * WINDOW
    ]
    assert collapse(moving) is None


def test_it_stands_until_the_fleet_is_wide_again():
    fallen = WIDE * PAST + NARROW * 5
    assert collapse(fallen) == Drop(
        PAST * WINDOW, pytest.approx(grassberger_bits([3] * 4 + [2] * 4)), 0.0, Family.DISTILLATION
    )
    assert collapse(fallen + WIDE) is None
    assert collapse(fallen + WIDE + NARROW * RUNS) is not None, (
        "what happened under the alarm is no part of the past"
    )


def test_an_unfinished_window_changes_nothing():
    fallen = WIDE * PAST + NARROW * RUNS
    assert collapse(fallen + WIDE[:-1]) == collapse(fallen)


def test_the_bound_is_the_prediction_interval_of_the_next_window():
    """By scipy: m windows mixed with WORTH more of CHANCE_SD."""
    past = [2.9, 2.5, 2.8, 2.6, 2.7]
    freedom = module.WORTH + 4
    sd = ((module.WORTH * module.CHANCE_SD**2 + 4 * np.var(past, ddof=1)) / freedom) ** 0.5
    bound = mean(past) - t.isf(module.ALPHA, freedom) * sd * (1 + 1 / 5) ** 0.5
    assert mean(past) - bound > LEAST_DROP
    assert module._far_below(bound - 1e-9, past)
    assert not module._far_below(bound + 1e-9, past)


def test_false_alarms_are_as_rare_as_measured():
    """docs/diversity.md: at most one campaign of a hundred, of a thousand ideas drawn
    independently."""
    rng, shares = np.random.default_rng(5), 1 / np.arange(1, 12)
    rung = sum(
        any(states([FAMILIES[i] for i in rng.choice(11, 1_000, p=shares / shares.sum())]))
        for _ in range(60)
    )
    assert rung <= 3
