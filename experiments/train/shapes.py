"""What a fine-tuning must compute at least, and what it computes the study's way, in FLOP.

Legend: N items, T tokens, D width, V vocabulary; FLOP of a token count two for a multiply-add.
"""

import numpy as np
from numpy.typing import NDArray

from aarlab.models.cost import KNOWN, Shape
from aarlab.models.preset import Recipe

LABEL_POSITIONS = 2  # of an item: its label word, then the end of the text
# measured bf16 matrix products of 8192 x 8192 x 8192 on random data (the datasheet says 989e12)
H200_FLOPS = 790e12

QWEN3_4B = KNOWN["Qwen/Qwen3-4B-Base"]
QWEN15_05B = KNOWN["Qwen/Qwen1.5-0.5B-Chat"]
# 5.5 M weights; the head is a tenth of them, as in the 4B
TINY = Shape(6, 256, 864, 8, 2, 32, 2048, tied=True)
SMALLEST = Shape(2, 64, 160, 4, 2, 16, 512, tied=True)


def context(lengths_N: NDArray[np.int64]) -> float:
    """E[T^2] / E[T]: what attention costs a token grows with it."""
    lengths = lengths_N.astype(np.float64)
    return float(np.square(lengths).sum() / lengths.sum())


def attention_flop(shape: Shape, context: float) -> float:
    """Of the attention of one token in one forward pass: two products with half the context on
    average, as it is causal. `context` is E[T^2] / E[T] of the items, in tokens."""
    return 4 * shape.heads * shape.head_width * (context / 2) * shape.layers


def forward_flop(shape: Shape, context: float, adapters: int = 0) -> float:
    """Of one token in a forward pass; the head, read at two positions an item, adds less than a
    thousandth."""
    return 2 * (shape.linear + adapters) + attention_flop(shape, context)


def training_flop(shape: Shape, recipe: Recipe, context: float) -> float:
    """Of one token forward and backward: frozen maps twice the forward's, as they need no gradient
    of weights; adapters and attention three times."""
    return 4 * shape.linear + 6 * shape.adapters(recipe) + 3 * attention_flop(shape, context)


def needed(shape: Shape, recipe: Recipe, lengths_N: NDArray[np.int64]) -> float:
    """Of forward and backward over the items, the base frozen, the head at label positions."""
    # its logits, and gradients through it
    head = 4.0 * shape.width * shape.vocabulary * LABEL_POSITIONS * len(lengths_N)
    return float(lengths_N.sum()) * training_flop(shape, recipe, context(lengths_N)) + head


def the_studys_way(shape: Shape, recipe: Recipe, lengths_N: NDArray[np.int64], batch: int) -> float:
    """Of the same with batches padded to their longest item, the head at every position and every
    layer recomputed."""
    parts = [lengths_N[at : at + batch] for at in range(0, len(lengths_N), batch)]
    padded_N = np.concatenate([np.full(len(part), part.max()) for part in parts])
    again = forward_flop(shape, context(padded_N), shape.adapters(recipe))
    each = (
        training_flop(shape, recipe, context(padded_N))
        + again
        + 4.0 * shape.width * shape.vocabulary
    )
    return float(padded_N.sum()) * each
