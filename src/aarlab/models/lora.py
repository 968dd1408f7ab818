"""LoRA fine-tuning of the small preset's student: the slow alternative to a head on frozen states.

Every choice gets a score, a linear function of its last hidden state; a pair's logit is the difference of its scores, a single
choice's logit its score. Adapters (Hu et al. 2021, arXiv:2106.09685) are on all linear maps of the blocks; the weights under
them are bfloat16. Legend: N training items, M test items, C choices an item, b items of a batch.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aarlab.models.smollm import BAD, GOOD, MAX_SNIPPET_TOKENS, PREFIX, START, SUFFIX

Progress = Callable[[int, int], None]
Asked = Sequence[tuple[str, tuple[str, ...]]]  # (question, choices) of each item
LINEAR_MAPS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class LoraSpec:
    """Rank and alpha of the adapters, and AdamW with a linear warm-up (10 %) and decay."""

    rank: int = 16
    alpha: int = 32
    rate: float = 5e-4
    epochs: int = 1
    batch: int = 16
    seed: int = 0


class Scorer(nn.Module):
    """The student under adapters and a scoring head. It begins as the zero-shot judgement of pairs, and at zero for choices."""

    def __init__(self, weights: Path, spec: LoraSpec) -> None:
        import transformers
        from peft import LoraConfig, get_peft_model

        super().__init__()
        transformers.utils.logging.disable_progress_bar()
        tokenizer = transformers.AutoTokenizer.from_pretrained(weights)
        model = transformers.LlamaForCausalLM.from_pretrained(weights, dtype=torch.bfloat16)
        config = LoraConfig(r=spec.rank, lora_alpha=spec.alpha, target_modules=LINEAR_MAPS, lora_dropout=0.0)
        self.encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
        good, bad = (model.lm_head.weight[self.encode(word)[0]].detach().float() for word in (GOOD, BAD))
        with warnings.catch_warnings():  # of peft's own use of a name that transformers is about to drop
            warnings.filterwarnings("ignore", category=FutureWarning, message=".*is_gradient_checkpointing")
            self.body = get_peft_model(model.model, config)
        self.pair_head = nn.Parameter(good - bad)
        self.choice_head = nn.Parameter(torch.zeros_like(good))

    def rows(self, asked: Asked) -> list[list[int]]:
        """Token ids of every choice of every item, in order."""
        prefix, suffix = self.encode(PREFIX.rstrip()), self.encode(SUFFIX)
        rows = []
        for question, choices in asked:
            if len(choices) == 2:
                rows += [prefix + self.encode(" " + c)[:MAX_SNIPPET_TOKENS] + suffix for c in choices]
            else:
                rows.append([START, *self.encode(f"{question}\n{choices[0]}\n")])
        return rows

    def forward(self, asked: Asked) -> Tensor:
        """Logits (b,) that the label is 1."""
        rows = self.rows(asked)
        width = max(map(len, rows))
        padded = torch.tensor([r + [0] * (width - len(r)) for r in rows])
        states = self.body(input_ids=padded, use_cache=False).last_hidden_state
        last = states[torch.arange(len(rows)), torch.tensor([len(r) - 1 for r in rows])].float()
        if len(asked[0][1]) == 2:
            score_b2 = (last @ self.pair_head).view(-1, 2)
            return score_b2[:, 1] - score_b2[:, 0]
        return last @ self.choice_head


def fine_tune(
    student: Asked, targets_N: NDArray[np.float64], test: Asked, *, weights: Path, spec: LoraSpec, progress: Progress
) -> NDArray[np.float64]:
    """Probabilities (M,) of label 1 for `test`, after training on soft targets in 0..1."""
    torch.manual_seed(spec.seed)
    scorer = Scorer(weights, spec)
    trained = [p for p in scorer.parameters() if p.requires_grad]
    batches = _batches(len(student), spec)
    optimiser = torch.optim.AdamW(trained, lr=spec.rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate_share(step, len(batches)))
    for step, rows in enumerate(batches):
        logits = scorer([student[i] for i in rows])
        loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(targets_N[rows], dtype=torch.float32))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
        progress(step + 1, len(batches))
    scorer.body = scorer.body.merge_and_unload()  # the answers need no gradient: plain bfloat16 is several times faster
    return _probabilities(scorer.eval(), test)


def _batches(items: int, spec: LoraSpec) -> list[NDArray[np.intp]]:
    draw = np.random.default_rng(spec.seed)
    return [b for _ in range(spec.epochs) for b in np.array_split(draw.permutation(items), -(-items // spec.batch))]


def _rate_share(step: int, steps: int) -> float:
    """Linear up over the first tenth, then linear down to zero."""
    warm = max(1, steps // 10)
    return (step + 1) / warm if step < warm else max(0.0, (steps - step) / (steps - warm))


def _probabilities(scorer: Scorer, test: Asked, batch: int = 16) -> NDArray[np.float64]:
    """Items of similar length together; answers in the given order."""
    order = sorted(range(len(test)), key=lambda i: -sum(map(len, test[i][1])))
    probs_M = np.zeros(len(test))
    with torch.inference_mode():
        for at in range(0, len(order), batch):
            some = order[at : at + batch]
            probs_M[some] = torch.sigmoid(scorer([test[i] for i in some])).double().numpy()
    return probs_M
