"""Read code from a folder into a snapshot, and write a snapshot to a folder.

A snapshot holds text files under plain relative paths; links and paths that lead outside are
refused.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from aarlab.core.errors import InvalidSubmission

METHOD = "method.py"
MOST_FILES, MOST_BYTES = 50, 1 << 20  # of a snapshot, as the lab takes it
_LEFT_OUT = {"__pycache__", "node_modules"}  # hidden folders are left out, too
_PLAIN = re.compile(r"[^\\:*?\"<>|\x00-\x1f\x7f]+")


def read_code(path: Path) -> dict[str, str]:
    """{relative path: text} of a folder, or of one file, which is named method.py. Hidden files and
    caches are left out.

    Raises:
        InvalidSubmission: the path is missing, holds a link or a file that is not text, or is too
            large.
    """
    if path.is_symlink():
        raise InvalidSubmission(f"'{path}' is a link. Give the path of the file or folder itself.")
    if path.is_file():
        return {METHOD: _text(path, MOST_BYTES)}
    if not path.is_dir():
        raise InvalidSubmission(
            f"There is no file or folder '{path}'. Give the path of your method file or of its "
            "folder."
        )
    found: dict[str, str] = {}
    left = MOST_BYTES
    for file in _files(path):
        if len(found) == MOST_FILES:
            raise InvalidSubmission(
                f"'{path}' holds more than {MOST_FILES} files. Commit a folder with the method's "
                "files only."
            )
        name = file.relative_to(path).as_posix()
        found[name] = _text(file, left)
        left -= len(found[name].encode())
    if METHOD not in found:
        raise InvalidSubmission(
            f"'{path}' holds no {METHOD}. Add {METHOD}, which must define run(task, seed)."
        )
    return found


def _files(folder: Path) -> list[Path]:
    """All files in a folder and its subfolders, in the order of their names."""
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name in _LEFT_OUT:
            continue
        if entry.is_symlink():
            raise InvalidSubmission(f"'{entry}' is a link. Copy what it points to, or remove it.")
        found += _files(entry) if entry.is_dir() else [entry]
    return found


def _text(path: Path, most: int) -> str:
    if not path.is_file():
        raise InvalidSubmission(f"'{path}' is not a regular file. Remove it.")
    size = path.stat().st_size
    if size > most:
        raise InvalidSubmission(
            f"'{path}' ({size} bytes) exceeds the snapshot's limit of {MOST_BYTES} bytes. Remove "
            "data files."
        )
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InvalidSubmission(
            f"'{path}' is not UTF-8 text. A snapshot holds source code only."
        ) from error


def write_code(files: Mapping[str, str], folder: Path) -> list[Path]:
    """Write a snapshot's files into a new or empty folder; return the paths written.

    Raises:
        InvalidSubmission: the folder is not empty or cannot be written, or a path leads outside it.
    """
    for name in files:
        parts = name.split("/")
        if not _PLAIN.fullmatch(name) or any(part in ("", ".", "..") for part in parts):
            raise InvalidSubmission(
                f"The snapshot's path {name[:80]!r} leads outside the folder. Nothing was written."
            )
    try:
        if folder.is_symlink() or (
            folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        ):
            raise InvalidSubmission(
                f"The folder '{folder}' is not empty. Give the path of a new folder."
            )
        return [_write(folder, name, text) for name, text in files.items()]
    except OSError as error:
        raise InvalidSubmission(
            f"Cannot write to '{folder}': {error.strerror}. Name a new folder in your home."
        ) from error


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return path
