"""What does it cost a researcher to be on another machine? A request of the lab's client (a new
connection each) to the gateway's socket, directly and through a node's relay, the hub and mutual
TLS, in turns.

Hypothesis: the handshake dominates, some milliseconds of processor time on this machine.

    python -m experiments.node_relay --rounds 200
"""

import argparse
import asyncio
import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aarlab.core.cluster_layout import NodeFolder, NodesFolder
from aarlab.core.layout import Home
from aarlab.fleet.gateway_process import GatewayProcess
from aarlab.gateway.config import GatewayConfig
from aarlab.nodes import hub_socket
from aarlab.nodes.joining import context_of, dial
from aarlab.nodes.messages import Assign, Begin, Incarnation, Limited, OpenCampaign, line_of
from aarlab.nodes.relay import Relay
from aarlab.researchers.lab_client import Lab
from aarlab.researchers.researcher import SOCKET_NAME, Options
from aarlab.sandbox.processes import tree

WHO = Incarnation(campaign="c", researcher="researcher-1", number=1)
ZEROS = "0" * 64


def aar(home: Path, *words: str) -> list[str]:
    """A command, as it is started."""
    return ["env", f"AAR_HOME={home}", sys.executable, "-c", START, *words]


START = "from aarlab.cli.main import main; main()"


@contextlib.contextmanager
def hub(root: Path) -> Iterator[tuple[NodesFolder, NodeFolder, int, int]]:
    """A hub, a node that has joined, the hub's port and its process."""
    nodes, node = NodesFolder(Home(root / "lab").nodes), NodeFolder(Home(root / "node").node)
    process = subprocess.Popen(aar(root / "lab", "node", "hub", "--listen", "127.0.0.1:0"))
    try:
        while not nodes.address.exists():
            time.sleep(0.1)
        line = subprocess.check_output(aar(root / "lab", "node", "invite", "n"), text=True)
        words = [*shlex.split(line)[1:], "--no-serve"]
        subprocess.check_call(aar(root / "node", *words))
        yield nodes, node, int(words[2].rpartition(":")[2]), process.pid
    finally:
        process.terminate()
        process.wait()


def assigned(gate: Path) -> Assign:
    """The researcher is the node's."""
    begin = Begin(
        who=WHO,
        researcher_kind="search",
        options=Options(),
        session="s",
        begun=False,
        ended=None,
        sandbox="bubblewrap",
        limits=Limited(memory_bytes=None, pids=None, cpus=None, disk_bytes=None),
        data=ZEROS,
        brief=ZEROS,
        home=None,
        before=0,
        lineage="0" * 32,
        grace_s=60.0,
        keep_home_s=600.0,
    )
    return Assign(node="n", gate=str(gate), files={}, begin=begin)


@contextlib.contextmanager
def relayed(root: Path, node: NodeFolder, port: int) -> Iterator[Path]:
    """The socket that a sandbox on the node has, served by another thread."""
    loop, context = asyncio.new_event_loop(), context_of(node)
    hub_at = hub_socket.Address("127.0.0.1", port)
    relay = Relay(WHO, root, lambda: dial(hub_at, context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(relay.open(), loop).result()
    try:
        yield relay.folder / SOCKET_NAME
    finally:
        loop.call_soon_threadsafe(relay.close)
        time.sleep(0.5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def seconds(lab: Lab) -> float:
    """Of one request."""
    began = time.perf_counter()
    lab.usage()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    with (
        tempfile.TemporaryDirectory(prefix="relay-") as made,
        hub(Path(made)) as (nodes, node, port, pid),
    ):
        root = Path(made)
        (root / "sockets").mkdir()
        gateway = GatewayProcess(
            root / "campaign", GatewayConfig(), sockets=root / "sockets", keys={}
        )
        with gateway, hub_socket.connect(nodes) as supervisor, relayed(root, node, port) as socket:
            gate = gateway.admit(WHO.researcher, WHO.number, "token")
            for record in (OpenCampaign(name="c", homes=str(root)), assigned(gate)):
                supervisor.sendall(line_of(record))
            time.sleep(0.5)
            before_s = tree(pid).cpu_s
            labs = Lab(gate / SOCKET_NAME), Lab(socket)
            times_R2 = np.array([[seconds(lab) for lab in labs] for _ in range(rounds)])
            hub_s = tree(pid).cpu_s - before_s
    for name, times_R in zip(("here", "on a node"), times_R2.T, strict=True):
        p50, p95 = np.quantile(times_R, (0.5, 0.95)) * 1e3
        print(f"{name}: p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    print(f"the hub's processor time: {1e3 * hub_s / rounds:.1f} ms a request")
    draws = np.random.default_rng(0).choice(times_R2[:, 1] - times_R2[:, 0], (2000, rounds))
    low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975)) * 1e3
    added, load = np.median(times_R2[:, 1] - times_R2[:, 0]) * 1e3, os.getloadavg()[0]
    print(f"added, median of pairs: {added:.1f} ms [{low:.1f}, {high:.1f}]; load {load:.1f}")


if __name__ == "__main__":
    main()
