"""The study's fine-tuning in packs: the same items a step, the same mean, clip and schedule; only
the order of sums differs.

Legend: N items, b items of a step, n items of a pack, S steps.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aarlab.models.tuned import lean_lora, losses
from aarlab.models.tuned.base_model import Batch, batch
from aarlab.models.tuned.checkpoint import JobCheckpoint
from aarlab.models.tuned.job import Rows, TrainingJob, rate_share
from aarlab.models.tuned.packed_model import PackedEngine
from aarlab.models.tuned.packing import pack


class TrainingStep(NamedTuple):
    """Reported after each step: steps done, of how many, the step's loss, tokens a second since
    the start or the kill."""

    step: int
    of: int
    loss: float
    tokens_per_s: float


@dataclass(frozen=True)
class Trained:
    """The losses of all steps; the tokens trained on since the start or the kill, and the seconds
    that took."""

    loss_S: list[float]
    tokens: int
    seconds: float


def train(
    engine: PackedEngine,
    job: TrainingJob,
    checkpoint: JobCheckpoint | None,
    every_s: float,
    progress: Callable[[TrainingStep], None],
) -> Trained:
    """Train the attached adapters from where they are, or from where the checkpoint is."""
    assert engine.adapted is not None
    adapters, recipe, steps = lean_lora.trained(engine.adapted), job.recipe, job.steps()
    fused = engine.base.device.type == "cuda"
    optimiser = torch.optim.AdamW(
        adapters, lr=recipe.rate, weight_decay=recipe.weight_decay, fused=fused
    )
    done, loss_S = (checkpoint and checkpoint.read(adapters, optimiser)) or (0, [])
    began = written = time.monotonic()
    tokens = 0
    for step, rows in enumerate(steps[done:], start=done):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * rate_share(step, len(steps), recipe.warmup)
        loss_S.append(gradients(engine, job, rows, progress=(step + 1) / len(steps)))
        torch.nn.utils.clip_grad_norm_(adapters, recipe.clip)
        optimiser.step()
        tokens += sum(len(job.items[i]) for i in rows)
        now = time.monotonic()
        if checkpoint and (now - written >= every_s or step + 1 == len(steps)):
            checkpoint.write(step + 1, adapters, optimiser, loss_S)
            written = time.monotonic()
        progress(TrainingStep(step + 1, len(steps), loss_S[-1], tokens / max(now - began, 1e-9)))
    return Trained(loss_S, tokens, time.monotonic() - began)


def gradients(engine: PackedEngine, job: TrainingJob, rows: Rows, *, progress: float) -> float:
    """Leave the gradient of the step's loss in the adapters, and return the loss; restarted when
    memory runs out."""
    while (loss := _attempt(engine, job, rows, progress)) is None:
        pass
    return loss


def _attempt(engine: PackedEngine, job: TrainingJob, rows: Rows, progress: float) -> float | None:
    assert engine.adapted is not None
    engine.adapted.zero_grad(set_to_none=True)
    packs = pack([len(job.items[i]) for i in rows], engine.pack_tokens)
    criterion = _criterion(engine, job, rows, len(packs) == 1, progress)
    parts: list[Tensor] = []
    for chosen in packs:
        items = [job.items[i] for i in rows[chosen]]
        if not engine.fits(
            lambda chosen=chosen: parts.append(_backward(engine, job, rows, chosen, criterion)),
            items,
        ):
            return None
    return float(torch.stack(parts).sum())


# logits (n,), and which of the step's items they are -> loss (n,)
Criterion = Callable[[Tensor, list[int]], Tensor]


def _backward(
    engine: PackedEngine, job: TrainingJob, rows: Rows, chosen: list[int], criterion: Criterion
) -> Tensor:
    """Add a pack's gradient to the adapters'; its part of the step's loss."""
    head_VD, tokens, weight = engine.base.head_VD, job.tokens, job.recipe.format_weight
    items = [job.items[i] for i in rows[chosen]]
    packed = batch(items, engine.base.device)
    after_n = packed.ends_n
    at_n = torch.cat([after_n - 1, after_n]) if weight else after_n
    final = engine.final(packed, at_n)
    words_n2 = losses.word_logits(final[: len(items)], head_VD, tokens.label_ids)
    loss_n = criterion(words_n2[:, 1] - words_n2[:, 0], chosen)
    if weight:
        end_nD, word_nD = final.chunk(2)
        loss_n = loss_n + weight * losses.format_loss(
            end_nD, word_nD, head_VD, words_n2, tokens.eos_id
        )
    loss = (loss_n * torch.from_numpy(job.shares(rows)[chosen]).to(loss_n)).sum()
    loss.backward()
    return loss.detach()


def _criterion(
    engine: PackedEngine, job: TrainingJob, rows: Rows, single: bool, progress: float
) -> Criterion:
    """The loss of the label. A method's own sees all of the step's logits, so that in a step of
    several packs they are read once without gradients beforehand."""
    targets_b = job.targets_N[rows]
    if (own := job.loss) is None:
        return lambda z_n, chosen: losses.cross_entropy(
            z_n, torch.from_numpy(targets_b[chosen]).to(z_n)
        )
    ahead_b = None if single else _logits(engine, job, rows)
    answered: list[tuple[Tensor, Tensor]] = []

    def criterion(z_n: Tensor, chosen: list[int]) -> Tensor:
        if not answered:
            z_b = z_n.detach()[np.argsort(chosen)] if ahead_b is None else ahead_b
            answered.append(losses.asked(own, z_b, targets_b, progress))
        value_n, slope_n = (part_b[chosen] for part_b in answered[0])
        return value_n + slope_n * (z_n - z_n.detach())

    return criterion


def _logits(engine: PackedEngine, job: TrainingJob, rows: Rows) -> Tensor:
    items, logits_b = (
        [job.items[i] for i in rows],
        torch.zeros(len(rows), device=engine.base.device),
    )

    def read(at: list[int], packed: Batch) -> None:
        end_n = packed.ends_n - (1 if job.recipe.format_weight else 0)
        words_n2 = losses.word_logits(
            engine.final(packed, end_n), engine.base.head_VD, job.tokens.label_ids
        )
        logits_b[at] = words_n2[:, 1] - words_n2[:, 0]

    engine.over_packs(items, read)
    return logits_b
