"""The real student: what it reads does not depend on how it is read. Marked: it downloads 95 MB
once."""

import os
from pathlib import Path

import numpy as np
import pytest

from aarlab.models import smollm, smollm_weights
from aarlab.models.surprisal import TOP
from aarlab.problems import PROBLEMS, rated_snippets, small_chat

pytestmark = [pytest.mark.slow, pytest.mark.real_model, pytest.mark.process]
SUM = "Tom has 12 pens and buys 30."
ASKED = [
    *((SUM, f"12 + 30 = {n}. The answer is {n}.") for n in (42, 43, 52, 142)),
    ("What is 2 + 2?", "4"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    home = os.environ.get("AAR_HOME")
    return Path(home) / "cache" if home else tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def weights(cache):
    return smollm_weights.ensure_weights(cache)


def read(asked, weights, tmp_path, example=""):
    return smollm.read_choices(
        asked, among=ASKED, example=example, weights=weights, cache=tmp_path, workers=1
    )


def test_padding_and_batching_change_nothing_but_rounding(weights, tmp_path):
    together = read(ASKED, weights, tmp_path)
    alone = [read([one], weights, tmp_path).hidden_LTD[:, 0] for one in (ASKED[0], ASKED[4])]
    for at, states_LD in zip((0, 4), alone, strict=True):
        for x, y in zip(
            states_LD.astype(float), together.hidden_LTD[:, at].astype(float), strict=True
        ):
            assert x @ y > 0.999 * np.linalg.norm(x) * np.linalg.norm(y)


def test_the_judgements_that_ship_with_small_chat_are_this_models(weights, cache, tmp_path):
    assert smollm_weights.weights_sha256(weights) == small_chat.WEIGHTS_SHA256
    snippets = rated_snippets.fetch(cache)
    rows = np.arange(0, len(snippets), 300)
    asked = [("", snippets[n].text) for n in rows]
    found = smollm.read_snippets(asked, weights=weights, cache=tmp_path, workers=1)
    kept = small_chat.zero_shot_logits(snippets)[rows]
    # bfloat16 rounds other batches differently
    assert found.zero_shot_logit_T == pytest.approx(kept, abs=0.25)
    assert np.corrcoef(found.zero_shot_logit_T, kept)[0, 1] > 0.999


def test_shared_prefix_equals_a_prefix_before_every_question(weights, tmp_path):
    example = PROBLEMS["small-math"].example
    once = read(ASKED, weights, tmp_path, example)
    always = read([(example + q, c) for q, c in ASKED], weights, tmp_path)
    # bfloat16 rounds the two paths differently, and ranks and counts jump
    assert once.profile_TP[:, :TOP] == pytest.approx(always.profile_TP[:, :TOP], abs=0.35)
    assert np.corrcoef(once.profile_TP.ravel(), always.profile_TP.ravel())[0, 1] > 0.97


def test_it_finds_the_right_sum_less_surprising(weights, tmp_path):
    example = PROBLEMS["small-math"].example
    zero_shot_logit = read(ASKED[:4], weights, tmp_path, example).zero_shot_logit_T
    assert zero_shot_logit.argmax() == 0


def test_random_weights_are_another_student(cache, weights, tmp_path):
    drawn = smollm_weights.random_weights(cache)
    assert not np.allclose(
        read(ASKED, drawn, tmp_path).hidden_LTD, read(ASKED, weights, tmp_path).hidden_LTD, atol=0.1
    )


def test_it_can_be_fine_tuned_as_the_strong_model_of_a_preset(weights):
    """It learns which of two texts is kinder, in either order."""
    import torch

    from aarlab.models.preset import Hardware, Recipe
    from aarlab.models.student_contract import Question
    from aarlab.models.tuned.tokens import tokenise
    from aarlab.models.tuned.tunable import Tunable

    torch.set_num_threads(1)
    model = Tunable(weights, hardware=Hardware(dtype="float32", pack_tokens=512))
    texts = [
        ("a dull, lifeless film", "a warm and witty film"),
        ("a bore from start to end", "a joy from start to end"),
    ]
    pairs = [
        Question("Which review is kinder?", pair) for a, b in texts for pair in ((a, b), (b, a))
    ]
    asked, targets = (
        tokenise(pairs, model.tokenizer, max_tokens=96),
        np.array([1.0, 0.0] * len(texts)),
    )
    recipe = Recipe(rank=8, epochs=24, batch=4, rate=1e-3, format_weight=0.0)
    trained = model.fine_tune(asked, targets, recipe=recipe, seed=0)
    assert trained.loss_S[-1] < 0.1 < trained.loss_S[0]
    assert (model.logits(asked) > 0).tolist() == [True, False, True, False]
