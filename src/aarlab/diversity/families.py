"""Which of the eleven families an idea belongs to, by its words and its code: what stands beside the family that was declared.

Every row of lexicon.yaml that is found speaks for its family; what stands behind a "no", "unlike" or "instead of" does not. An
idea for which nothing speaks is `other`. Ideas are composed of several families, so a declared family is supported as soon as
the evidence for it is half of the strongest's. Disagreement is shown and never punished.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from aarlab.core.records import Family, Record
from aarlab.diversity import source

LEXICON = Path(__file__).parent / "lexicon.yaml"
WEIGHTS = {"strong": 3.0, "fair": 1.5, "hint": 0.5}
LEAST = 1.5  # evidence without which an idea is `other`
SUPPORT = 0.5  # of the strongest family's evidence
TIMES = 2  # a row counts at most so often in a text
TITLE, TEXT, CODE = 2.0, 1.0, 1.0  # how much is said in which
_NOT_A_WORD = re.compile(r"[\W_]+")
_DENIED = re.compile(r"\b(?:no|not|unlike|without|than|instead of|rather than|neither|nor)(?: \w+){0,2} $")


class Classified(Record):
    """What the words say. `evidence` is by family, strongest first; `family` the first of it, or `other`."""

    family: Family
    evidence: dict[str, float]

    def supports(self, declared: Family) -> bool:
        """Is what was declared the family, or one that nearly as much speaks for?"""
        if declared is self.family:
            return True
        return self.evidence.get(declared.value, 0.0) >= max(LEAST, SUPPORT * max(self.evidence.values(), default=0.0))


def classified(*, title: str = "", text: str = "", code: Mapping[str, str] | None = None) -> Classified:
    """The family of an idea, from a finding's title and text, a snapshot's files, or all of them."""
    evidence: Counter[Family] = Counter()
    said = [(TITLE, _plain(title)), (TEXT, _plain(text)), (CODE, source.words(source.joined(code or {})))]
    for share, words in said:
        for family, weight in _found(words):
            evidence[family] += share * weight
    ranked = sorted(((weight, family) for family, weight in evidence.items() if weight), key=lambda row: (-row[0], row[1]))
    best = ranked[0][1] if ranked and ranked[0][0] >= LEAST else Family.OTHER
    return Classified(family=best, evidence={family.value: round(weight, 3) for weight, family in ranked})


def _plain(text: str) -> str:
    return _NOT_A_WORD.sub(" ", text.casefold()).strip()


@cache
def _patterns() -> tuple[tuple[Family, float, re.Pattern[str]], ...]:
    rows = [
        (f, WEIGHTS[w], row) for f, by in yaml.safe_load(LEXICON.read_text()).items() for w, rows in by.items() for row in rows
    ]
    return tuple((Family(family), weight, re.compile(rf"\b(?:{'|'.join(row)})\b")) for family, weight, row in rows)


def _found(words: str) -> Iterable[tuple[Family, float]]:
    if not words:
        return
    for family, weight, pattern in _patterns():
        times = sum(1 for m in pattern.finditer(words) if not _DENIED.search(words, max(0, m.start() - 40), m.start()))
        if times:
            yield family, weight * min(times, TIMES)


class Compared(NamedTuple):
    """Declared against classified, over some ideas."""

    declared: dict[Family, int]
    classified: dict[Family, int]
    unsupported: tuple[tuple[str, Family, Family], ...]  # (id, declared, classified)


def compare(ideas: Sequence[tuple[str, Family, Classified]]) -> Compared:
    """Counts of both, and the ideas whose declared family little speaks for."""
    unsupported = tuple((key, said, found.family) for key, said, found in ideas if not found.supports(said))
    return Compared(Counter(said for _, said, _ in ideas), Counter(found.family for _, _, found in ideas), unsupported)
