"""Proofs that one entry is in the signed ledger, for whoever has the public key and no ledger."""

from collections.abc import Sequence
from typing import Any

from aarlab.core.entries import SubmissionBody
from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.evaluation.audit import Files, fits, rows_of
from aarlab.evaluation.ledger.chain import RELEASED_FIELDS, LedgerRow, Shown, walk
from aarlab.evaluation.ledger.checkpoints import Checkpoint, Key, notes, opened
from aarlab.evaluation.ledger.merkle import includes, leaf_hash
from aarlab.evaluation.scoring.graded_units import GradedUnits
from aarlab.evaluation.scoring.marking import stored

TOO_MANY = 8  # hidden numbers behind one hash, to be tried together


def find(files: Files, name: str) -> LedgerRow:
    """The entry of a receipt (r-000017), a finding (f-000003) or a number.

    Raises:
        InvalidSubmission: there is none.
    """
    for row in rows_of(files):
        if name in {
            str(row.seq),
            f"f-{row.seq:06d}" if row.kind == "finding" else None,
            _receipt(row),
        }:
            return row
    raise InvalidSubmission(
        f"The ledger has no entry '{name[:80]}'. Give a receipt, a finding or a number.", name=name
    )


def _receipt(row: LedgerRow) -> str | None:
    return row.entry.read(SubmissionBody).receipt.id if row.kind == "submission" else None


def prove(files: Files, key: Key, row: LedgerRow) -> dict[str, Any]:
    """A document by which whoever holds the public key sees that the entry is in the signed ledger,
    without the ledger. It holds what is released of the entry alone.

    Raises:
        Misconfigured: the ledger is broken before it, no checkpoint covers it yet, or its hash, or
            one beside it, is that of hidden numbers.
    """
    if (row.salt is None and row.kind in RELEASED_FIELDS) or _names_scores(files, row):
        raise Misconfigured(
            f"Entry {row.seq} was recorded by a version that hashed hidden numbers with what is "
            "released: a proof would show them. Confirm the snapshot again with this version, and "
            "prove that entry."
        )
    rows = rows_of(files)
    tree, broken = walk(rows)
    if broken and broken.seq <= row.seq:
        raise Misconfigured(str(broken), seq=broken.seq)
    for note in notes(files.checkpoints.read_bytes())[0] if files.checkpoints.exists() else ():
        checkpoint = opened(note, key)
        if checkpoint.size >= row.seq and fits(checkpoint, tree):
            spans = [(max(row.seq - 2, 0), row.seq - 1), *tree.spans(row.seq - 1, checkpoint.size)]
            if any(_to_be_tried(rows[low:high]) for low, high in spans):
                raise Misconfigured(
                    f"A proof of entry {row.seq} holds the hash of scores beside it that were "
                    "recorded without a salt, which could be tried. Prove an entry that stands "
                    "further from those of the older version."
                )
            path = [node.hex() for node in tree.inclusion(row.seq - 1, checkpoint.size)]
            return {"entry": row.shown._asdict(), "path": path, "checkpoint": note}
    raise Misconfigured(
        f"No checkpoint covers entry {row.seq} yet. One is signed within seconds, and when the "
        "evaluator stops."
    )


def _names_scores(files: Files, row: LedgerRow) -> bool:
    """Does the entry name stored unit scores by a hash that can be found by trying scores?"""
    if row.kind != "submission":
        return False
    with files.storage() as storage:
        found = dict(storage.blobs([row.entry.read(SubmissionBody).predictions]))
    handed = [stored(data) for data in found.values()]
    return any(isinstance(one, GradedUnits) and not one.salt for one in handed)


def _to_be_tried(rows: Sequence[LedgerRow]) -> bool:
    """Can the hidden numbers of these rows be found from one hash over them, by trying? No row of
    theirs is salted, and so few depend on hidden labels that all combinations of their values can
    be gone through."""
    hidden = sum(row.kind in RELEASED_FIELDS for row in rows)
    return 0 < hidden < TOO_MANY and all(row.salt is None for row in rows)


def check_proof(document: Any, key: Key) -> tuple[Shown, Checkpoint]:
    """What a proof shows of an entry, and the checkpoint that covers it. Proofs by older versions
    are read, too.

    Raises:
        InvalidSubmission: it proves nothing under that key.
    """
    try:
        entry = Shown(
            **{name: value for name, value in document["entry"].items() if name != "hash"}
        )
        checkpoint = opened(document["checkpoint"], key)
        path = [bytes.fromhex(node) for node in document["path"]]
        good = includes(
            checkpoint.root, checkpoint.size, entry.seq - 1, leaf_hash(entry.canonical), path
        )
    except (Misconfigured, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidSubmission(
            f"This proves nothing under that key: {error}. Do not believe it."
        ) from error
    if not good:
        raise InvalidSubmission(
            "The path does not lead from the entry to the signed root. Do not believe it."
        )
    return entry, checkpoint
