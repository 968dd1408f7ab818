"""A folder of data as bytes, so that it travels to a node once, by the hash of all that it holds,
and is checked when it arrives."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.files import folder_whole
from aarlab.core.hold import file_lock
from aarlab.core.records import Record

MAX_FILES, MAX_BYTES = 10_000, 8 << 30


class PackHeader(Record):
    """The first line of a pack: of each file and folder in order, its path, and how many bytes of
    the rest are its own; None of a folder."""

    files: tuple[tuple[str, Annotated[int, Field(ge=0)] | None], ...]


def pack(folder: Path) -> bytes:
    """All files of a folder and below, in the order of their paths. Equal folders are equal bytes.

    Raises:
        Misconfigured: one of them is no plain file, or they are too many.
    """
    found: list[tuple[str, bytes | None]] = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Misconfigured(f"{path} is no plain file, and data for nodes are. Remove it.")
        name = path.relative_to(folder).as_posix()
        found.append((name, path.read_bytes() if path.is_file() else None))
    size = sum(len(data or b"") for _, data in found)
    if len(found) > MAX_FILES or size > MAX_BYTES:
        raise Misconfigured(
            f"{folder} has {len(found)} files and folders of {size:,} bytes; nodes take at most "
            f"{MAX_FILES:,} of {MAX_BYTES:,}. Run it on this machine."
        )
    return packed_files(found)


def packed_files(files: Iterable[tuple[str, bytes | None]]) -> bytes:
    """Files by their paths, each folder (None) before what it holds."""
    found = list(files)
    sizes = tuple((name, None if data is None else len(data)) for name, data in found)
    head = PackHeader(files=sizes).model_dump_json().encode()
    return b"\n".join([head, b"".join(data or b"" for _, data in found)])


def hash_of(data: bytes) -> str:
    """By which it is asked for."""
    return hashlib.sha256(data).hexdigest()


def kept(folder: Path, name: str) -> Path | None:
    """Where a node has the data of that hash; None where it has not."""
    path = folder / name
    return path if path.is_dir() else None


def unpack(folder: Path, name: str, data: bytes) -> Path:
    """Write what arrived into the node's `folder`, whole or not at all; where it is then.

    Raises:
        Transient: it is not what was asked for, or the disk is full.
    """
    if hash_of(data) != name:
        raise Transient(f"The data {name[:12]} arrived changed. They are not used; try again.")
    try:
        with file_lock(folder / ".lock"):
            if (found := kept(folder, name)) is not None:
                return found
            with folder_whole(folder / name) as partial:
                write_files(partial, data, f"The data {name[:12]}")
                partial.chmod(0o755)
            return folder / name
    except OSError as error:
        raise Transient(
            f"The node cannot write the data {name[:12]} ({error.strerror}). Make room; try again."
        ) from error


def write_files(folder: Path, data: bytes, what: str) -> None:
    """Write packed files below a folder that is empty. `what` names them in messages.

    Raises:
        Transient: these bytes are no pack, or one that leads outside the folder.
        OSError: they cannot be written.
    """
    head, _, rest = data.partition(b"\n")
    try:
        files = PackHeader.model_validate_json(head).files
        if sum(size or 0 for _, size in files) != len(rest) or len(files) > MAX_FILES:
            raise ValueError("its sizes do not fit")
    except (ValueError, ValidationError) as error:
        raise Transient(f"{what} are none that aarlab packed: {error}.") from error
    at = 0
    for path, size in files:
        target = _below(folder, path, what)
        if size is None:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(rest[at : at + size])
        at += size


def _below(root: Path, path: str, what: str) -> Path:
    parts = path.split("/")
    if not {"", ".", ".."}.isdisjoint(parts) or "\0" in path:
        raise Transient(f"{what} name a file outside their folder: {path[:80]!r}. Not used.")
    return root.joinpath(*parts)
