"""Distillation: learn from the teacher's confidence, not only from its hard labels."""

import numpy as np
from scipy.special import expit, logit

from aarlab.core.records import Family
from aarlab.methods import parts
from aarlab.methods.method import Array, Task, method


def softened(probs_N: Array, temperature: float) -> Array:
    """sigmoid(logit(p) / T): Hinton, Vinyals & Dean 2015 (arXiv:1503.02531), eq. 1, for two
    classes."""
    return expit(logit(np.clip(probs_N, parts.EPS, 1 - parts.EPS)) / temperature)


@method(
    "distillation",
    family=Family.DISTILLATION,
    cites="Hinton, Vinyals & Dean 2015, arXiv:1503.02531",
)
def distillation(task: Task, seed: int, *, temperature: float = 2.0) -> Array:
    """Train on the teacher's softened probabilities."""
    return parts.learn(task, softened(task.weak_probs_N, temperature), seed)


@method(
    "product-of-experts",
    family=Family.DISTILLATION,
    cites="Hinton 2002, Training products of experts, section 2",
)
def product_of_experts(task: Task, seed: int, *, trust: float = 1.0) -> Array:
    """Train on weak logit plus `trust` times the student's standardised zero-shot logit."""
    return parts.learn(task, parts.product_labels(task, trust), seed)
