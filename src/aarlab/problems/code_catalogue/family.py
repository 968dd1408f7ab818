"""What the catalogue is made of: kinds of input, and families of descriptions with their right bodies."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from string import Template
from textwrap import dedent, indent
from typing import Any

from aarlab.core.records import PartName

INPUTS = 25  # test inputs of each kind, the edge cases among them
Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class Kind:
    """A kind of input: the arguments' names in the catalogue's bodies, edge cases, and how another input is drawn."""

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

    kind: Kind
    family: str  # the text before its parameters were filled in: what is structurally the same
    text: str
    functions: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """Descriptions that differ in parameters alone. `bodies` holds right bodies, a blank line between one and the next.

    `$name` in text and bodies stands for the parameter of that name; `over` lists the parameters' values.
    """

    kind: Kind
    text: str
    bodies: str
    over: Sequence[Mapping[str, object]] = ({},)

    @cached_property
    def descriptions(self) -> list[Description]:
        head = f"def f({', '.join(self.kind.arguments)}):\n"
        return [
            Description(
                self.kind,
                self.text,
                Template(self.text).substitute(values),
                tuple(
                    head + indent(Template(body).substitute(values), "    ")
                    for body in dedent(self.bodies).strip("\n").split("\n\n")
                ),
            )
            for values in self.over
        ]


def each(name: str, *values: object) -> list[dict[str, object]]:
    """Parameters that differ in one value: each("k", 2, 3) for $k."""
    return [{name: value} for value in values]


def conditions(code: Mapping[str, str]) -> list[dict[str, object]]:
    """Parameters $words and $code: a condition in English and in Python."""
    return [{"words": words, "code": expression} for words, expression in code.items()]
