"""The campaigns that the pages show: each folder is opened once, to be read, when it is first asked
for. Nothing is written into it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.layout import CampaignFolder, Home, PublicFolder, ReportFolder, TestbedFolder
from aarlab.core.operation_records import IN_FOLDER, families_of
from aarlab.core.snapshot import Files
from aarlab.core.strict_json import read_json
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.places import has_ledger, snapshots_at
from aarlab.fleet.campaign import Campaign, load
from aarlab.fleet.campaign_list import state_of
from aarlab.fleet.state import FleetState, read_state
from aarlab.web.campaign_book import BookUntil, CampaignBook
from aarlab.web.milestones import Milestones
from aarlab.web.shown_score import ShownScore, baseline

EARLIER = 4  # books of a campaign as it was that are kept
Stamp = tuple[int, int]  # number of the ledger's last entry, and when what runs spoke last


class OpenCampaign:
    """One campaign, as an onlooker reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, CampaignFolder(folder)
        self._ledger: Ledger | None = None
        self._book: CampaignBook | None = None
        self._opening = threading.Lock()
        self._earlier: list[BookUntil] = []  # as it was, the latest used last; nobody reads them

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def book(self) -> CampaignBook:
        """What its ledger says.

        Raises:
            InvalidSubmission: there is no ledger yet (404).
        """
        with self._opening:
            if self._book is None:
                self._ledger = Ledger(_existing(self.place), read_only=True)
                self._book = CampaignBook(self._ledger, Milestones())
            return self._book

    @contextmanager
    def as_it_was(self, seq: int) -> Iterator[CampaignBook]:
        """A context with what its ledger said after entry number `seq`."""
        book = self._nearest(seq)
        book.last = seq
        with book.reading():
            yield book
        with self._opening:
            self._earlier = [*self._earlier, book][-EARLIER:]

    def _nearest(self, seq: int) -> BookUntil:
        """The latest kept book that ends at `seq` or before; it is nobody else's until it is put
        back."""
        milestones = self.book.milestones
        assert self._ledger
        assert milestones is not None
        at, held = milestones.before(seq)
        with self._opening:
            fits = [book for book in self._earlier if at <= book.last <= seq]
            if not fits:
                made = BookUntil(self._ledger)
                made.resume(held)
                return made
            nearest = max(fits, key=lambda book: book.last)
            self._earlier.remove(nearest)
            return nearest

    @property
    def has_ledger(self) -> bool:
        """Whether anything was recorded yet."""
        return self._book is not None or has_ledger(self.place.server.ledger)

    def body(self, seq: int) -> dict[str, Any]:
        """The body of one entry, whole: a caller takes fields of it by name, and no others."""
        assert self.book
        assert self._ledger
        return self._ledger.entries(after=seq - 1, limit=1)[0].body

    def state(self) -> FleetState | None:
        """What the supervisor said last; None where there was none, or its file is damaged."""
        try:
            return read_state(self.folder)
        except Misconfigured:
            return None

    def settings(self) -> Campaign | None:
        """As it was begun; None while it is being set up, or where its file is damaged."""
        try:
            return load(self.place.settings)
        except Misconfigured:
            return None

    def standing(self) -> str:
        """What it does now, as text."""
        try:
            return state_of(self.folder)
        except Misconfigured as error:
            return f"damaged: {error}"

    def stamp(self) -> Stamp:
        """What changes when there is something new to show."""
        written = max(map(_written, (self.place.fleet, self.place.step)))
        if not self.has_ledger:
            return 0, written
        with self.book.reading() as book:
            return book.seq, written

    def code(self, snapshot: str) -> Files | None:
        """The files of a snapshot that the ledger knows; None where they cannot be read."""
        try:
            return json.loads(snapshots_at(self.place.server.blobs, read_only=True).get(snapshot))
        except (InvalidSubmission, Misconfigured, Transient, ValueError):
            return None

    def report(self) -> dict[str, Any]:
        """Its report as plain JSON, of whatever version; empty before there is one."""
        try:
            found = json.loads(ReportFolder(self.place.report).record.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def baselines(self) -> list[ShownScore]:
        """PGR on feedback of each baseline, to two decimals, from the report; none before there is
        one. The pages open no private folder."""
        found = self.report().get("baselines", ())
        try:
            if isinstance(found, dict):  # of a problem in a folder
                scored = {name: of["feedback"]["combined"] for name, of in found.items()}
                return [baseline(n, s, unit="score") for n, s in scored.items() if s]
            return [baseline(b["name"], b["feedback"]["pgr"]) for b in found]
        except (ValueError, TypeError, KeyError, AttributeError):
            return []

    def public(self) -> PublicFolder | None:
        """The published part of the testbed that it was begun on; None where that is not here."""
        note = self.place.server.problem
        if not note.exists():
            return None
        begun = Path(note.read_text().strip())
        moved = Home(self.folder.parents[1]).problems / begun.name
        places = [PublicFolder(TestbedFolder(path).public) for path in (begun, moved)]
        return next((place for place in places if place.card.is_file()), None)

    def card(self) -> dict[str, Any]:
        """The problem's published card; that of the report where the testbed is not here."""
        place = self.public()
        try:
            found = read_json(place.card) if place else self.report().get("problem")
        except Misconfigured:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def in_folder(self) -> bool:
        """Whether its problem is one in a folder: its scores are no PGR and no accuracy."""
        return self.card().get("kind") == IN_FOLDER

    def units(self) -> dict[str, str]:
        """What its levels and its scores on final are called."""
        words = ("score", "score") if self.in_folder else ("PGR", "accuracy")
        return dict(zip(("unit", "accuracy"), words, strict=True))

    def k_families(self) -> int:
        """How many families of methods its problem has."""
        return len(families_of(self.card()))

    def close(self) -> None:
        """Close its ledger."""
        if self._ledger:
            self._ledger.close()


class OpenCampaigns:
    """All campaigns of a state folder, by name."""

    def __init__(self, home: Home) -> None:
        self.folder = home.campaigns
        self._open: dict[str, OpenCampaign] = {}
        self._mutex = threading.Lock()

    def names(self) -> list[str]:
        """The campaigns that there are."""
        return sorted(
            p.name
            for p in self.folder.glob("*")
            if CampaignFolder(p).settings.exists() or CampaignFolder(p).lock.exists()
        )

    def get(self, name: str) -> OpenCampaign:
        """The campaign of that name.

        Raises:
            InvalidSubmission: there is none (404).
        """
        if name not in self.names():
            raise InvalidSubmission(
                "There is no such campaign here. The first page lists those that there are.",
                absent=True,
            )
        with self._mutex:
            return self._open.setdefault(name, OpenCampaign(self.folder / name))

    def close(self) -> None:
        """Close every ledger."""
        for campaign in self._open.values():
            campaign.close()


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _existing(place: CampaignFolder) -> Path:
    if not has_ledger(place.server.ledger):
        raise InvalidSubmission(
            "This campaign has no ledger yet: it is being set up. Load the page again later.",
            absent=True,
        )
    return place.server.ledger
