"""The kinds of input: integers and lists of them in distribution; strings and dicts out of
distribution."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aarlab.core.records import PartName

INPUTS = 25  # test inputs of each kind, the edge cases among them
Arguments = tuple[Any, ...]
WORDS = (
    "apple",
    "an",
    "to",
    "tea",
    "level",
    "Bob",
    "sky",
    "a",
    "zoo",
    "noon",
    "eleven",
    "Cat",
    "oak",
    "banana",
    "it",
    "",
)
TEXTS = (
    "",
    "a",
    "Hello World",
    "abba",
    "a1b22",
    "  to be ",
    "aeiou",
    "XYZ",
    "one two  two",
    "banana 42",
)


@dataclass(frozen=True)
class InputKind:
    """A kind of input: the arguments' names in the catalogue's bodies, edge cases, and how another
    input is drawn."""

    name: str
    part: PartName
    arguments: tuple[str, ...]
    edges: tuple[Arguments, ...]
    draw: Callable[[random.Random], Arguments]

    def inputs(self, seed: int = 0, n: int = INPUTS) -> list[Arguments]:
        """The edge cases and then random inputs, `n` in all."""
        rng = random.Random(f"{self.name} {seed}")
        return [*self.edges, *(self.draw(rng) for _ in range(n - len(self.edges)))]


@dataclass(frozen=True)
class Description:
    """One description: what `f` returns, and right functions for it. The first is the reference."""

    kind: InputKind
    family: str  # the text before its parameters were filled in: what is structurally the same
    text: str
    functions: tuple[str, ...]


def _numbers(rng: random.Random, shortest: int = 1) -> list[int]:
    """All over the range, or of a narrow one, so that "every element is ..." is not nearly always
    false."""
    low, high = rng.choice(((-6, 9), (-6, 9), (0, 6), (4, 9), (-5, -1), (1, 3)))
    numbers = [rng.randint(low, high) for _ in range(rng.randint(shortest, 7))]
    return [x * 2 for x in numbers] if rng.random() < 0.15 else numbers


def _text(rng: random.Random) -> str:
    return "".join(rng.choice("aaabbceeiotxyABEZ019  ") for _ in range(rng.randint(3, 12)))


def _two_texts(rng: random.Random) -> tuple[str, str]:
    one = "".join(rng.choice("abcde") for _ in range(rng.randint(2, 6)))
    start, other = rng.randint(0, 2), "".join(rng.choice("abcde") for _ in range(rng.randint(1, 6)))
    return one, rng.choice(
        (
            one[start : start + rng.randint(1, 2)],
            one[:2],
            one[-2:],
            one[::-1],
            other,
            other,
            one + other,
        )
    )


def _counts(rng: random.Random) -> dict[str, int]:
    keys = rng.sample([w for w in WORDS if w], rng.randint(2, 6))
    return {key: rng.randint(-4, 7) for key in keys}


def _words(rng: random.Random) -> list[str]:
    return [rng.choice(WORDS) for _ in range(rng.randint(2, 7))]


INTS = InputKind(
    "list",
    "id",
    ("xs",),
    (([],), ([0],), ([1],), ([-3],), ([2, 2],), ([4, 4, 4],), ([1, 2, 3, 4],), ([-1, -2],)),
    lambda rng: (_numbers(rng),),
)
FULL = InputKind(
    "non-empty list",
    "id",
    ("xs",),
    (([0, 5],), ([1, -3, 2],), ([3, 3],), ([2, 4, 4, 2],), ([-1, -2, -5],)),
    lambda rng: (_numbers(rng, 3),),
)
INTS_INT = InputKind(
    "list and integer",
    "id",
    ("xs", "k"),
    (([], 1), ([3], 3), ([2, 2], 2), ([-4, -1], 1), ([5, 1], 2), ([1, 2, 3, 4, 5], 2)),
    lambda rng: (_numbers(rng), rng.randint(1, 4)),
)
TWO_LISTS = InputKind(
    "two lists",
    "id",
    ("xs", "ys"),
    (([], []), ([1], []), ([], [2]), ([1, 2], [2, 1]), ([3, 3], [3])),
    lambda rng: (_numbers(rng), _numbers(rng)),
)
INT = InputKind(
    "integer", "id", ("n",), tuple((n,) for n in range(1, 13)), lambda rng: (rng.randint(13, 400),)
)
TWO_INTS = InputKind(
    "two integers",
    "id",
    ("a", "b"),
    ((1, 1), (2, 1), (1, 2), (4, 6), (6, 4), (9, 3), (3, 9), (5, 5)),
    lambda rng: (rng.randint(1, 30), rng.randint(1, 12)),
)
TEXT = InputKind("string", "ood", ("s",), tuple((t,) for t in TEXTS), lambda rng: (_text(rng),))
TWO_TEXTS = InputKind(
    "two strings",
    "ood",
    ("s", "t"),
    (("", ""), ("a", ""), ("", "b"), ("abc", "abc"), ("abc", "cab"), ("aab", "ab")),
    _two_texts,
)
DICT = InputKind(
    "dict",
    "ood",
    ("d",),
    (({},), ({"a": 1},), ({"tea": 0},), ({"b": -2, "a": 3},), ({"x": 2, "y": 2, "z": 5},)),
    lambda rng: (_counts(rng),),
)
WORD_LIST = InputKind(
    "list of strings",
    "ood",
    ("words",),
    (([],), ([""],), (["a"],), (["tea", "tea"],), (["Bob", "an", "level"],)),
    lambda rng: (_words(rng),),
)
KINDS = (INTS, FULL, INT, TWO_INTS, INTS_INT, TWO_LISTS, TEXT, TWO_TEXTS, DICT, WORD_LIST)
