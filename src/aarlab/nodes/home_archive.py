"""A researcher's home as one file: to be kept by its hash, and to be unpacked on another machine.

Whoever wrote the home is not trusted: while it is packed nothing is followed that is a link, and
while it is unpacked nothing is written outside the new folder. An archive is a row of entries, each
a line of JSON and the bytes of a file. Files, folders and links are kept; sockets, pipes, devices,
owners and set-user-id bits are not.
"""

import hashlib
import json
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from aarlab.core.errors import Transient
from aarlab.core.records import Record

MOST_ENTRIES, MOST_DEPTH, MOST_NAME = 200_000, 60, 4_096
LINE_BYTES = 32 << 10
PIECE = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ArchiveEntry(Record):
    """A file (`f`), folder (`d`) or link (`l`); `end` closes an archive and counts what was left
    out. Names are bytes, each as the character of its number, since they need not be UTF-8."""

    kind: Literal["f", "d", "l", "end"]
    path: Annotated[str, Field(max_length=MOST_NAME)] = ""
    mode: Annotated[int, Field(ge=0, le=0o777)] = 0o644
    modified: Annotated[int, Field(ge=-(1 << 62), le=1 << 62)] = 0  # ns since 1970
    size: Annotated[int, Field(ge=0)] = 0
    target: Annotated[str, Field(max_length=MOST_NAME)] = ""
    left_out: Annotated[int, Field(ge=0)] = 0


_ENTRY: TypeAdapter[ArchiveEntry] = TypeAdapter(ArchiveEntry)


class HomeTooLarge(Exception):
    """A home has more bytes or files than are kept."""


class _Unwritable(Exception):
    """The archive itself cannot be written."""


@dataclass(frozen=True)
class Archive:
    """A packed home."""

    path: Path
    sha256: str
    size: int
    left_out: int


def pack_home(home: Path, path: Path, most_bytes: int) -> Archive:
    """Write the archive of a home, which may change meanwhile, to a new file.

    Raises:
        TooLarge: it would have more than `most_bytes`, or too many files; nothing is left.
        OSError: the disk is full, say; nothing is left.
    """
    try:
        with path.open("xb") as file:
            packer = _Packer(file, most_bytes)
            top = os.open(home, _OPEN | os.O_DIRECTORY)
            try:
                packer.folder(top, "", 0)
            finally:
                os.close(top)
            packer.entry({"kind": "end", "left_out": packer.left_out})
        return Archive(path, packer.digest.hexdigest(), packer.size, packer.left_out)
    except _Unwritable as error:
        path.unlink(missing_ok=True)
        raise OSError(*error.args) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


class _Packer:
    def __init__(self, file: IO[bytes], most_bytes: int) -> None:
        self._file, self._most = file, most_bytes
        self.digest, self.size, self.left_out, self._entries = hashlib.sha256(), 0, 0, 0

    def entry(self, fields: dict[str, object]) -> None:
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise HomeTooLarge(f"more than {MOST_ENTRIES:,} files")
        self._put(json.dumps(fields, separators=(",", ":")).encode() + b"\n")

    def _put(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._most:
            raise HomeTooLarge(f"more than {self._most:,} bytes")
        self.digest.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise _Unwritable(error.errno, error.strerror) from error

    def folder(self, fd: int, below: str, depth: int) -> None:
        """All that is in an open folder, in the order of names."""
        for name in sorted(os.listdir(fd)):
            path = f"{below}{name}"
            if len(os.fsencode(path)) > MOST_NAME // 2 or depth > MOST_DEPTH:
                self.left_out += 1
                continue
            try:
                self._one(fd, name, path, depth)
            except OSError:  # it is gone, or cannot be read
                self.left_out += 1

    def _one(self, fd: int, name: str, path: str, depth: int) -> None:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        named = _as_text(path)
        common = {"path": named, "mode": found.st_mode & 0o777, "modified": found.st_mtime_ns}
        if stat.S_ISLNK(found.st_mode):
            target = os.readlink(name, dir_fd=fd)
            self.entry({"kind": "l", "path": named, "target": _as_text(target)})
        elif stat.S_ISDIR(found.st_mode):
            inner = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=fd)
            try:
                self.entry({"kind": "d", **common})
                self.folder(inner, f"{path}/", depth + 1)
            finally:
                os.close(inner)
        elif stat.S_ISREG(found.st_mode):
            self._copy(os.open(name, _OPEN, dir_fd=fd), common)
        else:
            self.left_out += 1

    def _copy(self, fd: int, common: dict[str, object]) -> None:
        """A file as long as it is now: what is cut off meanwhile is zeros, what is added is left
        out."""
        with os.fdopen(fd, "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                self.left_out += 1
                return
            if self.size + found.st_size > self._most:
                raise HomeTooLarge(f"more than {self._most:,} bytes")
            self.entry({"kind": "f", **common, "size": found.st_size})
            left = found.st_size
            while left:
                piece = file.read(min(left, PIECE)) or bytes(min(left, PIECE))
                self._put(piece)
                left -= len(piece)


def _as_text(path: str) -> str:
    return os.fsencode(path).decode("latin-1")


def _as_path(text: str) -> str:
    """Raises ValueError: it is no name."""
    return os.fsdecode(text.encode("latin-1"))


def unpack_home(path: Path, home: Path, most_bytes: int) -> None:
    """Put what an archive holds in place of a home, whole or not at all.

    Raises:
        Transient: it is none that we packed, or the disk is full; the home is as it was.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=home.parent))
    try:
        with path.open("rb") as file:
            _Unpacker(file, made, most_bytes).run()
        shutil.rmtree(home, ignore_errors=True)
        made.rename(home)
    except (OSError, ValueError, RecursionError) as error:
        raise Transient(f"A kept home cannot be unpacked ({str(error)[:300]}).") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


class _Unpacker:
    """Links are made last: until then there is none below the folder, so that no path leads out
    of it."""

    def __init__(self, file: IO[bytes], root: Path, most_bytes: int) -> None:
        self._file, self._root, self._left = file, root, most_bytes
        self._links: list[ArchiveEntry] = []
        self._folders: list[ArchiveEntry] = []

    def run(self) -> None:
        for _ in range(MOST_ENTRIES + 1):
            entry = self._next()
            if entry.kind == "end":
                break
            target = self._inside(entry.path)
            if entry.kind == "d":
                target.mkdir(0o700)
                self._folders.append(entry)
            elif entry.kind == "l":
                self._links.append(entry)
            else:
                self._write(target, entry)
        else:
            raise ValueError(f"more than {MOST_ENTRIES:,} files")
        if self._file.read(1):
            raise ValueError("something follows its end")
        folders = {entry.path for entry in self._folders}
        for entry in self._links:
            parent = entry.path.rpartition("/")[0]
            if parent and parent not in folders:  # else it could lie below another link
                raise ValueError(f"a link leads outside the home: {entry.path[:80]!a}")
            self._inside(entry.path).symlink_to(_as_path(entry.target))
        for entry in reversed(self._folders):
            folder = self._inside(entry.path)
            os.utime(folder, ns=(entry.modified, entry.modified))
            folder.chmod(entry.mode | 0o700)

    def _next(self) -> ArchiveEntry:
        line = self._file.readline(LINE_BYTES)
        self._left -= len(line)
        if not line.endswith(b"\n"):
            raise ValueError("an entry is cut off")
        try:
            return _ENTRY.validate_json(line)
        except ValidationError as error:
            raise ValueError("an entry is damaged") from error

    def _inside(self, path: str) -> Path:
        parts = path.split("/")
        if len(parts) > MOST_DEPTH + 2 or not {"", ".", ".."}.isdisjoint(parts) or "\0" in path:
            raise ValueError(f"a path leads outside the home: {path[:80]!a}")
        return self._root.joinpath(_as_path(path))

    def _write(self, target: Path, entry: ArchiveEntry) -> None:
        self._left -= entry.size
        if self._left < 0:
            raise ValueError("it has more bytes than a home may have")
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            left = entry.size
            while left:
                piece = self._file.read(min(left, PIECE))
                if not piece:
                    raise ValueError("a file is cut off")
                file.write(piece)
                left -= len(piece)
            file.flush()  # what is written later would be the time of its change
            os.utime(file.fileno(), ns=(entry.modified, entry.modified))
            os.fchmod(file.fileno(), entry.mode | 0o600)
