"""Do two ways of training compute the same? Differences with their limits; a run whose arms
disagree has measured nothing.

Legend: N items, S steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Difference:
    """One comparison of an arm with arm a. NaN never agrees."""

    arm: str
    what: str
    found: float
    limit: float

    @property
    def agrees(self) -> bool:
        return bool(self.found <= self.limit)


@dataclass(frozen=True)
class Limits:
    """Largest differences that rounding explains; a leak between neighbours is none that it
    does."""

    logits: float
    losses: float
    gradients: float
    leak: float = 0.0


FLOAT32 = Limits(logits=1e-4, losses=2e-5, gradients=1e-4)
BFLOAT16 = Limits(logits=5e-2, losses=5e-3, gradients=5e-2)


def of_logits(ours_N: Array, theirs_N: Array) -> float:
    """Largest difference as a share of the spread (standard deviation) of theirs."""
    return float(np.max(np.abs(ours_N - theirs_N)) / np.std(theirs_N))


def of_losses(ours_S: Sequence[float], theirs_S: Sequence[float]) -> float:
    """Largest relative difference of consecutive steps' losses.

    Raises:
        ValueError: they took different numbers of steps, so they did not do the same.
    """
    ours, theirs = np.asarray(ours_S, dtype=float), np.asarray(theirs_S, dtype=float)
    if ours.shape != theirs.shape:
        raise ValueError(f"One arm took {len(ours)} steps, the other {len(theirs)}.")
    return float(np.max(np.abs(ours - theirs) / np.abs(theirs)))


def of_gradients(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> float:
    """||ours - theirs|| / ||theirs|| over all adapters together.

    Raises:
        ValueError: the arms train different adapters.
    """
    if set(ours) != set(theirs):
        raise ValueError(
            f"The arms train different adapters: {sorted(set(ours) ^ set(theirs))[:4]}"
        )
    apart = sum(float(np.sum(np.square(ours[n].astype(np.float64) - theirs[n]))) for n in theirs)
    size = sum(float(np.sum(np.square(theirs[n].astype(np.float64)))) for n in theirs)
    return float(np.sqrt(apart / size)) if size else float("nan")
