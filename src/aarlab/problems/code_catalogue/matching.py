"""Which wrong functions to take, so that no shallow count of their characters separates them from
the right ones.

Mutants carry traces of how they were made: a rare constant, a `<=` too many. So among many mutants
those are taken whose mean n-gram counts are nearest to those of the right functions (moment
matching, as in kernel herding of Welling 2009).

Legend: N n-grams that occur in a text, G all of them (hashed), and two lengths.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1 << 18
SIZES = (1, 2, 3, 4, 5)
SWEEPS = 6


@dataclass(frozen=True)
class Profile:
    """A sparse vector of a text: where it is not zero, and its values there."""

    at_N: NDArray[np.int64]
    value_N: NDArray[np.float64]

    def dot(self, dense_G: NDArray[np.float64]) -> float:
        return float(dense_G[self.at_N] @ self.value_N)

    def add_to(self, dense_G: NDArray[np.float64], sign: int) -> None:
        dense_G[self.at_N] += sign * self.value_N


def profiles(texts: Sequence[str]) -> dict[str, Profile]:
    """For each text which n-grams occur, the rarer the heavier, of unit length; and its length in
    characters and lines."""
    found = {text: _buckets(text) for text in texts}
    texts_with_G = np.bincount(np.concatenate(list(found.values())), minlength=BUCKETS)
    weight_G = np.log((1 + len(found)) / (1 + texts_with_G)) + 1
    vectors = {}
    for text, at_N in found.items():
        value_N = weight_G[at_N] / np.linalg.norm(weight_G[at_N])
        lengths = (len(text) / 100, text.count("\n") / 2)
        vectors[text] = Profile(
            np.append(at_N, (BUCKETS, BUCKETS + 1)), np.append(value_N, lengths)
        )
    return vectors


def _buckets(text: str) -> NDArray[np.int64]:
    codes = np.frombuffer(text.encode(), np.uint8).astype(np.int64)
    found = []
    for size in SIZES:
        mixed = np.full(max(len(codes) - size + 1, 0), size)
        for at in range(size):
            mixed = (mixed * 1_000_003 + codes[at : at + len(mixed)]) & 0xFFFFFFFFFF
        found.append((mixed ^ (mixed >> 19)) % BUCKETS)
    return np.unique(np.concatenate(found))


def matched(
    right: Sequence[str], options: Sequence[Sequence[str]], groups: Sequence[object]
) -> list[str]:
    """For each slot one of its options, all together as near as possible to `right`; none twice in
    a group of slots."""
    profile = profiles(sorted({*right, *(text for texts in options for text in texts)}))
    gap_G = np.zeros(BUCKETS + 2)  # right minus wrong
    for text in right:
        profile[text].add_to(gap_G, 1)
    taken: list[str] = []
    used: set[tuple[object, str]] = set()
    for texts, group in zip(options, groups, strict=True):  # to begin with, any
        taken.append(
            min((t for t in texts if (group, t) not in used), key=lambda t: zlib.crc32(t.encode()))
        )
        used.add((group, taken[-1]))
        profile[taken[-1]].add_to(gap_G, -1)
    for _ in range(SWEEPS):
        for slot, (texts, group) in enumerate(zip(options, groups, strict=True)):
            used.discard((group, taken[slot]))
            profile[taken[slot]].add_to(gap_G, 1)
            taken[slot] = min(
                (t for t in texts if (group, t) not in used),
                key=lambda t: _distance(profile[t], gap_G),
            )
            used.add((group, taken[slot]))
            profile[taken[slot]].add_to(gap_G, -1)
    return taken


def _distance(profile: Profile, gap_G: NDArray[np.float64]) -> float:
    """The square of the gap that is left once this text is taken, less a constant."""
    return float(profile.value_N @ profile.value_N) - 2 * profile.dot(gap_G)
