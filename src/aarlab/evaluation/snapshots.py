"""What may be a snapshot: a small set of text files under plain relative paths, sent as such or as an archive.

The same files are the same snapshot (one hash), however they were sent.
"""

import re
import unicodedata
import zlib
from collections.abc import Iterable, Mapping

from aarlab.core.errors import InvalidSubmission
from aarlab.core.snapshot import Files
from aarlab.evaluation.archives import Member, inflated, tar_members, zip_members

MAX_FILES, MAX_BYTES = 50, 1 << 20  # of text
MAX_PATH_BYTES, MAX_DEPTH = 200, 8
MAX_ARCHIVE_BYTES = 2 << 20  # packed, and a tar unpacked: the text, headers and padding
MAX_MEMBERS = 4 * MAX_FILES  # folders count
_CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")


def check_files(files: Mapping[str, str]) -> None:
    """Raise unless these files are a snapshot.

    Raises:
        InvalidSubmission: too many or too large, a name that is not a plain relative path on every system, two names that
            would be one, or a text that is none.
    """
    if not 1 <= len(files) <= MAX_FILES:
        raise InvalidSubmission(f"A snapshot has 1 to {MAX_FILES} files, got {len(files)}. Make it smaller.", files=len(files))
    size = sum(_text_bytes(name, text) for name, text in files.items())
    if size > MAX_BYTES:
        raise InvalidSubmission(f"A snapshot has at most {MAX_BYTES} bytes of text, got {size}. Make it smaller.", bytes=size)
    for name in files:
        _check_name(name)
    _check_distinct(files)


def read_archive(data: bytes) -> Files:
    """The files of a tar, tar.gz or zip archive, told apart by their first bytes; they have passed `check_files`.

    Raises:
        InvalidSubmission: it is no such archive, is damaged, holds anything but files and folders, unpacks to too much, or
            its files are no snapshot.
    """
    if len(data) > MAX_ARCHIVE_BYTES:
        raise InvalidSubmission(f"An archive has at most {MAX_ARCHIVE_BYTES} bytes, got {len(data)}. Make it smaller.")
    if data.startswith(b"PK"):
        members: Iterable[Member] = zip_members(data, MAX_BYTES)
    elif data.startswith(b"\x1f\x8b"):
        members = tar_members(inflated(data, 16 + zlib.MAX_WBITS, MAX_ARCHIVE_BYTES))
    else:
        members = tar_members(data)
    files = _gathered(members)
    check_files(files)
    return files


def _gathered(members: Iterable[Member]) -> Files:
    """Members as files; folders only have to fit."""
    found: dict[str, bytes | None] = {}
    for count, (stated, content) in enumerate(members, start=1):
        if count > MAX_MEMBERS:
            raise InvalidSubmission(f"The archive has more than {MAX_MEMBERS} members. Pack the method's files only.")
        name = stated.removeprefix("./")
        name = name.removesuffix("/") if content is None else name
        if name in ("", ".") and content is None:
            continue  # the folder that was packed
        _check_name(name)
        if name in found and not (content is None and found[name] is None):
            raise InvalidSubmission(f"The archive holds {name!r} twice. Pack it anew.", path=name)
        found[name] = content
    _check_distinct(found, folders={name for name, content in found.items() if content is None})
    return {name: _decoded(name, content) for name, content in found.items() if content is not None}


# --- names and texts -----------------------------------------------------------------------------------------------------


def _check_name(name: str) -> None:
    """Each part must be an ordinary name on Linux, macOS and Windows; what cannot be printed could deceive a reader."""
    parts = name.split("/")
    plain = all(part not in ("", ".", "..") and part[-1] not in ". " for part in parts)
    if not plain or not name.isprintable() or any(c in name for c in '\\:*?"<>|'):
        raise InvalidSubmission(f"The path {name[:80]!r} is not a plain relative path. Rename it.", path=name[:200])
    if len(parts) > MAX_DEPTH or len(name.encode()) > MAX_PATH_BYTES:
        limits = f"{MAX_DEPTH} parts and {MAX_PATH_BYTES} bytes"
        raise InvalidSubmission(f"The path {name[:80]!r} is too long: at most {limits}. Rename it.", path=name[:200])


def _check_distinct(names: Iterable[str], folders: Iterable[str] = ()) -> None:
    """No two names may be one on a file system that ignores case or composition, nor a file be another's folder."""
    known, seen = set(folders), {}
    for name in names:
        parts = name.split("/")
        for end in range(1, len(parts) + 1):
            path, is_folder = "/".join(parts[:end]), end < len(parts) or name in known
            other = seen.setdefault(_folded(path), (path, is_folder))
            if other != (path, is_folder):
                raise InvalidSubmission(
                    f"The paths {other[0][:80]!r} and {path[:80]!r} collide. Rename one.", path=path[:200], other=other[0][:200]
                )


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def _text_bytes(name: str, text: str) -> int:
    """The size of a text in UTF-8; raises where it is no text."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidSubmission(f"{name[:80]!r} is not text: it holds half a character. Send UTF-8.") from error
    if _CONTROLS.search(text):
        raise InvalidSubmission(f"{name[:80]!r} is not text: it holds control characters. Write them as escapes.")
    return size


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidSubmission(f"{name[:80]!r} is not UTF-8 text. A snapshot holds source code only.", path=name) from error
