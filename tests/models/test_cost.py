"""What a preset costs, against a roofline reckoned by hand from the published sizes: the 34.1 M tokens of a 4B run are 5.5e17
FLOP and 695 s at 790 TFLOP/s."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.errors import Misconfigured
from aarlab.models.cost import (
    GIB,
    KNOWN,
    MFU,
    STUDY,
    Assumed,
    Items,
    Work,
    activation_bytes,
    attention_flop,
    bank_bytes,
    checkpoint_bytes,
    dollars,
    forward_flop,
    gpu_bytes,
    host_bytes,
    peak_flops,
    seconds,
    shape_of,
    training_flop,
    works,
)
from aarlab.models.preset import Recipe, preset

STRONG, WEAK = KNOWN["Qwen/Qwen3-4B-Base"], KNOWN["Qwen/Qwen1.5-0.5B-Chat"]
RECIPE, QWEN, CONTEXT = Recipe(), preset("qwen"), 1310.0
RATE = 790e12
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


def test_the_ceilings_of_the_bench_are_that_floor_again():
    made = {w.name: w for w in works(QWEN, STRONG, WEAK, STUDY["qwen-chat"], 5, Assumed())}
    floor_s = 695 + 11.5 * 2 * 1263 / 1258
    assert made["ceiling x 5"].flop / 5 / RATE == pytest.approx(floor_s, rel=0.005)
    assert made["naive x 5"].flop == made["ceiling x 5"].flop
    assert made["confident x 5"].flop < 0.52 * made["naive x 5"].flop  # half the items, and all predictions
    assert made["feature bank"].flop / RATE == pytest.approx(80 * 9352 / 8089, rel=0.03)
    assert made["teacher x 5"].flop / 5 / RATE == pytest.approx(21.6 + 9352e3 * 0.711e9 / RATE, rel=0.01)
    # each of 4096 + 6826 items after eight others, cut to 8,192 tokens
    search = (4096 + 6826) * 8192 * forward_flop(STRONG, 8192)
    assert made["elicitation x 5"].flop == pytest.approx(made["naive x 5"].flop + 5 * search)


def test_without_a_critic_there_is_no_step_of_it_and_a_share_of_the_items_is_a_share_of_the_work():
    plain = QWEN.model_copy(update={"critic": False, "student_share": 0.5})
    names = [w.name for w in works(plain, STRONG, WEAK, STUDY["qwen-chat"], 2, Assumed())]
    assert not any("GRPO" in name or "critiques" in name for name in names)
    whole, half = (
        next(w.flop for w in works(p, STRONG, WEAK, Items(9, 1000, 0), 2, Assumed()) if w.name == "naive x 2")
        for p in (plain.model_copy(update={"student_share": 1.0}), plain)
    )
    assert half == whole / 2


def test_the_critics_work_by_hand():
    made = {w.name: w for w in works(QWEN, STRONG, WEAK, Items(10, 20, 5), 1, Assumed())}
    critic, forward = made["critic (GRPO)"], forward_flop(STRONG, CONTEXT, STRONG.adapters(RECIPE))
    assert critic.decoding == pytest.approx((5 * 8 + 5 + 20 + 5) * 256 * forward)
    per_token = training_flop(STRONG, RECIPE, CONTEXT) + forward_flop(WEAK, CONTEXT)
    assert critic.flop == pytest.approx(40 * 1256 * per_token + (5 + 5 + 20 + 5) * 1000 * forward)
    tokens = 1256 * 5  # items of half the teacher split, five seeds
    read = 20 * forward_flop(WEAK, CONTEXT, WEAK.adapters(RECIPE))
    assert made["teacher with critiques x 5"].flop == pytest.approx(
        tokens * (5 * 5 * training_flop(WEAK, RECIPE, CONTEXT) + read)
    )


def test_the_screening_tier_trains_the_top_layers_alone():
    top = Recipe(screen_layers=9)
    assert training_flop(STRONG, top, CONTEXT) == pytest.approx(training_flop(STRONG, RECIPE, CONTEXT) / 4)
    assert activation_bytes(STRONG, top, 1000, compiled=True) == activation_bytes(STRONG, RECIPE, 1000, compiled=True) / 4


def test_memory_of_a_pack_is_what_the_notes_reckoned():
    assert activation_bytes(STRONG, RECIPE, 16384, compiled=True) / GIB == pytest.approx(41, rel=0.01)
    assert activation_bytes(STRONG, RECIPE, 16384, compiled=False) / GIB == pytest.approx(82, rel=0.01)
    weights = 2 * (STRONG.weights + WEAK.weights)
    adapters = 18 * STRONG.adapters(RECIPE)
    pack = activation_bytes(STRONG, RECIPE, QWEN.hardware.pack_tokens, compiled=True)
    assert gpu_bytes(STRONG, WEAK, QWEN) == pytest.approx(weights + adapters + pack + GIB)
    assert gpu_bytes(STRONG, WEAK, QWEN) < 80e9  # the preset says: one GPU with 80 GB or more


def test_what_lies_on_disk_and_in_memory_by_hand():
    assert bank_bytes(QWEN, STRONG, 10) == 2 * 10 * 5 * 2560
    assert checkpoint_bytes(QWEN, STRONG) == 24 * STRONG.adapters(RECIPE)
    two = QWEN.model_copy(update={"hardware": QWEN.hardware.model_copy(update={"devices": ("cuda:0", "cuda:1")})})
    assert checkpoint_bytes(two, STRONG) == 48 * STRONG.adapters(RECIPE)
    assert host_bytes(STRONG, WEAK) / GIB == pytest.approx(8.36 + 4, rel=0.01)


@given(st.integers(1, 64), st.integers(1, 20_000))
def test_more_of_anything_never_costs_less(rank, tokens):
    recipe, larger = Recipe(rank=rank), Recipe(rank=rank + 1)
    assert training_flop(STRONG, larger, tokens) > training_flop(STRONG, recipe, tokens)
    assert forward_flop(STRONG, tokens + 1) > forward_flop(STRONG, tokens) > attention_flop(STRONG, tokens)
    assert activation_bytes(WEAK, recipe, tokens + 1, compiled=True) > activation_bytes(WEAK, recipe, tokens, compiled=True)


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA H20", 148),
    ],
)
def test_peaks_by_name(name, tflops):
    assert peak_flops(name) == tflops * 1e12


@pytest.mark.parametrize("name", ["NVIDIA RTX A1000", "Tesla T4", ""])
def test_an_unlisted_gpu_has_no_peak(name):
    assert peak_flops(name) is None


def test_seconds_and_dollars_by_hand():
    least, most = seconds(Work("x", 989e12 * 10, 0.0), 989e12)
    assert (least, most) == pytest.approx((10 / MFU[1], 10 / MFU[0]))
    assert seconds(Work("x", 0.0, 1e12), 1e12) == pytest.approx((1 / 0.10, 1 / 0.03))
    assert dollars(7200, 3.5) == 7


def test_a_shape_is_read_from_config_json():
    assert shape_of(CONFIG, "x") == STRONG
    older = {k: v for k, v in CONFIG.items() if k not in ("head_dim", "num_key_value_heads", "tie_word_embeddings")}
    assert shape_of(older, "x")[4:] == (32, 80, 151_936, False)


@pytest.mark.parametrize("value", [None, "many", 0, -1, 2.5])
def test_what_is_no_decoder_is_refused(value):
    with pytest.raises(Misconfigured, match=r"here/config\.json has num_hidden_layers"):
        shape_of(CONFIG | {"num_hidden_layers": value}, "here/config.json")
