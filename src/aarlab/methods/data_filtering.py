"""Data filtering: train on the pairs whose weak label is likely right."""

import numpy as np

from aarlab.core.records import Family
from aarlab.methods import parts
from aarlab.methods.method import Array, Task, method


@method("overlap-density", family=Family.DATA_FILTERING, cites="Shin et al. 2024, arXiv:2412.03881")
def overlap_density(task: Task, seed: int, *, share: float = 0.7) -> Array:
    """Keep the pairs whose label agrees most with those of their nearest neighbours in the
    student's representation."""
    student, _ = parts.represent(task)
    keep = parts.dense(student, task.weak_probs_N, share=share)
    return parts.learn(task, parts.harden(task.weak_probs_N), seed, keep=keep)


@method(
    "agreement",
    family=Family.DATA_FILTERING,
    cites="agreement of two views: Blum & Mitchell 1998, co-training",
)
def agreement(task: Task, seed: int) -> Array:
    """Keep the pairs on which the teacher and the student's zero-shot judgement agree."""
    zero_shot_logit_N = task.student.zero_shot_logit_N
    keep = parts.agreeing(task.weak_probs_N, (zero_shot_logit_N > 0).astype(np.float64))
    return parts.learn(task, parts.harden(task.weak_probs_N), seed, keep=keep)
