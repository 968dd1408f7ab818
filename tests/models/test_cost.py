"""What a preset needs of memory and disk, against figures worked out by hand from the published
sizes."""

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.models.cost import (
    GIB,
    KNOWN,
    activation_bytes,
    bank_bytes,
    checkpoint_bytes,
    gpu_bytes,
    host_bytes,
    shape_of,
)
from aarlab.models.preset import Recipe, preset

STRONG, WEAK = KNOWN["Qwen/Qwen3-4B-Base"], KNOWN["Qwen/Qwen1.5-0.5B-Chat"]
RECIPE, QWEN = Recipe(), preset("qwen")
CONFIG = {
    "num_hidden_layers": 36,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151_936,
    "tie_word_embeddings": True,
}


def test_weights_are_those_of_the_models():
    assert pytest.approx(3.633e9, rel=1e-4) == STRONG.linear
    assert pytest.approx(4.02e9, rel=2e-3) == STRONG.weights  # 4.0 B, as its card says
    assert pytest.approx(0.464e9, rel=2e-3) == WEAK.weights  # 0.46 B
    assert STRONG.adapters(RECIPE) == pytest.approx(66.1e6, rel=1e-3)
    assert STRONG.adapters(Recipe(targets=("q_proj",), rank=1)) == 36 * (2560 + 4096)


def test_memory_of_a_pack_is_what_the_notes_reckoned():
    assert activation_bytes(STRONG, 16384, compiled=True) / GIB == pytest.approx(41, rel=0.01)
    assert activation_bytes(STRONG, 16384, compiled=False) / GIB == pytest.approx(82, rel=0.01)
    weights = 2 * (STRONG.weights + WEAK.weights)
    adapters = 18 * STRONG.adapters(RECIPE)
    pack = activation_bytes(STRONG, QWEN.hardware.pack_tokens, compiled=True)
    assert gpu_bytes(STRONG, WEAK, QWEN) == pytest.approx(weights + adapters + pack + GIB)
    assert gpu_bytes(STRONG, WEAK, QWEN) < 80e9  # the preset says: one GPU with 80 GB or more


def test_a_longer_pack_keeps_more():
    assert activation_bytes(WEAK, 101, compiled=True) > activation_bytes(WEAK, 100, compiled=True)


def test_what_lies_on_disk_and_in_memory_by_hand():
    assert bank_bytes(QWEN, STRONG, 10) == 2 * 10 * 5 * 2560
    assert checkpoint_bytes(QWEN, STRONG) == 24 * STRONG.adapters(RECIPE)
    two = QWEN.model_copy(
        update={"hardware": QWEN.hardware.model_copy(update={"devices": ("cuda:0", "cuda:1")})}
    )
    assert checkpoint_bytes(two, STRONG) == 48 * STRONG.adapters(RECIPE)
    assert host_bytes(STRONG, WEAK) / GIB == pytest.approx(8.36 + 4, rel=0.01)


def test_a_shape_is_read_from_config_json():
    assert shape_of(CONFIG, "x") == STRONG
    older = {
        k: v
        for k, v in CONFIG.items()
        if k not in ("head_dim", "num_key_value_heads", "tie_word_embeddings")
    }
    assert shape_of(older, "x")[4:] == (32, 80, 151_936, False)


@pytest.mark.parametrize("value", [None, "many", 0, -1, 2.5])
def test_what_is_no_decoder_is_refused(value):
    with pytest.raises(Misconfigured, match=r"here/config\.json has num_hidden_layers"):
        shape_of(CONFIG | {"num_hidden_layers": value}, "here/config.json")
