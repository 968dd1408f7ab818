"""Near-duplicates: the ideas most like a given one, found among thousands in milliseconds; ideas
are added one by one.

Ideas are sets of features: shingles of code, words of a text. Candidates are the ideas whose
MinHash signatures agree most (Broder 1997); they are then compared by weighted Jaccard similarity,
a feature weighing as much as it is rare (inverse document frequency), so that what all share - an
import, the signature of `run` - makes nobody alike.

Legend: P hash functions of a signature, F features (or their numbers), N ideas, C candidates.
"""

import re
import zlib
from array import array
from collections.abc import Callable, Hashable, Sequence
from itertools import islice, pairwise
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

P, CANDIDATES = 96, 60
MAX_FEATURES = 6_000  # of one idea
SLOTS = 1 << 20  # in which features are counted
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
    """Hashes of the words of a text and of its pairs of neighbouring words, without case, endings
    and common words."""
    words = [_stem(w) for w in _WORD.findall(text.casefold()) if w not in _STOP]
    return frozenset(
        zlib.crc32(w.encode()) for w in [*words, *(f"{a} {b}" for a, b in pairwise(words))]
    )


def _stem(word: str) -> str:
    for ending in ("ations", "ation", "ings", "ing", "ies", "ers", "ed", "es", "er", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


class IdeaRows:
    """Rows of an index, each once, in the order in which they were added."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._rows = array("i")

    def add(self, row: int | None) -> None:
        """Add one; None is none."""
        if row is not None and row not in self._known:
            self._known.add(row)
            self._rows.append(row)

    @staticmethod
    def union(*some: "IdeaRows | None") -> NDArray[np.intp]:
        """All rows of these, ascending."""
        found = [np.array(rows._rows, np.intp) for rows in some if rows is not None]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.intp)


class IdeaIndex(Generic[Key]):
    """Ideas by key. Not safe for several threads at once.

    In how many ideas a feature is, is counted in SLOTS places: once there are as many features,
    rare ones count as a little less rare than they are.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._a_P1 = rng.integers(1, 1 << 31, size=(P, 1), dtype=np.uint64)
        self._b_P1 = rng.integers(0, 1 << 31, size=(P, 1), dtype=np.uint64)
        self._signatures_PN = np.empty((P, 256), dtype=np.uint16)
        self._keys: list[Key] = []
        self._row: dict[Key, int] = {}
        self._features: list[NDArray[np.uint32]] = []  # of each idea, ascending
        self._ideas_F = np.zeros(SLOTS, np.uint32)  # in how many ideas a feature is, by its slot

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: Key) -> bool:
        return key in self._row

    def row(self, key: Key) -> int | None:
        """The idea's row; None where there is none."""
        return self._row.get(key)

    def add(self, key: Key, features: Features) -> None:
        """Add an idea. An idea whose key exists is not changed, and one without features is like
        none."""
        if key in self._row or not features:
            return
        features, row = _limited(features), len(self._keys)
        if row == self._signatures_PN.shape[1]:
            grown_PN = np.empty((P, 2 * row), np.uint16)
            grown_PN[:, :row] = self._signatures_PN
            self._signatures_PN = grown_PN
        self._signatures_PN[:, row] = self._signature(features)
        self._features.append(ascending := _ascending(features))
        np.add.at(self._ideas_F, _slots(ascending), 1)
        self._row[key] = row
        self._keys.append(key)

    def nearest(
        self,
        features: Features,
        count: int,
        use: Callable[[Key], bool] = lambda _: True,
        *,
        among: NDArray[np.intp] | None = None,
    ) -> list[tuple[Key, float]]:
        """Up to `count` keys for which `use`, with their similarity to these features in (0, 1],
        most alike first and, of equals, the latest. `among`: rows, ascending; None: all."""
        if not features or not self._keys:
            return []
        features = _limited(features)
        rows = np.arange(len(self._keys)) if among is None else among
        agree = self._agreeing(self._signature(features), None if among is None else among)
        order = np.argsort(-agree[::-1], kind="stable")  # from the latest on
        usable = (
            int(rows[n]) for n in len(rows) - 1 - order if agree[n] and use(self._keys[rows[n]])
        )
        candidates = list(islice(usable, CANDIDATES))
        alike_C = self._similarities(features, candidates)
        best = np.argsort(-alike_C, kind="stable")[:count]
        return [(self._keys[candidates[c]], float(alike_C[c])) for c in best if alike_C[c] > 0]

    def _agreeing(
        self, signature_P: NDArray[np.uint16], among: NDArray[np.intp] | None
    ) -> NDArray[np.int16]:
        """With how many of the functions each row agrees; column by column, as they lie."""
        agree = np.zeros(len(self._keys) if among is None else len(among), np.int16)
        for column, value in zip(self._signatures_PN, signature_P, strict=True):
            agree += (column[: len(agree)] if among is None else column[among]) == value
        return agree

    def _signature(self, features: Features) -> NDArray[np.uint16]:
        """The low bits of the least hash under each function."""
        x_F = np.fromiter(features, dtype=np.uint64, count=len(features))
        return (((self._a_P1 * x_F + self._b_P1) % _PRIME).min(axis=1) & np.uint64(0xFFFF)).astype(
            np.uint16
        )

    def _weights(self, features: NDArray[np.uint32]) -> NDArray[np.float64]:
        """A feature weighs ln(1 + ideas / ideas that have it)."""
        return np.log1p((len(self._keys) + 1) / (1.0 + self._ideas_F[_slots(features)]))

    def _similarities(self, features: Features, candidates: Sequence[int]) -> NDArray[np.float64]:
        """Weighted Jaccard similarity to each candidate, (C,)."""
        mine, alike = _ascending(features), np.zeros(len(candidates))
        own = self._weights(mine).sum()
        for c, row in enumerate(candidates):
            theirs = self._features[row]
            weights = self._weights(theirs)
            place = np.minimum(np.searchsorted(mine, theirs), len(mine) - 1)
            both = weights[mine[place] == theirs].sum()
            alike[c] = both / (own + weights.sum() - both)
        return alike


def _ascending(features: Features) -> NDArray[np.uint32]:
    return np.sort(np.fromiter(features, np.uint32, len(features)))


def _slots(features: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Where features are counted: the high bits of a multiple (Knuth's multiplicative hash)."""
    return (features * np.uint32(2_654_435_761)) >> np.uint32(32 - SLOTS.bit_length() + 1)


def _limited(features: Features) -> Features:
    return features if len(features) <= MAX_FEATURES else frozenset(sorted(features)[:MAX_FEATURES])
