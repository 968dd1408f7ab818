"""What may be a snapshot: a small set of text files under plain relative paths."""

import re
import unicodedata
from collections.abc import Iterable, Mapping

from aarlab.core.errors import InvalidSubmission

MAX_FILES, MAX_BYTES = 50, 1 << 20  # of text
MAX_PATH_BYTES, MAX_DEPTH = 200, 8
_CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")


def check_files(files: Mapping[str, str]) -> None:
    """Raise unless these files are a snapshot.

    Raises:
        InvalidSubmission: too many or too large, a name that is not a plain relative path on every
            system, two names that would be one, or a text that is none.
    """
    if not 1 <= len(files) <= MAX_FILES:
        raise InvalidSubmission(
            f"A snapshot has 1 to {MAX_FILES} files, got {len(files)}. Make it smaller.",
            files=len(files),
        )
    size = sum(_text_bytes(name, text) for name, text in files.items())
    if size > MAX_BYTES:
        raise InvalidSubmission(
            f"A snapshot has at most {MAX_BYTES} bytes of text, got {size}. Make it smaller.",
            bytes=size,
        )
    for name in files:
        _check_name(name)
    _check_distinct(files)


# --- names and texts ------------------------------------------------------------------------------


def _check_name(name: str) -> None:
    """Each part must be an ordinary name on Linux, macOS and Windows; what cannot be printed could
    deceive a reader."""
    parts = name.split("/")
    plain = all(part not in ("", ".", "..") and part[-1] not in ". " for part in parts)
    if not plain or not name.isprintable() or any(c in name for c in '\\:*?"<>|'):
        raise InvalidSubmission(
            f"The path {name[:80]!r} is not a plain relative path. Rename it.", path=name[:200]
        )
    if len(parts) > MAX_DEPTH or len(name.encode()) > MAX_PATH_BYTES:
        limits = f"{MAX_DEPTH} parts and {MAX_PATH_BYTES} bytes"
        raise InvalidSubmission(
            f"The path {name[:80]!r} is too long: at most {limits}. Rename it.", path=name[:200]
        )


def _check_distinct(names: Iterable[str]) -> None:
    """No two names may be one on a file system that ignores case or composition, nor a file be
    another's folder."""
    seen: dict[str, tuple[str, bool]] = {}
    for name in names:
        parts = name.split("/")
        for end in range(1, len(parts) + 1):
            path, is_folder = "/".join(parts[:end]), end < len(parts)
            other = seen.setdefault(_folded(path), (path, is_folder))
            if other != (path, is_folder):
                raise InvalidSubmission(
                    f"The paths {other[0][:80]!r} and {path[:80]!r} collide. Rename one.",
                    path=path[:200],
                    other=other[0][:200],
                )


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def _text_bytes(name: str, text: str) -> int:
    """The size of a text in UTF-8; raises where it is no text."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidSubmission(
            f"{name[:80]!r} is not text: it holds half a character. Send UTF-8."
        ) from error
    if _CONTROLS.search(text):
        raise InvalidSubmission(
            f"{name[:80]!r} is not text: it holds control characters. Write them as escapes."
        )
    return size
