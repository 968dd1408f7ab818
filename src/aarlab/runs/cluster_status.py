"""What is to be seen of this machine and its clusters: nodes, workers, jobs, what is wrong and
whose move it is. Nothing is started on a cluster but a question to each node."""

import os
import platform
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from aarlab.core.cluster_layout import SlurmFolder
from aarlab.core.errors import AarError
from aarlab.core.layout import Home
from aarlab.core.own_code import this_build
from aarlab.core.records import Record
from aarlab.core.settings import ray_address, ray_is_named
from aarlab.runs.engine_note import OLD_S, EngineNote
from aarlab.runs.slurm_commands import asked, require_slurm
from aarlab.runs.slurm_folder import DriverState, WorkerRecord, leases, record_in
from aarlab.sandbox.bubblewrap import probe

NOT_READY = ("down", "drain", "fail", "no_respond", "unknown", "maint")


class NodeSeen(Record):
    """`workers`: of aarlab, now. What a node has not said is empty."""

    engine: str
    name: str
    state: str
    cpus: float = 0.0
    memory_mib: int = 0
    gpus: str = ""
    workers: int = 0
    aarlab: tuple[str, ...] = ()  # version and the first digits of its code's digest
    python: tuple[str, ...] = ()
    nice: int = 0  # the priority of what its workers run


class QueueSeen(Record):
    """Jobs of one process in Slurm's shared folder."""

    folder: str
    host: str
    pid: int
    waiting: int
    leased: int
    done: int
    again: int
    lost: int


class Trouble(Record):
    """What is wrong, and whose move it is."""

    words: str
    whose: str


class ClusterStatus(Record):
    """`notes`: of the processes whose runs a cluster places."""

    nodes: tuple[NodeSeen, ...] = ()
    notes: tuple[EngineNote, ...] = ()
    queues: tuple[QueueSeen, ...] = ()
    troubles: tuple[Trouble, ...] = ()


def cluster_status(home: Home) -> ClusterStatus:
    """Of this machine, of Slurm where runs of this state folder were placed by it, and of Ray where
    RAY_ADDRESS says where it is."""
    nodes: list[NodeSeen] = [_here()]
    troubles: list[Trouble] = []
    notes = list(_notes(home, troubles))
    queues: list[QueueSeen] = []
    if words := probe():
        troubles.append(Trouble(words=f"this machine can run nothing: {words}", whose="operator"))
    if home.slurm.is_dir() and shutil.which("sinfo") is not None:
        try:
            nodes += _slurm(home, queues, troubles)
        except AarError as error:
            troubles.append(Trouble(words=str(error), whose="Slurm's administrator"))
    if find_spec("ray") is not None and ray_is_named():
        try:
            nodes += _ray()
        except AarError as error:
            troubles.append(Trouble(words=str(error), whose="operator"))
    ours = this_build().source[:12]
    for node in nodes:
        troubles += [*_other_code(node, ours), *_behind_others(node)]
    return ClusterStatus(
        nodes=tuple(nodes), notes=tuple(notes), queues=tuple(queues), troubles=tuple(troubles)
    )


def _other_code(node: NodeSeen, ours: str) -> Iterator[Trouble]:
    if any(ours not in version for version in node.aarlab):
        yield Trouble(
            words=f"{node.name} has another aarlab than this machine ({', '.join(node.aarlab)}; "
            f"here {ours}): it runs nothing. Install the same",
            whose="operator",
        )


def _behind_others(node: NodeSeen) -> Iterator[Trouble]:
    if node.cpus and node.nice > 0:
        yield Trouble(
            words=f"{node.name} runs at nice {node.nice}, behind all else that works there: runs "
            "may take many times as long, and come to their limit. Set RAY_worker_niceness=0 "
            "before `ray start`",
            whose="operator",
        )


def _here() -> NodeSeen:
    build = this_build()
    return NodeSeen(
        engine="local",
        name=platform.node(),
        state="here",
        cpus=float(len(os.sched_getaffinity(0))),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        gpus=", ".join(p.name for p in sorted(Path("/dev").glob("nvidia[0-9]*"))),
        aarlab=(f"{build.version} {build.source[:12]}",),
        python=(platform.python_version(),),
    )


def _notes(home: Home, troubles: list[Trouble]) -> Iterator[EngineNote]:
    for path in sorted(home.engines.glob("*.json")):
        found = record_in(path, EngineNote)
        if found is None:
            continue
        who = f"process {found.pid} on {found.host}"
        if time.time() - found.at > OLD_S:
            words = f"{who} has ended, or cannot write to {path.parent}. Run the campaign again"
            troubles.append(Trouble(words=words, whose="operator"))
        if found.words:
            troubles.append(Trouble(words=f"{who}: {found.words}", whose=found.whose))
        for node, why in found.shut_out.items():
            words = f"{who} has shut out {node}: {why}. Examine the node"
            troubles.append(Trouble(words=words, whose="operator"))
        yield found


# --- Slurm ----------------------------------------------------------------------------------------


def _slurm(home: Home, queues: list[QueueSeen], troubles: list[Trouble]) -> Iterator[NodeSeen]:
    require_slurm()
    workers: dict[str, list[WorkerRecord]] = {}
    for root in sorted(home.slurm.iterdir()) if home.slurm.is_dir() else []:
        folder = SlurmFolder(root)
        state = record_in(folder.state, DriverState)
        if state is not None:
            queues.append(_queue(folder, state))
        for path in folder.workers.glob("*.json"):
            if (one := record_in(path, WorkerRecord)) is not None:
                workers.setdefault(one.node, []).append(one)
    lines = asked("sinfo", "--noheader", "--Node", "--format=%N|%T|%c|%m|%G|%n|%E")
    for line in sorted(set(lines.splitlines())):
        # the reason is somebody's words, and may have any sign in it
        name, state_, cpus, memory, gpus, host, why = line.strip().split("|", 6)
        if any(word in state_.lower() for word in NOT_READY):
            words = f"Slurm's node {name} is {state_} ({why}). Bring it back"
            troubles.append(Trouble(words=words, whose="Slurm's administrator"))
        there = [*workers.get(name, []), *(workers.get(host, []) if host != name else [])]
        yield NodeSeen(
            engine="slurm",
            name=name,
            state=state_,
            cpus=float(cpus),
            memory_mib=int(memory.rstrip("+")),
            gpus="" if gpus == "(null)" else gpus,
            workers=len(there),
            aarlab=tuple(sorted({f"{one.aarlab} {one.code[:12]}" for one in there})),
            python=tuple(sorted({one.python for one in there})),
        )


def _queue(folder: SlurmFolder, state: DriverState) -> QueueSeen:
    waiting = Counter(path.parent.name for path in folder.waiting(".").glob("*/[0-9a-f]*"))
    return QueueSeen(
        folder=str(folder.root),
        host=state.host,
        pid=state.pid,
        waiting=waiting.total(),
        leased=len(list(leases(folder))),
        done=state.done,
        again=state.again,
        lost=state.lost,
    )


# --- Ray ------------------------------------------------------------------------------------------


def _ray() -> Iterator[NodeSeen]:
    from aarlab.runs.ray_nodes import seen

    for one in seen(ray_address()):
        yield NodeSeen(engine="ray", **one)
