"""The frozen trainer: an interpolated model of the next byte (Witten and Bell 1991). What it learns
depends on the documents alone, and not on their order."""

import math
from collections import defaultdict

ORDER = 4  # bytes of context, at most


def train(documents):
    """How often each byte follows each context of 0 to ORDER bytes; `documents` are texts."""
    counts = defaultdict(lambda: defaultdict(int))
    for document in documents:
        data = document.encode()
        for at, byte in enumerate(data):
            for length in range(min(at, ORDER) + 1):
                counts[data[at - length : at]][byte] += 1
    return {context: (sum(after.values()), dict(after)) for context, after in counts.items()}


def bits_per_byte(model, document):
    """-log2 of the probability of a document, per byte of it. With T kinds of bytes in the n that
    follow a context, a shorter context has the weight T / (n + T)."""
    data, bits = document.encode(), 0.0
    for at, byte in enumerate(data):
        chance = 1 / 256
        for length in range(min(at, ORDER) + 1):
            found = model.get(data[at - length : at])
            if found is None:
                break  # nor do longer ones occur
            count, after = found
            chance = (after.get(byte, 0) + len(after) * chance) / (count + len(after))
        bits -= math.log2(chance)
    return bits / len(data)
