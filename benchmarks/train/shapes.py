"""What a fine-tuning must compute at least, and what it computes the study's way, in FLOP (aarlab.models.cost has the counts).

Legend: N items, T tokens, D width, V vocabulary.
"""

import numpy as np
from numpy.typing import NDArray

from aarlab.models.cost import KNOWN, Shape, forward_flop, training_flop
from aarlab.models.preset import Recipe

LABEL_POSITIONS = 2  # of an item: its label word, then the end of the text
H200_FLOPS = 790e12  # measured bf16 matrix products of 8192 x 8192 x 8192 on random data (the datasheet says 989e12)

QWEN3_4B = KNOWN["Qwen/Qwen3-4B-Base"]
QWEN15_05B = KNOWN["Qwen/Qwen1.5-0.5B-Chat"]
TINY = Shape(6, 256, 864, 8, 2, 32, 2048, tied=True)  # 5.5 M weights; the head is a tenth of them, as in the 4B
SMALLEST = Shape(2, 64, 160, 4, 2, 16, 512, tied=True)


def context(lengths_N: NDArray[np.int64]) -> float:
    """E[T^2] / E[T]: what attention costs a token grows with it."""
    lengths = lengths_N.astype(np.float64)
    return float(np.square(lengths).sum() / lengths.sum())


def needed(shape: Shape, recipe: Recipe, lengths_N: NDArray[np.int64]) -> float:
    """Of forward and backward over the items, the base frozen, the head at label positions."""
    head = 4.0 * shape.width * shape.vocabulary * LABEL_POSITIONS * len(lengths_N)  # its logits, and gradients through it
    return float(lengths_N.sum()) * training_flop(shape, recipe, context(lengths_N)) + head


def the_studys_way(shape: Shape, recipe: Recipe, lengths_N: NDArray[np.int64], batch: int) -> float:
    """Of the same with batches padded to their longest item, the head at every position and every layer recomputed."""
    parts = [lengths_N[at : at + batch] for at in range(0, len(lengths_N), batch)]
    padded_N = np.concatenate([np.full(len(part), part.max()) for part in parts])
    again = forward_flop(shape, context(padded_N), shape.adapters(recipe))
    each = training_flop(shape, recipe, context(padded_N)) + again + 4.0 * shape.width * shape.vocabulary
    return float(padded_N.sum()) * each
