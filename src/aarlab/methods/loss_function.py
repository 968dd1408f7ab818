"""Loss functions that are robust to wrong weak labels."""

import numpy as np
from scipy.special import expit

from aarlab.core.records import Family
from aarlab.methods import parts
from aarlab.methods.method import Array, Task, method


@method(
    "confidence-loss",
    family=Family.LOSS_FUNCTION,
    cites="Burns et al. 2023, arXiv:2312.09390, eq. 1, with a linear ramp",
)
def confidence_loss(task: Task, seed: int, *, alpha: float = 0.5) -> Array:
    """(1 - a) CE(f, weak) + a CE(f, [f > t]), a ramped linearly to `alpha` over the phases of the
    fit."""
    return _with(task, seed, parts.auxiliary_confidence(alpha))


@method(
    "generalised-ce",
    family=Family.LOSS_FUNCTION,
    cites="Zhang & Sabuncu 2018, arXiv:1805.07836, eq. 6",
)
def generalised_ce(task: Task, seed: int, *, q: float = 0.7) -> Array:
    """(1 - p_y^q) / q."""
    return _with(task, seed, parts.generalised_cross_entropy(q))


def reverse_kl_loss(logits_N: Array, targets_N: Array, progress: float) -> tuple[Array, Array]:
    """KL(student || weak) = p log(p / y) + (1 - p) log((1 - p) / (1 - y)), which seeks one mode
    instead of covering all.

    Its slope in the logit is p (1 - p) (logit - logit of y). Targets are kept 0.02 away from 0 and
    1.
    """
    del progress
    y_N = np.clip(targets_N, 0.02, 0.98)
    p_N = np.clip(expit(logits_N), 1e-9, 1 - 1e-9)
    value_N = p_N * np.log(p_N / y_N) + (1 - p_N) * np.log((1 - p_N) / (1 - y_N))
    return value_N, p_N * (1 - p_N) * (np.log(p_N / (1 - p_N)) - np.log(y_N / (1 - y_N)))


@method(
    "reverse-kl",
    family=Family.LOSS_FUNCTION,
    cites="Yao et al. 2025, arXiv:2502.11107: reverse KL for weak-to-strong",
)
def reverse_kl(task: Task, seed: int) -> Array:
    """KL(student || weak)."""
    return _with(task, seed, reverse_kl_loss)


def _with(task: Task, seed: int, loss: parts.Loss) -> Array:
    return parts.learn(task, parts.harden(task.weak_probs_N), seed, loss=loss)
