"""A token per name. Only their SHA-256 is kept, in one file; whoever changes the file changes who may call, at once."""

import fcntl
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from aarlab.core.errors import InvalidSubmission, Misconfigured, Unauthorised
from aarlab.core.records import Record

Role = Literal["researcher", "operator", "reader"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Seconds = Annotated[float, Field(gt=0, le=1e9)]
OPERATOR = "operator"  # the name that operator.token stands for
RESERVED = (OPERATOR, "evaluator")  # they sign entries of the ledger
REFUSED = "This token is missing, unknown or no longer valid. Send your own: 'Authorization: Bearer TOKEN'."


class Identity(NamedTuple):
    name: str
    role: Role


class Issued(Record):
    """What is kept about a token beside its hash."""

    name: str
    role: Role
    expires: float | None = None  # seconds since 1970, UTC; None: never


CALLER: ContextVar[Identity] = ContextVar("caller")  # whose request this is; set by the guard
_FILE = TypeAdapter(dict[str, Issued])
_NAME = TypeAdapter(Name)


class Tokens:
    """The tokens of one campaign's `server` folder. Several processes may issue and revoke; each request sees the latest.

    A token is looked up by its hash in a dictionary, so how long that takes says nothing about any token.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self._path, self._now, self._mutex = folder / "tokens.json", now, threading.Lock()
        self._known: dict[str, Issued] = {}
        self._stamp: tuple[int, int, int] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def issue(self, name: str, role: Role, *, seconds: float | None = None) -> str:
        """A new token for a name; an earlier one of that name ends. It is shown here once and kept nowhere.

        Raises:
            InvalidSubmission: the name is not plain, or is ours.
        """
        try:
            _NAME.validate_python(name)
        except ValidationError as error:
            words = f"'{name[:80]}' cannot be a name: lower-case letters, digits, '.', '_' and '-', at most 64."
            raise InvalidSubmission(words, name=name[:80]) from error
        if name in RESERVED:
            raise InvalidSubmission(f"The name '{name}' is reserved. Choose another.", name=name)
        return self._issue(name, role, seconds)

    def renew_operator(self) -> Path:
        """Give the operator a new token, written to operator.token (mode 0600); the path."""
        path = self._path.with_name("operator.token")
        _write(path, self._issue(OPERATOR, "operator", None))
        return path

    def _issue(self, name: str, role: Role, seconds: float | None) -> str:
        token = secrets.token_urlsafe(32)
        expires = None if seconds is None else self._now() + seconds
        with self._changing() as known:
            for digest in [d for d, issued in known.items() if issued.name == name]:
                del known[digest]
            known[_hash(token)] = Issued(name=name, role=role, expires=expires)
        return token

    def revoke(self, name: str) -> None:
        """End the token of a name, at once.

        Raises:
            InvalidSubmission: there is none, or it is the operator's own.
        """
        if name == OPERATOR:
            raise InvalidSubmission("The operator's token ends when the server is started anew. Start it again.")
        with self._changing() as known:
            mine = [digest for digest, issued in known.items() if issued.name == name]
            if not mine:
                raise InvalidSubmission(f"There is no token of '{name[:80]}'. List the tokens.", absent=True)
            for digest in mine:
                del known[digest]

    def all(self) -> list[Issued]:
        """Whose tokens there are, by name."""
        self._take_up()
        return sorted(self._known.values(), key=lambda issued: issued.name)

    def who(self, authorization: str | None) -> Identity:
        """Whom an Authorization header stands for.

        Raises:
            Unauthorised: no bearer token, or one that is unknown, revoked or expired; the words do not say which.
        """
        self._take_up()
        scheme, _, token = (authorization or "").partition(" ")
        found = self._known.get(_hash(token)) if scheme.lower() == "bearer" else None
        if found is None or (found.expires is not None and found.expires <= self._now()):
            raise Unauthorised(REFUSED)
        return Identity(found.name, found.role)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Issued]]:
        """The tokens, for a change that no other process makes at the same time."""
        with self._path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._take_up()
            known = dict(self._known)
            yield known
            _write(self._path, _FILE.dump_json(known).decode())
        self._take_up()

    def _take_up(self) -> None:
        """Read the file again if it is another than before."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return
        stamp = stat.st_mtime_ns, stat.st_ino, stat.st_size
        if stamp == self._stamp:
            return
        with self._mutex:
            try:
                self._known = _FILE.validate_json(self._path.read_bytes())
            except ValidationError as error:
                words = f"{self._path} is damaged: it says whose tokens are whose. Restore it, or remove it and issue anew."
                raise Misconfigured(words) from error
            self._stamp = stamp


def _write(path: Path, text: str) -> None:
    """Whole or not at all, for the owner's eyes."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
