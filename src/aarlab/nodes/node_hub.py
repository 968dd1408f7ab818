"""The hub: to it nodes connect, each by its certificate. It passes orders of fleets' supervisors to
nodes, what happens there back, and bytes of researchers to the gateway's sockets.

Who may speak for whom is decided here alone: by the certificate of the node, and by the
supervisor's list of which incarnation is which node's. It holds no key of a model API, no label
and no ledger.
"""

import asyncio
import contextlib
import logging
import secrets
import shutil
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path

from aarlab.core.cluster_layout import NodesFolder
from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured, Transient, Unauthorised
from aarlab.core.layout import KeptHomesFolder
from aarlab.core.own_code import this_build, whole_code
from aarlab.core.printable import one_line
from aarlab.nodes.authority import Authority, serial_of
from aarlab.nodes.campaign_session import Assigned, Session, Sessions
from aarlab.nodes.framing import BEAT_S, OPENING_S, SILENT_S, Wire, pump, receive_file, send_file
from aarlab.nodes.messages import (
    FROM_NODE,
    LOCAL_OPENINGS,
    OPENINGS,
    Alive,
    AskAuthority,
    AskStatus,
    Attach,
    AttachCampaign,
    Fetch,
    HomeKept,
    HubStatus,
    Incarnation,
    Join,
    LookAgain,
    NodeNow,
    OpenRelay,
    Reply,
    StoreHome,
    line_of,
)
from aarlab.nodes.node_table import NodeTable
from aarlab.researchers.researcher import SOCKET_NAME
from aarlab.sandbox.disk_usage import reserve_bytes

MOST_STRANGERS = 64  # connections without a certificate at once
MOST_WIRES = 4_096  # of one node
MOST_RELAYS = 256  # of one researcher, as the gateway takes
REVOKED = "it was revoked"
LOOK_S = 1.0  # between two looks for revocations
log = logging.getLogger("aarlab.nodes")


@dataclass
class Attached:
    """A node whose agent is there."""

    wire: Wire
    attach: Attach
    heard_at: float = field(default_factory=time.monotonic)
    answered_at: float = -BEAT_S  # when we last answered it


class NodeHub:
    """See the module's docstring. It belongs to one event loop."""

    def __init__(self, folder: NodesFolder) -> None:
        self._authority, self._table = Authority(folder), NodeTable(folder.table)
        self._attached: dict[str, Attached] = {}
        # all connections of a node, by its name and the serial of the certificate they came with
        self._wires: dict[tuple[str, str], set[Wire]] = {}
        self._counting: dict[str, str | None] = {}  # certificates that count, by the node's name
        self._refused: dict[str, str] = {}  # why an agent was refused, by its node
        self._strangers = 0
        self._incoming = 0  # bytes of homes on their way
        self.sessions = Sessions(self._attached_wire)
        self.listen = ""

    def context(self) -> ssl.SSLContext:
        """The TLS by which it serves."""
        return self._authority.hub_context()

    def _attached_wire(self, node: str) -> Wire | None:
        found = self._attached.get(node)
        return found.wire if found else None

    # --- connections of nodes ---------------------------------------------------------------------

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        wire = Wire(reader, writer)
        try:
            der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            if der is None:
                await self._stranger(wire)
            else:
                await self._known(wire, der)
        except AarError as error:
            log.warning("%s: %s", wire.where, one_line(str(error), 300))
            await wire.refuse(error)
        except (OSError, ssl.SSLError) as error:
            log.warning("%s: %s", wire.where, error)
        finally:
            with contextlib.suppress(OSError):
                await wire.close()

    async def _stranger(self, wire: Wire) -> None:
        if self._strangers >= MOST_STRANGERS:
            raise Transient("Too many join at once. Try again.")
        self._strangers += 1
        try:
            opening = await wire.record(OPENINGS, OPENING_S)
            if isinstance(opening, AskAuthority):
                await wire.send(Reply(ok=True, certificate=self._authority.pem))
            elif isinstance(opening, Join):
                await wire.send(await asyncio.to_thread(self._join, opening, wire.where))
            else:
                raise Unauthorised("Only a node that has joined may ask for this.")
        finally:
            self._strangers -= 1

    def _join(self, asked: Join, where: str) -> Reply:
        name, made = self._table.join(
            asked.token, where, lambda name: self._authority.sign_node(asked.request, name)
        )
        log.warning("%s has joined from %s", name, where)
        return Reply(ok=True, name=name, certificate=made.pem)

    async def _known(self, wire: Wire, der: bytes) -> None:
        serial, name = serial_of(der)
        if self._counting.get(name) != serial:  # what counts is looked at every LOOK_S
            await asyncio.to_thread(self._table.of_serial, serial, name)
        wires = self._wires.setdefault((name, serial), set())
        if len(wires) >= MOST_WIRES:
            raise Transient(f"{name} has {MOST_WIRES:,} connections. Try again.")
        wires.add(wire)
        try:
            opening = await wire.record(OPENINGS, OPENING_S)
            if isinstance(opening, Attach):
                await self._attach(wire, name, opening)
            elif isinstance(opening, OpenRelay):
                await self._relay(wire, name, opening.who)
            elif isinstance(opening, Fetch):
                await self._fetch(wire, name, opening)
            elif isinstance(opening, StoreHome):
                await self._store(wire, name, opening)
            else:
                raise InvalidSubmission(f"{name} has joined already.")
        finally:
            wires.discard(wire)

    # --- the connection by which a node is led ----------------------------------------------------

    async def _attach(self, wire: Wire, name: str, attach: Attach) -> None:
        self._admit(name, attach)
        before, me = self._attached.pop(name, None), Attached(wire, attach)
        if before:
            before.wire.cut()
        self._refused.pop(name, None)
        await asyncio.to_thread(self._table.seen, name, wire.where)
        await wire.send(Reply(ok=True, name=name))
        self._attached[name] = me
        self.sessions.node_came(name, wire, attach.hosted, self._now(name))
        try:
            while True:
                message = await wire.record(FROM_NODE, SILENT_S)
                me.heard_at = time.monotonic()
                if isinstance(message, Alive):
                    self._answer_beat(name, me)
                elif not self.sessions.passed_on(name, message):
                    log.warning("%s speaks of what is not its own: not passed on", name)
        finally:
            if self._attached.get(name) is me:
                del self._attached[name]
                self.sessions.everywhere(self._now(name))
                await asyncio.to_thread(self._table.seen, name, wire.where)

    def _answer_beat(self, name: str, me: Attached) -> None:
        """Not more often than nodes need it: one that floods, and reads nothing, fills neither our
        memory nor a supervisor's."""
        if me.heard_at - me.answered_at >= BEAT_S / 2:
            me.answered_at = me.heard_at
            me.wire.writer.write(line_of(Alive()))
            self.sessions.everywhere(self._now(name))

    def _admit(self, name: str, attach: Attach) -> None:
        """Raises Misconfigured: its aarlab is another; Transient: another agent speaks as it."""
        if attach.code != whole_code().digest:
            words = (
                f"The aarlab of {name} is not this lab's: {one_line(attach.version, 200)} there, "
                f"{this_build()} here. Install the same version on both."
            )
            self._refused[name] = words
            raise Misconfigured(words)
        before = self._attached.get(name)
        if before is not None and time.monotonic() - before.heard_at < 2 * BEAT_S:
            raise Transient(f"Another agent speaks as {name} from {before.wire.where}. End it.")

    def _now(self, name: str) -> NodeNow:
        found = self._attached.get(name)
        if found is None:
            return NodeNow(name=name, attached=False, refused=self._refused.get(name, ""))
        return NodeNow(
            name=name,
            attached=True,
            silent_s=round(time.monotonic() - found.heard_at, 1),
            capacity=found.attach.capacity,
            hosted=self.sessions.hosted_by(name),
            address=found.wire.where,
            version=one_line(found.attach.version, 200),
        )

    # --- what a node asks for -----------------------------------------------------------------

    def _assigned(self, name: str, who: Incarnation) -> tuple[Session, Assigned]:
        """Raises Unauthorised: it is not this node's, or is over."""
        found = self.sessions.assigned(name, who)
        if found is None:
            raise Unauthorised(
                f"Incarnation {who.number} of {who.researcher} in {who.campaign} is not that of "
                f"{name}, or is over."
            )
        return found

    async def _relay(self, wire: Wire, name: str, who: Incarnation) -> None:
        _, mine = self._assigned(name, who)
        if len(mine.relays) >= MOST_RELAYS:
            raise Transient(f"{who.researcher} has {MOST_RELAYS} connections. Try again.")
        mine.relays.add(wire)
        try:
            gate = Path(mine.assign.gate) / SOCKET_NAME
            try:
                far = Wire(*await asyncio.open_unix_connection(str(gate)))
            except OSError as error:
                raise Transient("The gateway does not answer now. Try again.") from error
            await wire.send(Reply(ok=True))
            await pump(wire, far)
        finally:
            mine.relays.discard(wire)

    async def _fetch(self, wire: Wire, name: str, asked: Fetch) -> None:
        path = self.sessions.file(name, asked.campaign, asked.sha256)
        if path is None:
            raise Unauthorised(f"The data {asked.sha256[:12]} are not for {name}.")
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                await wire.send(Reply(ok=True, size=size))
                await send_file(wire, file, size)
        except FileNotFoundError as error:
            raise Transient(f"The data {asked.sha256[:12]} are gone. Try again.") from error

    async def _store(self, wire: Wire, name: str, asked: StoreHome) -> None:
        session, mine = self._assigned(name, asked.who)
        if mine.storing:
            raise Transient(f"A home of {asked.who.researcher} is on its way. Try again.")
        folder = KeptHomesFolder(session.homes)
        mine.storing = True
        try:
            if not folder.archive(asked.sha256).exists():
                await self._receive_home(wire, name, folder, asked)
        finally:
            mine.storing = False
        self._assigned(name, asked.who)  # it may have been moved meanwhile
        size = folder.archive(asked.sha256).stat().st_size
        session.push(HomeKept(who=asked.who, sha256=asked.sha256, size=size))
        await wire.send(Reply(ok=True))

    async def _receive_home(
        self, wire: Wire, name: str, folder: KeptHomesFolder, asked: StoreHome
    ) -> None:
        folder.root.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(folder.root)
        if disk.free - self._incoming - asked.size < reserve_bytes(disk.total):
            raise Transient("The lab's disk has no room for a home. Free some there.")
        partial = folder.arriving(secrets.token_hex(8))
        self._incoming += asked.size
        try:
            await wire.send(Reply(ok=True, wanted=True))
            await receive_file(wire, partial, asked.size, asked.sha256)
            self._assigned(name, asked.who)  # else nobody would ever remove it
            partial.replace(folder.archive(asked.sha256))
        finally:
            partial.unlink(missing_ok=True)
            self._incoming -= asked.size

    # --- this machine's own side ------------------------------------------------------------------

    async def local(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of this machine's own processes."""
        wire = Wire(reader, writer)
        try:
            opening = await wire.record(LOCAL_OPENINGS, OPENING_S)
            if isinstance(opening, AskStatus):
                await wire.send(self.status())
            elif isinstance(opening, LookAgain):
                await self.look()
                await wire.send(Reply(ok=True))
            elif isinstance(opening, AttachCampaign):
                now = [self._now(name) for name in self._attached]
                await self.sessions.serve(wire, opening, now)
        except AarError as error:
            await wire.refuse(error)
        finally:
            with contextlib.suppress(OSError):
                await wire.close()

    def status(self) -> HubStatus:
        """Which nodes are there."""
        names = sorted({*self._attached, *self._refused})
        return HubStatus(
            listen=self.listen,
            nodes=tuple(self._now(name) for name in names),
            campaigns=tuple(sorted(self.sessions.by_name)),
        )

    async def look(self) -> None:
        """Cut all connections of nodes that were revoked."""
        found = await asyncio.to_thread(self._table.all)
        counts = {node.name: node.serial for node in found if node.revoked_at is None}
        self._counting = counts
        for (name, serial), wires in list(self._wires.items()):
            if counts.get(name) == serial:
                continue
            if wires:
                log.warning("%s was revoked: %d connections are cut", name, len(wires))
            for wire in list(wires):
                wire.cut()
            self._wires.pop((name, serial), None)
            if counts.get(name) is None:  # else it has joined again meanwhile
                self._refused[name] = REVOKED
                self.sessions.everywhere(NodeNow(name=name, attached=False, refused=REVOKED))

    async def look_often(self) -> None:
        """`look`, about once a second, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()
