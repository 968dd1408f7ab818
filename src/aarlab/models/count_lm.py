"""A language model of counts, from which the math and code teachers get their features. It is
unrelated to the student.

Counts of a corpus of right answers say how answers run (a trigram, interpolated as Witten & Bell
1991; all numbers are one class) and which words of a question call for which tokens of its answer
(Model 1 of Brown et al. 1993, by EM). A cache (Kuhn & De Mori 1990) expects the numbers that stood
before, and remembers them by hashing (Weinberger et al. 2009), so that it often takes one number
for another. It detects some implausible texts, but cannot do arithmetic. Legend: T texts, t tokens
of a choice, P numbers of a profile.
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
TRANSLATION = 0.5  # how much of a token's probability comes from the words of the question
ROUNDS = 3  # of EM
CACHE = 0.5  # how much of a number's probability comes from the cache
BUCKETS = 8  # of the cache; numbers that fall into one are the same to it. Chosen on data seed 0
TOKEN = re.compile(r"\d+|\w+|[^\w\s]|\n")
Table = dict[str, Counter[str]]  # a word of questions -> expected counts of tokens of answers


def tokens_of(text: str) -> list[str]:
    """Words, whole numbers, signs and line ends."""
    return TOKEN.findall(text)


class CountLM:
    """Counted once from texts "question newline answer"; then asked for the surprisal of choices
    after their questions."""

    def __init__(self, corpus: Sequence[str]) -> None:
        asked = [text.split("\n", 1) for text in corpus]
        self._next: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for _, answer in asked:
            classes = [START] * (ORDER - 1) + [_class(token) for token in tokens_of(answer)]
            for at in range(ORDER - 1, len(classes)):
                for length in range(ORDER):
                    self._next[tuple(classes[at - length : at])][classes[at]] += 1
        self._kinds = len(self._next[()]) + 1
        self._table = _translation(
            [(_words(question), _classes(answer)) for question, answer in asked]
        )

    def running(self, token_class: str, history: Sequence[str]) -> float:
        """Probability of a class after the classes before it: each order backs off by its number of
        distinct successors."""
        p = 1 / self._kinds
        for length in range(ORDER):
            seen = self._next.get(tuple(history[len(history) - length :]))
            if seen:
                total, kinds = seen.total(), len(seen)
                p = (seen[token_class] + kinds * p) / (total + kinds)
        return p

    def called_for(self, token_class: str, question: set[str]) -> float:
        """Probability that a word of the question, each as likely, calls for the class; 0 where
        none is known."""
        known = [self._table[word] for word in question if word in self._table]
        return sum(row[token_class] / row.total() for row in known) / len(known) if known else 0.0

    def read(self, question: str, choice: str) -> TokenReading:
        """Surprisal of the choice's tokens with the question; as their expectation, without it; as
        their rank, how often the token seems to have stood before."""
        before, tokens = tokens_of(question), tokens_of(choice)
        classes = [START] * (ORDER - 1) + [_class(token) for token in tokens]
        words, stood = _words(question), Counter(_remembered(token) for token in before)
        with_it, without, times = [], [], []
        for n, token in enumerate(tokens):
            running = self.running(classes[n + ORDER - 1], classes[n : n + ORDER - 1])
            asked = (1 - TRANSLATION) * running + TRANSLATION * self.called_for(
                _class(token), words
            )
            with_it.append(-np.log(asked * _number_given(token, stood)))
            without.append(-np.log(running * (10.0 ** -len(token) if token.isdigit() else 1.0)))
            times.append(stood[_remembered(token)])
            stood[_remembered(token)] += 1
        return TokenReading(np.array(with_it), np.array(without), np.array(times, dtype=float))

    def profiles(self, asked: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """The surprisal profile (T, P) of each (question, choice)."""
        return np.stack([profile(self.read(q, c)) for q, c in asked]).astype(np.float32)


def _translation(asked: Sequence[tuple[set[str], set[str]]]) -> Table:
    """Expected counts after ROUNDS of EM from co-occurrence (Brown et al. 1993, eq. 17, without
    fertility or the null word)."""
    table: Table = defaultdict(Counter)
    for words, classes in asked:
        for word in words:
            table[word].update(classes)
    for _ in range(ROUNDS):
        shares = {word: {c: n / row.total() for c, n in row.items()} for word, row in table.items()}
        table = defaultdict(Counter)
        for words, classes in asked:
            for c in classes:
                whole = sum(shares[word].get(c, 0.0) for word in words)
                for word in words:
                    table[word][c] += shares[word].get(c, 0.0) / whole
    return dict(table)


def _words(question: str) -> set[str]:
    return {token for token in tokens_of(question.lower()) if token.isalpha()}


def _classes(answer: str) -> set[str]:
    return {_class(token) for token in tokens_of(answer)}


def _class(token: str) -> str:
    return NUMBER if token.isdigit() else token


def _remembered(token: str) -> str | int:
    """What the cache keeps of a token: a number's bucket, or the word."""
    return zlib.crc32(token.encode()) % BUCKETS if token.isdigit() else token


def _number_given(token: str, stood: Counter[str | int]) -> float:
    """Of a number among numbers: half by the cache, half any number of as many digits. Other tokens
    are their own class."""
    if not token.isdigit():
        return 1.0
    numbers = sum(times for kept, times in stood.items() if isinstance(kept, int))
    cached = stood[_remembered(token)] / numbers if numbers else 0.0
    return CACHE * cached + (1 - CACHE) * 10.0 ** -len(token)
