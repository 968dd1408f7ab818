"""`python -m aarlab.runs.ray_broker`: our one process that is a driver of a Ray cluster. It takes
jobs on stdin and gives their ends on stdout, and ends when stdin does.

Ray ends its driver when the cluster's head is gone for a minute. So the driver is a process of its
own: who submitted starts it again, and has the jobs run again.
"""

import argparse
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import ray
from pydantic import ValidationError
from ray.exceptions import RayActorError, RayError, TaskCancelledError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aarlab.core.errors import AarError, Misconfigured, Transient
from aarlab.core.settings import environment, without_ray_token
from aarlab.runs import ray_worker
from aarlab.runs.frames import Frame, Pipe
from aarlab.runs.node_keys import is_by
from aarlab.runs.ray_device import RayDevices
from aarlab.runs.ray_worker import NodeRecord, RayEndHead

PROBE = """
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10)
except AuthenticationError:
    sys.exit(7)
sys.exit(0)
"""
REFUSES, OPEN = 7, 0
CONNECT_S, PROBE_S, ASK_S = 5.0, 60.0, 60.0
BEAT_S = 2.0  # between two looks at what jobs use of devices
# a job that no worker has begun by then is submitted again: it waits for a processor, or its worker
# is frozen
BEGIN_S, LOOK_S = 60.0, 5.0
REMEDY = (
    "Anyone who reaches its port runs code on it. Start it with RAY_AUTH_MODE=token and a token "
    "(ray get-auth-token --generate), the same on every node."
)


def require_token(address: str) -> None:
    """Raise unless the cluster refuses who comes without a token.

    Raises:
        Misconfigured: it does not, refuses our token, or cannot be asked.
    """
    down = f"The Ray cluster at {address} does not answer. Start it, or correct RAY_ADDRESS."
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
        with ThreadPoolExecutor(2) as pool:
            ours, others = pool.map(_asked, [address] * 2, [environment(), without_ray_token()])
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Misconfigured(down) from error
    if others == OPEN:
        raise Misconfigured(f"The Ray cluster at {address} asks for no token. {REMEDY}")
    if ours == REFUSES:
        raise Misconfigured(
            f"The Ray cluster at {address} refuses the token. Give the cluster's in RAY_AUTH_TOKEN "
            "or in the file of RAY_AUTH_TOKEN_PATH."
        )
    if (ours, others) != (OPEN, REFUSES):
        raise Misconfigured(down)


def _asked(address: str, env: Mapping[str, str]) -> int:
    """How a process that asks the cluster for its nodes ended."""
    argv = [sys.executable, "-c", PROBE, address]
    return subprocess.run(
        argv, env=env, capture_output=True, timeout=PROBE_S, check=False
    ).returncode


def join(address: str) -> int:
    """Join the cluster as a driver; returns how many nodes it has.

    Raises:
        Misconfigured: it asks for no token, refuses it, or this machine is no node of it.
    """
    try:
        require_token(address)
        ray.init(
            address=address,
            namespace="aarlab",
            log_to_driver=False,
            configure_logging=False,
            runtime_env=None,
        )
        return len(alive())
    except (RayError, RuntimeError, ConnectionError, ValueError, OSError) as error:
        words = " ".join(str(error).split())[:300]
        raise Misconfigured(
            f"The Ray cluster at {address} cannot be joined ({words}). This machine must be a node "
            "of it (ray start --address=... --num-cpus=0) and have its token."
        ) from error


@dataclass(frozen=True, eq=False)
class _Running:
    """A job that Ray has. `ends`: that it begins, and its end; of a device, its end alone, and None
    while there is no device. `again`: how often a device ended over it."""

    frame: Frame
    body: bytes
    ends: Any
    since: float = field(default_factory=time.monotonic)
    again: int = 0


class Broker:
    """Serves one pipe until it ends."""

    def __init__(self, pipe: Pipe, sandbox: str) -> None:
        self._pipe, self._sandbox = pipe, sandbox
        self._packs: dict[str, Any] = {}
        self._running: dict[str, _Running] = {}
        self._mutex = threading.RLock()  # what is cancelled is not submitted again
        self._nodes: dict[str, NodeRecord] = {}  # by name, as each said when it was asked by it
        self._shut: set[str] = set()
        self._devices = RayDevices()
        self._asking = ThreadPoolExecutor(1)
        self._asking.submit(self._learn)  # while the first job runs
        threading.Thread(target=self._look, daemon=True).start()

    def _learn(self) -> None:
        self._nodes |= identified([node["NodeID"] for node in alive()])

    def serve(self) -> None:
        """Take frames until the other end is gone."""
        threading.Thread(target=self._count, daemon=True).start()
        while True:
            try:
                frame, body = self._pipe.receive()
            except EOFError:
                return
            match frame.what:
                case "pack":
                    self._packs.setdefault(frame.key, ray.put(body))
                case "submit":
                    self._submit(frame, body)
                case "cancel":
                    with self._mutex:
                        if (one := self._running.pop(frame.key, None)) is not None:
                            self._cancel(one)
                case "allow":
                    self._devices.allow(frame.key, frame.attempt, frame.seconds)
                case "shut":
                    self._shut.add(frame.node)

    def _count(self) -> None:
        """Say what jobs use of devices, until the other end is gone."""
        while True:
            time.sleep(BEAT_S)
            try:
                for key, count in self._devices.counts():
                    self._pipe.send(Frame(what="counted", key=key, count=count))
            except RayError:
                continue  # a cluster that is lost ends this process
            except OSError:
                return

    def _cancel(self, one: _Running) -> None:
        if one.frame.gpus is None:
            ray.cancel(one.ends, force=True)
            return
        self._devices.cancel(one.frame.key)
        if one.ends is not None:
            ray.cancel(one.ends)  # one that waits; its device goes on for others

    def _submit(self, frame: Frame, body: bytes, again: int = 0) -> None:
        packs = {path: (name, self._packs[name]) for path, name in frame.packs.items()}
        if frame.gpus is not None:
            self._to_a_device(frame, body, frame.gpus, packs, again)
            return
        without = self._shut | ({frame.node} if frame.node and not frame.only else set())
        if frame.node:
            able = {n["NodeID"] for n in alive() if _can_run(n)} - without
            if not (able & {frame.node} if frame.only else able):
                words = f"There is no {'such' if frame.only else 'other'} node."
                self._pipe.send(Frame(what="refused", key=frame.key, words=words))
                return
        labels = {"ray.io/node-id": f"!in({','.join(sorted(without))})"} if without else None
        labels = {"ray.io/node-id": frame.node} if frame.only else labels
        placed = ray_worker.task.options(num_cpus=frame.cpus, name="aar run", label_selector=labels)
        ends = placed.remote(frame.key, body, self._sandbox, frame.alone, packs)
        one = self._running[frame.key] = _Running(frame, body, ends)
        ends.completed().future().add_done_callback(
            lambda done: self._asking.submit(self._completed, one, done)
        )

    def _to_a_device(
        self, frame: Frame, body: bytes, gpus: int, packs: dict[str, Any], again: int
    ) -> None:
        asked = (frame.key, body, self._sandbox, frame.alone, packs)
        try:
            end = self._devices.submit(frame.key, gpus, alive(), asked, self._shut)
        except Misconfigured as error:
            self._pipe.send(Frame(what="refused", key=frame.key, words=str(error)))
            return
        except Transient:  # it waits until a node has one
            self._running[frame.key] = _Running(frame, body, None, again=again)
            return
        one = self._running[frame.key] = _Running(frame, body, end, again=again)
        end.future().add_done_callback(lambda done: self._asking.submit(self._ended, one, done))

    def _look(self) -> None:
        """Submit again what no worker has begun: Ray ends a frozen worker whose job is cancelled,
        and takes no other notice of it."""
        while True:
            time.sleep(LOOK_S)
            self._devices.give_up_late(alive(), self._shut)
            for key, one in list(self._running.items()):
                if one.ends is None:
                    with self._mutex:
                        if self._running.get(key) is one:
                            self._submit(one.frame, one.body, one.again)
                    continue
                late = one.frame.gpus is None and time.monotonic() - one.since > BEGIN_S
                if late and not ray.wait([one.ends], timeout=0)[0]:
                    with self._mutex:
                        if self._running.get(key) is one:
                            self._submit(one.frame, one.body)
                    ray.cancel(one.ends, force=True)

    def _completed(self, one: _Running, done: "Future[Any]") -> None:
        """Ray has the last of what a job gave, or knows why there is none."""
        refs = [] if done.exception() else list(one.ends)
        if not refs:
            self._ended(one, done)
            return
        refs[-1].future().add_done_callback(
            lambda future: self._asking.submit(self._ended, one, future)
        )

    def _ended(self, one: _Running, future: "Future[Any]") -> None:
        key, error = one.frame.key, future.exception()
        lost = isinstance(error, RayActorError)  # its device
        with self._mutex:
            if self._running.get(key) is not one:
                return  # it was cancelled, or submitted again
            if lost and one.again < ray_worker.AGAIN:
                self._devices.ended(key, drop=True)
                self._submit(one.frame, one.body, one.again + 1)
                return
        try:
            if isinstance(error, TaskCancelledError):
                self._settled(one)
                return
            if error is not None:
                words = " ".join(str(error).split())
                words = words[-300:] if lost else words[:300]  # of a device, the end says why
                self._settled(one, Frame(what="lost", key=key, words=words), drop=lost)
                return
            node, end = self._signed(key, future.result())
            if node not in self._shut:
                self._settled(one, Frame(what="done", key=key, node=node), end)
                return
            with self._mutex:
                if self._running.get(key) is one:
                    self._devices.ended(key, drop=True)
                    self._submit(one.frame, one.body, one.again)
        except Transient as error:
            self._settled(one, Frame(what="lost", key=key, words=str(error)))
        except OSError:
            return  # who submitted is gone, and stdin ends, too

    def _settled(
        self, one: _Running, frame: Frame | None = None, body: bytes = b"", *, drop: bool = False
    ) -> None:
        """A job has ended. Raises OSError."""
        with self._mutex:
            if self._running.get(one.frame.key) is not one:
                return
            del self._running[one.frame.key]
        self._devices.ended(one.frame.key, drop=drop)
        if frame is not None:
            self._pipe.send(frame, body)

    def _signed(self, key: str, end: object) -> tuple[str, bytes]:
        """The node that made an end, and the rest of it.

        Raises:
            Transient: it is none, or no node of the cluster signed it.
        """
        if not isinstance(end, bytes):
            raise Transient("its end is no bytes")
        first, _, rest = end.partition(b"\n")
        try:
            head = RayEndHead.model_validate_json(first)
        except ValidationError as error:
            raise Transient("its end has no signature") from error
        if head.node not in self._nodes:
            self._nodes |= identified([head.node])
        found = self._nodes.get(head.node)
        if found is None or not is_by(found.public, key, rest, head.signature):
            raise Transient(f"its end is not signed by the node {head.node[:12]}, as it says")
        return head.node, rest


def alive() -> list[dict[str, Any]]:
    """The nodes of the cluster, as Ray has them."""
    return [node for node in ray.nodes() if node["Alive"]]


def _can_run(node: Mapping[str, Any]) -> bool:
    return node["Resources"].get("CPU", 0) > 0


def identified(nodes: Sequence[str]) -> dict[str, NodeRecord]:
    """What nodes say of themselves, each asked by its name in Ray; those that say nothing within
    ASK_S are left out."""
    refs = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        refs[ray_worker.identity.options(scheduling_strategy=there).remote()] = node
    done, silent = ray.wait(list(refs), num_returns=len(refs), timeout=ASK_S)
    for ref in silent:  # a frozen worker ends so
        ray.cancel(ref, force=True)
    found = {}
    for ref in done:
        try:
            record = NodeRecord.model_validate_json(ray.get(ref))
        except (RayError, ValidationError):
            continue
        if record.node == refs[ref]:
            found[record.node] = record
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="of the cluster's head, HOST:PORT")
    parser.add_argument("--sandbox", required=True, help="the kind of sandbox of every job")
    a = parser.parse_args()
    # what libraries print goes where errors go
    frames = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    pipe = Pipe(sys.stdin.buffer, frames)
    try:
        nodes = join(a.address)
    except AarError as error:
        pipe.send(Frame(what="refused", words=str(error)))
        sys.exit(1)
    pipe.send(Frame(what="ready", nodes=nodes))
    Broker(pipe, a.sandbox).serve()
    ray.shutdown()


if __name__ == "__main__":
    main()
