"""The families of small-code: read from two data files, checked, and filled in. Add a family to a
file, and it takes part."""

import ast
from functools import cache
from pathlib import Path
from string import Template
from textwrap import indent
from typing import Annotated

from pydantic import Field

from aarlab.core.errors import Misconfigured
from aarlab.core.records import PartName, Record
from aarlab.core.strict_yaml import read_record
from aarlab.problems.code_catalogue.bug_kinds import KINDS, Description, InputKind

FILES: dict[PartName, str] = {"id": "in_distribution.yaml", "ood": "out_of_distribution.yaml"}
Row = dict[str, str | int]  # what stands for each $name
Text = Annotated[str, Field(min_length=1)]


class DescriptionFamily(Record):
    """Descriptions that differ in parameters alone; its fields are explained at the head of
    in_distribution.yaml."""

    text: Text
    bodies: Text
    over: Text | Annotated[list[Row], Field(min_length=1)] = Field(default=[{}])
    rows: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None


class _File(Record):
    parameters: dict[str, list[Row]]
    families: dict[str, list[DescriptionFamily]]  # by kind of input


@cache
def catalogue() -> tuple[Description, ...]:
    """All descriptions, in distribution first.

    Raises:
        Misconfigured: see `read_catalogue`.
    """
    folder = Path(__file__).parent
    return tuple(d for part, name in FILES.items() for d in read_catalogue(folder / name, part))


def read_catalogue(path: Path, part: PartName) -> list[Description]:
    """The descriptions of one file, all of one part.

    Raises:
        Misconfigured: a field is unknown, a name in it stands for nothing, a body is not Python, or
            a description stands twice. The message names file and field.
    """
    file = read_record(_File, path)
    kinds = {kind.name: kind for kind in KINDS if kind.part == part}
    found: dict[str, Description] = {}
    for name, families in file.families.items():
        if name not in kinds:
            raise Misconfigured(
                f"{path}: families.{name}: unknown kind of input. There are {', '.join(kinds)}."
            )
        for n, family in enumerate(families):
            where = f"{path}: families.{name}.{n} ({family.text!r})"
            for row in _rows(family, file.parameters, where):
                made = _filled(kinds[name], family, row, where)
                if made.text in found:
                    raise Misconfigured(
                        f"{where}: text: the description {made.text!r} stands twice. Keep one."
                    )
                found[made.text] = made
    return list(found.values())


def _rows(family: DescriptionFamily, parameters: dict[str, list[Row]], where: str) -> list[Row]:
    if not isinstance(family.over, str):
        if family.rows is not None:
            raise Misconfigured(
                f"{where}: rows: goes with the name of a list of parameters in `over`. Remove it."
            )
        return family.over
    if family.over not in parameters:
        known = ", ".join(parameters) or "none"
        raise Misconfigured(
            f"{where}: over: there are no parameters {family.over!r}. Known: {known}."
        )
    named = parameters[family.over]
    start, end = family.rows or (0, len(named))
    if not 0 <= start < end <= len(named):
        raise Misconfigured(
            f"{where}: rows: [{start}, {end}] is no range of the {len(named)} rows of "
            f"{family.over!r}."
        )
    return named[start:end]


def _filled(kind: InputKind, family: DescriptionFamily, row: Row, where: str) -> Description:
    bodies = family.bodies.strip("\n").split("\n\n")
    for field, text in [("text", family.text), *(("bodies", body) for body in bodies)]:
        if not Template(text).is_valid():
            raise Misconfigured(
                f"{where}: {field}: a $ without a name in {text!r}. Write $$ for the character."
            )
    used = {
        name for text in (family.text, family.bodies) for name in Template(text).get_identifiers()
    }
    if used != row.keys():
        raise Misconfigured(
            f"{where}: over: the row {row} must give {', '.join(sorted(used)) or 'nothing'}, and "
            "no more."
        )
    head = f"def f({', '.join(kind.arguments)}):\n"
    functions = tuple(head + indent(Template(body).substitute(row), "    ") for body in bodies)
    for function in functions:
        try:
            ast.parse(function)
        except SyntaxError as error:
            raise Misconfigured(
                f"{where}: bodies: this is not Python ({error}):\n{function}"
            ) from error
    return Description(kind, family.text, Template(family.text).substitute(row), functions)
