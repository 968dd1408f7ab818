"""What torch.compile makes of the path that only a GPU takes: traced here, with its kernel replaced
by one for the CPU.

Traced whole, few times and never again for another pack: else a GPU compiles in every step, and
nothing says so. Legend: T tokens of a pack, H heads, K key heads, D width of a head.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from transformers import AttentionInterface

from aarlab.models.preset import Hardware, Recipe
from aarlab.models.tuned import attention
from aarlab.models.tuned.base_model import compile_layers
from aarlab.models.tuned.tokens import Tokenised
from aarlab.models.tuned.tunable import Tunable
from tests.models.tiny_models import make_tiny

pytestmark = pytest.mark.process

TEXT = "a b c d e f g h i j k l m n o p q r s t"
RECIPE = Recipe(rank=4, alpha=8, epochs=1, batch=4, rate=1e-2, warmup=0.0)


def by_item(q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor, starts: Tensor) -> Tensor:
    heads_first = (x.transpose(0, 1)[None] for x in (q_THD, k_TKD, v_TKD))
    scale = q_THD.shape[-1] ** -0.5
    return attention._by_item(*heads_first, starts, scale)[0].contiguous()


@torch.library.custom_op("aar_test::varlen", mutates_args={})
def kernel(q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor, starts: Tensor, longest: int) -> Tensor:
    return by_item(q_THD, k_TKD, v_TKD, starts)


@kernel.register_fake
def _(q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor, starts: Tensor, longest: int) -> Tensor:
    return torch.empty(q_THD.shape, dtype=q_THD.dtype)


@torch.library.custom_op("aar_test::varlen_back", mutates_args={})
def back(
    slope_THD: Tensor, q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """By hand: autograd does not reach into an operator."""
    slopes = [torch.empty(x.shape, dtype=x.dtype) for x in (q_THD, k_TKD, v_TKD)]
    share = q_THD.shape[-1] ** -0.5
    for at in (slice(a, b) for a, b in itertools.pairwise(starts.tolist())):
        slope, q, k, v = (x[at].transpose(0, 1) for x in (slope_THD, q_THD, k_TKD, v_TKD))
        group = len(q) // len(k)
        k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
        later = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).triu(1)
        p = (q @ k.mT * share).masked_fill(later, -torch.inf).softmax(-1)
        of_p = slope @ v.mT
        of_score = p * (of_p - (of_p * p).sum(-1, keepdim=True)) * share
        for into, part in zip(slopes, (of_score @ k, of_score.mT @ q, p.mT @ slope), strict=True):
            into[at] = (
                part.unflatten(0, (-1, part.shape[0] // into.shape[1])).sum(1).transpose(0, 1)
            )
    return tuple(slopes)


@back.register_fake
def _(
    slope_THD: Tensor, q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor, starts: Tensor
) -> tuple[Tensor, ...]:
    return tuple(torch.empty(x.shape, dtype=x.dtype) for x in (q_THD, k_TKD, v_TKD))


kernel.register_autograd(
    lambda ctx, slope: (*back(slope, *ctx.saved_tensors), None, None),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs[:4]),
)


@pytest.fixture
def gpu_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Packs take the way to FlashAttention's kernel."""

    def varlen_attn(q, k, v, starts, starts_k, longest, longest_k, **named):
        return kernel(q, k, v, starts, longest)

    def always(module, q, k, v, mask, *, scaling, cu_seq_lens_q, max_length_q, **_):
        return attention._varlen(q, k, v, cu_seq_lens_q, max_length_q, scaling), None

    monkeypatch.setattr(attention, "varlen_attn", varlen_attn)
    AttentionInterface.register(attention.NAME, always)
    yield
    AttentionInterface.register(attention.NAME, attention.packed_attention)
    torch._dynamo.reset()


def drawn(lengths: list[int], seed: int) -> Tokenised:
    rng = np.random.default_rng(seed)
    ids = [rng.integers(5, 30, n).astype(np.int32) for n in lengths]
    return Tokenised(ids, np.zeros(len(ids), dtype=bool), (3, 4), 2)


def losses(
    folder: Path, tokens: Tokenised, compiled_by: object = None
) -> tuple[Tunable, list[float]]:
    tunable = Tunable(folder, hardware=Hardware(dtype="float32", pack_tokens=90))
    if compiled_by:
        compile_layers(tunable.base.layers, fullgraph=True, backend=compiled_by)
    targets_N = np.arange(len(tokens)) % 2.0
    return tunable, tunable.fine_tune(tokens, targets_N, recipe=RECIPE, seed=1).loss_S


# asked by the tracer itself
@pytest.mark.long
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.usefixtures("gpu_path")
def test_layers_are_traced_whole_and_once_for_all_packs(tmp_path: Path) -> None:
    folder = make_tiny(
        tmp_path / "strong", seed=3, layers=2, width=32, texts=[TEXT] * 3, kind="qwen3"
    )
    lengths = np.random.default_rng(0).integers(9, 60, 8).tolist()
    tokens = drawn(lengths, 1)
    _, plain = losses(folder, tokens)
    counted = CompileCounterWithBackend("eager")
    tunable, traced = losses(folder, tokens, counted)
    assert traced == pytest.approx(plain, rel=1e-5)
    in_training = counted.frame_count
    tunable.logits(tokens)
    tunable.logits(tokens, adapters=False)
    in_all = counted.frame_count
    assert in_training <= 3, (
        "one graph for all layers and packs, and a few for what is equal by chance in the first"
    )
    assert in_all <= 8, "beyond which torch gives up and runs everything as it stands"
    others = drawn(np.random.default_rng(5).integers(12, 80, 12).tolist(), 2)
    tunable.fine_tune(others, np.arange(12) % 2.0, recipe=RECIPE, seed=2)
    tunable.logits(others)
    assert counted.frame_count == in_all, "new shapes compile nothing"
    other = make_tiny(tmp_path / "weak", seed=3, layers=2, width=32, texts=[TEXT] * 3, kind="qwen2")
    weak, _ = losses(other, tokens, counted)  # with fullgraph, torch raises at its limit
    for rank in (8, 2):
        weak.fine_tune(
            tokens, np.arange(8) % 2.0, recipe=RECIPE.model_copy(update={"rank": rank}), seed=1
        )
        weak.logits(tokens)
    assert counted.frame_count > 8, (
        "a worker's two models and a second rank go beyond torch's own limit"
    )


@pytest.mark.parametrize(
    ("keywords", "asked"),
    [
        ({"is_causal", "return_aux"}, {"is_causal": True}),
        ({"scale", "window_size", "return_aux"}, {"window_size": (-1, 0), "scale": 0.5}),
        (
            {"scale", "window_size", "enable_gqa"},
            {"window_size": (-1, 0), "scale": 0.5, "enable_gqa": True},
        ),
    ],
    ids=["torch 2.10", "between", "torch 2.12"],
)
def test_every_torch_is_asked_in_its_own_words(keywords: set[str], asked: dict[str, Any]) -> None:
    assert attention.causal_in(frozenset(keywords), 0.5, grouped=True) == asked


def test_the_installed_kernel_takes_what_it_is_asked() -> None:
    """By the shapes that torch itself computes for it, without running it."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        q_1HTD, k_1KTD = (
            torch.empty(1, 40, n, 16, dtype=torch.bfloat16).transpose(1, 2) for n in (8, 2)
        )
        starts = torch.empty(4, dtype=torch.int32)
        assert attention._varlen(q_1HTD, k_1KTD, k_1KTD, starts, 17, 0.25).shape == (1, 40, 8, 16)
