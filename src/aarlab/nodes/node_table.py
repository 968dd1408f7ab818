"""Who the lab's nodes are: invitations, of which each serves once, and certificates that count
until they are revoked."""

import hashlib
import secrets
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.errors import Misconfigured, Unauthorised
from aarlab.core.store import Connection, StoredRow, connect, transaction
from aarlab.nodes.authority import Signed

_TABLE = """
CREATE TABLE IF NOT EXISTS nodes (
  name TEXT PRIMARY KEY,
  token TEXT NOT NULL,          -- SHA-256
  invited_until REAL NOT NULL,  -- seconds since 1970
  used_at REAL, used_from TEXT,
  serial TEXT UNIQUE,
  revoked_at REAL,
  seen_at REAL, seen_from TEXT
)
"""


@dataclass(frozen=True)
class Node:
    """One node; times are seconds since 1970."""

    name: str
    invited_until: float
    used_at: float | None
    used_from: str | None
    serial: str | None
    revoked_at: float | None
    seen_at: float | None
    seen_from: str | None

    @property
    def state(self) -> str:
        """As text."""
        if self.revoked_at is not None:
            return "revoked"
        if self.serial is not None:
            return "joined"
        return "invited" if self.invited_until > time.time() else "invitation expired"


class NodeTable:
    """Several processes use it at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(connect(path)) as made:
            made.execute(_TABLE)
        path.chmod(0o600)

    def invite(self, name: str, minutes: float) -> str:
        """A token by which a node may join under that name, once.

        Raises:
            Misconfigured: a node of that name has joined.
        """
        token = secrets.token_urlsafe(32)
        with closing(connect(self._path)) as db, transaction(db):
            found = _one(db, "name", name)
            if found is not None and found.state == "joined":
                raise Misconfigured(
                    f"A node {name} has joined. Choose another name, or revoke it first: aar node "
                    f"revoke {name}."
                )
            db.execute("DELETE FROM nodes WHERE name = ?", (name,))
            db.execute(
                "INSERT INTO nodes (name, token, invited_until) VALUES (?, ?, ?)",
                (name, _hash(token), time.time() + 60 * minutes),
            )
        return token

    def join(self, token: str, where: str, sign: Callable[[str], Signed]) -> tuple[str, Signed]:
        """(name, certificate) for whoever brings an invitation's token. It serves once, also where
        two bring it at the same time.

        Raises:
            Unauthorised: there is no such invitation, or it has expired, was used or revoked.
        """
        with closing(connect(self._path)) as db, transaction(db):
            found = _one(db, "token", _hash(token))
            again = "`aar node invite NAME` on the lab's machine prints another line"
            if found is None:
                raise Unauthorised(f"There is no invitation with this token. {again}.")
            if found.used_at is not None:
                raise Unauthorised(
                    f"The invitation of {found.name} was used at {_when(found.used_at)} from "
                    f"{found.used_from}. If that was not you: aar node revoke {found.name}."
                )
            if found.revoked_at is not None or found.invited_until < time.time():
                how = "was revoked" if found.revoked_at is not None else "has expired"
                raise Unauthorised(f"The invitation of {found.name} {how}. {again}.")
            made = sign(found.name)
            db.execute(
                "UPDATE nodes SET used_at = ?, used_from = ?, serial = ? WHERE name = ?",
                (time.time(), where, made.serial, found.name),
            )
        return found.name, made

    def of_serial(self, serial: str, name: str) -> Node:
        """The node to which a certificate belongs that counts now.

        Raises:
            Unauthorised: it was revoked, or replaced.
        """
        with closing(connect(self._path)) as db:
            found = _one(db, "serial", serial)
        if found is None or found.name != name or found.revoked_at is not None:
            raise Unauthorised(
                f"The certificate of {name} was revoked. To join again: `aar node invite {name}` "
                "on the lab's machine."
            )
        return found

    def revoke(self, name: str) -> None:
        """From now on neither its certificate nor its invitation counts.

        Raises:
            Misconfigured: there is no such node.
        """
        with closing(connect(self._path)) as db, transaction(db):
            if _one(db, "name", name) is None:
                raise Misconfigured(f"There is no node {name!r:.60}. `aar node list` lists them.")
            db.execute("UPDATE nodes SET revoked_at = ? WHERE name = ?", (time.time(), name))

    def seen(self, name: str, where: str) -> None:
        """It is connected now."""
        with closing(connect(self._path)) as db:
            db.execute(
                "UPDATE nodes SET seen_at = ?, seen_from = ? WHERE name = ?",
                (time.time(), where, name),
            )

    def all(self) -> list[Node]:
        """By name."""
        with closing(connect(self._path)) as db:
            return [_node(row) for row in db.execute("SELECT * FROM nodes ORDER BY name")]


def _one(db: Connection, column: str, value: str) -> Node | None:
    row = db.execute(f"SELECT * FROM nodes WHERE {column} = ?", (value,)).fetchone()
    return None if row is None else _node(row)


def _node(row: StoredRow) -> Node:
    return Node(**{name: row[name] for name in Node.__dataclass_fields__})


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _when(at: float) -> str:
    return time.strftime("%F %T UTC", time.gmtime(at))
