"""The rows of a file of one's own: JSON Lines, a JSON list, CSV or Parquet; all but the last also
compressed by gzip."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aarlab.core.errors import Misconfigured
from aarlab.core.plain_text import decoded, read_bytes
from aarlab.core.strict_json import json_lines, parse_json
from aarlab.problems.preference_rows import CHOSEN, PROMPTS
from aarlab.problems.study.rows import parquet_rows

Row = dict[str, Any]
NUMBERS = ("label", "level")  # fields that are whole numbers, of a format that has texts alone
SAID_BY_WORD = {"true": 1, "false": 0}  # as numpy and pandas write them
WHOLE = re.compile(r"[0-9]{1,9}(\.0*)?")  # 1.0 is what pandas makes of 1 where another row has none
MESSAGES = re.compile(r"""\[\s*\{\s*['"](role|content)['"]\s*:""")
LONGEST_CELL = 1 << 24  # characters


def rows_of(path: Path) -> tuple[str, dict[int, Row]]:
    """(what a number counts, the rows by number).

    Raises:
        Misconfigured: the file cannot be read, is of no such kind, or a row is no object.
    """
    kind, data = path.name.lower(), b""
    if not kind.endswith(".parquet"):
        data = read_bytes(path)
    if kind.endswith(".gz"):
        try:
            data, kind = gzip.decompress(data), kind.removesuffix(".gz")
        except (OSError, EOFError, zlib.error) as error:
            raise Misconfigured(
                f"{path} cannot be decompressed ({error}). Write it again."
            ) from error
    if kind.endswith(".jsonl"):
        return "line", _objects(path, "line", json_lines(data.split(b"\n"), str(path)))
    if kind.endswith(".json"):
        found = parse_json(data, str(path))
        listed = found if isinstance(found, list) else [found]
    elif kind.endswith(".csv"):
        listed = _csv(path, data)
    elif kind.endswith(".parquet"):
        read_bytes(path)  # says in a sentence that it cannot be read
        listed = list(parquet_rows(path))
    else:
        raise Misconfigured(
            f"{path} is of an unknown kind. Write .jsonl (one JSON object a line), .json (a list "
            "of objects), .csv or .parquet; all but the last also as .gz."
        )
    return "row", _objects(path, "row", enumerate(listed, 1))


def _objects(path: Path, unit: str, numbered: Iterable[tuple[int, Any]]) -> dict[int, Row]:
    rows = dict(numbered)
    for number, row in rows.items():
        if not isinstance(row, dict):
            raise Misconfigured(f"{path}, {unit} {number}: {row!r:.60} is no object. Write one.")
    return rows


def _csv(path: Path, data: bytes) -> list[Row]:
    """Rows of a table with names in its first line. A cell that is empty is a field that is not
    given."""
    csv.field_size_limit(LONGEST_CELL)
    text = decoded(data, str(path)).removeprefix("\ufeff")
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise Misconfigured(f"{path} is no CSV: {error}. Write it again.") from error
    names, *rows = table or [[]]
    if len(names) == 1 and (other := next((s for s in (";", "\t", "|") if s in names[0]), None)):
        raise Misconfigured(
            f"{path}: its columns are separated by {other!r}. Separate them by commas."
        )
    if len(set(names)) < len(names):
        raise Misconfigured(f"{path}: two columns have one name. Rename one of them.")
    for number, cells in enumerate(rows, 1):
        if cells and len(cells) != len(names):
            raise Misconfigured(
                f"{path}, row {number}: it has {len(cells)} cells, and there are {len(names)} "
                "columns. Write as many."
            )
    return [
        {
            name: _of_cell(name, cell, f"{path}, row {number}, {name}")
            for name, cell in zip(names, cells, strict=True)
            if cell
        }
        for number, cells in enumerate(rows, 1)
        if cells
    ]


def _of_cell(name: str, cell: str, where: str) -> Any:
    """What a cell holds: a text, a number, or a conversation that is JSON.

    Raises:
        Misconfigured: it is a conversation as Python prints it, which cannot be read back.
    """
    if name in NUMBERS:
        word = cell.strip().lower()
        return int(float(word)) if WHOLE.fullmatch(word) else SAID_BY_WORD.get(word, cell)
    if name not in (*CHOSEN, *PROMPTS) or not MESSAGES.match(cell):
        return cell
    try:
        return parse_json(cell, where)
    except Misconfigured as error:
        raise Misconfigured(
            f"{where} is a list of messages as Python prints it. Write the rows as JSON Lines or "
            "Parquet, which hold lists."
        ) from error
