"""A content-addressed folder: bytes under their SHA-256, written whole or not at all, checked on
reading."""

import hashlib
from pathlib import Path

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.files import OWNER_ONLY, write_whole


class Blobs:
    """One folder of blobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> str:
        """Store and return the SHA-256.

        Raises:
            Transient: it could not be written (a full disk, say); nothing was recorded.
        """
        name = hashlib.sha256(data).hexdigest()
        path = self.folder / name
        if path.exists():
            return name
        try:
            write_whole(path, data, mode=OWNER_ONLY)
        except OSError as error:
            raise Transient(
                f"Not recorded: the evaluator cannot write ({error.strerror}). Try again later."
            ) from error
        return name

    def get(self, name: str) -> bytes:
        """The bytes of a blob.

        Raises:
            InvalidSubmission: there is none of that name.
            Misconfigured: what is stored has another hash; somebody changed it.
        """
        return read_blob(self.folder, name)


def read_blob(folder: Path, name: str) -> bytes:
    """The bytes of a blob in a folder that is only read.

    Raises:
        InvalidSubmission: there is none of that name.
        Misconfigured: what is stored has another hash; somebody changed it.
    """
    if len(name) != 64 or not set(name) <= set("0123456789abcdef") or not (folder / name).exists():
        raise InvalidSubmission(f"There is no snapshot or blob '{name[:80]}'.", name=name)
    data = (folder / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != name:
        raise Misconfigured(f"The blob {name} was changed on disk. Restore it from a backup.")
    return data
