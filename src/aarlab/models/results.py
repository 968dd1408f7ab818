"""The cache of workers' results on disk. The key of a result is a hash of everything that it
depends on.

Legend: N items of a split, n items of a request.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.files import write_whole
from aarlab.models.student_contract import Question


def digests(questions: Sequence[Question]) -> NDArray[np.uint8]:
    """SHA-256 of each question, (N, 32), for keys."""
    each = (
        hashlib.sha256(json.dumps(asdict(q), sort_keys=True).encode()).digest() for q in questions
    )
    return np.frombuffer(b"".join(each), dtype=np.uint8).reshape(len(questions), 32)


def key(**facts: object) -> str:
    """SHA-256 of named facts: arrays by their numbers, anything else as JSON."""
    return hashlib.sha256(
        json.dumps({name: _fact(value) for name, value in sorted(facts.items())}).encode()
    ).hexdigest()


def _fact(value: object) -> object:
    if isinstance(value, np.ndarray):
        return [
            str(value.dtype),
            list(value.shape),
            hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest(),
        ]
    return {k: _fact(v) for k, v in sorted(value.items())} if isinstance(value, Mapping) else value


def fingerprint(folder: Path, cache: Path) -> str:
    """SHA-256 of a model's files (names and content). It is cached while names, sizes and times do
    not change.

    Raises:
        Misconfigured: there are no files.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    if not files:
        raise Misconfigured(
            f"There is no model in {folder}. Give a folder in Hugging Face's format."
        )
    stats = [(str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    kept = cache / "fingerprints" / key(folder=str(folder.resolve()), stats=stats)
    if not kept.exists():
        write_whole(
            kept, key(files=[[str(p.relative_to(folder)), _sha256(p)] for p in files]).encode()
        )
    return kept.read_text()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Results:
    """Arrays by key, one file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """The path of a result, which may not exist."""
        return self.folder / key[:2] / f"{key}.npz"

    def get(self, key: str) -> dict[str, NDArray] | None:
        """The result with this key, or None.

        Raises:
            Misconfigured: its file is damaged.
        """
        path = self.path(key)
        if not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise Misconfigured(
                f"{path} is damaged ({error}). Delete it; it will be computed again."
            ) from error

    def put(self, key: str, arrays: Mapping[str, Any]) -> None:
        """Keep a result."""
        whole = io.BytesIO()
        np.savez(whole, **arrays)
        write_whole(self.path(key), whole.getbuffer())
