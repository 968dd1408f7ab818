"""LoRA (Hu et al. 2021, arXiv:2106.09685), rank-stabilised (Kalajdzievski 2023, arXiv:2312.03732),
as peft keeps it, run lean.

peft's own forward turns the layer's input into float32, the adapters' type, and adds the product in
two more passes; here the adapters are float32 masters that are rounded to the computation's type,
and the sum is part of the matrix product.
"""

import math
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Linear
from torch import Tensor, nn
from transformers import PreTrainedModel

from aarlab.core.errors import Misconfigured
from aarlab.models.preset import Recipe

ADAPTER = "default"


class LeanLinear(Linear):
    """peft's LoRA layer with another forward: no dropout, one adapter, never merged."""

    def forward(self, x: Tensor) -> Tensor:
        """The frozen map's answer plus the adapter's."""
        base = self.base_layer(x)
        if self.disable_adapters:
            return base
        down_rD, up_Er = (matrix.to(x.dtype) for matrix in self.matrices())
        low = nn.functional.linear(x, down_rD).flatten(0, -2)
        return torch.addmm(base.flatten(0, -2), low, up_Er.T, alpha=self.scaling[ADAPTER]).view_as(
            base
        )

    def matrices(self) -> tuple[Tensor, Tensor]:
        """A (r, D) and B (E, r) of the adapter: what goes down to rank r, and up again."""
        down_rD, up_Er = (m[ADAPTER].weight for m in (self.lora_A, self.lora_B))
        assert isinstance(down_rD, Tensor)
        assert isinstance(up_Er, Tensor)
        return down_rD, up_Er


def attach(model: PreTrainedModel, recipe: Recipe) -> PeftModel:
    """The model under the recipe's adapters.

    Raises:
        Misconfigured: the model has no linear map of one of the recipe's names.
    """
    names = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }
    if missing := sorted(set(recipe.targets) - names):
        raise Misconfigured(
            f"The model has no linear map {missing}; it has {sorted(names)}. Change targets.",
            missing=missing,
        )
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        use_rslora=True,
        target_modules=list(recipe.targets),
        task_type="CAUSAL_LM",
    )
    # of peft's own use of a name that transformers is about to drop
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", category=FutureWarning, message=".*is_gradient_checkpointing"
        )
        adapted = get_peft_model(model, config, adapter_name=ADAPTER)
    for module in adapted.modules():
        if type(module) is Linear:
            module.__class__ = LeanLinear
    return adapted


def reset(adapted: PeftModel, seed: int) -> None:
    """The start that peft gives: A uniform (Kaiming), B zero. Drawn on the CPU, so that every
    device starts alike."""
    draw = torch.Generator().manual_seed(seed)
    for module in adapted.modules():
        if isinstance(module, LeanLinear):
            down_rD, up_Er = module.matrices()
            start = torch.empty(down_rD.shape)
            nn.init.kaiming_uniform_(start, a=math.sqrt(5), generator=draw)
            with torch.no_grad():
                down_rD.copy_(start)
                up_Er.zero_()
                down_rD.grad = up_Er.grad = None


def trained(adapted: PeftModel) -> list[nn.Parameter]:
    """The adapters' matrices, in the model's order."""
    return [p for p in adapted.parameters() if p.requires_grad]


def save(adapted: PeftModel, folder: Path) -> Path:
    """Write the adapters in peft's format; `peft.PeftModel.from_pretrained(model, folder)` reads
    them."""
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    return folder
