import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.errors import Misconfigured
from aarlab.core.pgr import performance_gap_recovered


def test_by_hand():
    """(0.70 - 0.60) / (0.80 - 0.60) = 0.5"""
    assert performance_gap_recovered(0.70, weak=0.60, ceiling=0.80) == pytest.approx(0.5)


@given(weak=st.floats(0.1, 0.5), gap=st.floats(0.05, 0.5), share=st.floats(-1, 2))
def test_is_linear_between_the_anchors(weak, gap, share):
    assert performance_gap_recovered(
        weak + share * gap, weak=weak, ceiling=weak + gap
    ) == pytest.approx(share, abs=1e-9)


def test_no_gap_is_the_operators_to_mend():
    with pytest.raises(Misconfigured, match="weaker teacher") as caught:
        performance_gap_recovered(0.7, weak=0.8, ceiling=0.8)
    assert caught.value.facts == {"weak": 0.8, "ceiling": 0.8}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_refuses_what_is_not_finite(bad):
    with pytest.raises(Misconfigured, match="finite"):
        performance_gap_recovered(bad, weak=0.5, ceiling=0.8)
