"""A lab with a hub and nodes, and what its campaigns record."""

import asyncio
import json
from collections import Counter
from contextlib import closing
from pathlib import Path

from aarlab.core.cluster_layout import NodeFolder
from aarlab.core.errors import Transient
from aarlab.core.layout import CampaignFolder
from aarlab.core.records import Entry
from aarlab.core.settings import Home
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.places import has_ledger
from aarlab.fleet.state import MemberState, read_state
from aarlab.nodes import hub_socket, joining
from aarlab.nodes.framing import Wire
from aarlab.nodes.messages import Incarnation, OpenRelay
from aarlab.sandbox.usage_watch import below
from experiments.nodes_lab import NodesLab, Running

SMALL = (
    *("problem=generated-chat", "student=double", "start_anyway=true", "confirm=1"),
    *("confirm_on_fresh=false", "confirm_on_pair=false", "transfer=[]"),
)


class LabOfNodes(NodesLab):
    """See `NodesLab`; and the campaigns that it runs."""

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        assert "Traceback" not in self.hub.said()

    def campaign(self, name: str, *fields: str) -> Running:
        """`aar demo` on a testbed of generated words, with built-in researchers."""
        given = (f"name={name}", *SMALL, *fields)
        words = [word for field in given for word in ("--set", field)]
        return self.run(self.home, self.folder / f"{name}.log", "demo", *words)

    def resume(self, name: str) -> Running:
        """`aar run --resume`."""
        return self.run(self.home, self.folder / f"{name}-again.log", "run", "--resume", name)

    def folder_of(self, name: str) -> CampaignFolder:
        """A campaign's."""
        return CampaignFolder(Home(self.home).campaigns / name)

    def fleet(self, name: str) -> dict[str, MemberState]:
        """Its researchers as they are shown; none yet at first."""
        state = read_state(self.folder_of(name).root)
        return {member.name: member for member in state.members} if state else {}

    def entries(self, name: str) -> list[Entry]:
        """Of its ledger."""
        path = self.folder_of(name).server.ledger
        if not has_ledger(path):
            return []
        try:
            with closing(Ledger(path, read_only=True)) as ledger:
                return ledger.entries()
        except Transient:  # it is being made, or its database is away
            return []

    def submitted(self, name: str) -> Counter[str]:
        """How many submissions each has made."""
        return Counter(e.who for e in self.entries(name) if e.kind == "submission")


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
    _open.append(await joining.dial(hub_socket.HubAddress("127.0.0.1", port), context))
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


Process = tuple[int, str]  # its number, and when it was started: numbers are used again


def processes_below(pid: int) -> set[Process]:
    """All processes that a process has started, and theirs."""
    found = ((one, _stat(one)) for one in below(pid) if one != pid)
    return {(one, stat[STARTED]) for one, stat in found if stat}


def gone(processes: set[Process]) -> bool:
    """Whether none of these processes runs."""
    stats = ((_stat(pid), began) for pid, began in processes)
    return not any(stat and stat[STARTED] == began and stat[0] != "Z" for stat, began in stats)


STARTED = 19  # among the fields of /proc/PID/stat, of which the state is the first here


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; none where there is no such process."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
