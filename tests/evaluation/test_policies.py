import math

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.evaluation.scoring import default_policy as metered
from aarlab.evaluation.scoring.policies import (
    POLICIES,
    plain_answer,
    plain_outlook,
    standard_error,
    start,
)


def test_step_is_one_standard_error_by_hand():
    """0.5 / sqrt(2500) = 0.01"""
    assert standard_error(2500) == pytest.approx(0.01)


def test_exact_and_rounded_charge_for_what_they_tell():
    channel = start(0.5, 100)
    exact = POLICIES["exact"].answer(channel, "ann", 0.7123)
    assert (exact.improved, exact.level, exact.bits) == (True, 0.7123, math.log2(501))
    rounded = POLICIES["rounded"].answer(channel, "ann", 0.7123)
    assert rounded.level == pytest.approx(0.7)
    assert rounded.bits == pytest.approx(math.log2(21))


@pytest.mark.parametrize("name", ["strict", "default", "roomy", "ladder", "rounded", "exact"])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 40, 100, 600, 1263])
def test_every_policy_can_tell_every_score(name, n):
    """Also the best one, of which the nearest multiple of a step may lie above 1: an error would
    tell it at no charge."""
    for right in {0, 1, n // 2, n - 1, n}:
        channel = start(0.5, n)
        answer = plain_answer(POLICIES[name].answer(channel, "ann", right / n))
        assert right > 0 or not answer.improved
        channel.record("ann", answer)
        plain_outlook(POLICIES[name].outlook(channel, "ann"))


@pytest.mark.parametrize("name", ["rounded", "exact"])
def test_the_bound_of_a_told_score_counts_what_was_reported_beside_it(name):
    """Set-up's three accuracies, verdicts, and that k answers are one of many numbers of them."""
    channel = start(0.5, 600)
    channel.beside = 20.0
    policy = POLICIES[name]
    assert policy.outlook(channel, "ann").slack_bits == pytest.approx(3 * math.log2(6001) + 20)
    channel.record("ann", policy.answer(channel, "ann", 0.9))
    assert policy.outlook(channel, "ann").slack_bits == pytest.approx(3 * math.log2(6001) + 20 + 2)


def test_policies_are_known_by_name():
    assert {"strict", "default", "roomy", "ladder", "rounded", "exact"} <= set(POLICIES)
    assert isinstance(POLICIES["default"], metered.MeteredLadder)
    with pytest.raises(Misconfigured, match="exact"):
        POLICIES["generous"]
