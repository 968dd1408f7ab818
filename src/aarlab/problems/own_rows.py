"""The rows of a file of one's own: JSON Lines, a JSON list, CSV or Parquet; all but the last also
compressed by gzip."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aarlab.core.errors import Misconfigured
from aarlab.core.plain_text import decoded, read_bytes
from aarlab.core.strict_json import json_lines, parse_json
from aarlab.problems.study.rows import parquet_rows

Row = dict[str, Any]
NUMBERS = ("label", "level")  # fields that are whole numbers, of a format that has texts alone
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
            name: int(cell) if name in NUMBERS and cell.isdecimal() else cell
            for name, cell in zip(names, cells, strict=True)
            if cell
        }
        for cells in rows
        if cells
    ]
