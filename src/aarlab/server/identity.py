"""A token per researcher. Only their SHA-256 is kept; a new token for a name ends the old one."""

import hashlib
import json
import secrets
import threading
from pathlib import Path
from typing import Literal, NamedTuple

from aarlab.core.errors import Unauthorised

Role = Literal["researcher", "operator"]


class Identity(NamedTuple):
    name: str
    role: Role


class Tokens:
    """The tokens of one campaign, kept in a file."""

    def __init__(self, folder: Path) -> None:
        self._path, self._lock = folder / "tokens.json", threading.Lock()
        self._known: dict[str, dict[str, str]] = json.loads(self._path.read_text()) if self._path.exists() else {}
        operator = folder / "operator.token"
        operator.touch(mode=0o600)
        operator.write_text(secrets.token_urlsafe(32))
        self.add("operator", operator.read_text(), "operator")

    def add(self, name: str, token: str, role: Role) -> None:
        """Let `token` stand for `name` from now on; earlier tokens of that name and role are void."""
        with self._lock:
            self._known = {h: i for h, i in self._known.items() if (i["name"], i["role"]) != (name, role)}
            self._known[_hash(token)] = {"name": name, "role": role}
            partial = self._path.with_suffix(".partial")
            partial.touch(mode=0o600)
            partial.write_text(json.dumps(self._known))
            partial.replace(self._path)

    def who(self, authorization: str | None) -> Identity:
        """Whom an Authorization header stands for.

        Raises:
            Unauthorised: no bearer token, or one that is not known (any more).
        """
        scheme, _, token = (authorization or "").partition(" ")
        found = self._known.get(_hash(token)) if scheme.lower() == "bearer" else None
        if found is None:
            raise Unauthorised("This token is missing or unknown. Send your own: 'Authorization: Bearer TOKEN'.")
        return Identity(found["name"], "operator" if found["role"] == "operator" else "researcher")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
