"""The plain way: transformers and peft as they come, padding, a mask, and logits of the whole
vocabulary everywhere."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from aarlab.models.preset import Recipe
from aarlab.models.student_contract import Question
from aarlab.models.tuned import lean_lora
from aarlab.models.tuned.tokens import Tokenised
from aarlab.models.tuned.tunable import Tunable

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "red",
    "mat",
    "while",
    "two",
    "dogs",
    "ran",
    "home",
    "over",
    "green",
    "hills",
]


def questions(count: int, seed: int = 0) -> list[Question]:
    draw = np.random.default_rng(seed)

    def text() -> str:
        return " ".join(draw.choice(WORDS, int(draw.integers(1, 30))))

    return [Question(text(), (text(), text())) for _ in range(count)]


def texts(asked: Sequence[Question]) -> list[str]:
    return [t for q in asked for t in (q.question, *q.choices)]


def random_adapters(tunable: Tunable, recipe: Recipe, seed: int = 0) -> PeftModel:
    """Adapters that do something: peft's own start leaves B at zero."""
    adapted = tunable.engine.attach(recipe)
    lean_lora.reset(adapted, seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, matrix in adapted.named_parameters():
            if "lora_B" in name:
                matrix.copy_(0.1 * torch.randn(matrix.shape, generator=draw))
    return adapted


def plain_model(folder: Path, adapters: Path, dtype: torch.dtype = torch.float32) -> PeftModel:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
    # of peft's own use of a name that transformers is about to drop
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", category=FutureWarning, message=".*is_gradient_checkpointing"
        )
        return PeftModel.from_pretrained(model, str(adapters), is_trainable=True)


def padded(rows: Sequence[NDArray], filler: int) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[*map(int, r), *[filler] * (width - len(r))] for r in rows])
    return ids, torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows])


def label_rows(model: torch.nn.Module, tokens: Tokenised) -> Tensor:
    """Logits (N, V) after each prompt."""
    ids, mask = padded(tokens.ids, tokens.eos_id)
    return model(input_ids=ids, attention_mask=mask).logits[
        torch.arange(len(tokens)), mask.sum(1) - 1
    ]


def study_loss(
    model: torch.nn.Module, tokens: Tokenised, hard_N: NDArray, weights_N: NDArray | None = None
) -> Tensor:
    """Cross-entropy over the vocabulary at the label word and the end, mean over the label tokens;
    labels are 0 or 1."""
    words = [tokens.label_ids[int(t)] for t in hard_N]
    ids, mask = padded(
        [[*i, w, tokens.eos_id] for i, w in zip(tokens.ids, words, strict=True)], tokens.eos_id
    )
    labels = torch.full_like(ids, -100)
    for n, prompt in enumerate(tokens.ids):
        labels[n, len(prompt)], labels[n, len(prompt) + 1] = words[n], tokens.eos_id
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    each = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels[:, 1:], reduction="none"
    )
    share_N = (
        torch.ones(len(tokens))
        if weights_N is None
        else torch.tensor(weights_N / weights_N.mean()).float()
    )
    return (each.sum(1) * share_N).sum() / (2 * len(tokens))


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    """Of every adapter matrix, by its name."""
    return {
        n: p.grad.clone()
        for n, p in model.named_parameters()
        if p.requires_grad and p.grad is not None
    }


def furthest(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Largest difference, over the largest entry of the same matrix."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[n] - theirs[n]).abs().max() / theirs[n].abs().max()) for n in ours)
