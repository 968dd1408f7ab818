"""JSON from outside, read strictly: a key that is written twice, an encoding that is not UTF-8,
half of a surrogate pair and NaN are refused, with file, line and key. YAML: `strict_yaml`."""

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from aarlab.core.errors import Misconfigured
from aarlab.core.plain_text import decoded, half_of_pair, read_bytes

_HIGH, _LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF = re.compile(rf"{_HIGH}(?!{_LOW})|(?<!{_HIGH}){_LOW}")  # as an escape in a file's text


class _TwiceError(ValueError):
    """A name that occurs twice in one object."""


def read_json(path: Path, remedy: str = "") -> Any:
    """The plain value of a JSON file.

    Raises:
        Misconfigured: it cannot be read, or see `parse_json`. The message ends with `remedy`.
    """
    data = read_bytes(path, remedy)
    try:
        return parse_json(data, str(path))
    except Misconfigured as error:
        raise Misconfigured(f"{error} {remedy}".strip(), path=path) from error


def parse_json(
    data: bytes | str, where: str, *, constants: bool = False, halves: bool = False
) -> Any:
    """The plain value that a JSON text stands for; bytes may be UTF-16 or UTF-32 too, as JSON
    allows. `constants`: let NaN and Infinity through, for who looks at each number. `halves`: let
    halves of surrogate pairs through, for who replaces them.

    Raises:
        Misconfigured: it is not JSON (NaN is not), a key occurs twice in an object,
            or a text holds half of a surrogate pair; the message names `where`, and line and key.
    """
    if isinstance(data, str):
        text = data
    elif (encoding := json.detect_encoding(data)).startswith("utf-8"):
        text = decoded(data, where)
    else:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            raise Misconfigured(f"{where} is no UTF-8 text. Save it as UTF-8.") from error
    # an escaped backslash is no beginning of an escape
    looked_for = not halves and "\\u" in text
    escape = _HALF.search(text.replace("\\\\", "  ")) if looked_for else None
    try:
        found = (_WITH_CONSTANTS if constants else _STRICT).decode(text.removeprefix("\ufeff"))
        half = escape and half_of_pair(found)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise Misconfigured(f"{where} is not JSON: {error.msg} ({at}).") from error
    except _TwiceError as error:
        raise Misconfigured(f"{where}: {error}{_line_of_second(text)}.") from error
    except (ValueError, RecursionError) as error:
        words = "it is nested too deeply" if isinstance(error, RecursionError) else f"{error}"
        raise Misconfigured(f"{where} is not JSON: {words}.") from error
    if escape and half:
        line = text.count("\n", 0, escape.start()) + 1
        at = f", line {line}" if "\n" in text.strip() else ""
        raise Misconfigured(f"{where}{at}: {half}. Write both halves, or remove it.")
    return found


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none of anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def read_json_lines(path: Path) -> list[Any]:
    """The values of a file of JSON Lines.

    Raises:
        Misconfigured: it cannot be read, or see `json_lines`.
    """
    return [value for _, value in json_lines(read_bytes(path).split(b"\n"), str(path))]


def json_lines(
    lines: Iterable[bytes], where: str, *, halves: bool = False
) -> Iterator[tuple[int, Any]]:
    """(number from 1, value) of each of JSON Lines. Lines are those of
    a binary file, or of `data.split(b"\\n")`: they end with "\\n" alone, whatever a text holds.
    Blank lines are passed over. `halves`: as of `parse_json`.

    Raises:
        Misconfigured: a line is not JSON in UTF-8, see `parse_json`; the message names it.
    """
    for number, line in enumerate(lines, start=1):
        given = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if given.strip():
            at = f"{where}, line {number}"
            try:
                text = given.decode()
            except UnicodeDecodeError as error:
                raise Misconfigured(
                    f"{at} is no UTF-8 text (byte {error.start + 1}). Save the file as UTF-8."
                ) from error
            yield number, parse_json(text.strip(), at, halves=halves)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
        raise _TwiceError(f"the key {twice!r:.60} occurs twice in an object")
    return fields


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
_WITH_CONSTANTS = json.JSONDecoder(object_pairs_hook=_once, parse_constant=float)


def _line_of_second(text: str) -> str:
    """Where YAML, of which JSON is nearly a part, finds the key that occurs twice."""
    from aarlab.core.strict_yaml import Document

    try:
        Document(text, "").value()
    except Misconfigured as error:
        if (found := re.search(r"stands twice (\(.*\))", str(error))) and "\n" in text.strip():
            return f" {found[1]}"
    return ""


def is_finite(value: object) -> bool:
    """Whether a plain value is a number that a float can hold; a whole number may be too large."""
    try:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:
        return False
