"""Classify an idea into one of the eleven families by its text and its code, to compare with the
declared family.

Every matching row of lexicon.yaml is evidence for its family, except after "no", "unlike" or
"instead of". An idea without evidence is `other`. Ideas combine several families, so a declared
family is supported if its evidence is at least half of the strongest family's. Disagreement is
reported and has no consequences.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, cast

from aarlab.core.plain_text import read_text
from aarlab.core.records import Family, Record
from aarlab.core.strict_yaml import parse_yaml
from aarlab.diversity import source

LEXICON = Path(__file__).parent / "lexicon.yaml"
WEIGHTS = {"strong": 3.0, "fair": 1.5, "hint": 0.5}
LEAST = 1.5  # evidence without which an idea is `other`
SUPPORT = 0.5  # of the strongest family's evidence
TIMES = 2  # a row counts at most so often in a text
TITLE, TEXT, CODE = 2.0, 1.0, 1.0  # how much is said in which
_NOT_A_WORD = re.compile(r"[\W_]+")
_DENIED = re.compile(
    r"\b(?:no|not|unlike|without|than|instead of|rather than|neither|nor)(?: \w+){0,2} $"
)


class Classified(Record):
    """The result of a classification. `evidence` is by family, strongest first; `family` is the
    first, or `other`."""

    family: Family
    evidence: dict[str, float]

    def supports(self, declared: str) -> bool:
        """True if the evidence for the declared family is at least SUPPORT of the strongest
        evidence."""
        if declared == self.family:
            return True
        return self.evidence.get(declared, 0.0) >= max(
            LEAST, SUPPORT * max(self.evidence.values(), default=0.0)
        )


def classified(
    *, title: str = "", text: str = "", code: Mapping[str, str] | None = None
) -> Classified:
    """The family of an idea, from a finding's title and text, a snapshot's files, or all of
    them."""
    evidence: Counter[Family] = Counter()
    said = [
        (TITLE, _plain(title)),
        (TEXT, _plain(text)),
        (CODE, source.words(source.joined(code or {}))),
    ]
    for share, words in said:
        for family, weight in _found(words):
            evidence[family] += share * weight
    ranked = sorted(
        ((weight, family) for family, weight in evidence.items() if weight),
        key=lambda row: (-row[0], row[1]),
    )
    best = ranked[0][1] if ranked and ranked[0][0] >= LEAST else Family.OTHER
    return Classified(
        family=best, evidence={family.value: round(weight, 3) for weight, family in ranked}
    )


def _plain(text: str) -> str:
    return _NOT_A_WORD.sub(" ", text.casefold()).strip()


def _lexicon() -> dict[str, dict[str, list[str]]]:
    return cast(dict[str, dict[str, list[str]]], parse_yaml(read_text(LEXICON), str(LEXICON)))


@cache
def _patterns() -> tuple[tuple[Family, float, re.Pattern[str]], ...]:
    rows = [
        (f, WEIGHTS[w], row)
        for f, by in _lexicon().items()
        for w, rows in by.items()
        for row in rows
    ]
    return tuple(
        (Family(family), weight, re.compile(rf"\b(?:{'|'.join(row)})\b"))
        for family, weight, row in rows
    )


def _found(words: str) -> Iterable[tuple[Family, float]]:
    if not words:
        return
    for family, weight, pattern in _patterns():
        times = sum(
            1
            for m in pattern.finditer(words)
            if not _DENIED.search(words, max(0, m.start() - 40), m.start())
        )
        if times:
            yield family, weight * min(times, TIMES)


class Compared(NamedTuple):
    """Declared against classified, over some ideas."""

    declared: dict[str, int]
    classified: dict[Family, int]
    unsupported: tuple[tuple[str, str, Family], ...]  # (id, declared, classified)


def compare(ideas: Sequence[tuple[str, str, Classified]]) -> Compared:
    """Counts of declared and classified families, and the ideas whose declared family has little
    evidence."""
    unsupported = tuple(
        (key, said, found.family) for key, said, found in ideas if not found.supports(said)
    )
    return Compared(
        Counter(said for _, said, _ in ideas),
        Counter(found.family for _, _, found in ideas),
        unsupported,
    )
