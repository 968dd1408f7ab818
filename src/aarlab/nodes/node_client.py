"""A fleet's side of the hub: which nodes are there, and the incarnations that run on them.

A thread reads what the hub says, and connects again when the hub was started again. The fleet's own
thread looks at what has come.
"""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aarlab.core.cluster_layout import NodesFolder
from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.records import Record
from aarlab.nodes.framing import SILENT_S
from aarlab.nodes.hub_socket import connect
from aarlab.nodes.kept_homes import KeptHomes
from aarlab.nodes.messages import (
    MOST_LINE,
    TO_SUPERVISOR,
    Ack,
    Assign,
    AttachCampaign,
    HomeKept,
    Incarnation,
    IncarnationBegun,
    IncarnationEnded,
    NodeNow,
    Output,
    Release,
    Reply,
    Stop,
    UsageReport,
    line_of,
    read,
)
from aarlab.sandbox.output import CappedLog
from aarlab.sandbox.sandbox import Usage

AGAIN_S = 0.5  # between two tries to reach the hub
MOST_GAPS = 200  # of one node that are remembered
KILLED = -9
SENT_S = 10  # for the hub to take an order


@dataclass
class NodeView:
    """A node as it was last heard of; times are of the monotonic clock."""

    attached: bool = False
    heard_at: float = 0.0
    capacity: int = 1
    hosted: int = 0
    refused: str = ""
    gaps: list[tuple[float, float]] = field(default_factory=list)  # when it was not heard

    def take_in(self, now: NodeNow) -> None:
        """What the hub says of it."""
        self.attached, self.refused = now.attached, now.refused
        if now.attached:
            at = time.monotonic() - (now.silent_s or 0.0)
            if self.heard_at and at - self.heard_at > SILENT_S:
                self.gaps = [*self.gaps[1 - MOST_GAPS :], (self.heard_at, at)]
            self.heard_at = max(at, self.heard_at)
            self.capacity, self.hosted = now.capacity, now.hosted

    def away_s(self, since: float, now: float) -> float:
        """Seconds between two times in which it was not heard."""
        gaps = list(self.gaps)
        if now - self.heard_at > SILENT_S or not self.attached:
            gaps.append((self.heard_at, now))
        return sum(max(0.0, min(end, now) - max(begin, since)) for begin, end in gaps)


class RemoteInput:
    """Stands for a program's standard input: its end asks the program to stop."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self.closed, self._ask = False, ask

    def close(self) -> None:
        """Ask, once."""
        if not self.closed:
            self.closed = True
            self._ask()


class RemoteIncarnation:
    """An incarnation on a node, with what a fleet asks of a local process and of its sandbox."""

    def __init__(self, client: "NodeClient", assign: Assign, log: Path, node: NodeView) -> None:
        self.who, self.host, self._client, self._node = assign.begin.who, assign.node, client, node
        self.stdin = RemoteInput(lambda: client.send(Stop(who=self.who, at_once=False)))
        self.returncode: int | None = None
        self.fault = ""  # why it ended, where that is not its own doing
        self.not_kept = ""  # why its home was not kept at its end
        self.received = 0
        self.unwritten = ""  # why its output cannot be written here now: its node keeps it
        self._log, self._piece, self._writing = CappedLog(log), b"", threading.Lock()
        self._taken = 0  # bytes of the piece that were written
        self._used = Usage(0.0, 0, 0, 0)
        self._over: IncarnationEnded | None = None

    def poll(self) -> int | None:
        """Its exit status, once it is over."""
        if self.returncode is None and self._over is not None:
            self.fault, self.not_kept = self._over.fault, self._over.not_kept
            self.returncode = self._over.code
        return self.returncode

    def usage(self) -> Usage:
        """As its node last said."""
        return self._used

    def lose(self, why: str) -> None:
        """Its node is not waited for any longer."""
        if self.poll() is None:
            self.fault, self.returncode = why, 255

    def close(self) -> None:
        """It is over: nobody may speak for it, and its node ends all that still runs of it."""
        if self.poll() is None:
            self.returncode = KILLED
        self.write()
        self._client.release(self)
        self._log.close()

    @property
    def heard_at(self) -> float:
        """When its node was last heard, by the monotonic clock."""
        return self._node.heard_at

    @property
    def away(self) -> bool:
        """Whether its node is not heard now, or what it says cannot be written."""
        silent_s = time.monotonic() - self._node.heard_at
        return not self._node.attached or silent_s > SILENT_S or bool(self.unwritten)

    def away_s(self, since: float, now: float) -> float:
        """Seconds between two times in which its node was not heard."""
        return self._node.away_s(since, now)

    def take_in(self, message: Output | UsageReport | IncarnationBegun | IncarnationEnded) -> None:
        """What its node says; in the client's thread."""
        if isinstance(message, Output):
            if message.at == self.received and self._over is None and not self._piece:
                self._piece = message.data
            if not self.write():
                self._client.send(Ack(who=self.who, at=self.received))
        elif isinstance(message, UsageReport):
            before = self._used  # processor time that was counted does not go back
            self._used = Usage(
                max(before.cpu_s, message.cpu_s),
                message.memory_bytes,
                message.disk_bytes,
                message.processes,
                message.unwritten,
            )
        elif isinstance(message, IncarnationEnded):
            self._over = message

    def write(self) -> bool:
        """Write the piece of output that came, and let the node send the next one; whether there
        was one. On a full disk the piece is kept, and tried again at the next call."""
        with self._writing:
            if not (piece := self._piece):
                return False
            before = self._log.taken
            try:
                self._log.write(piece[self._taken :])
            except OSError as error:
                self.unwritten = error.strerror or str(error)
                self._taken += self._log.taken - before
                return True
            except ValueError:  # closed just now
                pass
            self.received += len(piece)
            self._piece, self._taken, self.unwritten = b"", 0, ""
        self._client.send(Ack(who=self.who, at=self.received))
        return True


class NodeClient:
    """See the module's docstring. `homes` notes what begins, and what is kept."""

    def __init__(self, folder: NodesFolder, campaign: str, homes: KeptHomes) -> None:
        self._folder, self._homes = folder, homes
        self._opening = AttachCampaign(name=campaign, homes=str(homes.folder.root))
        self._nodes: dict[str, NodeView] = {}
        self._running: dict[str, tuple[Assign, RemoteIncarnation]] = {}  # by the researcher's name
        self._lock = threading.RLock()
        self._sock: socket.socket | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Connect, and go on in a thread.

        Raises:
            Misconfigured: no hub runs.
        """
        lines = self._connect()
        self._thread = threading.Thread(
            target=self._follow, args=(lines,), daemon=True, name="nodes"
        )
        self._thread.start()

    def close(self) -> None:
        """The fleet has ended: the hub ends what still runs on nodes."""
        self._ended.set()
        self._hang_up()
        if self._thread is not None:
            self._thread.join(5.0)

    @property
    def connected(self) -> bool:
        """Whether the hub is there."""
        return self._sock is not None

    def node(self, name: str) -> NodeView:
        """A node as it is now."""
        with self._lock:
            return self._nodes.setdefault(name, NodeView())

    def running(self) -> list[RemoteIncarnation]:
        """All that were begun and not released."""
        with self._lock:
            return [remote for _, remote in self._running.values()]

    def begin(self, assign: Assign, log: Path) -> RemoteIncarnation:
        """Let a node start an incarnation; `log`: where its output goes."""
        with self._lock:
            remote = RemoteIncarnation(self, assign, log, self.node(assign.node))
            self._running[assign.begin.who.researcher] = assign, remote
            self.send(assign)
        return remote

    def release(self, remote: RemoteIncarnation) -> None:
        """It is over."""
        with self._lock:
            found = self._running.get(remote.who.researcher)
            if found is not None and found[1] is remote:
                del self._running[remote.who.researcher]
            self.send(Release(who=remote.who))

    def send(self, record: Record) -> None:
        """To the hub, if it is there; what matters is said again when it is back."""
        with self._lock:
            if self._sock is None:
                return
            try:
                self._sock.sendall(line_of(record))
            except OSError:
                self._hang_up()

    # --- the thread -------------------------------------------------------------------------------

    def _follow(self, lines: socket.SocketIO | None = None) -> None:
        while not self._ended.is_set():
            try:
                lines = lines or self._connect()
                while line := lines.readline(MOST_LINE + 1):
                    self._take_in(line)
            except (AarError, OSError, ValueError):
                pass
            lines = None
            self._hang_up()
            self._ended.wait(AGAIN_S)

    def _connect(self) -> socket.SocketIO:
        """Say who we are, and what is assigned; the lines that come."""
        made = connect(self._folder)
        made.sendall(line_of(self._opening))
        lines = made.makefile("rb")
        if not Reply.model_validate(json.loads(lines.readline(MOST_LINE))).ok:
            raise Misconfigured("The hub refuses this campaign. Start it again: aar node hub.")
        made.settimeout(None)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SENT_S, 0))
        with self._lock:
            self._sock = made
            for assign, remote in self._running.values():
                again = assign.begin.model_copy(update={"output_from": remote.received})
                self.send(assign.model_copy(update={"begin": again}))
        return lines  # type: ignore[return-value]

    def _hang_up(self) -> None:
        with self._lock:
            sock, self._sock = self._sock, None
            for view in self._nodes.values():
                view.attached = False
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _take_in(self, line: bytes) -> None:
        message = read(TO_SUPERVISOR, line)
        if isinstance(message, NodeNow):
            with self._lock:
                self.node(message.name).take_in(message)
        elif isinstance(message, HomeKept):
            with contextlib.suppress(OSError):  # a full disk: `KeptHomes.write_again`
                self._homes.kept(message)
        elif found := self._of(message.who):
            if isinstance(message, IncarnationBegun):
                with contextlib.suppress(OSError):
                    self._homes.begun(found.who.researcher, found.host, found.who.number)
            found.take_in(message)

    def _of(self, who: Incarnation) -> RemoteIncarnation | None:
        with self._lock:
            found = self._running.get(who.researcher)
        return found[1] if found is not None and found[1].who == who else None
