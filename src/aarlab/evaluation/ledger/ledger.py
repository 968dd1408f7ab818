"""The append-only, hash-chained record of every submission, answer, finding and spend. The source
of every figure."""

import hashlib
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.layout import CampaignFolder
from aarlab.core.records import Entry, EntryKind
from aarlab.evaluation.ledger.chain import GENESIS, LedgerRow, walk
from aarlab.evaluation.ledger.checkpoints import Checkpoints, Keeper
from aarlab.evaluation.ledger.drafts import Draft, Placed, Ready, in_place, ready
from aarlab.evaluation.ledger.group_commit import GroupCommit
from aarlab.evaluation.ledger.merkle import Tree, leaf_hash
from aarlab.evaluation.ledger.places import storage_at
from aarlab.evaluation.ledger.storage import Storage, StorageFailed, Unsettled, raw

UNSETTLED = (
    "It is not known whether this was recorded: the connection to the ledger's database was lost "
    "during a commit. The evaluator starts again and finds out; ask again then."
)
PAGE = 500  # entries that are in memory at a time, where each is looked at


@dataclass(frozen=True)
class Read:
    """What a ledger of `size` entries keeps in memory: it need not be made again where the rows on
    disk have the same `digest` (SHA-256 of all that they hold)."""

    size: int
    digest: str
    hash: str  # of the last entry
    masked: bool
    levels: tuple[bytes, ...]  # of the Merkle tree
    places: Mapping[str, bytes]  # kind -> numbers of its entries, 8 bytes each


class Ledger:
    """A campaign's ledger in its store, durable at every commit; what many threads append at the
    same moment is one commit.

    Entries stay in the store, and are parsed when they are read; hashes and numbers are in memory.
    With checkpoints, what was recorded is signed from time to time (see `Keeper`), outside the
    store. `read_only`: for who looks on while another process writes. `known`: what an earlier
    process read of it; it is taken where the rows are still the same. `alone`: no other process
    writes while it is open, so that nobody's entries are looked for at each question.

    Raises:
        Misconfigured: the entries no longer fit the newest checkpoint.
        Transient: the store cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        checkpoints: Checkpoints | None = None,
        *,
        read_only: bool = False,
        known: Read | None = None,
        alone: bool = False,
    ) -> None:
        """`path`: of the SQLite file; what lies beside it may name another store (see `places`)."""
        with _reading():
            self._storage: Storage = storage_at(path, read_only=read_only)
        self._alone = False
        # called once where it is not known whether something was recorded: start again
        self.when_unsettled: Callable[[], None] = lambda: None
        self._unsettled = False
        self._mutex = threading.Lock()  # guards what is in memory
        self._places: dict[str, array[int]] = {}  # kind -> numbers of its entries
        self._seq, self._hash = 0, GENESIS  # of the last entry
        self._digest = hashlib.sha256()  # of all rows
        self._tree = Tree()
        self._group: GroupCommit[Sequence[Ready], list[Entry]] = GroupCommit(self._commit)
        self._checkpoints, self._keeper = checkpoints, None
        self._masked = True  # the root cannot be guessed: the last row is salted, or there is none
        self.resumed = known is not None and self._resume(known)  # whether `known` was taken
        if checkpoints:
            self._check(checkpoints)
        if alone:
            self.count()
            self._alone = True
        if not read_only and self.count() and not self._masked:
            self.append("campaign", "evaluator", {"event": "entries are salted from here on"})
        if checkpoints:
            self._keeper = Keeper(checkpoints, self.head)
            self._keeper.grew(self.count())

    def _check(self, checkpoints: Checkpoints) -> None:
        last = checkpoints.newest()
        if last is not None and (
            last.size > self.count() or self._tree.root(last.size) != last.root
        ):
            raise Misconfigured(
                f"The ledger no longer fits its checkpoint of {last.size} entries. Run `aar "
                "ledger verify`; restore a copy.",
                size=last.size,
            )

    # --- writing ----------------------------------------------------------------------------------

    def append(self, kind: EntryKind, who: str, body: dict[str, Any]) -> Entry:
        """Record one entry durably; it is on disk when this returns.

        Raises:
            Transient: the store could not take it (a full disk, say); nothing was recorded.
            InvalidSubmission: it is not plain JSON.
        """
        return self.append_many([Draft(kind, who, body)])[0]

    def append_many(self, drafts: Sequence[Draft]) -> list[Entry]:
        """Record entries and their blobs together, all or none; as `append`."""
        return self.append_ready([ready(draft) for draft in drafts])

    def append_ready(self, drafts: Sequence[Ready]) -> list[Entry]:
        """As `append_many`, of drafts that were made ready before something else was done that
        cannot be taken back."""
        return self._group.do(drafts) if drafts else []

    def _commit(self, batch: Sequence[Sequence[Ready]]) -> list[list[Entry]]:
        """One transaction for the whole batch."""
        if self._unsettled:
            raise Transient(UNSETTLED)
        blobs = {name: data for group in batch for one in group for name, data in one.blobs.items()}
        try:
            with self._storage.appending() as appending:
                with self._mutex:
                    self._take(_read(row) for row in appending.rows(self._seq))
                    seq, prev = self._seq, self._hash
                made = in_place([ready for group in batch for ready in group], seq, prev)
                appending.add([row for _, row, _ in made], blobs)
        except Unsettled as error:
            self._unsettled = True
            self.when_unsettled()
            raise Transient(UNSETTLED) from error
        except StorageFailed as error:
            raise Transient(
                f"Not recorded: the ledger cannot be written ({error}). Try again later."
            ) from error
        with self._mutex:
            self._take(made)
        if self._keeper:
            self._keeper.grew(made[-1][0].seq)
        entries = iter([entry for entry, _, _ in made])
        return [[next(entries) for _ in group] for group in batch]

    # --- reading ----------------------------------------------------------------------------------

    def entries(
        self, kind: EntryKind | None = None, *, after: int = 0, limit: int = -1
    ) -> list[Entry]:
        """Entries in order, optionally of one kind, after a sequence number and up to so many;
        another process's, too, unless this one is alone."""
        if self._alone and after >= self._seq:
            return []
        with _reading():
            rows = self._storage.rows(after=after, kind=kind, limit=limit)
            return [_entry(row) for row in rows]

    def each(self, kind: EntryKind, *, after: int = 0) -> Iterator[Entry]:
        """As `entries`, with few of them in memory at a time."""
        while page := self.entries(kind, after=after, limit=PAGE):
            yield from page
            after = page[-1].seq

    def number(self, kind: EntryKind, number: int) -> Entry | None:
        """The entry of a kind that is its `number`-th, from 1; None where there is none."""
        with self._mutex:
            places = self._up_to_date(kind)
            if not 1 <= number <= len(places):
                return None
            before = places[number - 1] - 1
        return self.entries(after=before, limit=1)[0]

    def count(self, kind: EntryKind | None = None) -> int:
        """How many entries there are, optionally of one kind."""
        with self._mutex:
            return len(self._up_to_date(kind)) if kind else self._up_to_date_size()

    @property
    def latest_finding(self) -> int:
        """The number of the latest finding that this process has read; 0 before the first."""
        places = self._places.get("finding")
        return places[-1] if places else 0

    def head(self) -> tuple[int, bytes]:
        """Size and Merkle root (32 bytes) of what this process has read; see `merkle`."""
        with self._mutex:
            return self._tree.size, self._tree.root()

    def root_of(self, size: int) -> bytes:
        """The Merkle root of the first `size` entries; those that nobody read yet are read."""
        with self._mutex:
            self._up_to_date_size()
            return self._tree.root(size)

    def blob(self, name: str) -> bytes:
        """The bytes of a blob that was recorded with an entry.

        Raises:
            InvalidSubmission: there is none of that name.
            Misconfigured: what is stored has another hash; somebody changed it.
        """
        if (data := self.blobs([name]).get(name)) is None:
            raise InvalidSubmission(f"There is no blob '{name[:80]}'.", name=name)
        return data

    def blobs(self, names: Sequence[str]) -> dict[str, bytes]:
        """As `blob`, of many in one query; those that are not there are left out."""
        with _reading():
            return {name: _whole(name, data) for name, data in self._storage.blobs(names)}

    def _up_to_date(self, kind: str) -> Sequence[int]:
        self._up_to_date_size()
        return self._places.get(kind, ())

    def _up_to_date_size(self) -> int:
        if self._alone:
            return self._tree.size
        with _reading():  # what was recorded since, here or in another process
            self._take(_read(row) for row in self._storage.rows(after=self._seq))
        return self._tree.size

    def _take(self, made: Iterable[Placed]) -> None:
        for entry, row, leaf in made:
            if entry.seq > self._seq:  # else a reader was faster
                self._places.setdefault(entry.kind, array("q")).append(entry.seq)
                self._tree.append(leaf)
                self._seq, self._hash = entry.seq, entry.hash
                self._masked = row.salt is not None
                self._digest.update(raw(row))

    # --- kept for the next process ----------------------------------------------------------------

    def read(self) -> Read:
        """What is in memory now, for `known` of the next process."""
        with self._mutex:
            size = self._up_to_date_size()
            places = {kind: numbers.tobytes() for kind, numbers in self._places.items()}
            digest, levels = self._digest.hexdigest(), self._tree.levels
            return Read(size, digest, self._hash, self._masked, levels, places)

    def _resume(self, known: Read) -> bool:
        """Use what an earlier process read, where the rows that it read are still the same."""
        with self._mutex, _reading():
            digest = self._storage.digest(known.size)
            if digest is None or digest.hexdigest() != known.digest:
                return False
            self._tree, self._masked = Tree.of(known.levels), known.masked
            self._seq, self._hash = known.size, known.hash
            self._digest = digest
            self._places = {kind: array("q", numbers) for kind, numbers in known.places.items()}
        return True

    # --- checking ---------------------------------------------------------------------------------

    def verify(self) -> int:
        """Check the whole chain on disk, and every checkpoint if there are any; returns how many
        entries it has.

        Raises:
            Misconfigured: an entry was changed, removed or inserted; the message names the first.
        """
        checkpoints = self._checkpoints.all() if self._checkpoints else []
        with _reading():
            tree, broken = walk(self._storage.rows())
        if broken:
            raise Misconfigured(str(broken), seq=broken.seq)
        for checkpoint in checkpoints:
            if checkpoint.size > tree.size or tree.root(checkpoint.size) != checkpoint.root:
                raise Misconfigured(
                    f"The ledger does not fit its checkpoint of {checkpoint.size} entries.",
                    size=checkpoint.size,
                )
        return tree.size

    def close(self) -> None:
        """Sign what no checkpoint covers, and close the store.

        Raises:
            Transient, Misconfigured: the last checkpoint cannot be written; the entries are
                recorded.
        """
        try:
            if self._keeper:
                self._keeper.close()
        finally:
            self._storage.close()


def open_ledger(campaign: Path, known: Read | None = None, *, alone: bool = False) -> Ledger:
    """The ledger of a campaign's folder, with its checkpoints beside the database:
    checkpoints/checkpoints.txt and key.pub. `known`, `alone`: see `Ledger`.

    Raises:
        Misconfigured: the entries no longer fit the newest checkpoint, or the key does not.
    """
    folder = CampaignFolder(campaign)
    folder.server.root.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(
        folder.checkpoints.root, folder.server.checkpoint_key, f"aarlab/{campaign.name}"
    )
    return Ledger(folder.server.ledger, checkpoints, known=known, alone=alone)


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except StorageFailed as error:
        raise Transient(f"The ledger cannot be read ({error}). Try again later.") from error


def _read(row: LedgerRow) -> Placed:
    try:
        return row.entry, row, leaf_hash(row.canonical)
    except (ValueError, TypeError, AttributeError) as error:
        raise _rewritten(row) from error


def _entry(row: LedgerRow) -> Entry:
    try:
        return row.entry
    except (ValueError, TypeError, AttributeError) as error:
        raise _rewritten(row) from error


def _whole(name: str, data: bytes) -> bytes:
    if hashlib.sha256(data).hexdigest() != name:
        raise Misconfigured(
            f"The blob {name} was changed in the ledger. Restore it from a backup.", name=name
        )
    return data


def _rewritten(row: LedgerRow) -> Misconfigured:
    return Misconfigured(
        f"The ledger's entry {row.seq} cannot be read: it was rewritten. Run `aar ledger verify`."
    )
