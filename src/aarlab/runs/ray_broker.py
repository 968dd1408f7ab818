"""`python -m aarlab.runs.ray_broker`: our one process that is a driver of a Ray cluster. It takes
jobs on stdin and gives their ends on stdout, and ends when stdin does.

Ray ends its driver when the cluster's head is gone for a minute. So the driver is a process of its
own: who submitted starts it again, and has the jobs run again.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import ray
from pydantic import ValidationError
from ray.exceptions import RayActorError, RayError
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


class Broker:
    """Serves one pipe until it ends, in one thread; another one reads. Each job is a task, which
    waits for what Ray has of it."""

    def __init__(self, pipe: Pipe, sandbox: str) -> None:
        self._pipe, self._sandbox = pipe, sandbox
        self._packs: dict[str, Any] = {}
        self._jobs: dict[str, asyncio.Task[tuple[str, bytes]]] = {}
        self._nodes: dict[str, asyncio.Task[NodeRecord | None]] = {}  # asked by name in Ray
        self._shut: set[str] = set()
        self._devices = RayDevices()

    async def serve(self) -> None:
        """Take frames until the other end is gone."""
        frames: asyncio.Queue[tuple[Frame, bytes] | None] = asyncio.Queue()
        reads = (frames, asyncio.get_running_loop())
        threading.Thread(target=self._read, args=reads, daemon=True).start()
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(one) for one in (self._count(), self._look())]
            for node in await asyncio.to_thread(alive):  # while the first job runs
                self._ask(node["NodeID"])
            while (came := await frames.get()) is not None:
                self._take(*came)
            for one in beside:
                one.cancel()

    def _read(self, frames: asyncio.Queue, loop: asyncio.AbstractEventLoop) -> None:
        """Also while this end waits to send: the other one may wait for us meanwhile."""
        came = True
        while came:
            try:
                came = self._pipe.receive()
            except EOFError:
                came = None
            loop.call_soon_threadsafe(frames.put_nowait, came)

    def _take(self, frame: Frame, body: bytes) -> None:
        key = frame.key
        match frame.what:
            case "pack":
                self._packs.setdefault(key, ray.put(body))
            case "submit":
                one = self._jobs[key] = asyncio.create_task(self._run(frame, body))
                one.add_done_callback(lambda done: self._ended(key, done))
            case "cancel":
                if (one := self._jobs.pop(key, None)) is not None:
                    one.cancel()
            case "allow":
                self._devices.allow(key, frame.attempt, frame.seconds)
            case "shut":
                self._shut.add(frame.node)

    async def _count(self) -> None:
        """Say what jobs use of devices."""
        while True:
            await asyncio.sleep(BEAT_S)
            with suppress(OSError, RayError):  # either of them ends this process, too
                for key, count in await self._devices.counts():
                    self._pipe.send(Frame(what="counted", key=key, count=count))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self._devices.give_up_late(await asyncio.to_thread(alive), self._shut)

    # --- a job ------------------------------------------------------------------------------------

    async def _run(self, frame: Frame, body: bytes) -> tuple[str, bytes]:
        """The node that made a job's end, and the end.

        Raises:
            Misconfigured: no node can run it.
            Transient: its end is not to be believed.
            RayError: the job was lost.
        """
        packs = {path: (name, self._packs[name]) for path, name in frame.packs.items()}
        asked = (frame.key, body, self._sandbox, frame.alone, packs)
        while True:
            end = await (self._as_task if frame.gpus is None else self._on_device)(frame, asked)
            node, rest = await self._signed(frame.key, end)
            if node not in self._shut:
                return node, rest
            self._devices.ended(frame.key, drop=True)

    async def _as_task(self, frame: Frame, asked: tuple) -> Any:
        """The end of a job without a device. One that no worker begins is submitted again: Ray
        ends a frozen worker whose job is cancelled, and takes no other notice of it."""
        while True:
            labels = await self._labels(frame)
            options = {"num_cpus": frame.cpus, "name": "aar run", "label_selector": labels}
            given: Any = ray_worker.task.options(**options).remote(*asked)
            begins = asyncio.ensure_future(anext(given))
            try:
                if (await asyncio.wait([begins], timeout=BEGIN_S))[0]:
                    end = await begins.result()
                    async for ref in given:
                        end = await ref
                    return end
            except asyncio.CancelledError:
                ray.cancel(given, force=True)
                raise
            ray.cancel(given, force=True)

    async def _labels(self, frame: Frame) -> dict[str, str] | None:
        """On which nodes Ray may place a job."""
        without = self._shut | ({frame.node} if frame.node and not frame.only else set())
        if frame.node:
            nodes = await asyncio.to_thread(alive)
            able = {n["NodeID"] for n in nodes if n["Resources"].get("CPU", 0) > 0} - without
            if not (able & {frame.node} if frame.only else able):
                raise Misconfigured(f"There is no {'such' if frame.only else 'other'} node.")
        if frame.only:
            return {"ray.io/node-id": frame.node}
        return {"ray.io/node-id": f"!in({','.join(sorted(without))})"} if without else None

    async def _on_device(self, frame: Frame, asked: tuple) -> Any:
        """The end of a job beside a device. It waits while no node has one, and goes to another
        one if its own ends."""
        gpus, lost = frame.gpus or 0, 0
        while True:
            nodes = await asyncio.to_thread(alive)
            try:
                end = self._devices.submit(frame.key, gpus, nodes, asked, self._shut)
            except Transient:
                await asyncio.sleep(LOOK_S)
                continue
            try:
                return await end
            except RayActorError:
                self._devices.ended(frame.key, drop=True)
                lost += 1
                if lost > ray_worker.AGAIN:
                    raise
            except asyncio.CancelledError:
                self._devices.cancel(frame.key)
                ray.cancel(end)  # one that waits; its device goes on for others
                raise

    def _ended(self, key: str, done: "asyncio.Task[tuple[str, bytes]]") -> None:
        """Say how a job ended, unless it was cancelled."""
        if self._jobs.get(key) is not done or done.cancelled():
            return
        del self._jobs[key]
        self._devices.ended(key)
        error = done.exception()
        with suppress(OSError):  # who submitted is gone, and stdin ends, too
            if error is None:
                node, end = done.result()
                self._pipe.send(Frame(what="done", key=key, node=node), end)
                return
            words = " ".join(str(error).split())
            # of a device that ended, the last words say why
            words = words[-300:] if isinstance(error, RayActorError) else words[:300]
            # what a worker raised is both an error of Ray's and of its own kind
            ours = not isinstance(error, RayError)
            what = "refused" if ours and isinstance(error, Misconfigured) else "lost"
            self._pipe.send(Frame(what=what, key=key, words=words))

    # --- who made its end -------------------------------------------------------------------------

    def _ask(self, node: str) -> "asyncio.Task[NodeRecord | None]":
        """What a node says of itself; it is asked once."""
        if node not in self._nodes:
            self._nodes[node] = asyncio.create_task(_identity(node))
        return self._nodes[node]

    async def _signed(self, key: str, end: object) -> tuple[str, bytes]:
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
        found = await asyncio.shield(self._ask(head.node))
        if found is None:
            self._nodes.pop(head.node, None)  # the next one asks again
        if found is None or not is_by(found.public, key, rest, head.signature):
            raise Transient(f"its end is not signed by the node {head.node[:12]}, as it says")
        return head.node, rest


def alive() -> list[dict[str, Any]]:
    """The nodes of the cluster, as Ray has them."""
    return [node for node in ray.nodes() if node["Alive"]]


async def identified(nodes: Sequence[str]) -> dict[str, NodeRecord]:
    """What nodes say of themselves, each asked by its name in Ray; those that say nothing within
    ASK_S are left out."""
    found = await asyncio.gather(*map(_identity, nodes))
    return {one.node: one for one in found if one is not None}


async def _identity(node: str) -> NodeRecord | None:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    ref = ray_worker.identity.options(scheduling_strategy=there).remote()
    try:
        async with asyncio.timeout(ASK_S):
            record = NodeRecord.model_validate_json(await ref)
    except TimeoutError:
        ray.cancel(ref, force=True)  # a frozen worker ends so
        return None
    except (RayError, ValidationError):
        return None
    return record if record.node == node else None


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
    asyncio.run(Broker(pipe, a.sandbox).serve())
    ray.shutdown()


if __name__ == "__main__":
    main()
