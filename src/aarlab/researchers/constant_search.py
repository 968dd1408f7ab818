"""The built-in search on a problem in a folder: it changes numbers in code that works, the
baselines to begin with, and keeps what is reported as an improvement, whoever found it.

It needs no API key and no idea of the problem. A language model does better; this shows that a
problem can be climbed, and by how much without one.
"""

import ast
import math
import random
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aarlab.core.errors import InvalidSubmission
from aarlab.core.layout import PublicFolder
from aarlab.core.operation_records import families_of
from aarlab.core.records import Family
from aarlab.core.strict_json import is_finite, read_json
from aarlab.researchers.code_files import METHOD
from aarlab.researchers.code_run import Attempt, experiment
from aarlab.researchers.lab_client import Lab
from aarlab.researchers.researcher import Brief

SPREADS = (0.7, 0.7, 2.0)  # of the logarithm by which a number is multiplied, one by chance
LINE_END = re.compile(rb"\r\n|\r|\n")  # as Python counts them
FIXED = (0, 1, -1)  # numbers that say something else than how much, most of the time
TRIES = 200  # changes that are drawn before a search is believed to have none left


@dataclass
class Found:
    """What the fleet knows: code that works, best last, and all code that was submitted."""

    baselines: dict[str, str]
    improved: list[tuple[float, str]] = field(default_factory=list)  # (score, code)
    seen: set[str] = field(default_factory=set)
    last_finding: int = 0

    def learn(self, code: str, receipt: Mapping[str, Any]) -> None:
        """What a receipt of any researcher says of code."""
        self.seen.add(code)
        if receipt["improved"] and code not in {c for _, c in self.improved}:
            self.improved.append((receipt["level_pgr"], code))
            self.improved.sort(key=lambda one: one[0])


@dataclass(frozen=True)
class Number:
    """A number in the text of a program: the bytes from `start` to `end`."""

    start: int
    end: int
    value: float


def literals_in(code: str) -> list[Number]:
    """The numbers of a program, in their order; also those of a program that it holds as a text of
    several lines, as a method does that submits a program."""
    data, found = code.encode(), []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Constant):
            continue
        start, end = (_at(data, *place) for place in _places(node))
        if is_finite(node.value) and _says(data[start:end], node.value):
            found.append(Number(start, end, node.value))
        elif isinstance(node.value, str) and "\n" in node.value:
            inner = node.value.encode("utf-8", "surrogatepass")
            if (at := data.find(inner, start, end)) >= 0:
                found += [Number(n.start + at, n.end + at, n.value) for n in _inside(node.value)]
    return sorted(found, key=lambda number: number.start)


def _places(node: ast.Constant) -> list[tuple[int, int]]:
    """Line and byte where a constant begins and where it ends."""
    return [
        (node.lineno, node.col_offset),
        (node.end_lineno or node.lineno, node.end_col_offset or node.col_offset),
    ]


def _at(data: bytes, line: int, column: int) -> int:
    """The byte of a program at a place."""
    begins = [0, *(found.end() for found in LINE_END.finditer(data))]
    return begins[line - 1] + column


def _says(text: bytes, value: Any) -> bool:
    """Whether this text is that number; within an f-string, places may be wrong."""
    try:
        found = ast.literal_eval(text.decode())
    except (ValueError, SyntaxError):
        return False
    return type(found) is type(value) and bool(found == value)


def _inside(text: str) -> list[Number]:
    """The numbers of a text that is a program, else none."""
    try:
        return literals_in(text)
    except (SyntaxError, ValueError, RecursionError):
        return []


def numbers_in(code: str) -> list[Number]:
    """The numbers of a program that may be changed, in their order."""
    return [number for number in literals_in(code) if number.value not in FIXED]


def changed(code: str, rng: random.Random) -> str | None:
    """The code with one to three of its numbers multiplied by chance; None where it has none."""
    there = numbers_in(code)
    if not there:
        return None
    chosen = rng.sample(there, min(len(there), rng.choice((1, 1, 2, 3))))
    return _written(code, {number: repr(_other(number.value, rng)) for number in chosen})


def _written(code: str, texts: Mapping[Number, str]) -> str:
    """The code with other texts in place of numbers."""
    data = code.encode()
    for number in sorted(texts, key=lambda n: n.start, reverse=True):
        data = data[: number.start] + texts[number].encode() + data[number.end :]
    return data.decode()


def _other(value: Any, rng: random.Random) -> float | int:
    """A number of the same type and sign."""
    times = math.exp(rng.gauss(0, rng.choice(SPREADS)))
    if isinstance(value, float):
        return float(f"{value * times:.3g}")
    found = max(2, round(abs(value) * times))  # 1 would not be changed again
    return found if found != abs(value) else found + 1


def choose(found: Found, rng: random.Random) -> str | None:
    """The next code: a baseline that nobody submitted, or a change of the best, of another
    improvement or of a baseline. None where no new one is found."""
    if unseen := [code for code in found.baselines.values() if code not in found.seen]:
        return rng.choice(unseen)  # researchers that begin together begin with different ones
    for _ in range(TRIES):
        parents = [code for _, code in found.improved] or list(found.baselines.values())
        best = rng.random() < 0.6
        parent = parents[-1] if best else rng.choice([*parents, *found.baselines.values()])
        child = changed(parent, rng)
        if child is not None and child not in found.seen:
            return child
    return None


def read_forum(lab: Lab, found: Found) -> None:
    """Learn from every new finding that cites a receipt and code."""
    while True:
        findings = lab.insist("list_findings", after=found.last_finding, limit=50)["findings"]
        if not findings:
            return
        for one in findings:
            found.last_finding = max(found.last_finding, int(one["id"].split("-")[1]))
            if one["snapshot"] and one["receipts"]:
                code = lab.insist("download_code", snapshot=one["snapshot"])["files"].get(METHOD)
                receipt = lab.insist("read_receipt", receipt=one["receipts"][0])
                if code and receipt["snapshot"] == one["snapshot"]:
                    found.learn(code, receipt)


class ConstantSearch:
    """One researcher's search."""

    def __init__(self, lab: Lab, brief: Brief, data: str) -> None:
        shown = PublicFolder(Path(data))
        card = read_json(shown.card)
        self._lab, self._brief, families = lab, brief, families_of(card)
        self._family = Family.OTHER.value if Family.OTHER in families else families[-1]
        sources = {n: (shown.baselines / f"{n}.py").read_text() for n in card["baselines"]}
        self._found = Found(sources, seen=_known(card, sources))

    def step(self, number: int, graded: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
        """One experiment, shared as a finding; whether there was one left. `graded` hands committed
        code in and returns its receipt."""
        read_forum(self._lab, self._found)
        code = choose(self._found, random.Random(f"{self._brief.seed}/{number}"))
        if code is None:
            return False
        self._found.seen.add(code)
        changed = _differing(code, self._found.baselines)
        attempt = Attempt(code, self._family, "other numbers", changed)
        with suppress(InvalidSubmission):
            if receipt := experiment(self._lab, attempt, graded):
                self._found.learn(code, receipt)
        return True


def _known(card: Mapping[str, Any], sources: Mapping[str, str]) -> set[str]:
    """Code of baselines whose score is 0 by the contract: submitting them would teach nothing."""
    floors = {each["floor"]["baseline"] for each in card["objectives"] if each["role"] == "climb"}
    return {sources[name] for name in floors & sources.keys()}


def _differing(code: str, baselines: Mapping[str, str]) -> str:
    """Which baseline it comes from, and its numbers, as text."""

    def shape(text: str) -> str:
        return _written(text, dict.fromkeys(literals_in(text), "0"))

    name = next((n for n, text in baselines.items() if shape(text) == shape(code)), "another code")
    values = ", ".join(repr(number.value) for number in numbers_in(code)[:40])
    return f"{name} with the numbers {values or '(none)'}"
