"""The rows of a ledger as they lie on disk, what of them may be shown, and whether each follows
from the one before.

A row has a public part (`body`) and a hidden part, which holds what depends on hidden labels. The
chain and the Merkle tree never hash a hidden number as it stands: a number is guessed from its
hash. They hash a commitment to the hidden part, and the row's mask, both made with the row's own
secret salt of 32 bytes. So a root, a hash or a proof says nothing of what is hidden, and a proof
needs the public part, the mask and the commitment alone. Rows of before there were salts have
neither, and are hashed as they were.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from aarlab.core.records import Entry, EntryKind
from aarlab.evaluation.ledger.merkle import Tree, leaf_hash

GENESIS = "0" * 64
SALT_BYTES = 32
# What is public of the kinds of entry that depend on hidden labels; every other field of theirs is
# hidden. All other kinds depend on what is public alone.
RELEASED_FIELDS: Mapping[str, frozenset[str]] = {
    "submission": frozenset({"snapshot", "family", "predictions", "receipt"}),
    "confirmation": frozenset(
        {"snapshot", "researcher", "id", "verdict", "told_accuracy", "told_flags"}
    ),
    "flag": frozenset(),
}


class LedgerRow(NamedTuple):
    """One row; `body` and `hidden` are JSON text, `salt` is 64 hexadecimal digits. `hash` is the
    SHA-256 of `canonical`."""

    seq: int
    at: str
    who: str
    kind: str
    body: str
    prev: str
    hash: str
    hidden: str | None = None
    salt: str | None = None

    @property
    def canonical(self) -> bytes:
        """What the chain and the Merkle tree hash of the row."""
        return self.shown.canonical

    @property
    def shown(self) -> "Shown":
        """The row without what is hidden.

        Raises:
            ValueError: the salt is none, or half of the pair is missing.
        """
        if self.hidden is None and self.salt is None:
            return Shown(*self[:6])
        if (
            self.hidden is None
            or self.salt is None
            or len(salt := bytes.fromhex(self.salt)) != SALT_BYTES
        ):
            raise ValueError("a salt or a hidden part is missing")
        return Shown(*self[:6], _keyed(salt, b"mask"), _keyed(salt, self.hidden.encode()))

    @property
    def entry(self) -> Entry:
        """The row as an entry: public and hidden part together."""
        parts = [part for part in (self.body, self.hidden) if part and part != "{}"]
        text = f"{parts[0][:-1]}, {parts[1][1:]}" if len(parts) > 1 else "".join(parts) or "{}"
        return Entry(
            self.seq, self.at, self.who, cast("EntryKind", self.kind), text, self.prev, self.hash
        )


class Shown(NamedTuple):
    """What a proof reveals of a row: `mask` keeps its hash from being guessed, `commitment` stands
    for the hidden part."""

    seq: int
    at: str
    who: str
    kind: str
    body: str
    prev: str
    mask: str | None = None
    commitment: str | None = None

    @property
    def canonical(self) -> bytes:
        """The JSON list of the fields without white space, in ASCII; without mask and commitment
        where there are none."""
        return json.dumps(self if self.mask else self[:6], separators=(",", ":")).encode()


def _keyed(salt: bytes, message: bytes) -> str:
    """HMAC-SHA256 (RFC 2104): with a random key it hides the message, and no second message of the
    same value is found."""
    return hmac.digest(salt, message, "sha256").hex()


def new_salt() -> str:
    """A salt of its own for every row."""
    return secrets.token_hex(SALT_BYTES)


def parted(kind: str, body: Mapping[str, Any]) -> tuple[str, str]:
    """The public and the hidden part of an entry's body, each as JSON text."""
    allowed = RELEASED_FIELDS.get(kind)
    public = {name: value for name, value in body.items() if allowed is None or name in allowed}
    hidden = {name: value for name, value in body.items() if name not in public}
    return _packed(public), _packed(hidden)


def _packed(part: Mapping[str, Any]) -> str:
    return json.dumps(part, sort_keys=True, allow_nan=False)


@dataclass(frozen=True)
class Break:
    """The first row that does not follow, and in what way."""

    seq: int
    words: str

    def __str__(self) -> str:
        return f"The ledger's chain breaks at entry {self.seq}: {self.words}."


def walk(rows: Iterable[LedgerRow]) -> tuple[Tree, Break | None]:
    """The Merkle tree over the rows up to the first that does not follow, and that one's break."""
    tree, prev = Tree(), GENESIS
    for row in rows:
        if words := _broken(row, tree.size + 1, prev):
            return tree, Break(row.seq, words)
        tree.append(leaf_hash(row.canonical))
        prev = row.hash
    return tree, None


def _broken(row: LedgerRow, expected: int, prev: str) -> str | None:
    if row.seq > expected:
        return (
            f"entry {expected} is missing"
            if row.seq == expected + 1
            else f"entries {expected} to {row.seq - 1} are missing"
        )
    if row.seq < expected:
        return "it was inserted"
    if _rewritten(row):
        return "it was rewritten"
    if row.prev != prev:
        return "it does not follow the one before; one of the two was rewritten, inserted or moved"
    return None


def _rewritten(row: LedgerRow) -> bool:
    if not all(isinstance(field, str) for field in row[1:7]):
        return True
    try:
        return row.hash != hashlib.sha256(row.canonical).hexdigest()
    except (ValueError, TypeError, AttributeError):
        return True
