"""The identity of a piece of code: one canonical text for one set of files {path: text}, however it
was sent."""

import hashlib
import json
from collections.abc import Mapping
from difflib import unified_diff

from aarlab.core.printable import one_line

Files = dict[str, str]  # plain relative path -> text


def canonical(files: Mapping[str, str]) -> bytes:
    """The JSON of the files in the order of their paths, without spaces, as ASCII: what is stored,
    and what is hashed."""
    return json.dumps(dict(sorted(files.items())), separators=(",", ":")).encode()


def snapshot_hash(files: Mapping[str, str]) -> str:
    """SHA-256 of the canonical text, in hexadecimal."""
    return hashlib.sha256(canonical(files)).hexdigest()


def difference(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What changed from one set of files to another, as lines of a unified difference."""
    found: list[str] = []
    for path in sorted({*old, *new}):
        before, after = (files.get(path, "").split("\n") for files in (old, new))
        name = one_line(path, 200)
        names = (f"before/{name}", f"after/{name}")
        found += unified_diff(before, after, *names, lineterm="", n=3)
    return found
