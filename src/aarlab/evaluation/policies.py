"""What a submitter is told about a score. The ledger keeps the exact score; a policy decides what leaves.

A policy has two methods and no state of its own: its state is the told level, which the ledger remembers.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from aarlab.core.registry import Registry


@dataclass(frozen=True)
class Told:
    """What is told: whether the score improved on the level, and the level afterwards (accuracy)."""

    improved: bool
    level: float


class Policy(Protocol):
    """Legend: n items of the split."""

    def start(self, baseline: float, n: int) -> float:
        """The level before any submission, from the public baseline's accuracy."""

    def tell(self, accuracy: float, level: float, n: int) -> Told:
        """The answer to a submission with this exact accuracy when the told level is `level`."""


POLICIES: Registry[Policy] = Registry("policy")


def step(n: int) -> float:
    """One standard error of an accuracy of one half over n items."""
    return 0.5 / math.sqrt(n)


class Ladder:
    """Fixed-step Ladder (Blum & Hardt 2015, arXiv:1502.04585, algorithm 1), one for the whole campaign.

    A score is told only when it exceeds the level by a whole step; then the level becomes the score rounded DOWN to the
    grid of steps, so the level never exceeds an accuracy that was really reached on `feedback`.
    """

    def start(self, baseline: float, n: int) -> float:
        return on_grid(baseline, n)

    def tell(self, accuracy: float, level: float, n: int) -> Told:
        if accuracy < level + step(n) - 1e-12:
            return Told(improved=False, level=level)
        return Told(improved=True, level=max(on_grid(accuracy, n), level))


class Exact:
    """Tells the exact score of every submission: what the published release did. It leaks every label in n queries;
    for comparison only."""

    def start(self, baseline: float, n: int) -> float:
        del n
        return baseline

    def tell(self, accuracy: float, level: float, n: int) -> Told:
        del n
        return Told(improved=accuracy > level, level=accuracy)


def on_grid(accuracy: float, n: int) -> float:
    """Rounded down to a multiple of the step."""
    return math.floor(accuracy / step(n) + 1e-9) * step(n)


POLICIES.add("ladder")(Ladder())
POLICIES.add("exact")(Exact())
