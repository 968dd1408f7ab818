"""Causal attention inside each item of a pack, and nowhere across: "aar_varlen" in transformers'
table of attentions.

Where a name has no mask function in that library, it builds no mask; the boundaries alone decide
who sees whom. They come as its own keywords for packed batches. Legend: T tokens of the pack, H
heads, K key heads, D width of a head, n items.
"""

import inspect
import itertools
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "aar_varlen"
# they differ from torch 2.10 to 2.12
KEYWORDS = frozenset(inspect.signature(varlen_attn).parameters)


def packed_attention(
    module: torch.nn.Module,
    query_1HTD: Tensor,
    key_1KTD: Tensor,
    value_1KTD: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention (1, T, H, D) of a pack whose items begin and end at `cu_seq_lens_q` (n + 1,).

    FlashAttention's kernel for 16-bit numbers on CUDA; elsewhere one `scaled_dot_product_attention`
    an item.
    """
    assert attention_mask is None, "a mask would hide the boundaries of the pack"
    if query_1HTD.is_cuda and query_1HTD.dtype in (torch.bfloat16, torch.float16):
        return _varlen(query_1HTD, key_1KTD, value_1KTD, cu_seq_lens_q, max_length_q, scaling), None
    return _by_item(query_1HTD, key_1KTD, value_1KTD, cu_seq_lens_q, scaling), None


def _varlen(
    q_1HTD: Tensor, k_1KTD: Tensor, v_1KTD: Tensor, starts: Tensor, longest: int, scaling: float
) -> Tensor:
    q_THD, k_TKD, v_TKD = (x[0].transpose(0, 1) for x in (q_1HTD, k_1KTD, v_1KTD))
    causal = causal_in(KEYWORDS, scaling, grouped=q_THD.shape[1] != k_TKD.shape[1])
    attended: Any = varlen_attn(q_THD, k_TKD, v_TKD, starts, starts, longest, longest, **causal)
    return attended[None]


def causal_in(keywords: frozenset[str], scaling: float, *, grouped: bool) -> dict[str, Any]:
    """Keywords for causal attention of a `varlen_attn` that knows these: torch 2.10 has `is_causal`
    and its scale alone, which is that of Qwen and Llama; later ones a window; grouped heads are
    asked for where there is a word for it."""
    wanted = {"window_size": (-1, 0)} if "window_size" in keywords else {"is_causal": True}
    return wanted | {
        k: v for k, v in (("scale", scaling), ("enable_gqa", grouped)) if k in keywords
    }


def _attend(
    q_1HTD: Tensor, k_1KTD: Tensor, v_1KTD: Tensor, starts: Tensor, scaling: float
) -> Tensor:
    grouped = q_1HTD.shape[1] != k_1KTD.shape[1]
    pieces = []
    for a, b in itertools.pairwise(starts.tolist()):
        q, k, v = (x[:, :, a:b] for x in (q_1HTD, k_1KTD, v_1KTD))
        pieces.append(
            scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=grouped)
        )
    return torch.cat(pieces, dim=2).transpose(1, 2)


# its loop would be traced anew for each number of items
_by_item: Any = torch.compiler.disable(_attend)


AttentionInterface.register(NAME, packed_attention)
