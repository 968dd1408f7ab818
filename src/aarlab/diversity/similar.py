"""Near-duplicates: the ideas most like a given one, found among thousands in milliseconds and taken up one by one.

Ideas are sets of features: shingles of code, words of a text. Candidates are the ideas whose MinHash signatures agree most
(Broder 1997); they are then compared by weighted Jaccard similarity, a feature weighing as much as it is rare (inverse document
frequency), so that what all share - an import, the signature of `run` - makes nobody alike.

Legend: P hash functions of a signature, F features (or their numbers), N ideas, C candidates.
"""

import re
import zlib
from collections.abc import Callable, Hashable, Sequence
from itertools import islice, pairwise
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

P, CANDIDATES = 96, 60
MAX_FEATURES = 6_000  # of one idea
_PRIME = np.uint64((1 << 61) - 1)
_WORD = re.compile(r"[^\W_]+")
_STOP = frozenset(
    (
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "for",
        "from",
        "has",
        "in",
        "is",
        "it",
        "of",
        "on",
        "or",
        "that",
        "the",
        "this",
        "to",
        "was",
        "with",
    )
)
Features = frozenset[int]
Key = TypeVar("Key", bound=Hashable)


def text_features(text: str) -> Features:
    """Hashes of the words of a text and of its pairs of neighbouring words, without case, endings and common words."""
    words = [_stem(w) for w in _WORD.findall(text.casefold()) if w not in _STOP]
    return frozenset(zlib.crc32(w.encode()) for w in [*words, *(f"{a} {b}" for a, b in pairwise(words))])


def _stem(word: str) -> str:
    for ending in ("ations", "ation", "ings", "ing", "ies", "ers", "ed", "es", "er", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


class Index(Generic[Key]):
    """Ideas by key. Not safe for several threads at once."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._a_P1 = rng.integers(1, 1 << 31, size=(P, 1), dtype=np.uint64)
        self._b_P1 = rng.integers(0, 1 << 31, size=(P, 1), dtype=np.uint64)
        self._signatures_NP = np.empty((256, P), dtype=np.uint16)
        self._keys: list[Key] = []
        self._known: set[Key] = set()
        self._rows: list[NDArray[np.int_]] = []  # the columns of each idea's features
        self._column: dict[int, int] = {}  # feature -> its number
        self._ideas_F = np.zeros(4_096)  # in how many ideas a feature is, by its number

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: Key, features: Features) -> None:
        """Take up an idea; one whose key is there stays as it is, and one without features is like none."""
        if key in self._known or not features:
            return
        features = _limited(features)
        row = len(self._keys)
        if row == len(self._signatures_NP):
            self._signatures_NP = np.concatenate([self._signatures_NP, np.empty_like(self._signatures_NP)])
        self._signatures_NP[row] = self._signature(features)
        columns = np.array([self._column.setdefault(f, len(self._column)) for f in features])
        if len(self._column) > len(self._ideas_F):
            self._ideas_F = np.concatenate([self._ideas_F, np.zeros(max(len(self._ideas_F), len(self._column)))])
        self._ideas_F[columns] += 1
        self._rows.append(columns)
        self._keys.append(key)
        self._known.add(key)

    def nearest(self, features: Features, count: int, use: Callable[[Key], bool] = lambda _: True) -> list[tuple[Key, float]]:
        """Up to `count` keys for which `use`, with their similarity to these features in (0, 1], most alike first and, of
        equals, the latest."""
        if not features or not self._keys:
            return []
        features = _limited(features)
        agree_N = (self._signatures_NP[: len(self._keys)] == self._signature(features)).sum(axis=1, dtype=np.int16)
        order = np.argsort(-agree_N[::-1], kind="stable")  # from the latest on
        usable = (row for row in len(self._keys) - 1 - order if agree_N[row] and use(self._keys[row]))
        candidates = list(islice(usable, CANDIDATES))
        alike_C = self._similarities(features, candidates)
        best = np.argsort(-alike_C, kind="stable")[:count]
        return [(self._keys[candidates[c]], float(alike_C[c])) for c in best if alike_C[c] > 0]

    def _signature(self, features: Features) -> NDArray[np.uint16]:
        """The low bits of the least hash under each function."""
        x_F = np.fromiter(features, dtype=np.uint64, count=len(features))
        return (((self._a_P1 * x_F + self._b_P1) % _PRIME).min(axis=1) & np.uint64(0xFFFF)).astype(np.uint16)

    def _similarities(self, features: Features, candidates: Sequence[int]) -> NDArray[np.float64]:
        """Weighted Jaccard similarity to each candidate, (C,); a feature weighs ln(1 + ideas / ideas that have it)."""
        known = [column for f in features if (column := self._column.get(f)) is not None]
        weight_F = np.log1p((len(self._keys) + 1) / (1 + self._ideas_F[: len(self._column)]))
        mine_F = np.zeros(len(self._column), dtype=bool)
        mine_F[known] = True
        own = weight_F[known].sum() + (len(features) - len(known)) * np.log(len(self._keys) + 2)
        alike = np.zeros(len(candidates))
        for c, row in enumerate(candidates):
            columns = self._rows[row]
            weights = weight_F[columns]
            both = weights[mine_F[columns]].sum()
            alike[c] = both / (own + weights.sum() - both)
        return alike


def _limited(features: Features) -> Features:
    return features if len(features) <= MAX_FEATURES else frozenset(sorted(features)[:MAX_FEATURES])
