"""A fine-tuning as data: what is trained on what, in which order, at which rate.

Legend: N items, b items of a step, S steps.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aarlab.models.head_training import Array, Loss
from aarlab.models.preset import Recipe
from aarlab.models.tuned.tokens import Ids, Tokenised

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class TrainingJob:
    """What is trained on what. With a format weight an item is read with its likelier label word
    behind it."""

    tokens: Tokenised
    targets_N: Array
    weights_N: Array
    recipe: Recipe
    seed: int
    loss: Loss | None
    items: list[Ids] = field(init=False)

    def __post_init__(self) -> None:
        said = [
            [self.tokens.label_ids[int(t > 0.5)]] if self.recipe.format_weight else []
            for t in self.targets_N
        ]
        items = [
            np.array([*ids, *word], np.int32)
            for ids, word in zip(self.tokens.ids, said, strict=True)
        ]
        object.__setattr__(self, "items", items)

    def steps(self) -> list[Rows]:
        """The items of each step: every epoch once through all in an order of its own; an epoch's
        last step may be smaller."""
        draw, size, N = np.random.default_rng(self.seed), self.recipe.batch, len(self.items)
        orders = [draw.permutation(N) for _ in range(self.recipe.epochs)]
        return [order[at : at + size] for order in orders for at in range(0, N, size)]

    def shares(self, rows: Rows) -> Array:
        """(b,): what each item's loss counts in its step: the mean over label tokens, times weight
        over mean weight."""
        return (
            self.weights_N[rows]
            / self.weights_N.mean()
            / (len(rows) * (1 + self.recipe.format_weight))
        )


def rate_share(step: int, steps: int, warmup: float) -> float:
    """Of the full rate at a step: linear from 0 over the first ceil(warmup * steps), then linear to
    0 at the end."""
    warm = math.ceil(warmup * steps)
    return step / warm if step < warm else (steps - step) / (steps - warm)
