import numpy as np
import pytest
import torch

from aarlab.models.tiny_lm import PAD, Pretraining, pretrained, profiles

SPEC = Pretraining(width=32, layers=1, heads=2, steps=80, batch=8)
CORPUS = [f"say {c}\n{c * 6}" for c in "abcdefgh"] * 10


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return pretrained(CORPUS, cache=tmp_path_factory.mktemp("cache"), spec=SPEC)


def test_it_is_surprised_by_what_its_corpus_never_says(model):
    usual, odd = profiles(model, [("say a", "aaaaaa"), ("say a", "aaahaa")])
    assert odd[0] > usual[0]


def test_it_is_causal_and_padding_changes_nothing(model):
    short, long = model.encode("say a"), model.encode("say a\nbbbb")
    padded = torch.tensor([short + [PAD] * (len(long) - len(short)), long])
    with torch.inference_mode():
        together, alone = model(padded)[0, : len(short)], model(torch.tensor([short]))[0]
    assert torch.allclose(together, alone, atol=1e-5)


def test_batching_changes_nothing(model):
    asked = [("say a", "aaaaaa"), ("say b", "bb"), ("say hhh", "hhhhhhhhhh")]
    assert np.allclose(profiles(model, asked), np.concatenate([profiles(model, [a]) for a in asked]), atol=1e-4)


def test_it_is_pretrained_once(tmp_path):
    steps = []
    for _ in range(2):
        pretrained(CORPUS, cache=tmp_path, spec=SPEC, progress=lambda done, of: steps.append(done))
    assert len(steps) == SPEC.steps
