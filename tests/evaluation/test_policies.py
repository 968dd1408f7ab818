import math

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.evaluation import metered
from aarlab.evaluation.policies import POLICIES, on_grid, standard_error, start


def test_step_is_one_standard_error_by_hand():
    """0.5 / sqrt(2500) = 0.01"""
    assert standard_error(2500) == pytest.approx(0.01)
    assert on_grid(0.7389, 0.01) == pytest.approx(0.73)


def test_exact_and_rounded_charge_for_what_they_tell():
    channel = start(0.5, 100)
    exact = POLICIES["exact"].tell(channel, "ann", 0.7123)
    assert (exact.improved, exact.level, exact.bits) == (True, 0.7123, math.log2(501))
    rounded = POLICIES["rounded"].tell(channel, "ann", 0.7123)
    assert rounded.level == pytest.approx(0.7)
    assert rounded.bits == pytest.approx(math.log2(21))


def test_policies_are_known_by_name():
    assert {"strict", "default", "roomy", "ladder", "rounded", "exact"} <= set(POLICIES)
    assert isinstance(POLICIES["default"], metered.MeteredLadder)
    with pytest.raises(Misconfigured, match="exact"):
        POLICIES["generous"]
