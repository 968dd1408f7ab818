"""How snippets are read where their zero-shot logits are known, on a tiny model of the student's
architecture with drawn weights."""

import numpy as np
import pytest

from aarlab.models import smollm
from aarlab.models.smollm import TextReader

pytestmark = pytest.mark.slow

TEXTS = ["a dull film", "it was great great fun", "bad", "a film"]
ASKED = [("", text) for text in TEXTS]
WORDS = [
    "[UNK]",
    *["Review", ":", "Overall", ",", "it", "was", "great", "bad", "a", "film", "dull", "fun"],
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(WORDS), num_hidden_layers=30, **size)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture
def read(weights, monkeypatch):
    """kind -> the features of the texts, read in this process; and how many layers ran."""
    monkeypatch.setattr(smollm, "_worker", {})

    def made(kind: str) -> tuple[smollm.Features, int]:
        smollm._load(TextReader(kind, weights, 1))
        return smollm.FORWARD[kind](ASKED), len(smollm._worker["model"].model.layers)

    return made


def test_states_are_the_same_without_the_suffix_and_the_upper_layers(read):
    (whole, all_layers), (states, layers) = read("snippets"), read("states of snippets")
    assert (all_layers, layers) == (30, max(smollm.SNIPPET_LAYERS))
    assert whole.zero_shot_logit_T.any()
    assert not states.zero_shot_logit_T.any()
    scale = np.abs(whole.hidden_LTD).max()
    assert states.hidden_LTD == pytest.approx(whole.hidden_LTD, abs=float(scale) / 50)


def test_fewer_kept_layers_run_fewer_layers(read, monkeypatch):
    monkeypatch.setattr(smollm, "SNIPPET_LAYERS", (8, 12))
    found, layers = read("states of snippets")
    assert layers == 12
    assert found.hidden_LTD.shape == (2, len(TEXTS), 16)


def test_a_reading_with_and_without_known_logits_has_keys_of_its_own(weights):
    (weights / "source.json").write_text("{}")
    keys = {TextReader(kind, weights, 1).key(ASKED) for kind in smollm.FORWARD}
    assert len(keys) == len(smollm.FORWARD)


def test_known_logits_are_returned_as_they_were_given(weights, tmp_path, monkeypatch):
    (weights / "source.json").write_text("{}")

    def here(reader, batches):
        """In this process instead of others."""
        monkeypatch.setattr(smollm, "_worker", {})
        smollm._load(reader)
        return map(smollm.FORWARD[reader.kind], batches)

    monkeypatch.setattr(TextReader, "read", here)
    known = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    for logits in (known, known[::-1]):  # they are no part of what is kept
        found = smollm.read_snippets(
            ASKED, weights=weights, cache=tmp_path, workers=1, zero_shot_logit_T=logits
        )
        assert np.array_equal(found.zero_shot_logit_T, logits)
    assert len(list((tmp_path / "features").glob("*.npz"))) == 1
