"""Entries that are to be recorded: checked, and put in their place in the chain."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, get_args

from aarlab.core.errors import InvalidSubmission
from aarlab.core.plain_text import half_of_pair
from aarlab.core.records import Entry, EntryKind
from aarlab.evaluation.ledger.chain import LedgerRow, new_salt, parted
from aarlab.evaluation.ledger.merkle import leaf_hash

Placed = tuple[Entry, LedgerRow, bytes]  # with the leaf's hash


@dataclass(frozen=True)
class Draft:
    """An entry that is to be recorded, with the small blobs (by their SHA-256) that it names."""

    kind: EntryKind
    who: str
    body: dict[str, Any]
    blobs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Ready:
    """A draft that can be recorded: all but its place in the chain."""

    kind: EntryKind
    who: str
    public: str
    hidden: str
    blobs: Mapping[str, bytes]

    def placed(self, seq: int, at: str, prev: str) -> Placed:
        row = LedgerRow(
            seq, at, self.who, self.kind, self.public, prev, "", self.hidden, new_salt()
        )
        text = row.canonical
        row = row._replace(hash=hashlib.sha256(text).hexdigest())
        return row.entry, row, leaf_hash(text)


def ready(draft: Draft) -> Ready:
    """A draft, checked in its caller's thread, so that a bad one spoils nobody else's commit.

    Raises:
        InvalidSubmission: it is not plain JSON, or holds half of a surrogate pair.
    """
    try:
        public, hidden = parted(draft.kind, draft.body)
        both = public + hidden
        named = all(
            hashlib.sha256(data).hexdigest() == name and name in both
            for name, data in draft.blobs.items()
        )
        known = draft.kind in get_args(EntryKind) and isinstance(draft.who, str)
        if not known or "\0" in draft.who:  # which PostgreSQL's texts cannot hold
            raise ValueError(f"{draft.kind!r} of {draft.who!r} is no kind of entry of somebody")
        # which the chain would keep for ever, and no reader takes
        if "\\ud" in both and (words := half_of_pair(draft.body)):
            raise ValueError(words)
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        raise InvalidSubmission(
            f"Not recorded: {error}. An entry is plain JSON without NaN."
        ) from error
    if not named:
        raise InvalidSubmission(
            "Not recorded: a blob's name is its SHA-256, and the entry names it."
        )
    return Ready(draft.kind, draft.who, public, hidden, draft.blobs)


def in_place(ready: Sequence[Ready], seq: int, prev: str) -> list[Placed]:
    """Each in its place after entry `seq` of hash `prev`."""
    at, made = datetime.now(UTC).isoformat(timespec="milliseconds"), []
    for number, one in enumerate(ready, start=seq + 1):
        made.append(one.placed(number, at, prev))
        prev = made[-1][0].hash
    return made
