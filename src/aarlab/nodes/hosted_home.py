"""On a node: a researcher's home and log, and what is fetched for it by its hash."""

import asyncio
import secrets
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.cluster_layout import NodeFolder
from aarlab.core.errors import Transient
from aarlab.core.files import write_whole
from aarlab.core.records import Record
from aarlab.nodes.framing import Wire, receive_file, send_file
from aarlab.nodes.home_archive import Archive, HomeTooLarge, pack_home, unpack_home
from aarlab.nodes.joining import REPLY, asked
from aarlab.nodes.messages import MOST_HOME_BYTES, Begin, Fetch, Incarnation, StoreHome
from aarlab.runs.data_pack import MAX_BYTES, kept, unpack
from aarlab.sandbox import volume

ANSWER_S = 60.0
Reach = Callable[[], Awaitable[Wire]]


async def _fetched(reach: Reach, campaign: str, sha256: str, path: Path, most: int) -> None:
    """Write the data of a hash to a new file.

    Raises:
        Transient: the hub cannot be reached, or other bytes came.
        Unauthorised: they are not for this node.
    """
    wire = await reach()
    try:
        reply = await asked(wire, Fetch(campaign=campaign, sha256=sha256), ANSWER_S)
        if reply.size is None or reply.size > most:
            raise Transient(f"The data {sha256[:12]} are larger than a node takes.")
        path.parent.mkdir(parents=True, exist_ok=True)
        await receive_file(wire, path, reply.size, sha256)
    finally:
        await wire.close()


async def fetched_folder(reach: Reach, data: Path, campaign: str, sha256: str) -> Path:
    """The folder of data of that hash, fetched where this node has it not.

    Raises:
        Transient, Unauthorised: see `_fetched`.
    """
    if found := kept(data, sha256):
        return found
    partial = data / f".fetched-{secrets.token_hex(8)}"
    await _fetched(reach, campaign, sha256, partial, MAX_BYTES)
    try:
        return await asyncio.to_thread(lambda: unpack(data, sha256, partial.read_bytes()))
    finally:
        partial.unlink(missing_ok=True)


class HomeNote(Record):
    """Whose the home is that is here, and which incarnation used it last."""

    lineage: str
    number: int


@dataclass
class HostedHome:
    """Of one incarnation; the home is that of the researcher, whichever incarnation."""

    folder: NodeFolder
    who: Incarnation
    _sent: str = ""  # hash of what was kept last

    @property
    def home(self) -> Path:
        """Its home."""
        return self.folder.homes / self.who.campaign / self.who.researcher

    @property
    def log(self) -> Path:
        """What it prints."""
        place = self.folder.logs / self.who.campaign / self.who.researcher
        return place / f"{self.who.number}.log"

    @property
    def _note(self) -> Path:
        return self.home.with_name(f"{self.home.name}.json")

    def forget_log(self) -> None:
        """It has arrived, or nobody asks for it any more."""
        for path in self.log.parent.glob(f"{self.who.number}.*"):
            path.unlink(missing_ok=True)

    async def made_ready(self, reach: Reach, begin: Begin) -> None:
        """The home as its previous incarnation left it: here, or as the lab has kept it. Another
        one that is here is put aside.

        Raises:
            Transient: it cannot be fetched now, or the disk is full.
        """
        if not 0 < begin.before <= self._last_here(begin.lineage):
            await asyncio.to_thread(self._put_aside)
            if begin.home is not None:
                archive = self.home.with_name(f".{self.home.name}-{secrets.token_hex(4)}.home")
                await _fetched(reach, self.who.campaign, begin.home, archive, MOST_HOME_BYTES)
                try:
                    await asyncio.to_thread(unpack_home, archive, self.home, MOST_HOME_BYTES)
                finally:
                    archive.unlink(missing_ok=True)
        self.home.mkdir(parents=True, exist_ok=True)
        note = HomeNote(lineage=begin.lineage, number=self.who.number)
        write_whole(self._note, note.model_dump_json())

    def _last_here(self, lineage: str) -> int:
        """The incarnation that used the home that is here; 0: none of that lineage."""
        try:
            found = HomeNote.model_validate_json(self._note.read_bytes())
        except (OSError, ValueError):
            return 0
        return found.number if self.home.is_dir() and found.lineage == lineage else 0

    def _put_aside(self) -> None:
        volume.let_go(self.home)
        if self.home.exists():
            old = self.home.with_name(f"{self.home.name}.before-{self.who.number}")
            shutil.rmtree(old, ignore_errors=True)
            self.home.rename(old)
        self._note.unlink(missing_ok=True)

    async def keep(self, reach: Reach, begin: Begin) -> str | None:
        """Let the lab keep the home as it is now; why it cannot be kept, as text.

        Raises:
            Transient, Unauthorised: the lab cannot be reached, or the incarnation is over.
            OSError: the disk is full, say.
        """
        path = self.home.with_name(f".{self.home.name}-{secrets.token_hex(4)}.home")
        try:
            archive = await asyncio.to_thread(pack_home, self.home, path, MOST_HOME_BYTES)
        except HomeTooLarge as error:
            return f"its home has {error}: it is not kept, and is lost with its node"
        try:
            if archive.sha256 != self._sent:
                await self._send(reach, begin, archive)
                self._sent = archive.sha256
        finally:
            path.unlink(missing_ok=True)
        return None

    async def _send(self, reach: Reach, begin: Begin, archive: Archive) -> None:
        wire = await reach()
        try:
            asks = StoreHome(who=begin.who, sha256=archive.sha256, size=archive.size)
            if (await asked(wire, asks, ANSWER_S)).wanted:
                with archive.path.open("rb") as file:
                    await send_file(wire, file, archive.size)
                reply = await wire.record(REPLY, ANSWER_S)
                if not reply.ok:
                    raise Transient(reply.words)
        finally:
            await wire.close()
