"""Which wrong functions to take, so that no shallow count of their characters tells them from the right ones.

Mutants carry traces of how they were made: a rare constant, a `<=` too many. So among many mutants those are taken whose
mean n-gram counts are nearest to those of the right functions (moment matching, as in kernel herding of Welling 2009).

Legend: C candidates, G hashed n-grams.
"""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BUCKETS = 4_096
SIZES = (1, 2, 3, 4, 5)
SWEEPS = 4


def profiles(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors (C, G): which n-grams occur, the rarer the heavier, of unit length; and the two lengths of the text."""
    found_CG = np.zeros((len(texts), BUCKETS), np.float32)
    for row, text in zip(found_CG, texts, strict=True):
        row[_buckets(text)] = 1
    weight_G = np.log((1 + len(texts)) / (1 + found_CG.sum(0))) + 1
    found_CG *= weight_G
    found_CG /= np.linalg.norm(found_CG, axis=1, keepdims=True)
    lengths = np.array([(len(t) / 100, t.count("\n") / 2) for t in texts], np.float32)
    return np.hstack([found_CG, lengths])


def _buckets(text: str) -> NDArray[np.int64]:
    codes = np.frombuffer(text.encode(), np.uint8).astype(np.int64)
    found = []
    for size in SIZES:
        mixed = np.zeros(max(len(codes) - size + 1, 0), np.int64)
        for at in range(size):
            mixed = (mixed * 1_000_003 + codes[at : at + len(mixed)] + size) & 0x7FFFFFFFFFFF
        found.append((mixed ^ (mixed >> 17)) % BUCKETS)
    return np.unique(np.concatenate(found))


def matched(right: Sequence[str], options: Sequence[Sequence[str]], groups: Sequence[object]) -> list[str]:
    """For each slot one of its options, all together as near as possible to `right`; none twice in a group of slots."""
    texts = sorted({*right, *(o for texts in options for o in texts)})
    place = {text: i for i, text in enumerate(texts)}
    profile_CG = profiles(texts)
    taken: list[int] = []
    used: set[tuple[object, int]] = set()
    rest_G = profile_CG[[place[r] for r in right]].sum(0)
    rows = [np.array([place[o] for o in texts]) for texts in options]
    for sweep in range(SWEEPS):
        for slot, (row, group) in enumerate(zip(rows, groups, strict=True)):
            if sweep:
                rest_G = rest_G + profile_CG[taken[slot]]
                used.discard((group, taken[slot]))
            free = np.array([c for c in row if (group, c) not in used])
            gap_C = ((rest_G - profile_CG[free]) ** 2).sum(1) if sweep else np.array([zlib.crc32(texts[c].encode()) for c in free])
            best = int(free[gap_C.argmin()])
            taken[slot : slot + 1] = [best]
            used.add((group, best))
            rest_G = rest_G - profile_CG[best]
    return [texts[t] for t in taken]
