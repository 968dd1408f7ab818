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
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aarlab.core.cluster_layout import NodeFolder
from aarlab.fleet.gateway_process import GatewayProcess
from aarlab.gateway.config import GatewayConfig
from aarlab.nodes import hub_socket
from aarlab.nodes.joining import context_of, dial
from aarlab.nodes.messages import Incarnation
from aarlab.nodes.relay import Relay
from aarlab.researchers.lab_client import Lab
from aarlab.researchers.researcher import SOCKET_NAME
from aarlab.sandbox.processes import tree
from experiments.nodes_lab import NodesLab

WHO = Incarnation(campaign="c", researcher="researcher-1", number=1)


@contextlib.contextmanager
def relayed(root: Path, node: NodeFolder, port: int) -> Iterator[Path]:
    """The socket that a sandbox on the node has, served by another thread."""
    loop, context = asyncio.new_event_loop(), context_of(node)
    hub_at = hub_socket.HubAddress("127.0.0.1", port)
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
        NodesLab(Path(made)) as lab,
    ):
        root, node = Path(made), lab.join("n")
        (root / "sockets").mkdir()
        gateway = GatewayProcess(
            root / "campaign", GatewayConfig(), sockets=root / "sockets", keys={}
        )
        with (
            gateway,
            contextlib.closing(lab.supervisor(WHO.campaign, root)) as supervisor,
            relayed(root, node, lab.port) as socket,
        ):
            gate = gateway.admit(WHO.researcher, WHO.number, "token")
            supervisor.assign("n", WHO.researcher, WHO.number, gate)
            time.sleep(0.5)
            hub = lab.hub.process.pid
            before_s = tree(hub).cpu_s
            labs = Lab(gate / SOCKET_NAME), Lab(socket)
            times_R2 = np.array([[seconds(lab) for lab in labs] for _ in range(rounds)])
            hub_s = tree(hub).cpu_s - before_s
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
