"""FLOP of a fine-tuning, against figures worked out by hand from the published sizes: the 34.1 M
tokens of a 4B run are 5.5e17 FLOP and 695 s at 790 TFLOP/s."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.models.preset import Recipe
from experiments.train.shapes import QWEN3_4B as STRONG
from experiments.train.shapes import QWEN15_05B as WEAK
from experiments.train.shapes import attention_flop, forward_flop, training_flop

RECIPE, CONTEXT = Recipe(), 1310.0
RATE = 790e12


def test_flop_of_a_token_by_hand():
    assert forward_flop(STRONG, CONTEXT, STRONG.adapters(RECIPE)) == pytest.approx(7.79e9, rel=1e-3)
    assert training_flop(STRONG, RECIPE, CONTEXT) == pytest.approx(16.1e9, rel=2e-3)
    assert forward_flop(WEAK, CONTEXT, WEAK.adapters(RECIPE)) == pytest.approx(0.71e9, rel=5e-3)
    assert training_flop(WEAK, RECIPE, CONTEXT) == pytest.approx(1.52e9, rel=5e-3)


@pytest.mark.parametrize(
    ("flop", "floor_s"),
    [
        (34.13e6 * training_flop(STRONG, RECIPE, CONTEXT), 695),
        (1.17e6 * forward_flop(STRONG, CONTEXT, STRONG.adapters(RECIPE)), 11.5),
        (11.2e6 * training_flop(WEAK, RECIPE, CONTEXT), 22),
        (8.1e6 * forward_flop(STRONG, CONTEXT, STRONG.adapters(RECIPE)), 80),
    ],
)
def test_floors_by_hand(flop, floor_s):
    assert flop / RATE == pytest.approx(floor_s, rel=0.025)


@given(st.integers(1, 64), st.integers(1, 20_000))
def test_more_of_anything_never_costs_less(rank, tokens):
    recipe, larger = Recipe(rank=rank), Recipe(rank=rank + 1)
    assert training_flop(STRONG, larger, tokens) > training_flop(STRONG, recipe, tokens)
    assert (
        forward_flop(STRONG, tokens + 1)
        > forward_flop(STRONG, tokens)
        > attention_flop(STRONG, tokens)
    )
