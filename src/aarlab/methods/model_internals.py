"""Model internals: a direction or a small subspace of the student's hidden states."""

from aarlab.core.records import Family
from aarlab.methods import parts
from aarlab.methods.method import Array, Task, method


@method(
    "difference-in-means",
    family=Family.MODEL_INTERNALS,
    cites="Marks & Tegmark 2023, arXiv:2310.06824",
)
def difference_in_means(task: Task, seed: int) -> Array:
    """Project on mean(second better) - mean(first better) under the weak labels."""
    del seed
    student, test = parts.represent(task)
    return parts.mean_difference(student, parts.harden(task.weak_probs_N), test)


@method(
    "low-rank-probe",
    family=Family.MODEL_INTERNALS,
    cites="principal components of the hidden states; Pearson 1901",
)
def low_rank_probe(task: Task, seed: int, *, rank: int = 32) -> Array:
    """A head on the top principal components of the student's hidden states."""
    del seed
    student, test = parts.represent(task, rank=rank)
    return parts.train(student, parts.harden(task.weak_probs_N)).probs(test)
