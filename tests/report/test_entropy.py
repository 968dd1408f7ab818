import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from aarlab.core.records import Family
from aarlab.report.entropy import family_entropy, over_time, shannon_bits

A, B = Family.ENSEMBLE, Family.CURRICULUM


def test_by_hand():
    """Halves: 1 bit; quarters: 2 bits; all the same: 0 bits."""
    assert [shannon_bits(c) for c in ([3, 3], [1, 1, 1, 1], [9])] == pytest.approx([1, 2, 0])


@given(st.lists(st.integers(0, 50), min_size=1, max_size=11).filter(any))
def test_agrees_with_scipy_and_stays_in_its_range(counts):
    assert shannon_bits(counts) == pytest.approx(entropy(counts, base=2), abs=1e-9)
    assert 0 <= shannon_bits(counts) <= np.log2(11) + 1e-9


def test_the_entropy_of_nothing_is_unknown():
    with pytest.raises(ValueError, match="unknown, not zero"):
        shannon_bits([])


def test_the_interval_holds_the_estimate():
    measure = family_entropy([A] * 10 + [B] * 3)
    assert measure.lower <= measure.estimate <= measure.upper
    assert measure.n == 13


def test_windows_with_few_experiments_are_left_out():
    at = np.array([0.0] * 6 + [99.0] * 2 + [100.0])
    rows = over_time(at, [A, B] * 3 + [A] * 3, windows=2)
    assert [(low, bits.n) for low, _, bits in rows] == [(0.0, 6)]
    assert over_time(np.array([]), []) == []
