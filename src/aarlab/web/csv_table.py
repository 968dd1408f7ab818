"""Rows of a page as CSV, for spreadsheets and programs. A text that a spreadsheet would compute is
made one that it shows: researchers choose names and titles."""

import csv
import io
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

# with which a cell begins that is computed, not shown; the last four are the wide = + - @
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
BEGINNINGS = frozenset("".join(FORMULA) + " ")  # of texts that may have to be changed
UNKNOWN = "unknown"

Row = Mapping[str, Any]
Shape = tuple[tuple[str, ...], tuple[str, ...]]  # the fields of a row; of these, those with a value
Layout = tuple[tuple[str, ...], str]  # columns, and what stands for None


class KeptRow(dict[str, Any]):
    """A row that nobody changes: what a table needs of it is made once."""

    shape: Shape | None = None
    line: tuple[Layout, str] | None = None  # as it was last written


def as_csv(rows: Iterable[Row], missing: str = "") -> bytes:
    """A table with a column for each field, in the order in which they first appear. A field with
    fields is a column for each of these; a list is one cell. `missing`: what stands for None; a
    field that a row does not have is an empty cell."""
    rows = list(rows)
    layout = _columns(list(dict.fromkeys(map(_shape, rows)))), missing
    head = _written([cell(name) for name in layout[0]])
    return "".join([head, *(_line(row, layout) for row in rows)]).encode(errors="replace")


def _shape(row: Row) -> Shape:
    if isinstance(row, KeptRow) and row.shape is not None:
        return row.shape
    flat = _flat(row)
    found = tuple(flat), tuple(name for name, value in flat.items() if value is not None)
    if isinstance(row, KeptRow):
        row.shape = found
    return found


def _columns(shapes: list[Shape]) -> tuple[str, ...]:
    """Every field once; one that has fields in some rows, and is None in others, is none."""
    every = list(dict.fromkeys(chain.from_iterable(fields for fields, _ in shapes)))
    used = set(chain.from_iterable(filled for _, filled in shapes))
    return tuple(n for n in every if n in used or not any(m.startswith(f"{n}_") for m in every))


def _line(row: Row, layout: Layout) -> str:
    if isinstance(row, KeptRow) and row.line is not None and row.line[0] == layout:
        return row.line[1]
    flat, (columns, missing) = _flat(row), layout
    made = _written([cell(flat[name], missing) if name in flat else "" for name in columns])
    if isinstance(row, KeptRow):
        row.line = layout, made
    return made


def _written(cells: list[str | int | float]) -> str:
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerow(cells)
    return made.getvalue()


def _flat(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= {f"{name}_{inner}": one for inner, one in _flat(value).items()}
        else:
            found[name] = value
    return found


def cell(value: object, missing: str = "") -> str | int | float:
    """A value as one cell: a number as it is, a text never as a formula."""
    if type(value) is str and value[:1] not in BEGINNINGS:
        return value
    if value is None:
        return missing
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return value
    text = "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
