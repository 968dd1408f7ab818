"""A token per name. Only their SHA-256 is kept, in one file; whoever changes the file changes who
may call, at once."""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from aarlab.core.callers import REFUSED, Identity, token_hash
from aarlab.core.errors import InvalidSubmission, Misconfigured, Unauthorised
from aarlab.core.files import OWNER_ONLY, write_whole
from aarlab.core.hold import file_lock
from aarlab.core.layout import ServerFolder
from aarlab.core.operation_records import Name, Role
from aarlab.core.operator_records import IssuedToken

OPERATOR = "operator"  # the name that operator.token stands for
RESERVED = (OPERATOR, "evaluator")  # they sign entries of the ledger
_FILE = TypeAdapter(dict[str, IssuedToken])
_NAME = TypeAdapter(Name)


class TokenStore:
    """The tokens of one campaign's `server` folder. Several processes may issue and revoke; each
    request sees the latest.

    A token is looked up by its hash in a dictionary, so how long that takes says nothing about any
    token.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self._path, self._now, self._mutex = ServerFolder(folder).tokens, now, threading.Lock()
        self._known: dict[str, IssuedToken] = {}
        self._stamp: tuple[int, int, int] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def issue(self, name: str, role: Role, *, seconds: float | None = None) -> str:
        """A new token for a name; an earlier one of that name ends. It is shown here once and kept
        nowhere.

        Raises:
            InvalidSubmission: the name is not plain, or is the operator's.
        """
        try:
            _NAME.validate_python(name)
        except ValidationError as error:
            words = (
                f"'{name[:80]}' cannot be a name: lower-case letters, digits, '.', '_' and '-', at "
                "most 64."
            )
            raise InvalidSubmission(words, name=name[:80]) from error
        if name in RESERVED:
            raise InvalidSubmission(f"The name '{name}' is reserved. Choose another.", name=name)
        return self._issue(name, role, seconds)

    def renew_operator(self) -> Path:
        """Give the operator a new token, written to operator.token (mode 0600); the path."""
        path = ServerFolder(self._path.parent).operator_token
        write_whole(path, self._issue(OPERATOR, "operator", None), mode=OWNER_ONLY)
        return path

    def _issue(self, name: str, role: Role, seconds: float | None) -> str:
        token = secrets.token_urlsafe(32)
        expires = None if seconds is None else self._now() + seconds
        with self._changing() as known:
            for digest in [d for d, issued in known.items() if issued.name == name]:
                del known[digest]
            known[token_hash(token)] = IssuedToken(name=name, role=role, expires=expires)
        return token

    def revoke(self, name: str) -> None:
        """End the token of a name, at once.

        Raises:
            InvalidSubmission: there is none, or it is the operator's own.
        """
        if name == OPERATOR:
            raise InvalidSubmission(
                "The operator's token ends when the server is started again. Start it again."
            )
        with self._changing() as known:
            mine = [digest for digest, issued in known.items() if issued.name == name]
            if not mine:
                raise InvalidSubmission(
                    f"There is no token of '{name[:80]}'. List the tokens.", absent=True
                )
            for digest in mine:
                del known[digest]

    def all(self) -> list[IssuedToken]:
        """Whose tokens there are, by name."""
        self._read_again()
        return sorted(self._known.values(), key=lambda issued: issued.name)

    def who(self, token: str) -> Identity:
        """Whom a token stands for, by its hash.

        Raises:
            Unauthorised: it is unknown, revoked or expired; the words do not say which.
        """
        found = self.valid([token])
        if token not in found:
            raise Unauthorised(REFUSED)
        return found[token]

    def valid(self, tokens: Iterable[str]) -> dict[str, Identity]:
        """Whom those of these tokens that are valid stand for."""
        self._read_again()
        now, known = self._now(), [(token, self._known.get(token)) for token in tokens]
        return {
            token: Identity(found.name, found.role)
            for token, found in known
            if found is not None and (found.expires is None or found.expires > now)
        }

    @contextmanager
    def _changing(self) -> Iterator[dict[str, IssuedToken]]:
        """The tokens, for a change that no other process makes at the same time."""
        with file_lock(self._path.with_suffix(".lock")):
            self._read_again()
            known = dict(self._known)
            yield known
            write_whole(self._path, _FILE.dump_json(known), mode=OWNER_ONLY)
        self._read_again()

    def _read_again(self) -> None:
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
                words = (
                    f"{self._path} is damaged: it says whose tokens are whose. Restore it, or "
                    "remove it and issue tokens again."
                )
                raise Misconfigured(words) from error
            self._stamp = stamp
