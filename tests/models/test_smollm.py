"""The real student: what it reads does not depend on how it is read. Marked: it downloads 95 MB once."""

import os
from pathlib import Path

import numpy as np
import pytest

from aarlab.models import smollm
from aarlab.models.surprisal import TOP
from aarlab.problems import PROBLEMS

pytestmark = pytest.mark.real_model
SUM = "Tom has 12 pens and buys 30."
ASKED = [*((SUM, f"12 + 30 = {n}. The answer is {n}.") for n in (42, 43, 52, 142)), ("What is 2 + 2?", "4")]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    home = os.environ.get("AAR_HOME")
    return Path(home) / "cache" if home else tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def weights(cache):
    return smollm.ensure_weights(cache)


def read(asked, weights, tmp_path, example=""):
    return smollm.read_choices(asked, example=example, weights=weights, cache=tmp_path, workers=1)


def test_padding_and_batching_change_nothing_but_rounding(weights, tmp_path):
    together = read(ASKED, weights, tmp_path)
    alone = [read([one], weights, tmp_path).hidden_LTD[:, 0] for one in (ASKED[0], ASKED[4])]
    for at, states_LD in zip((0, 4), alone, strict=True):
        for x, y in zip(states_LD.astype(float), together.hidden_LTD[:, at].astype(float), strict=True):
            assert x @ y > 0.999 * np.linalg.norm(x) * np.linalg.norm(y)


def test_an_example_that_is_read_once_is_an_example_read_before_every_question(weights, tmp_path):
    example = PROBLEMS["small-math"].example
    once = read(ASKED, weights, tmp_path, example)
    always = read([(example + q, c) for q, c in ASKED], weights, tmp_path)
    # bfloat16 rounds the two paths differently, and ranks and counts jump
    assert once.profile_TP[:, :TOP] == pytest.approx(always.profile_TP[:, :TOP], abs=0.35)
    assert np.corrcoef(once.profile_TP.ravel(), always.profile_TP.ravel())[0, 1] > 0.97


def test_it_finds_the_right_sum_less_surprising(weights, tmp_path):
    example = PROBLEMS["small-math"].example
    favour = read(ASKED[:4], weights, tmp_path, example).favour_T
    assert favour.argmax() == 0


def test_random_weights_are_another_student(cache, weights, tmp_path):
    drawn = smollm.random_weights(cache)
    assert not np.allclose(read(ASKED, drawn, tmp_path).hidden_LTD, read(ASKED, weights, tmp_path).hidden_LTD, atol=0.1)


def test_fine_tuning_learns_and_swapping_a_pair_swaps_the_answer(weights):
    from aarlab.models.lora import LoraSpec, fine_tune

    texts = [("a dull, lifeless film", "a warm and witty film"), ("a joy from start to end", "a bore from start to end")] * 8
    pairs = [("", pair) for pair in texts]
    targets = np.array([1.0, 0.0] * 8)
    spec = LoraSpec(rank=4, epochs=2, batch=4)
    swapped = [("", (second, first)) for _, (first, second) in pairs[:2]]
    probs = fine_tune(pairs, targets, [*pairs[:2], *swapped], weights=weights, spec=spec, progress=lambda *_: None)
    assert probs[0] > 0.5 > probs[1]
    assert probs[:2] + probs[2:] == pytest.approx([1, 1], abs=0.05)
