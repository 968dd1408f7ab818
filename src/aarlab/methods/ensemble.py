"""Ensembles: of heads (bagging) and of annotators (a noisy-channel posterior by EM)."""

import numpy as np

from aarlab.core.records import Family
from aarlab.methods import parts
from aarlab.methods.method import Array, Task, method


@method("bagging", family=Family.ENSEMBLE, cites="Breiman 1996, Bagging predictors")
def bagging(task: Task, seed: int, *, heads: int = 8) -> Array:
    """Mean probability of heads fitted on bootstrap samples of the weakly labelled pairs."""
    student, test = parts.represent(task)
    return parts.bagged(student, parts.harden(task.weak_probs_N), test, seed, heads=heads)


@method(
    "noisy-channel",
    family=Family.ENSEMBLE,
    cites="Dawid & Skene 1979: EM over annotators with unknown error rates",
)
def noisy_channel(task: Task, seed: int) -> Array:
    """Train on the EM posterior of the teacher, the student's zero-shot judgement, and a head on
    the teacher's labels of other items (cross-fitted, so that it does not repeat the teacher's vote
    on this one)."""
    student, _ = parts.represent(task)
    zero_shot_logit_N, own_N = (
        task.student.zero_shot_logit_N,
        parts.cross_fit(student, parts.harden(task.weak_probs_N), seed),
    )
    votes_KN = np.stack(
        [task.weak_probs_N > 0.5, zero_shot_logit_N > np.median(zero_shot_logit_N), own_N > 0.5]
    )
    return parts.learn(task, parts.noisy_channel(votes_KN), seed)
