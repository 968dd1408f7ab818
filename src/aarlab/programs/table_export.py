"""Write a campaign's tables as files, for spreadsheets (CSV) or for programs (JSON lines)."""

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from aarlab.core.errors import Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.layout import ExportFolder
from aarlab.core.untrusted import clean
from aarlab.programs.campaign_reader import CampaignReader
from aarlab.programs.table_rows import COLUMNS, Row

Form = Literal["csv", "jsonl"]
# a spreadsheet takes a cell that begins so for a formula, also behind blanks; the last four are
# the wide forms of the first four
FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"
TEXT_MARK = "'"  # before a cell: it is text


def export(reader: CampaignReader, folder: Path, form: Form) -> list[Path]:
    """Write every table into a new folder; returns the files.

    Raises:
        Misconfigured: there is something at that path already, or it cannot be written.
    """
    texts = {table: FORMS[form](COLUMNS[table], reader.rows(table)) for table in COLUMNS}
    make_new(folder)
    files = {ExportFolder(folder).table(table, form): text for table, text in texts.items()}
    for path, text in files.items():
        write_whole(path, text)
    return list(files)


def require_new(folder: Path) -> None:
    """Raise Misconfigured where there is something at that path already."""
    if os.path.lexists(folder):
        raise Misconfigured(f"{folder} is there already. Give a folder that is not.")


def make_new(folder: Path) -> None:
    """Make a folder that is not there; nothing that is there is written over.

    Raises:
        Misconfigured: there is something at that path already, or it cannot be made.
    """
    require_new(folder)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        words = f"{folder} cannot be made ({error.strerror}). Give another folder."
        raise Misconfigured(words) from error


def as_csv(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """A table with a header. No text in it is read as a formula: one that begins like one has an
    apostrophe before it. Control characters are left out; what is not known is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)
    return out.getvalue()


def as_json_lines(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """One object a line, in ASCII; texts are as they were written."""
    return "".join(f"{json.dumps({name: row[name] for name in columns})}\n" for row in rows)


FORMS: dict[Form, Callable[[Sequence[str], Sequence[Row]], str]] = {
    "csv": as_csv,
    "jsonl": as_json_lines,
}


def _cell(value: object) -> object:
    """A number as it is; all else as text that no spreadsheet computes."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    plain = clean(value if isinstance(value, str) else json.dumps(value))
    return f"{TEXT_MARK}{plain}" if plain.lstrip()[:1] in tuple(FORMULA) else plain
