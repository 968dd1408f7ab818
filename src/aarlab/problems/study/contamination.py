"""Is a text known from another split? The same text, or nearly the same by its word 5-grams.

Legend: T texts of one kind.

Two texts are *the same* if their words are (case, punctuation, white space and Unicode's variants
aside). They are *near duplicates* if they share at least half of the shorter one's distinct
5-grams, and at least four of them (eight words in a row). Changing one word destroys five 5-grams,
so a share s of changed words leaves about (1 - s)^5 of them: a copy with one changed word in twelve
is found, one with one in five is not, whatever surrounds it. The share is counted exactly over
hashed 5-grams, without sampling: at these sizes MinHash would save nothing and miss pairs.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import SplitName

GRAM = 5  # words
LEAST_SHARED = 4  # 5-grams: eight words in a row
THRESHOLD = 0.5

Kinds = Mapping[str, Sequence[str]]  # kind of text -> texts; like is compared with like
Found = Literal["exact", "near"]
Hashes = NDArray[np.uint64]
_WORD = re.compile(r"\w+")
_ODD = np.uint64(0x9E3779B97F4A7C15)


class Removals(Counter[tuple[SplitName, SplitName, Found]]):
    """How many candidates of a split were left out since they resemble an item of another (or their
    own) split, and how."""


def words(text: str) -> list[str]:
    """The words of a text, folded: what makes two texts the same. A text without letters and digits
    is its characters."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _WORD.findall(folded) or folded.split()


class Screen:
    """Texts of a split that others may not repeat. Memory: 16 bytes a distinct 5-gram of a text."""

    def __init__(self) -> None:
        self._whole: set[tuple[str, bytes]] = set()
        self._grams: dict[str, list[Hashes]] = {}  # by kind: the distinct 5-grams of each text
        self._indices: dict[str, _Index] = {}  # by kind, made when it is asked

    def add(self, kinds: Kinds) -> None:
        """Protect these texts."""
        for kind, text in _by_kind(kinds):
            whole, grams = hashed(text)
            self._whole.add((kind, whole))
            self._grams.setdefault(kind, []).append(grams)
            self._indices.pop(kind, None)

    def finds(self, kinds: Kinds) -> Found | None:
        """ "exact" if one of the texts is protected, "near" if one is a near duplicate of a
        protected text of its kind."""
        found = [(kind, *hashed(text)) for kind, text in _by_kind(kinds)]
        if any((kind, whole) in self._whole for kind, whole, _ in found):
            return "exact"
        return (
            "near"
            if any(self._nearest(kind, grams) >= THRESHOLD for kind, _, grams in found)
            else None
        )

    def _nearest(self, kind: str, grams: Hashes) -> float:
        """The largest share of the shorter text's 5-grams that a protected text of this kind has in
        common with it."""
        if kind not in self._grams:
            return 0.0
        if kind not in self._indices:
            self._indices[kind] = _Index(self._grams[kind])
        return self._indices[kind].nearest(grams)


class _Index:
    """All 5-grams of T texts, sorted, each with the text that has it."""

    def __init__(self, grams_T: Sequence[Hashes]) -> None:
        self.sizes_T = np.array([len(g) for g in grams_T])
        every, holders = (
            np.concatenate(grams_T),
            np.repeat(np.arange(len(grams_T), dtype=np.int32), self.sizes_T),
        )
        order = np.argsort(every, kind="stable")
        self.grams, self.holders = every[order], holders[order]
        bits = (8 * len(every)).bit_length()
        self.beyond = np.uint64(64 - bits)
        # by a 5-gram's first bits: most that are nowhere are found at once
        self.possible = np.zeros(1 << bits, np.bool_)
        self.possible[every >> self.beyond] = True

    def nearest(self, grams: Hashes) -> float:
        asked = grams[self.possible[grams >> self.beyond]]
        low, high = (np.searchsorted(self.grams, asked, side=side) for side in ("left", "right"))
        hit = np.flatnonzero(high > low)
        if not len(hit):
            return 0.0
        holders = np.concatenate([self.holders[low[i] : high[i]] for i in hit])
        texts, shared = np.unique(holders, return_counts=True)
        shares = shared / np.minimum(self.sizes_T[texts], len(grams))
        return float(np.max(np.where(shared >= LEAST_SHARED, shares, 0.0)))


def _by_kind(kinds: Kinds) -> Iterable[tuple[str, str]]:
    return ((kind, text) for kind, texts in kinds.items() for text in texts)


@lru_cache(maxsize=64)  # who is looked for in several screens is then protected by another
def hashed(text: str) -> tuple[bytes, Hashes]:
    """A digest of the words of a text, and the distinct hashes of their 5-grams: none if it is
    shorter."""
    found = words(text)
    digest = hashlib.blake2b("\x00".join(found).encode(), digest_size=16).digest()
    if len(found) < GRAM:
        return digest, np.empty(0, np.uint64)
    each = np.fromiter(map(_WORD_HASHES.__getitem__, found), np.uint64, len(found))
    sums = np.zeros(len(found) - GRAM + 1, np.uint64)
    for place in range(GRAM):
        sums = sums * _ODD + each[place : place + len(sums)]  # modulo 2^64
    return digest, np.unique(sums)


class _WordHashes(dict[str, int]):
    def __missing__(self, word: str) -> int:
        self[word] = found = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
        return found


_WORD_HASHES = _WordHashes()
