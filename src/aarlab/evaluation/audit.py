"""Is a campaign's record what it was when it was released? From files alone, by somebody who trusts
a public key and nothing else.

Chain and Merkle roots find a row that was changed, dropped, inserted or moved. Beyond them: every
stored answer still has its hash and is graded again, every receipt that is cited was given before,
every confirmation is signed, and the label set's meter (a store of its own) knows of no answer that
the ledger has lost.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.entries import (
    BODIES,
    CodeBody,
    ConfirmationBody,
    EventBody,
    FindingBody,
    SubmissionBody,
    read_all,
)
from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured
from aarlab.core.layout import CampaignFolder, TestbedFolder
from aarlab.core.plain_text import read_text
from aarlab.core.records import Entry, Record
from aarlab.evaluation.agreement import lost_tries, read_book, submissions
from aarlab.evaluation.confirmation.confirmation_record import record_of
from aarlab.evaluation.ledger.chain import LedgerRow, walk
from aarlab.evaluation.ledger.checkpoints import Checkpoint, Key, read
from aarlab.evaluation.ledger.merkle import Tree
from aarlab.evaluation.ledger.places import has_ledger, places_of, shown, snapshots_at, storage_at
from aarlab.evaluation.ledger.signed import verify_record
from aarlab.evaluation.ledger.storage import Storage, StorageFailed
from aarlab.evaluation.ledger.views import flags_in
from aarlab.evaluation.scoring.marking import marking_of, stored


class Audit(Record):
    """What was looked at, and what is wrong. Nothing wrong: `faults` is empty."""

    entries: int
    checkpoints: int
    # entries that the newest fitting checkpoint covers; later ones rest on the chain alone
    covered: int
    graded: int  # submissions graded again from their stored answers; 0 without the hidden labels
    confirmations: int
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Files:
    """Where a campaign keeps its record, and its problem the meter."""

    campaign: Path
    problem: Path | None = None

    @property
    def database(self) -> Path:
        return CampaignFolder(self.campaign).server.ledger

    @property
    def where(self) -> str:
        """Where the ledger is, as text."""
        url = places_of(self.database.parent).ledger
        return str(self.database) if url is None else shown(url)

    @contextmanager
    def storage(self) -> Iterator[Storage]:
        """The ledger's store, to be read.

        Raises:
            Misconfigured, StorageFailed: see `storage_at`.
        """
        with closing(storage_at(self.database, read_only=True, lenient=True)) as storage:
            yield storage

    @property
    def checkpoints(self) -> Path:
        return CampaignFolder(self.campaign).checkpoints.checkpoints

    @property
    def key(self) -> Path:
        return CampaignFolder(self.campaign).checkpoints.public_key

    @property
    def meter(self) -> Path | None:
        return None if self.problem is None else TestbedFolder(self.problem).meter


def load_key(path: Path) -> Key:
    """The public key in a file.

    Raises:
        Misconfigured: there is none.
    """
    remedy = "Give --key, or the campaign's folder."
    return Key.parse(read_text(path, remedy, "the public key"))


def audit(
    files: Files, key: Key, witnesses: Sequence[Path] = (), *, running: bool = False
) -> Audit:
    """Look at everything; `witnesses` are older copies of checkpoints.txt, which a history that was
    signed again does not fit. `running`: a server writes the ledger, and signs its newest entries
    within seconds.

    Raises:
        Misconfigured: there is no ledger to look at.
    """
    rows = rows_of(files)
    tree, broken = walk(rows)
    faults = [str(broken)] if broken else []
    with files.storage() as storage:
        if words := storage.unsound():
            faults.append(f"{files.where} is damaged ({words}). Restore a copy.")
    signed, unfit = _checkpoints(files, key, witnesses, tree)
    covered = max((c.size for c in signed if fits(c, tree)), default=0)
    faults += unfit
    if tree.size > covered and not (unfit or running):
        faults.append(
            f"No checkpoint covers entries {covered + 1:,} to {tree.size:,}: nothing shows that "
            "they were not rewritten. A server signs its last one when it ends; if it was killed, "
            "start it again, and it signs them."
        )
    whole, unread = _entries(rows[: tree.size])
    faults += unread
    graded = 0
    try:
        faults += [*_names(files, whole), *_citations(whole), *_confirmations(files, whole)]
        if files.problem is not None:
            graded, wrong = _graded(files, whole)
            faults += [*wrong, *_metered(files, whole)]
    except (sqlite3.DatabaseError, StorageFailed) as error:
        faults.append(f"Not all of the record can be read ({error}). Restore a copy.")
    return Audit(
        entries=len(rows),
        checkpoints=len(signed),
        covered=covered,
        graded=graded,
        confirmations=sum(entry.kind == "confirmation" for entry in whole),
        faults=tuple(faults),
    )


Whole = Sequence[Entry]  # whose hash is right: they are as they were written


def rows_of(files: Files) -> list[LedgerRow]:
    if not has_ledger(files.database):
        raise Misconfigured(f"There is no ledger {files.database}. Give the folder of a campaign.")
    try:
        with files.storage() as storage:
            return list(storage.rows())
    except StorageFailed as error:
        raise Misconfigured(
            f"{files.where} is no ledger that can be read ({error}). Restore a copy."
        ) from error


def _entries(rows: Sequence[LedgerRow]) -> tuple[list[Entry], list[str]]:
    """The entries that can be read, and why the others cannot."""
    whole, faults = [], []
    for entry in (row.entry for row in rows):
        try:
            entry.read(BODIES[entry.kind])
            if entry.kind == "confirmation":
                record_of(entry)
            whole.append(entry)
        except Misconfigured as error:
            faults.append(str(error))
    return whole, faults


def fits(checkpoint: Checkpoint, tree: Tree) -> bool:
    return checkpoint.size <= tree.size and tree.root(checkpoint.size) == checkpoint.root


def _checkpoints(
    files: Files, key: Key, witnesses: Sequence[Path], tree: Tree
) -> tuple[list[Checkpoint], list[str]]:
    signed, faults = [], []
    for path in (files.checkpoints, *witnesses):
        try:
            found = read(path, key)
        except OSError as error:
            faults.append(
                f"{path} cannot be read ({error.strerror}): nothing shows that the ledger's end "
                "was not cut off."
            )
            continue
        except Misconfigured as error:
            faults.append(str(error))
            continue
        signed += found
        faults += [
            f"The ledger does not begin with the {c.size} entries that {path} was signed for: it "
            "was rewritten or cut off."
            for c in found
            if not fits(c, tree)
        ]
    return signed, faults


def _stored(files: Files) -> Iterator[tuple[str, bytes]]:
    with files.storage() as storage:
        yield from storage.blobs()


def _intact(files: Files) -> dict[str, bytes]:
    """Stored answers that are what they were; `_names` says which are not."""
    return {name: data for name, data in _stored(files) if hashlib.sha256(data).hexdigest() == name}


def _names(files: Files, whole: Whole) -> Iterator[str]:
    """What entries name by hash is there and has that hash."""
    here: set[str] = set()
    snapshots = snapshots_at(CampaignFolder(files.campaign).server.blobs, read_only=True)
    for name, data in _stored(files):
        here.add(name)
        if hashlib.sha256(data).hexdigest() != name:
            yield f"The stored answers {name} were changed."
    for entry in whole:
        if entry.kind == "submission" and entry.read(SubmissionBody).predictions not in here:
            yield f"Entry {entry.seq}: its stored answers are gone."
        if entry.kind == "code":
            snapshot = entry.read(CodeBody).snapshot
            try:
                snapshots.get(snapshot)
            except (InvalidSubmission, Misconfigured):
                yield f"Entry {entry.seq}: the snapshot {snapshot} is gone or was changed."


def _citations(whole: Whole) -> Iterator[str]:
    """A receipt is given once, and cited only afterwards."""
    given: dict[str, int] = {}
    for entry in whole:
        if entry.kind == "submission":
            receipt = entry.read(SubmissionBody).receipt.id
            if receipt in given:
                yield (
                    f"Entry {entry.seq}: the receipt {receipt} was given before, in entry "
                    f"{given[receipt]}."
                )
            given.setdefault(receipt, entry.seq)
        for receipt in _cited(entry):
            if receipt not in given:
                yield f"Entry {entry.seq} cites the receipt {receipt}, which was not given before."


def _cited(entry: Entry) -> tuple[str, ...]:
    if entry.kind == "finding":
        return entry.read(FindingBody).receipts
    raised = tuple(receipt for _, flag in flags_in([entry]) for receipt in flag.receipts)
    return (record_of(entry).claim.receipt, *raised) if entry.kind == "confirmation" else raised


def _confirmations(files: Files, whole: Whole) -> Iterator[str]:
    """The latest record of a snapshot lies outside the ledger, too, signed."""
    folder = CampaignFolder(files.campaign).confirmations
    for snapshot, record in {
        b.snapshot: b.record for _, b in read_all(whole, ConfirmationBody)
    }.items():
        try:
            if verify_record(folder.confirmation(snapshot), folder.public_key) != record:
                yield f"The signed record of {snapshot[:12]} is not what the ledger holds."
        except (AarError, OSError) as error:
            yield f"The confirmation of {snapshot[:12]} cannot be verified: {error}"


def _graded(files: Files, whole: Whole) -> tuple[int, list[str]]:
    """Grade every submission again."""
    assert files.problem is not None
    marking = marking_of(files.problem)
    exact, blobs, wrong = list(read_all(whole, SubmissionBody)), _intact(files), []
    for entry, body in exact:
        data = blobs.get(body.predictions)
        if data is not None and marking.exact(stored(data)) != body.exact_accuracy:
            words = (
                "its stored answers do not score what it says, by the hidden labels as they are "
                "now."
            )
            wrong.append(f"Entry {entry.seq}: {words}")
    return len(exact), wrong


def _metered(files: Files, whole: Whole) -> Iterator[str]:
    """Ledger and meter agree. An answer that only the meter has was cut from the
    ledger, or the process ended before it was released; then the next start of the evaluator has
    put it on record."""
    assert files.meter is not None
    assert files.problem is not None
    try:
        book = read_book(files.meter)
    except Misconfigured as error:
        yield str(error)
        return
    events = [entry for entry in whole if entry.kind == "campaign"]
    known = {question for _, body in read_all(events, EventBody) for question in body.untold}
    for submission in submissions(whole, _intact(files)):
        known.add(submission.question)
        if words := submission.unknown_to(book):
            yield f"Entry {submission.seq}: {words}."
    lost = sum(
        row.campaign == files.campaign.name and row.question not in known for row in book.rows
    )
    if lost:
        yield (
            f"The meter has {lost} answers of this campaign that the ledger has not: its end was "
            "cut off, or it runs now."
        )
    for seq in lost_tries(whole, files.campaign.name, TestbedFolder(files.problem).tries):
        yield f"Entry {seq}: the record of what was put to confirmation does not know it."
