"""Rows of upstream files. Strict readers: a row that violates the schema raises an error with
file and line."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aarlab.core.errors import Misconfigured
from aarlab.core.hub import HubSnapshot
from aarlab.core.strict_json import json_lines, read_json

AGAIN = "Download it again."


@dataclass(frozen=True)
class SourceRow:
    """One row; `where` names its file and line (of parquet and JSON lists: the row), counted from
    1."""

    where: str
    fields: dict[str, Any]

    def wrong(self, what: str) -> Misconfigured:
        return Misconfigured(
            f"{self.where}: {what}. The file is damaged, or of another version than this builder "
            "knows."
        )

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
        if (
            not isinstance(value, list)
            or len(value) < least
            or not all(isinstance(v, str) for v in value)
        ):
            raise self.wrong(f"'{name}' is {value!r:.60}, not a list of at least {least} texts")
        return [_sayable(v) for v in value]


def _sayable(text: str) -> str:
    """The text, stripped; half of a surrogate pair, which JSON can spell and no file or tokenizer
    takes, is a question mark."""
    return text.encode("utf-8", "replace").decode().strip()


def read_rows(snapshot: HubSnapshot, suffix: str) -> Iterator[SourceRow]:
    """The rows of all files of the snapshot whose path ends so: .jsonl, .jsonl.gz, .json (one list)
    or .parquet.

    Raises:
        Misconfigured: there is no such file, it is cut off or unreadable, or a row is no object.
    """
    paths = [p for p in snapshot.sha256 if p.endswith(suffix)]
    if not paths:
        raise Misconfigured(
            f"{snapshot.folder} has no file ...{suffix}. Put the files there as they are upstream."
        )
    for path in paths:
        for number, fields in enumerate(_objects(snapshot.folder / path), start=1):
            row = SourceRow(f"{snapshot.name}/{path}, line {number}", fields)
            if not isinstance(fields, dict):
                raise row.wrong(f"{fields!r:.60} is no object")
            yield row


def _objects(path: Path) -> Iterator[Any]:
    if path.suffix == ".parquet":
        yield from parquet_rows(path)
    elif path.suffix == ".json":
        found = read_json(path, AGAIN)
        if not isinstance(found, list):
            raise Misconfigured(
                f"{path} holds {type(found).__name__}, not a list of objects.", path=path
            )
        yield from found
    else:
        yield from _lines(path)


def _lines(path: Path) -> Iterator[Any]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for _, value in json_lines(file, str(path), halves=True):
                yield value
    except Misconfigured as error:
        raise Misconfigured(f"{error} {AGAIN}", path=path) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Misconfigured(
            f"{path} is cut off or damaged ({error}). {AGAIN}", path=path
        ) from error


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file.

    Raises:
        Misconfigured: pyarrow is not installed, or the file cannot be read.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise Misconfigured(f"{path.name} needs pyarrow: pip install 'aarlab[study]'.") from error
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=256):
            yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise Misconfigured(
            f"{path} is cut off or damaged ({error}). Download it again.", path=path
        ) from error
