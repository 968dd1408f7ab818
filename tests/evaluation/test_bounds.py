import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from aarlab.evaluation.scoring.bounds import binary_kl, certified_at_least, inflation_bound


def test_the_bound_by_hand():
    """n = 1,263, 63 bits, 95 %: sqrt((63 x 0.6931 + 2.9957) / 2526) = 0.1359"""
    assert inflation_bound(63, 1263) == pytest.approx(0.1359, abs=1e-4)
    assert inflation_bound(0, 1263) == pytest.approx(math.sqrt(math.log(20) / 2526))
    assert inflation_bound(1e9, 10) == 1


@given(p=st.floats(0.01, 0.99), q=st.floats(0.01, 0.99))
def test_kl_is_scipys(p, q):
    assert binary_kl(p, q) == pytest.approx(entropy([p, 1 - p], [q, 1 - q]), abs=1e-9)


@given(level=st.floats(0.01, 1), bits=st.floats(0, 200), n=st.integers(100, 10_000))
def test_what_is_certified_is_sharper_than_the_plain_bound(level, bits, n):
    certified = certified_at_least(level, bits, n)
    assert level - inflation_bound(bits, n) - 1e-9 <= certified <= level
    assert (
        certified < 1e-9
        or binary_kl(level, min(level, certified + 1e-9))
        <= (bits * math.log(2) + math.log(20)) / n + 1e-6
    )


def test_kl_at_the_ends():
    assert binary_kl(0, 0) == 0
    assert binary_kl(1, 0) == math.inf
    assert certified_at_least(0, 10, 100) == 0
