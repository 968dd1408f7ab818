"""Curricula: what is learned first, and what is left out on the way."""

from aarlab.core.records import Family
from aarlab.methods import parts
from aarlab.methods.method import Array, Task, method


@method("easy-to-hard", family=Family.CURRICULUM, cites="Bengio et al. 2009, Curriculum learning")
def easy_to_hard(task: Task, seed: int) -> Array:
    """Train on the surest labels, relabel the unsure ones by the head so far, and widen."""
    student, _ = parts.represent(task)
    return parts.learn(task, parts.harden(parts.curriculum(student, task.weak_probs_N)), seed)


@method("co-teaching", family=Family.CURRICULUM, cites="Han et al. 2018, arXiv:1804.06872")
def co_teaching(task: Task, seed: int, *, drop: float = 0.3) -> Array:
    """Two heads drop each other's pairs of largest loss."""
    student, _ = parts.represent(task)
    labels_N = parts.harden(task.weak_probs_N)
    return parts.learn(
        task, labels_N, seed, keep=parts.co_teaching(student, labels_N, seed, drop=drop)
    )
