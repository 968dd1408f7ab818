"""Unsupervised elicitation: use the student's own knowledge without trusting a label.
(`elicitation`, the baseline by mutual predictability, is in `baselines.py`.)"""

import numpy as np
from scipy.special import expit

from aarlab.core.records import Family
from aarlab.methods import parts
from aarlab.methods.method import Array, Task, method


def top_component(contrast_ND: Array) -> Array:
    """The direction (D,) along which contrasts vary most about zero: the top right singular
    vector."""
    _, vectors = np.linalg.eigh(contrast_ND.T @ contrast_ND)
    return vectors[:, -1]


@method(
    "contrast-consistency",
    family=Family.UNSUPERVISED_ELICITATION,
    cites=(
        "Burns, Ye, Klein & Steinhardt 2022, arXiv:2212.03827, section 2 and appendix G.1 (CRC-TPC)"
    ),
)
def contrast_consistency(task: Task, seed: int) -> Array:
    """Top component of the contrasts second - first, which is consistent by construction:
    p(swapped) = 1 - p. Weak labels choose its sign and nothing else."""
    del seed
    student, test = parts.represent(task)
    contrast_ND, contrast_MD = (pairs[:, 1] - pairs[:, 0] for pairs in (student, test))
    direction_D = top_component(contrast_ND)
    score_N = contrast_ND @ direction_D
    sign = 1 if np.dot(score_N, task.weak_probs_N - 0.5) > 0 else -1
    return expit(sign * (contrast_MD @ direction_D) / score_N.std())
