"""Confidence weighting: every pair stays, unsure labels count less."""

from aarlab.core.records import Family
from aarlab.methods import parts
from aarlab.methods.method import Array, Task, method


@method(
    "confidence-weighting",
    family=Family.CONFIDENCE_WEIGHTING,
    cites="Natarajan et al. 2013 weigh by label reliability",
)
def confidence_weighting(task: Task, seed: int, *, power: float = 1.0) -> Array:
    """Hard weak labels with weight |2p - 1| ** power."""
    weights_N = parts.confidence_weights(task.weak_probs_N, power)
    return parts.learn(task, parts.harden(task.weak_probs_N), seed, weights_N=weights_N)
