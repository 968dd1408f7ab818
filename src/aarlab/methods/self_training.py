"""Self-training: the student's own cross-fitted predictions replace the weak labels, round by
round."""

from aarlab.core.records import Family
from aarlab.methods import parts
from aarlab.methods.method import Array, Task, method


@method(
    "self-training", family=Family.SELF_TRAINING, cites="Lee 2013, Pseudo-Label (ICML workshop)"
)
def self_training(task: Task, seed: int, *, rounds: int = 2) -> Array:
    """labels <- [cross-fitted p > 0.5], `rounds` times; then train on them."""
    student, _ = parts.represent(task)
    labels_N = parts.self_trained_labels(
        student, parts.harden(task.weak_probs_N), seed, rounds=rounds
    )
    return parts.learn(task, labels_N, seed)
