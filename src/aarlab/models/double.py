"""A deterministic double of the student: it hashes words into features and needs no weights. For
tests and examples.

The generated problem that goes with it writes "good1".."good9" and "bad1".."bad9" among neutral
words, so that the sum of values is a latent fact which deeper layers show more cleanly, as in a
real model. Legend: T snippets, L layers, D width.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LAYERS = (1, 8, 12, 16, 20, 24)
TEACHER_LAYER = 1
WIDTH = 24
# standard deviation, in units of the latent value
NOISE = {1: 6.0, 8: 3.0, 12: 2.0, 16: 1.0, 20: 1.2, 24: 1.5}
# of a second double, which sees best elsewhere
OTHER_NOISE = {1: 7.0, 8: 1.2, 12: 1.2, 16: 1.5, 20: 1.8, 24: 2.0}


def value_of(text: str) -> float:
    """The latent favourability: the sum of its words' values."""
    words = [w for w in text.split() if w[:-1] in {"good", "bad"} and w[-1] in "123456789"]
    return float(sum((1 if w[0] == "g" else -1) * int(w[-1]) for w in words))


def features(
    texts: Sequence[str], *, other: bool = False
) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Hidden states (L, T, D) and zero-shot logits (T,), functions of the texts alone; `other`:
    as a second double sees them, whose noise has nothing to do with the first one's."""
    noise_of, salt = (OTHER_NOISE, "other ") if other else (NOISE, "")
    hidden_LTD = np.zeros((len(LAYERS), len(texts), WIDTH), np.float16)
    zero_shot_logit_T = np.zeros(len(texts), np.float32)
    for t, text in enumerate(texts):
        rng = np.random.default_rng(
            int.from_bytes(hashlib.sha256(f"{salt}{text}".encode()).digest()[:8], "big")
        )
        noise_LD = rng.normal(size=(len(LAYERS), WIDTH))
        for n, layer in enumerate(LAYERS):
            hidden_LTD[n, t] = noise_LD[n]
            hidden_LTD[n, t, 0] += value_of(text) / noise_of[layer] / 2
        zero_shot_logit_T[t] = value_of(text) / 3 + rng.normal() * 1.5
    return hidden_LTD, zero_shot_logit_T
