"""The other student's reading, on a tiny encoder of the same architecture with drawn weights."""

import numpy as np
import pytest

from aarlab.models import minilm, smollm

pytestmark = pytest.mark.slow

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "it", "was", "great", "bad", ".", "film", "dull"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = (
        normalizers.Lowercase(),
        pre_tokenizers.Whitespace(),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    size = {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "num_hidden_layers": minilm.BLOCKS,
    }
    BertModel(BertConfig(vocab_size=len(WORDS), **size), add_pooling_layer=False).save_pretrained(
        folder
    )
    return folder


def test_layer_names_map_to_the_same_share_of_depth():
    assert tuple(minilm.BLOCK_OF) == smollm.LAYERS
    assert minilm.BLOCK_OF == {8: 2, 12: 2, 16: 3, 20: 4, 24: 5}
    for layer, block in minilm.BLOCK_OF.items():
        assert abs(layer / 30 - block / 6) <= 1 / 12


def test_states_are_means_over_tokens_whatever_the_batch(weights, tmp_path):
    import torch
    from transformers import AutoTokenizer, BertModel

    texts = ["film", "it was a dull film .", "great great great", "bad film"]
    found = minilm.read_snippets(texts, weights=weights, cache=tmp_path)
    assert found.hidden_LTD.shape == (5, 4, 16)
    assert found.profile_TP.shape == (4, 0)
    tokenizer, model = (
        AutoTokenizer.from_pretrained(weights),
        BertModel.from_pretrained(weights, add_pooling_layer=False).eval(),
    )
    for t, text in enumerate(texts):  # one by one, without padding
        with torch.inference_mode():
            states = model(
                **tokenizer(text, return_tensors="pt"), output_hidden_states=True
            ).hidden_states
        for n, block in enumerate(minilm.BLOCK_OF.values()):
            assert np.allclose(found.hidden_LTD[n, t], states[block][0].mean(0).numpy(), atol=2e-3)


def test_the_zero_shot_logit_is_nearness_to_great_less_nearness_to_bad(weights, tmp_path):
    found = minilm.read_snippets([minilm.GOOD, minilm.BAD], weights=weights, cache=tmp_path)
    assert found.zero_shot_logit_T[0] > 0 > found.zero_shot_logit_T[1]
    assert found.zero_shot_logit_T[0] == pytest.approx(-found.zero_shot_logit_T[1], abs=1e-5)


def test_a_reading_is_kept_and_found_again(weights, tmp_path):
    first = minilm.read_snippets(["film", "dull"], weights=weights, cache=tmp_path)
    again = minilm.read_snippets(["film", "dull"], weights=tmp_path / "nowhere", cache=tmp_path)
    assert np.array_equal(first.hidden_LTD, again.hidden_LTD)
    assert len(list((tmp_path / "features").glob("*.npz"))) == 1
    minilm.read_snippets(["film"], weights=weights, cache=tmp_path)
    assert len(list((tmp_path / "features").glob("*.npz"))) == 2
