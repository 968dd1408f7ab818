"""Signed checkpoints: what the ledger was at a size, in a file outside it, for whoever holds the
public key.

A checkpoint is a signed note of three lines, the origin (which log), the size and the base64 Merkle
root, under an Ed25519 signature (C2SP tlog-checkpoint and signed-note,
https://c2sp.org/tlog-checkpoint). Whoever rewrites the ledger cannot make it fit a checkpoint that
was kept; whoever holds the private key can sign a new history, and is caught by an older copy.
"""

import base64
import fcntl
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from aarlab.core.errors import AarError, Misconfigured, Transient
from aarlab.core.layout import SignedFolder

ED25519 = b"\x01"  # the signature type's byte
LINES = 5  # of a note with one signature


@dataclass(frozen=True)
class Checkpoint:
    """The Merkle root (32 bytes) of a log's first `size` entries."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n"


@dataclass(frozen=True)
class Key:
    """A public key (32 bytes) and its name."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """Four bytes by which a signature line names its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_b64(ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> "Key":
        """The key of a line NAME+ID+KEY.

        Raises:
            Misconfigured: it is none.
        """
        name, _, rest = text.strip().partition("+")
        with suppress(ValueError):
            raw = base64.b64decode(rest.partition("+")[2], validate=True)
            key = cls(name, raw[1:])
            if str(key) == text.strip() and raw[:1] == ED25519 and len(key.public) == 32:
                return key
        raise Misconfigured(
            f"'{text.strip()[:80]}' is not a public key of the form NAME+ID+KEY. Give the file "
            "key.pub."
        )


def opened(note: str, key: Key) -> Checkpoint:
    """The checkpoint in a signed note, once its signature is checked. Signatures by other keys are
    passed over.

    Raises:
        Misconfigured: it is no checkpoint, or not signed with that key.
    """
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    try:
        for line in signatures.removesuffix("\n").split("\n"):
            dash, name, blob = line.split(" ")
            raw = base64.b64decode(blob, validate=True)
            if (dash, name, raw[:4], blob) == ("—", key.name, key.id, _b64(raw)):
                Ed25519PublicKey.from_public_bytes(key.public).verify(raw[4:], text.encode())
                return _parsed(text)
    except (ValueError, InvalidSignature) as error:
        raise Misconfigured(f"it is not a checkpoint signed with the key '{key.name}'") from error
    raise Misconfigured(f"it has no signature by the key '{key.name}'")


def _parsed(text: str) -> Checkpoint:
    origin, size, root = text.split("\n")[:3]
    made = Checkpoint(origin, int(size), base64.b64decode(root, validate=True))
    if not text.startswith(made.text) or len(made.root) != 32:
        raise ValueError("not a checkpoint")
    return made


def notes(data: bytes) -> tuple[list[str], int]:
    """The whole notes of a checkpoints file, and how many bytes are left of one whose writing was
    cut short."""
    lines = data.split(b"\n")
    whole = (len(lines) - 1) // LINES * LINES
    found = [
        b"\n".join([*lines[at : at + LINES], b""]).decode(errors="replace")
        for at in range(0, whole, LINES)
    ]
    return found, len(b"\n".join(lines[whole:]))


class Checkpoints:
    """A campaign's checkpoints: `folder` holds checkpoints.txt and key.pub, `key_path` the private
    key (created once).

    One is due every `every` entries, and `within_s` seconds after an entry that none covers.
    """

    def __init__(
        self, folder: Path, key_path: Path, origin: str, *, every: int = 256, within_s: float = 5.0
    ) -> None:
        if not origin or "+" in origin or len(origin.split()) != 1 or not origin.isprintable():
            raise Misconfigured(
                f"An origin has neither white space nor '+', got '{origin}'. Choose another "
                "campaign name."
            )
        self.path, self.every, self.within_s = SignedFolder(folder).checkpoints, every, within_s
        self._origin, self._end, self._last = origin, -1, None
        folder.mkdir(parents=True, exist_ok=True)
        public = SignedFolder(folder).public_key
        if public.exists() and not key_path.exists():
            raise Misconfigured(
                f"{key_path} is gone: checkpoints are signed with it. Restore it, or begin a new "
                "campaign."
            )
        self._private = _private_key(key_path)
        self.key = Key(origin, self._private.public_key().public_bytes_raw())
        if not public.exists():
            public.write_text(f"{self.key}\n")
        if public.read_text().strip() != str(self.key):
            raise Misconfigured(
                f"{public} does not belong to {key_path}. Restore both, or begin a new campaign."
            )

    def all(self) -> list[Checkpoint]:
        """Every checkpoint in the file, its signature checked.

        Raises:
            Misconfigured: one is not signed with our key; the message says which.
        """
        return read(self.path, self.key) if self.path.exists() else []

    def newest(self) -> Checkpoint | None:
        """The last checkpoint in the file, which is the largest; its signature is checked.

        Raises:
            Misconfigured: it is not signed with our key.
        """
        found = notes(self.path.read_bytes())[0] if self.path.exists() else []
        return _checked(self.path, len(found), found[-1], self.key) if found else None

    def sign(self, size: int, root: bytes) -> Checkpoint:
        """Append a checkpoint; it is on disk when this returns. What is covered already is not
        signed again.

        Raises:
            Transient: it could not be written; sign again later.
            Misconfigured: another root was signed at that size.
        """
        made = Checkpoint(self._origin, size, root)
        try:
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                last = self._latest()
                if last is not None and last.size >= size:
                    return self._known(last, made)
                signature = self._private.sign(made.text.encode())
                file.write(
                    f"{made.text}\n— {self._origin} {_b64(self.key.id + signature)}\n".encode()
                )
                file.flush()
                os.fsync(file.fileno())
                self._end, self._last = file.tell(), made
        except OSError as error:
            raise Transient(
                f"The checkpoint cannot be written ({error.strerror}). Make room; it is tried "
                "again."
            ) from error
        return made

    def _latest(self) -> Checkpoint | None:
        """The newest checkpoint in the locked file; the rest of a note that was cut short is
        removed."""
        if self.path.stat().st_size != self._end:
            self._last = self.newest()
            data = self.path.read_bytes()
            self._end = len(data) - notes(data)[1]
            os.truncate(self.path, self._end)
        return self._last

    @staticmethod
    def _known(last: Checkpoint, made: Checkpoint) -> Checkpoint:
        if last.size == made.size and last.root != made.root:
            raise Misconfigured(
                f"Another root was signed at size {made.size}: the ledger was rewritten. Keep "
                "both files as found."
            )
        return last


def read(path: Path, key: Key) -> list[Checkpoint]:
    """Every checkpoint of a file, checked with the public key alone.

    Raises:
        Misconfigured: one is not signed with that key; the message says which.
    """
    found = notes(path.read_bytes())[0]
    return [_checked(path, number, note, key) for number, note in enumerate(found, start=1)]


def _checked(path: Path, number: int, note: str, key: Key) -> Checkpoint:
    try:
        return opened(note, key)
    except Misconfigured as error:
        raise Misconfigured(
            f"Checkpoint {number} of {path}: {error}. Do not believe it; restore a copy."
        ) from error


class Keeper:
    """Signs when a checkpoint is due. `head` gives the log's size and root. It sleeps while nothing
    is appended."""

    def __init__(self, checkpoints: Checkpoints, head: Callable[[], tuple[int, bytes]]) -> None:
        self._checkpoints, self._head = checkpoints, head
        self._signed = newest.size if (newest := checkpoints.newest()) else 0
        self._lock, self._timer = threading.Lock(), None

    def grew(self, size: int) -> None:
        """Call after entries were recorded. A checkpoint that cannot be written now stays due;
        `close` insists."""
        with self._lock:
            if size - self._signed >= self._checkpoints.every:
                with suppress(AarError):
                    self._sign()
            if size > self._signed and self._timer is None:
                self._timer = threading.Timer(self._checkpoints.within_s, self._elapsed)
                self._timer.daemon = True
                self._timer.start()

    def _elapsed(self) -> None:
        with self._lock, suppress(AarError):
            self._timer = None
            self._sign()
        self.grew(self._head()[0])

    def _sign(self) -> None:
        self._signed = self._checkpoints.sign(*self._head()).size
        self._rest()

    def close(self) -> None:
        """Sign what is not covered yet.

        Raises:
            Transient, Misconfigured: the checkpoint cannot be written, or the file holds what is
                not a checkpoint of aarlab.
        """
        with self._lock:
            self._rest()
            if self._head()[0] > self._signed:
                self._sign()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _private_key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent) as file:  # mode 0600
            file.write(Ed25519PrivateKey.generate().private_bytes_raw())
            file.flush()
            os.fsync(file.fileno())
            with suppress(FileExistsError):  # another process was first
                os.link(file.name, path)
    data = path.read_bytes()
    if len(data) != 32:
        raise Misconfigured(
            f"{path} is damaged: checkpoints are signed with it. Restore it, or begin a new "
            "campaign."
        )
    return Ed25519PrivateKey.from_private_bytes(data)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
