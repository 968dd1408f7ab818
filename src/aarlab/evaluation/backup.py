"""A copy of a campaign's record and of its label set's meter that is consistent, also while they
are served.

The order makes it so. Checkpoints are copied first, so that none is of more entries than the
ledger's copy has; then the ledger, at one moment; then what its entries name, which only grows; and
last what was released of the label set, which must know all that the ledger records. A copy of the
files, made while they are written, is no backup: SQLite's newest pages lie beside them.
"""

import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.layout import CampaignFolder, Home, SignedFolder, TestbedFolder
from aarlab.core.store import opened_to_read, unsound
from aarlab.evaluation.agreement import read_book, read_recorded, require_known
from aarlab.evaluation.ledger.blobs import Blobs
from aarlab.evaluation.ledger.checkpoints import LINES
from aarlab.evaluation.ledger.copying import copy_rows, copy_snapshots
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.places import has_ledger, places_of, snapshots_at, storage_at
from aarlab.evaluation.ledger.sqlite_storage import SqliteStorage
from aarlab.evaluation.ledger.storage import StorageFailed


def back_up(problem: Path, campaign: Path, out: Path) -> int:
    """Copy into a new folder, laid out as a home is, and hold the copies against each other.

    Returns how many entries the ledger's copy has. Hidden labels, items and researchers' work are
    not copied.

    Raises:
        Misconfigured: the folder exists, there is no ledger, or a copy is not whole.
        Transient: it cannot be written; what was copied is removed.
    """
    source = CampaignFolder(campaign)
    if not has_ledger(source.server.ledger):
        raise Misconfigured(f"The campaign {campaign} has no ledger yet. Run it first.")
    if out.exists():
        raise Misconfigured(f"{out} exists. Name a new folder for each backup.")
    home = Home(out)
    copy, bed = CampaignFolder(home.campaigns / campaign.name), home.problems / problem.name
    try:
        out.mkdir(parents=True, mode=0o700)
        _copy_record(source, copy)
        testbed, kept = TestbedFolder(problem), TestbedFolder(bed)
        for store, to in ((testbed.tries, kept.tries), (testbed.meter, kept.meter)):
            if store.exists():
                _copy_store(store, to)
        return _checked(copy, bed)
    except (OSError, sqlite3.Error, StorageFailed) as error:
        shutil.rmtree(out, ignore_errors=True)
        raise Transient(
            f"The backup {out} cannot be made ({error}). Make room, and try again."
        ) from error


def _copy_record(source: CampaignFolder, copy: CampaignFolder) -> None:
    _copy_files(source.checkpoints.root, copy.checkpoints.root)
    _whole_notes(copy.checkpoints)
    own, beside = source.server, {source.server.lock.name, source.server.address.name}
    places = places_of(own.root)
    copy.server.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    if places.ledger is None:
        _copy_store(own.ledger, copy.server.ledger)
    else:
        _copy_rows(own.ledger, copy.server.ledger)
    _copy_files(own.root, copy.server.root, besides=beside | {own.ledger.name, own.store.name})
    if places.snapshots is not None:
        with closing(SqliteStorage(copy.server.ledger, read_only=True)) as rows:
            snapshots = snapshots_at(own.blobs, read_only=True)
            copy_snapshots(rows, snapshots, Blobs(copy.server.blobs))
    copy.server.root.chmod(0o700)
    _copy_files(source.confirmations.root, copy.confirmations.root)
    for one in (source.settings, source.fleet):
        if one.exists():
            shutil.copy2(one, copy.root / one.name)


def _copy_files(source: Path, copy: Path, besides: Iterable[str] = ()) -> None:
    """The files of a folder, without those whose names begin so and those being written."""
    left_out = (".", *besides)
    if source.is_dir():
        shutil.copytree(
            source,
            copy,
            dirs_exist_ok=True,
            ignore=lambda _, names: [name for name in names if name.startswith(left_out)],
        )


def _whole_notes(signed: SignedFolder) -> None:
    """Remove the rest of a note that was just being written."""
    if signed.checkpoints.exists():
        lines = signed.checkpoints.read_bytes().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        signed.checkpoints.write_bytes(b"".join(whole[: len(whole) // LINES * LINES]))


def _copy_rows(source: Path, copy: Path) -> None:
    """A ledger in a database, as one file: what there was when it began."""
    with (
        closing(storage_at(source, read_only=True)) as rows,
        closing(SqliteStorage(copy)) as file,
    ):
        copy_rows(rows, file)
    copy.chmod(0o600)


def _copy_store(source: Path, copy: Path) -> None:
    """A SQLite file as it is at one moment, whoever writes it."""
    copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with closing(opened_to_read(source)) as here, closing(sqlite3.connect(copy)) as there:
        here.backup(there)
        there.execute("PRAGMA journal_mode=DELETE")
    copy.chmod(0o600)


def _checked(copy: CampaignFolder, bed: Path) -> int:
    """How many entries there are, once the copies were found to be whole and to agree."""
    meter, tries = TestbedFolder(bed).meter, TestbedFolder(bed).tries
    for store in (copy.server.ledger, meter, tries):
        if store.exists() and (words := unsound(store)):
            raise Misconfigured(f"{store} is not whole ({words}). The store itself is damaged.")
    with closing(Ledger(copy.server.ledger, read_only=True)) as ledger:
        entries = ledger.verify()
    recorded = read_recorded(copy.root, bed)
    if recorded.submissions:
        require_known(read_book(meter), meter, recorded)
    return entries
