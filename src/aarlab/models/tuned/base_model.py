"""A causal language model, layer by layer, over packs: Qwen2, Qwen3, Llama and what is built like
them.

Legend: n items of a pack, T its tokens, D width, L layers, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aarlab.core.errors import Misconfigured
from aarlab.models.tuned.attention import NAME
from aarlab.models.tuned.tokens import Ids

MOST_GRAPHS = 64  # of one layer's code, see `compile_layers`


@dataclass(frozen=True)
class Batch:
    """n items one behind the other, with the position of each token in its own item."""

    ids_1T: Tensor
    position_1T: Tensor
    starts: Tensor  # (n + 1,) int32: where items begin, and the end
    longest: int

    @property
    def ends_n(self) -> Tensor:
        """Where each item's last token stands."""
        return self.starts[1:].long() - 1

    @property
    def bounds(self) -> dict[str, Any]:
        """As transformers names them on the way to an attention."""
        ends = {"cu_seq_lens_q": self.starts, "cu_seq_lens_k": self.starts}
        return {**ends, "max_length_q": self.longest, "max_length_k": self.longest}


def batch(items: Sequence[Ids], device: torch.device) -> Batch:
    """The pack of the given items, on the device."""
    lengths = [len(item) for item in items]
    ids = torch.from_numpy(np.concatenate(items).astype(np.int64))
    position = torch.from_numpy(np.concatenate([np.arange(length) for length in lengths]))
    starts = torch.from_numpy(np.cumsum([0, *lengths]).astype(np.int32))
    return Batch(ids.to(device)[None], position.to(device)[None], starts.to(device), max(lengths))


def compile_layers(layers: torch.nn.ModuleList, **given: Any) -> None:
    """Have torch compile each layer when it first runs.

    To torch the layers of all models are one function, of which each model takes about four graphs
    (with and without gradients, with and without adapters), and more for another rank. Beyond its
    own limit of eight it runs the rest as it stands, and says nothing.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_GRAPHS)
    for layer in layers:
        layer.compile(dynamic=True, **given)


class BaseTransformer:
    """The model's parts. Adapters that are attached later are inside them."""

    def __init__(
        self, folder: Path, device: torch.device, dtype: torch.dtype, *, compiled: bool
    ) -> None:
        from transformers import AutoModelForCausalLM
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, attn_implementation=NAME, local_files_only=True
            )
        except (OSError, ValueError) as error:
            raise Misconfigured(
                f"No causal language model could be read from {folder}: {error}", folder=str(folder)
            ) from error
        kinds = set(getattr(model.config, "layer_types", None) or ["full_attention"])
        if (
            kinds != {"full_attention"}
            or not hasattr(model, "lm_head")
            or model.lm_head.bias is not None
        ):
            raise Misconfigured(
                f"{folder}: only models of full causal attention can be packed, not "
                f"{sorted(kinds)}."
            )
        self.model = model.to(device).eval().requires_grad_(False)
        self.device, self.compiled = device, compiled
        if compiled:
            compile_layers(self.layers)

    @property
    def layers(self) -> torch.nn.ModuleList:
        return self.model.model.layers

    @property
    def head_VD(self) -> Tensor:
        return self.model.lm_head.weight

    def embed(self, pack: Batch) -> Tensor:
        """(1, T, D), what goes into layer 0."""
        return self.model.model.embed_tokens(pack.ids_1T)

    def run(self, states_1TD: Tensor, pack: Batch, first: int, last: int) -> Tensor:
        """What comes out of layers first..last-1, (1, T, D), from what goes into the first of
        them."""
        rotary = self.model.model.rotary_emb(states_1TD, pack.position_1T)
        for layer in self.layers[first:last]:
            states_1TD = layer(
                states_1TD,
                attention_mask=None,
                position_ids=pack.position_1T,
                position_embeddings=rotary,
                use_cache=False,
                **pack.bounds,
            )
        return states_1TD

    def final(self, states_1TD: Tensor, at_n: Tensor) -> Tensor:
        """Normed states (n, D) at the given tokens: what the vocabulary's rows are multiplied
        with."""
        return self.model.model.norm(states_1TD[0, at_n])
