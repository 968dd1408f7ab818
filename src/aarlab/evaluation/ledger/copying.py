"""A ledger's rows and snapshots, copied from one store to another: exactly, or not at all."""

import json
from collections.abc import Iterator
from itertools import islice

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.evaluation.ledger.blobs import SnapshotStore
from aarlab.evaluation.ledger.chain import LedgerRow, walk
from aarlab.evaluation.ledger.storage import Storage

AT_ONCE, BLOBS_AT_ONCE = 1_000, 100  # rows and blobs of one transaction


def copy_rows(source: Storage, to: Storage) -> int:
    """Append to `to` what it lacks of `source`; both hold the same rows then. Returns how many. A
    copy that was cut short goes on when it is asked for again.

    Raises:
        Misconfigured: the source's chain is broken, or `to` holds another ledger.
        StorageFailed: one of the two cannot do it now.
    """
    tree, broken = walk(source.rows())
    if broken:
        raise Misconfigured(f"{broken} Nothing was copied. Restore a copy.", seq=broken.seq)
    last = 0
    for theirs, ours in zip(to.rows(), source.rows(), strict=False):
        if theirs != ours:
            raise Misconfigured(
                f"The store to copy to holds another ledger: its entry {theirs.seq} is not the one "
                "that is copied. Nothing was changed. Give an empty store."
            )
        last = ours.seq
    if next(to.rows(after=tree.size), None) is not None:
        raise Misconfigured(
            f"The store to copy to has more than the {tree.size} entries of the ledger. Nothing "
            "was changed: look which of the two is the ledger."
        )
    _append(source, to, last)
    mine, other = source.digest(tree.size), to.digest(tree.size)
    if mine is None or other is None or mine.digest() != other.digest():
        raise Misconfigured(
            "The copy does not hold what the ledger holds: somebody writes one of the two. Stop "
            "it, and copy again into an empty store."
        )
    return tree.size


def _append(source: Storage, to: Storage, last: int) -> None:
    blobs = source.blobs()  # first: a row never names what is not there
    while some := dict(islice(blobs, BLOBS_AT_ONCE)):
        with to.appending() as appending:
            appending.add([], some)
    rows = source.rows(after=last)
    while page := list(islice(rows, AT_ONCE)):
        with to.appending() as appending:
            appending.add(page, {})


def copy_snapshots(ledger: Storage, source: SnapshotStore, to: SnapshotStore) -> int:
    """Copy every snapshot that the ledger names; each is checked on reading. Returns how many.

    Raises:
        Misconfigured: one is gone or was changed.
        Transient: one of the two cannot be used now.
    """
    names = list(_snapshots(ledger))
    for name in names:
        try:
            to.put(source.get(name))
        except InvalidSubmission as error:
            raise Misconfigured(
                f"The snapshot {name}, which the ledger names, is gone. Restore it from a backup."
            ) from error
        to.get(name)
    return len(names)


def _snapshots(ledger: Storage) -> Iterator[str]:
    seen: set[str] = set()
    for row in ledger.rows(kind="code"):
        name = snapshot_of(row)
        if name not in seen:
            seen.add(name)
            yield name


def snapshot_of(row: LedgerRow) -> str:
    """The snapshot that a row of kind `code` names."""
    return str(json.loads(row.body)["snapshot"])
