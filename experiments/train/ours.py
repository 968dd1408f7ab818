"""The rungs: our fine-tuning with its savings switched on one after another.

Legend: N items, S steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft.tuners.lora import Linear
from torch.utils.checkpoint import checkpoint

from aarlab.models.preset import Hardware, Recipe
from aarlab.models.tuned import lean_lora
from aarlab.models.tuned.job import TrainingJob
from aarlab.models.tuned.tokens import Tokenised
from aarlab.models.tuned.training import gradients
from aarlab.models.tuned.tunable import Tunable
from experiments.train.clock import Steps
from experiments.train.original import Trained
from experiments.train.random_items import EOS, NO, YES, RandomItems

SEED = 1


@dataclass(frozen=True)
class Rung:
    """What is switched on; packing and logits at label positions always are."""

    what: str
    lean: bool = True
    recompute: bool = False
    compile: bool = False


RUNGS = {
    "b": Rung("packed, label logits; plain PEFT, layers recomputed", lean=False, recompute=True),
    "b1": Rung("the same, nothing recomputed", lean=False),
    "b2": Rung("lean LoRA"),
    "b3": Rung("compiled", compile=True),
}


class PlainLinear(lean_lora.LeanLinear):
    """peft's own forward, for comparison."""

    forward = Linear.forward


class Ours:
    """One rung. Every call of `train` begins from the same adapters, and takes the items in their
    order."""

    def __init__(
        self, folder: Path, recipe: Recipe, rung: Rung, *, device: str, dtype: str, pack_tokens: int
    ) -> None:
        self.what, self.device = rung.what, device
        self.recipe = recipe
        self.said: list[str] = []
        hardware = Hardware(dtype=dtype, pack_tokens=pack_tokens, compile=rung.compile)
        self.model = Tunable(folder, device=device, hardware=hardware, log=self.said.append)
        adapted = self.model.engine.attach(self.recipe)
        if not rung.lean:
            for module in adapted.modules():
                if isinstance(module, lean_lora.LeanLinear):
                    module.__class__ = PlainLinear
        # without it peft would compute the adapters in float32
        half = not rung.lean and dtype == "bfloat16"
        if rung.recompute or half:
            for layer in self.model.base.layers:
                layer.forward = _wrapped(layer.forward, device, recompute=rung.recompute, half=half)

    def start(self, folder: Path) -> Path:
        """The adapters that every training begins from, in PEFT's format."""
        lean_lora.reset(self.model.engine.attach(self.recipe), SEED)
        return self.model.save(folder)

    def save(self, folder: Path) -> Path:
        return self.model.save(folder)

    def train(self, items: RandomItems) -> Trained:
        job, steps = self._job(items), Steps(self.device)
        mark = lambda step: steps.mark()  # noqa: E731
        trained = self.model.fine_tune(
            job.tokens, job.targets_N, recipe=self.recipe, seed=SEED, progress=mark
        )
        return Trained(trained.loss_S, steps.seconds, self.recipe.batch)

    def gradients(self, items: RandomItems) -> dict[str, NDArray[np.float32]]:
        """Of every adapter as it stands, from one step over the items, before clipping; by PEFT's
        names."""
        job, adapted = self._job(items), self.model.engine.adapted
        gradients(self.model.engine, job, job.steps()[0], progress=0.0)
        return {
            n: p.grad.float().cpu().numpy()
            for n, p in adapted.named_parameters()
            if p.grad is not None
        }

    def logits(self, items: RandomItems) -> NDArray[np.float64]:
        return self.model.logits(_tokenised(items))

    def _job(self, items: RandomItems) -> TrainingJob:
        """The items, put so that the order which the seed draws is theirs."""
        blank = TrainingJob(
            _tokenised(items),
            np.zeros(len(items.ids)),
            np.ones(len(items.ids)),
            self.recipe,
            SEED,
            None,
        )
        back = np.argsort(np.concatenate(blank.steps()))
        tokens = blank.tokens.take(back.tolist())
        return TrainingJob(
            tokens,
            items.labels_N[back].astype(np.float64),
            blank.weights_N,
            self.recipe,
            SEED,
            None,
        )


def _tokenised(items: RandomItems) -> Tokenised:
    return Tokenised(items.ids, np.zeros(len(items.ids), dtype=bool), (NO, YES), EOS)


def _wrapped(
    forward: Callable[..., Any], device: str, *, recompute: bool, half: bool
) -> Callable[..., Any]:
    """A layer's forward under autocast, or run again in the backward pass."""

    def cast(*arguments: Any, **named: Any) -> Any:
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=half):
            return forward(*arguments, **named)

    return partial(checkpoint, cast, use_reentrant=False) if recompute else cast
