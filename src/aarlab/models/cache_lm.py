"""A class-based trigram with a cache: the eyes of the math and code teachers. It shares nothing with the student.

Counts of a corpus of right answers say how answers run (interpolated as Witten & Bell 1991), every number being one class. The
cache (Kuhn & De Mori 1990) expects the numbers that stood before, in the question or the answer, and remembers them by hashing
(Weinberger et al. 2009), so that it often takes one number for another. It can tell that some things are out of place, and
cannot reckon. Legend: T texts, t tokens of a choice, P numbers of a profile.
"""

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.models.surprisal import TokenReading, profile

NUMBER, START = "<number>", "<start>"
ORDER = 3
BUCKETS = 8  # of the cache; numbers that fall into one are the same to it. Chosen on data seed 0
CACHE = 0.5  # how much of a number's probability comes from the cache
TOKEN = re.compile(r"\d+|\w+|[^\w\s]|\n")


def tokens_of(text: str) -> list[str]:
    """Words, whole numbers, signs and line ends."""
    return TOKEN.findall(text)


class CacheLM:
    """Counted once from texts; then asked for the surprisal of choices after their questions."""

    def __init__(self, corpus: Sequence[str]) -> None:
        self._next: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for text in corpus:
            classes = [START] * (ORDER - 1) + [_class(token) for token in tokens_of(text)]
            for at in range(ORDER - 1, len(classes)):
                for length in range(ORDER):
                    self._next[tuple(classes[at - length : at])][classes[at]] += 1
        self._words = len(self._next[()]) + 1

    def probability(self, token_class: str, history: Sequence[str]) -> float:
        """Of a class after the classes before it: each order backs off to the next by its number of distinct successors."""
        p = 1 / self._words
        for length in range(ORDER):
            seen = self._next.get(tuple(history[len(history) - length :]))
            if seen:
                total, kinds = seen.total(), len(seen)
                p = (seen[token_class] + kinds * p) / (total + kinds)
        return p

    def read(self, question: str, choice: str) -> TokenReading:
        """Surprisal of the choice's tokens; entropy is left at zero, and rank says how often the token seems to have stood."""
        before, tokens = tokens_of(question), tokens_of(choice)
        history = [*before, *tokens]
        classes = [START] * (ORDER - 1) + [_class(token) for token in history]
        stood = Counter(_remembered(token) for token in before)
        surprisal, times = [], []
        for at in range(len(before), len(history)):
            p = self.probability(classes[at + ORDER - 1], classes[at : at + ORDER - 1]) * _given_class(history[at], stood)
            surprisal.append(-np.log(p))
            times.append(stood[_remembered(history[at])])
            stood[_remembered(history[at])] += 1
        return TokenReading(np.array(surprisal), np.zeros(len(tokens)), np.array(times, dtype=float))

    def profiles(self, asked: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """The surprisal profile (T, P) of each (question, choice)."""
        return np.stack([profile(self.read(q, c)) for q, c in asked]).astype(np.float32)


def _class(token: str) -> str:
    return NUMBER if token.isdigit() else token


def _remembered(token: str) -> str | int:
    """What the cache keeps of a token: a number's bucket, or the word."""
    return zlib.crc32(token.encode()) % BUCKETS if token.isdigit() else token


def _given_class(token: str, stood: Counter[str | int]) -> float:
    """Of a number among numbers: half by the cache, half any number of as many digits. Other tokens are their own class."""
    if not token.isdigit():
        return 1.0
    numbers = sum(times for kept, times in stood.items() if isinstance(kept, int))
    cached = stood[_remembered(token)] / numbers if numbers else 0.0
    return CACHE * cached + (1 - CACHE) * 10.0 ** -len(token)
