"""The rows of a ledger as they lie on disk, and whether each follows from the one before."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from aarlab.evaluation.merkle import Tree, leaf_hash

GENESIS = "0" * 64


class Row(NamedTuple):
    """One row; `body` is JSON text. `hash` is the SHA-256 of the canonical JSON of all other fields, `prev` included."""

    seq: int
    at: str
    who: str
    kind: str
    body: str
    prev: str
    hash: str


def canonical(seq: int, at: str, who: str, kind: str, body: str, prev: str) -> bytes:
    """What the chain and the Merkle tree hash of an entry: the JSON list of its fields without white space, in ASCII."""
    return json.dumps([seq, at, who, kind, body, prev], separators=(",", ":")).encode()


def digest(seq: int, at: str, who: str, kind: str, body: str, prev: str) -> str:
    """SHA-256 over the canonical JSON of an entry's fields."""
    return hashlib.sha256(canonical(seq, at, who, kind, body, prev)).hexdigest()


@dataclass(frozen=True)
class Break:
    """The first row that does not follow, and in what way."""

    seq: int
    words: str

    def __str__(self) -> str:
        return f"The ledger's chain breaks at entry {self.seq}: {self.words}."


def walk(rows: Iterable[Row]) -> tuple[Tree, Break | None]:
    """The Merkle tree over the rows up to the first that does not follow, and that one's break."""
    tree, prev = Tree(), GENESIS
    for row in rows:
        if words := _broken(row, tree.size + 1, prev):
            return tree, Break(row.seq, words)
        tree.append(leaf_hash(canonical(*row[:-1])))
        prev = row.hash
    return tree, None


def _broken(row: Row, expected: int, prev: str) -> str | None:
    if row.seq > expected:
        return f"entry {expected} is missing" if row.seq == expected + 1 else f"entries {expected} to {row.seq - 1} are missing"
    if row.seq < expected:
        return "it was inserted"
    if not all(isinstance(field, str) for field in row[1:]) or row.hash != digest(*row[:-1]):
        return "it was rewritten"
    if row.prev != prev:
        return "it does not follow the one before; one of the two was rewritten, inserted or moved"
    return None
