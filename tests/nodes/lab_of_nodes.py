"""A lab with a hub and nodes, each a process with a state folder of its own, as operators run them:
by the command `aar`."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from aarlab.core.cluster_layout import NodeFolder, NodesFolder
from aarlab.core.errors import Transient
from aarlab.core.layout import CampaignFolder
from aarlab.core.records import Entry
from aarlab.core.settings import Home
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet.state import MemberState, read_state
from aarlab.nodes import hub_socket, joining
from aarlab.nodes.framing import Wire
from aarlab.nodes.messages import (
    Assign,
    Begin,
    HubStatus,
    Incarnation,
    Limited,
    OpenCampaign,
    OpenRelay,
    Reply,
    line_of,
)
from aarlab.researchers.researcher import Options
from aarlab.sandbox.usage_watch import below

SMALL = (
    *("problem=generated-chat", "student=double", "start_anyway=true", "confirm=1"),
    *("confirm_on_fresh=false", "confirm_on_pair=false", "transfer=[]"),
)
AAR = (sys.executable, "-c", "from aarlab.cli.main import main; main()")


def aar(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `aar` to its end."""
    return subprocess.run(
        [*AAR, *words], env=_env(home), capture_output=True, text=True, check=False, timeout=60
    )


def _env(home: Path) -> dict[str, str]:
    return os.environ | {"AAR_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "300"}


class Running:
    """A command that goes on until it is ended."""

    def __init__(self, home: Path, log: Path, *words: str) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [*AAR, *words], env=_env(home), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def said(self) -> str:
        return self.log.read_text()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """In order."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        return self.process.wait(90)


class LabOfNodes:
    """`start` its hub; `join` nodes; `serve` them."""

    def __init__(self, folder: Path, home: Path | None = None) -> None:
        self.folder, self.home, self.port = folder, home or folder / "lab", 0
        self.running: list[Running] = []
        for made in (folder, self.home):
            made.mkdir(parents=True, exist_ok=True)
        self.hub: Running | None = None

    def __enter__(self) -> "LabOfNodes":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for one in reversed(self.running):
            one.stop()

    @property
    def nodes(self) -> NodesFolder:
        return NodesFolder(Home(self.home).nodes)

    def start(self) -> None:
        """The hub; where it was, if it was started before."""
        log = self.folder / "hub.log"
        words = ("node", "hub", "--listen", f"127.0.0.1:{self.port}")
        self.nodes.address.unlink(missing_ok=True)
        self.hub = self._run(self.home, log, *words)
        until(lambda: self.nodes.address.exists() or self.hub.process.poll() is not None)
        assert self.hub.process.poll() is None, self.hub.said()
        self.port = int(json.loads(self.nodes.address.read_text())["listen"].rpartition(":")[2])

    def _run(self, home: Path, log: Path, *words: str) -> Running:
        made = Running(home, log, *words)
        self.running.append(made)
        return made

    def of(self, name: str) -> Path:
        """The state folder of a node."""
        return self.folder / name

    def invite(self, name: str, *more: str) -> list[str]:
        """The words of the line that makes a machine a node."""
        done = aar(self.home, "node", "invite", name, *more)
        assert done.returncode == 0, done.stderr
        return shlex.split(done.stdout)[1:]

    def join(self, name: str) -> NodeFolder:
        """Make it a node."""
        done = aar(self.of(name), *self.invite(name), "--no-serve")
        assert done.returncode == 0, done.stderr
        return NodeFolder(Home(self.of(name)).node)

    def serve(self, name: str, capacity: int = 4) -> Running:
        """Start its agent, and wait until it is connected."""
        words = ("node", "serve", "--capacity", str(capacity))
        made = self._run(self.of(name), self.folder / f"{name}.log", *words)
        until(lambda: self.sees(name) or made.process.poll() is not None)
        assert made.process.poll() is None, made.said()
        return made

    def campaign(self, name: str, *fields: str) -> Running:
        """`aar demo` on a testbed of generated words, with built-in researchers."""
        given = (f"name={name}", *SMALL, *fields)
        words = [word for field in given for word in ("--set", field)]
        return self._run(self.home, self.folder / f"{name}.log", "demo", *words)

    def resume(self, name: str) -> Running:
        """`aar run --resume`."""
        return self._run(self.home, self.folder / f"{name}-again.log", "run", "--resume", name)

    def fleet(self, name: str) -> dict[str, MemberState]:
        """Its researchers as they are shown; none yet at first."""
        state = read_state(Home(self.home).campaigns / name)
        return {member.name: member for member in state.members} if state else {}

    def entries(self, name: str) -> list[Entry]:
        """Of its ledger."""
        path = CampaignFolder(Home(self.home).campaigns / name).server.ledger
        if not path.exists():
            return []
        ledger = Ledger(path, read_only=True)
        try:
            return ledger.entries()
        except Transient:  # it is being made
            return []
        finally:
            ledger.close()

    def submitted(self, name: str) -> Counter[str]:
        """How many submissions each has made."""
        return Counter(e.who for e in self.entries(name) if e.kind == "submission")

    def status(self) -> HubStatus:
        return hub_socket.status(self.nodes)

    def sees(self, name: str) -> bool:
        return any(node.name == name and node.attached for node in self.status().nodes)

    def supervisor(self, campaign: str, homes: Path) -> "Supervisor":
        return Supervisor(self, campaign, homes)


class Supervisor:
    """The connection of a fleet's supervisor to the hub, by hand."""

    def __init__(self, lab: LabOfNodes, campaign: str, homes: Path) -> None:
        self.campaign, self._sock = campaign, hub_socket.connect(lab.nodes)
        self._sock.sendall(line_of(OpenCampaign(name=campaign, homes=str(homes))))
        self.lines = self._sock.makefile("rb")
        assert Reply.model_validate_json(self.lines.readline()).ok

    def send(self, record) -> None:
        self._sock.sendall(line_of(record))

    def assign(self, node: str, researcher: str, number: int, gate: Path) -> Incarnation:
        """Without anything to start there: the node has no agent in such a test."""
        who = Incarnation(campaign=self.campaign, researcher=researcher, number=number)
        begin = Begin(
            who=who,
            researcher_kind="search",
            options=Options(),
            session="s",
            begun=False,
            ended=None,
            sandbox="bubblewrap",
            limits=Limited(memory_bytes=None, pids=None, cpus=None, disk_bytes=None),
            data="0" * 64,
            brief="0" * 64,
            home=None,
            before=0,
            lineage="0" * 32,
            grace_s=60.0,
            keep_home_s=600.0,
        )
        self.send(Assign(node=node, gate=str(gate), files={}, begin=begin))
        return who

    def close(self) -> None:
        self.lines.close()
        self._sock.close()


_open: list[Wire] = []


def run(work) -> None:
    """Run it, and cut the connections that it opened."""

    async def whole() -> None:
        try:
            await work
        finally:
            while _open:
                _open.pop().cut()
            await asyncio.sleep(0)

    asyncio.run(whole())


async def dialled(port: int, context) -> Wire:
    """A connection to what answers there."""
    _open.append(await joining.dial(hub_socket.Address("127.0.0.1", port), context))
    return _open[-1]


async def wire_of(lab: LabOfNodes, node: NodeFolder) -> Wire:
    """A connection to the hub with a node's certificate."""
    return await dialled(lab.port, joining.context_of(node))


async def relayed(lab: LabOfNodes, node: NodeFolder, who: Incarnation) -> Wire:
    """A connection of a researcher, through the hub; raises where it is refused."""
    wire = await wire_of(lab, node)
    await joining.asked(wire, OpenRelay(who=who))
    return wire


async def get(wire: Wire, path: str) -> tuple[int, dict]:
    """One request of a client inside the sandbox."""
    await wire.put(f"GET {path} HTTP/1.1\r\nhost: lab\r\n\r\n".encode())
    head = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), 10)
    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = json.loads(await wire.reader.readexactly(size))
    return int(head.split(b" ")[1]), body


def until(what, within_s: float = 30.0) -> None:
    """Wait for it."""
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


def processes_below(pid: int) -> set[int]:
    """All processes that a process has started, and theirs."""
    return {found for found in below(pid) if found != pid}


def gone(pids: set[int]) -> bool:
    """Whether none of these processes runs."""
    return not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
