"""Where each researcher of a campaign was last, and which home of it was kept: so that it can go on
elsewhere when its node is lost."""

import contextlib
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from aarlab.core.errors import Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.layout import CampaignFolder, KeptHomesFolder
from aarlab.core.records import Record
from aarlab.nodes.home_archive import HomeTooLarge, pack_home, unpack_home
from aarlab.nodes.messages import HERE, MOST_HOME_BYTES, HomeKept, Sha256
from aarlab.sandbox import volume


class HomePlace(Record):
    """`number`: its latest incarnation that is known to have begun; `host`: where it is or was;
    `home`: the one that was kept last, of incarnation `home_number`."""

    host: str
    number: Annotated[int, Field(ge=0)] = 0
    home: Sha256 | None = None
    home_number: Annotated[int, Field(ge=0)] = 0

    @property
    def latest(self) -> int:
        """A home that an earlier incarnation left is an old one."""
        return max(self.number, self.home_number)


class HomePlaces(Record):
    """Of all researchers. `lineage` is drawn once, so that homes of another campaign of the same
    name are not taken for this one's."""

    lineage: str
    places: dict[str, HomePlace]


_PLACES = TypeAdapter(HomePlaces)


def remove_arriving(campaigns: Path) -> None:
    """Remove the homes that a hub had not whole when it was killed, of all campaigns. No other hub
    of the lab may run."""
    for campaign in campaigns.glob("*"):
        folder = KeptHomesFolder(CampaignFolder(campaign).homes)
        _remove(folder.root.glob(folder.arriving("*").name))


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


class KeptHomes:
    """Of one campaign. Several threads use it."""

    def __init__(self, folder: KeptHomesFolder) -> None:
        """The caller has the campaign's lock. Raises Misconfigured: its file is damaged."""
        self.folder, self._lock = folder, threading.Lock()
        _remove(folder.root.glob(folder.packing("*").name))  # of a supervisor that was killed
        try:
            found = _PLACES.validate_json(folder.places.read_bytes())
        except FileNotFoundError:
            found = HomePlaces(lineage=secrets.token_hex(16), places={})
        except ValidationError as error:
            raise Misconfigured(
                f"{folder.places} is damaged. Restore it, or remove it: researchers on other "
                "machines then begin with empty homes."
            ) from error
        self.lineage, self._places = found.lineage, dict(found.places)
        self._old: set[str] = set()  # homes that are removed once the file is written
        self.unwritten = ""  # why the file could not be written
        self._write()

    def of(self, researcher: str) -> HomePlace | None:
        """Where it was."""
        with self._lock:
            return self._places.get(researcher)

    def begun(self, researcher: str, host: str, number: int) -> None:
        """An incarnation has begun on that host; 0: none yet, it is to."""
        with self._lock:
            before = self._places.get(researcher, HomePlace(host=host))
            update = {"host": host, "number": max(number, before.number)}
            self._places[researcher] = before.model_copy(update=update)
            self._write()

    def kept(self, message: HomeKept) -> None:
        """The hub has kept a home; the one before is removed.

        Raises:
            OSError: the disk is full, say; `write_again` does it.
        """
        with self._lock:
            before = self._places.get(message.who.researcher)
            if before is None or message.who.number < before.home_number:
                return
            if not self.folder.archive(message.sha256).exists():
                return  # it was removed as an earlier one just now
            update = {"home": message.sha256, "home_number": message.who.number}
            self._places[message.who.researcher] = before.model_copy(update=update)
            if before.home is not None:
                self._old.add(before.home)
            self._write()

    def write_again(self) -> None:
        """What could not be written, if it can be now."""
        if self.unwritten:
            with self._lock, contextlib.suppress(OSError):
                self._write()

    def _write(self) -> None:
        made = HomePlaces(lineage=self.lineage, places=self._places)
        try:
            write_whole(self.folder.places, _PLACES.dump_json(made, indent=1))
        except OSError as error:
            self.unwritten = error.strerror or str(error)
            raise
        self.unwritten = ""
        old = self._old - {place.home for place in self._places.values()}
        _remove(self.folder.archive(home) for home in old)
        self._old = set()

    def keep_local(self, researcher: str, home: Path, number: int) -> None:
        """Keep a home that is on this machine, because it goes on elsewhere.

        Raises:
            Misconfigured: it is too large.
            OSError: the disk is full, say.
        """
        self.folder.root.mkdir(parents=True, exist_ok=True)
        partial = self.folder.packing(secrets.token_hex(8))
        try:
            made = pack_home(home, partial, MOST_HOME_BYTES)
        except HomeTooLarge as error:
            raise Misconfigured(
                f"The home of {researcher} has {error}, and cannot go to another host. Put `{HERE}`"
                " among the hosts, or make it smaller."
            ) from error
        partial.replace(self.folder.archive(made.sha256))
        with self._lock:
            self._places[researcher] = HomePlace(
                host=HERE, number=number, home=made.sha256, home_number=number
            )
            self._write()

    def bring_back(self, researcher: str, home: Path) -> None:
        """Put the kept home in place of the one on this machine, where there is one.

        Raises:
            Transient: it cannot be unpacked.
        """
        place = self.of(researcher)
        if place is not None and place.home is not None and place.host != HERE:
            volume.let_go(home)
            unpack_home(self.folder.archive(place.home), home, MOST_HOME_BYTES)
