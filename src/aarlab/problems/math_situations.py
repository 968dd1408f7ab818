"""The families of word problems of small-math: read from math_situations.yaml, which explains its
fields, and checked."""

from collections.abc import Iterable
from pathlib import Path
from string import Formatter
from typing import Annotated

from pydantic import Field

from aarlab.core.errors import Misconfigured
from aarlab.core.records import PartName, Record
from aarlab.core.strict_yaml import read_record

NUMBERS, RESULTS = "abcd", "xyz"
SIGNS = ("+", "-", "*", "/")
Listed = Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
# arguments of `range`
Span = Annotated[tuple[int, ...], Field(min_length=2, max_length=3, strict=False)]
Spans = Annotated[tuple[Span, Span, Span], Field(strict=False)]  # on levels 1, 2 and 3


class Situation(Record):
    """One family of word problems."""

    numbers: str
    steps: Listed
    phrasings: Listed


class Situations(Record):
    """All of one file."""

    ranges: dict[str, Spans]
    words: dict[str, Listed]
    situations: dict[PartName, dict[str, Situation]]


def read_situations(path: Path) -> Situations:
    """The situations of a file.

    Raises:
        Misconfigured: a field is unknown, or a name in it stands for nothing; the message names
            file and field.
    """
    found = read_record(Situations, path)
    for name, spans in found.ranges.items():
        if not all(span[2:] != (0,) and range(*span) for span in spans):
            form = "[first, below] or [first, below, step]"
            raise Misconfigured(
                f"{path}: ranges.{name}: a range of {spans} is empty. Write {form}."
            )
    if missing := {"id", "ood"} - found.situations.keys():
        raise Misconfigured(f"{path}: situations: {', '.join(sorted(missing))} is missing. Add it.")
    for part, situations in found.situations.items():
        for name, situation in situations.items():
            where = f"{path}: situations.{part}.{name}"
            letters = _letters(situation, found, where)
            _check_steps(situation, letters, where)
            _check_phrasings(situation, letters, found.words, where)
    return found


def _letters(situation: Situation, among: Situations, where: str) -> str:
    """The names of a situation's numbers."""
    kinds = situation.numbers.split()
    if unknown := [kind for kind in kinds if kind not in among.ranges]:
        known = ", ".join(among.ranges)
        raise Misconfigured(f"{where}: numbers: unknown {', '.join(unknown)}. There are {known}.")
    if not 1 <= len(kinds) <= len(NUMBERS):
        raise Misconfigured(f"{where}: numbers: give 1 to {len(NUMBERS)}, not {len(kinds)}.")
    return NUMBERS[: len(kinds)]


def _check_steps(situation: Situation, letters: str, where: str) -> None:
    if len(situation.steps) > len(RESULTS):
        raise Misconfigured(
            f"{where}: steps: give 1 to {len(RESULTS)}, not {len(situation.steps)}."
        )
    for n, step in enumerate(situation.steps):
        known = [*letters, *RESULTS[:n]]
        left, sign, right = (*step.split(), "", "", "")[:3]
        fits = len(step.split()) == 3 and sign in SIGNS
        if not fits or not all(term.isdecimal() or term in known for term in (left, right)):
            form = f"two terms with one of {' '.join(SIGNS)} between them"
            terms = f"a term is a whole number or one of {', '.join(known)}"
            raise Misconfigured(
                f"{where}: steps.{n}: {step!r} is no equation. Write {form}; {terms}."
            )


def _check_phrasings(situation: Situation, letters: str, words: Iterable[str], where: str) -> None:
    for n, phrasing in enumerate(situation.phrasings):
        named = {name for _, name, _, _ in Formatter().parse(phrasing) if name is not None}
        place = f"{where}: phrasings.{n}"
        if strange := named - {*words, *letters}:
            names = ", ".join(sorted(strange))
            raise Misconfigured(
                f"{place}: nothing stands for {names} in {phrasing!r}. Add it to words."
            )
        if unused := {*letters} - named:
            raise Misconfigured(f"{place}: {phrasing!r} does not give {', '.join(sorted(unused))}.")


_READ = read_situations(Path(__file__).with_name("math_situations.yaml"))
SITUATIONS = _READ.situations
WORDS = _READ.words
RANGES = {name: tuple(range(*span) for span in spans) for name, spans in _READ.ranges.items()}
_STEPS = [step for part in SITUATIONS.values() for s in part.values() for step in s.steps]
CONSTANTS = {int(term) for step in _STEPS for term in step.split() if term.isdecimal()}
