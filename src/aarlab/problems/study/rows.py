"""Rows of upstream files, read strictly: what is not as the data set's card says is told by file and line."""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aarlab.core.errors import Misconfigured
from aarlab.problems.hub import Snapshot


@dataclass(frozen=True)
class Row:
    """One row; `where` names its file and line (of parquet and JSON lists: the row), counted from 1."""

    where: str
    fields: dict[str, Any]

    def wrong(self, what: str) -> Misconfigured:
        return Misconfigured(f"{self.where}: {what}. The file is damaged, or of another version than this builder knows.")

    def _field(self, name: str) -> Any:
        if name not in self.fields:
            raise self.wrong(f"no field '{name}' (there are {', '.join(self.fields) or 'none'})")
        return self.fields[name]

    def text(self, name: str, *, blank: bool = False) -> str:
        """The text of a field, stripped.

        Raises:
            Misconfigured: it is missing, no text, or blank where it may not be.
        """
        value = self._field(name)
        if not isinstance(value, str):
            raise self.wrong(f"'{name}' is {value!r:.60}, not a text")
        if not blank and not value.strip():
            raise self.wrong(f"'{name}' is blank")
        return _sayable(value)

    def whole(self, name: str, low: int, high: int) -> int:
        """A whole number in low..high.

        Raises:
            Misconfigured: it is missing, no whole number, or out of range.
        """
        value = self._field(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(f"'{name}' is {value!r:.60}, not a whole number from {low} to {high}")
        return value

    def texts(self, name: str, least: int = 1) -> list[str]:
        """At least `least` texts, stripped; blank ones are left in their places.

        Raises:
            Misconfigured: it is missing or no list of so many texts.
        """
        value = self._field(name)
        if not isinstance(value, list) or len(value) < least or not all(isinstance(v, str) for v in value):
            raise self.wrong(f"'{name}' is {value!r:.60}, not a list of at least {least} texts")
        return [_sayable(v) for v in value]


def _sayable(text: str) -> str:
    """The text, stripped; half of a surrogate pair, which JSON can spell and no file or tokenizer takes, is a question mark."""
    return text.encode("utf-8", "replace").decode().strip()


def read_rows(snapshot: Snapshot, suffix: str) -> Iterator[Row]:
    """The rows of all files of the snapshot whose path ends so: .jsonl, .jsonl.gz, .json (one list) or .parquet.

    Raises:
        Misconfigured: there is no such file, it is cut off or unreadable, or a row is no object.
    """
    paths = [p for p in snapshot.sha256 if p.endswith(suffix)]
    if not paths:
        raise Misconfigured(f"{snapshot.folder} has no file ...{suffix}. Put the files there as they are upstream.")
    for path in paths:
        for number, fields in enumerate(_objects(snapshot.folder / path), start=1):
            row = Row(f"{snapshot.name}/{path}, line {number}", fields)
            if not isinstance(fields, dict):
                raise row.wrong(f"{fields!r:.60} is no object")
            yield row


def _objects(path: Path) -> Iterator[Any]:
    if path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix == ".json":
        found = _parsed(path.read_text(encoding="utf-8"), f"{path}")
        if not isinstance(found, list):
            raise Misconfigured(f"{path} holds {type(found).__name__}, not a list of objects.", path=path)
        yield from found
    else:
        for number, line in enumerate(_lines(path), start=1):
            yield _parsed(line, f"{path}, line {number}")


def _lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            yield from file
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} is cut off or damaged ({error}). Download it again.", path=path) from error


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Misconfigured(f"{where} is not JSON: {error}. Download it again.") from error


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise Misconfigured(f"{path.name} needs pyarrow: pip install 'aarlab[study]'.") from error
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=256):
            yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise Misconfigured(f"{path} is cut off or damaged ({error}). Download it again.", path=path) from error
