"""Texts of files from outside: UTF-8, which can be written again."""

import codecs
from itertools import chain
from pathlib import Path
from typing import Any

from aarlab.core.errors import Misconfigured


def read_text(path: Path, remedy: str = "", what: str = "") -> str:
    """The text of a file, without a byte order mark. `remedy`: a sentence that ends the message;
    `what`: the name of the file, as text ("the campaign").

    Raises:
        Misconfigured: it cannot be read, or is not UTF-8; the message names it.
    """
    return decoded(read_bytes(path, remedy, what), str(path))


def read_bytes(path: Path, remedy: str = "", what: str = "") -> bytes:
    """The bytes of a file.

    Raises:
        Misconfigured: it cannot be read; the message names it and ends with `remedy`.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        file = f"{what} {path}".strip()
        words = f"Cannot read {file}: {getattr(error, 'strerror', None) or error}."
        raise Misconfigured(f"{words} {remedy}".strip(), path=path) from error


def decoded(data: bytes, where: str) -> str:
    """The text of bytes in UTF-8, without a byte order mark.

    Raises:
        Misconfigured: they are not that.
    """
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        kind = (
            ", but UTF-16 or UTF-32"
            if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            else f" (line {data.count(10, 0, error.start) + 1}, byte {error.start + 1})"
        )
        raise Misconfigured(f"{where} is no UTF-8 text{kind}. Save it as UTF-8.") from error


def half_of_pair(value: Any, name: str = "") -> str | None:
    """What is wrong, as text, with the first text that holds half of a surrogate pair (JSON can
    spell it, and no file takes it)."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            what = f"{name!a:.60} " if name else ""
            return f"{what}holds half of a surrogate pair ({error.object[error.start]!a})"
        return None
    if isinstance(value, dict):
        inner = ((v, str(k)) for k, v in value.items())
        keys = (half_of_pair(k, str(k)) for k in value)
    elif isinstance(value, list):
        inner, keys = ((v, name) for v in value), iter(())
    else:
        return None
    return next(filter(None, chain(keys, (half_of_pair(v, n) for v, n in inner))), None)
