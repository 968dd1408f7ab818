"""Files that untrusted code left, read without following a link."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from aarlab.core.errors import InvalidSubmission

FOLDER_FILES = 10_000
PATH_BYTES = 1000  # of a path in a submitted folder


def read_plain(path: Path, limit: int) -> bytes:
    """The bytes of a regular file.

    Raises:
        InvalidSubmission: it is none, larger, or closed to its reader.
    """
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise InvalidSubmission(f"{path.name} is no regular file. Send one.")
        if status.st_size > limit:
            raise InvalidSubmission(
                f"{path.name} has {status.st_size:,} bytes; {limit:,} may be sent. Send fewer."
            )
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise InvalidSubmission(
            f"{path} cannot be read ({error.strerror}). Name a file."
        ) from error


def plain_files(folder: Path, limit: int) -> Iterator[tuple[str, bytes | None]]:
    """What lies below a folder of plain files, sorted by path, each folder before what it holds:
    the path in it, and the bytes; None of a folder. No link is followed.

    Raises:
        InvalidSubmission: it is no folder, holds something that is no file, is too large, or a name
            or a path is one that not every system takes.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise InvalidSubmission(f"{folder.name} is no folder. Send one.")
    left, number, waiting = limit, 0, _inside(folder, folder)
    while waiting:
        path = waiting.pop()
        if (number := number + 1) > FOLDER_FILES:
            raise InvalidSubmission(f"There are more than {FOLDER_FILES:,} files. Send fewer.")
        if path.is_dir() and not path.is_symlink():
            yield _named(path, folder), None
            waiting += _inside(path, folder)
        else:
            data = read_plain(path, left)
            left -= len(data)
            yield _named(path, folder), data


def _inside(here: Path, root: Path) -> list[Path]:
    """What a folder holds, the first one last."""
    try:
        found = sorted(map(Path, os.scandir(here)), reverse=True)
    except PermissionError as error:
        raise InvalidSubmission(
            f"The folder {here.relative_to(root)} cannot be read. Open it to its owner."
        ) from error
    if len(found) > FOLDER_FILES:
        raise InvalidSubmission(f"There are more than {FOLDER_FILES:,} files. Send fewer.")
    for path in found:
        _named(path, root)
    return found


def _named(path: Path, root: Path) -> str:
    name = path.relative_to(root).as_posix()
    length = len(os.fsencode(name))
    if length > PATH_BYTES:
        raise InvalidSubmission(
            f"The path {name[:40]!a} ... has {length:,} bytes; {PATH_BYTES:,} may be sent. "
            "Use shorter names and fewer folders."
        )
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InvalidSubmission(f"The name {name[:80]!a} is no UTF-8 text. Rename it.") from error
    return name


def copy_plain(source: Path, target: Path, limit: int) -> None:
    """Copy a folder of plain files, without following a link.

    Raises:
        InvalidSubmission: see `plain_files`.
    """
    target.mkdir()
    for name, data in plain_files(source, limit):
        if data is None:
            (target / name).mkdir()
        else:
            (target / name).write_bytes(data)
