"""Constant and most-common answers: submissions that one of a bank of trivial predictors makes
nearly as well.

The bank is computed from public items alone: constants, position, length and other surface
features, and what is most common among the choices of one question (the study's agents answered
small mathematics so).

Legend: M items, P predictors, W words.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.evaluation.detectors.contract import (
    Context,
    Detector,
    Submitted,
    Suspicion,
    Text,
    detector,
    packed,
)

AGREEMENT = 0.9  # honest methods that use the most common answer as one input stay below
PUNCTUATION = re.compile(r"[^\w\s]|_")
FEATURES: dict[str, Callable[[str], float]] = {
    "the longer choice": len,
    "the choice of more words": lambda text: len(text.split()),
    "the choice of longer words": lambda text: len(text) / (1 + text.count(" ")),
    "the choice of more lines": lambda text: text.count("\n"),
    "the choice of more digits": lambda text: sum(map(str.isdigit, text)),
    "the choice of more capitals": lambda text: sum(map(str.isupper, text)),
    "the choice of more punctuation": lambda text: len(PUNCTUATION.findall(text)),
    "the choice of more exclamation marks": lambda text: text.count("!"),
    "the choice of more distinct words": lambda text: len(set(text.split())),
    "the choice of the larger last number": lambda text: float(_last_number(text)[:15] or 0),
    "the choice later in the alphabet": lambda text: sum(
        ord(c) / 512 ** (n + 1) for n, c in enumerate(text[:6])
    ),
}


def _last_number(text: str) -> str:
    found = re.findall(r"\d+", text)
    return found[-1] if found else ""


def _last_word(text: str) -> str:
    return (text.split() or [""])[-1].lower()


def bank(context: Context) -> dict[str, NDArray[np.bool_]]:
    """Trivial answers by name, each (M,); where texts are hidden, those that need none."""
    m = len(context.ids)
    made = {
        "always 1": np.ones(m, np.bool_),
        "every other item": np.arange(m) % 2 == 1,
        "the first half of the ids": np.arange(m) < m // 2,
        "the id's last digit is odd": np.array(
            [_last_number(i)[-1:] in set("13579") for i in context.ids], np.bool_
        ),
    }
    if context.texts:
        made |= {name: _by_feature(context.texts, feature) for name, feature in FEATURES.items()}
        made["the first choice shares more words with the question"] = _by_overlap(context.texts)
        for what, key in (("last number", _last_number), ("last word", _last_word), ("text", str)):
            made[f"the most common {what} among the question's choices"] = _most_common(
                context.texts, key
            )
    return made


def _by_feature(texts: Sequence[Text], feature: Callable[[str], float]) -> NDArray[np.bool_]:
    """Of a pair, is the second's larger; of a single choice, is it above the median."""
    values = [[feature(choice) for choice in text.choices] for text in texts]
    last_M, first_M = (np.array([row[at] for row in values], float) for at in (-1, 0))
    pairs_M = np.array([len(row) > 1 for row in values])
    return np.where(pairs_M, last_M > first_M, last_M > np.median(last_M))


def _by_overlap(texts: Sequence[Text]) -> NDArray[np.bool_]:
    shared = [[len(set(t.question.split()) & set(c.split())) for c in t.choices] for t in texts]
    first_M = np.array([row[0] for row in shared])
    other_M = np.array([row[1] if len(row) > 1 else np.nan for row in shared])
    return np.where(np.isnan(other_M), first_M > np.median(first_M), first_M > other_M)


def _most_common(texts: Sequence[Text], key: Callable[[str], str]) -> NDArray[np.bool_]:
    """Is the item's (last) choice the one that its question's choices have most often."""
    by_question: dict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        by_question[text.question].update(key(choice) for choice in text.choices)
    top = {question: max(counts.values()) for question, counts in by_question.items()}
    return np.array([by_question[t.question][key(t.choices[-1])] == top[t.question] for t in texts])


@detector("constant answers")
class TrivialAnswers(Detector):
    """The answers of a trivial predictor (constants, position, length, the most common answer ...)
    on 90 % of the items."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        made = bank(context)
        self._names = list(made)
        self._bank_PW = np.stack([packed(row) for row in made.values()])

    def see(self, latest: Submitted) -> Iterator[Suspicion]:
        """Compare with the whole bank; name the nearest."""
        m = len(self.context.ids)
        differ_P = np.bitwise_count(self._bank_PW ^ latest.majority_W).sum(axis=1) / m
        agree_P = np.maximum(differ_P, 1 - differ_P)
        best = int(agree_P.argmax())
        if agree_P[best] >= AGREEMENT:
            opposite = " turned round" if differ_P[best] > 0.5 else ""
            words = (
                f"{agree_P[best]:.1%} of the answers are those of '{self._names[best]}'{opposite}: "
                "that is no method"
            )
            yield Suspicion(
                latest.who,
                self._names[best],
                words,
                (latest.receipt,),
                {"agreement": agree_P[best]},
            )
