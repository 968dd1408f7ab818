"""The actors of a Ray cluster that own its devices: one for each GPU, from the first job that needs
it until the driver ends. Each keeps the model worker on its device, and runs jobs beside it.

Ray starts none again: one whose node is gone would wait for another GPU with its jobs, while those
that are there have room. The jobs of one that ended are for who submitted them to submit again.
"""

import asyncio
import itertools
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from pydantic import TypeAdapter, ValidationError
from ray.exceptions import ActorDiedError, RayError

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.settings import home
from aarlab.runs import ray_worker
from aarlab.runs.node_device import NodeDevice
from aarlab.runs.run_jobs import DeviceCount

JOBS_AT_ONCE = 4  # of one device, which take turns at it; further ones wait
COUNT_S = 0.5  # within which actors must say their counts, or they are taken at the next look
# after which one that has not begun is given up, where others have; and no more are made meanwhile
BEGIN_S, NO_MORE_S = 120.0, 600.0
SILENT_S = 120.0  # after which one is given up that says nothing, as one that is frozen
_COUNTS = TypeAdapter(dict[str, DeviceCount])


class DeviceActor:
    """One GPU, or a processor of a node where the preset says so."""

    def __init__(self) -> None:
        self._device = NodeDevice(home())

    def run(self, *asked: Any) -> bytes:
        """See `ray_worker.end_of`."""
        return ray_worker.end_of(*asked, device=self._device)

    def counts(self) -> bytes:
        """JSON: of each job that runs here, by its key, a `DeviceCount`."""
        return _COUNTS.dump_json(self._device.counts())

    def allow(self, key: str, attempt: str, seconds: float | None) -> None:
        """See `NodeDevice.allow`."""
        self._device.allow(key, attempt, seconds)

    def cancel(self, key: str) -> None:
        """See `NodeDevice.cancel`."""
        self._device.cancel(key)


actor = ray.remote(
    max_restarts=0,
    max_task_retries=0,
    concurrency_groups={"runs": JOBS_AT_ONCE, "counts": 1},
)(DeviceActor)


@dataclass(eq=False)
class _Device:
    handle: Any
    keys: set[str] = field(default_factory=set)  # of its jobs
    since: float = field(default_factory=lambda: time.monotonic())
    begun: bool = False  # it has answered
    asked: Any = None  # for its counts,
    asked_at: float = 0.0


class RayDevices:
    """The driver's side, for its event loop."""

    def __init__(self) -> None:
        self._by_gpus: dict[int, list[_Device]] = {}
        self._no_more_until = 0.0  # are made beside others

    def submit(
        self,
        key: str,
        gpus: int,
        nodes: list[dict[str, Any]],
        asked: tuple,
        without: Collection[str] = (),
    ) -> Any:
        """Give a job to the device that has the fewest, or to one more while each has some and
        `nodes`, which are alive, have more. Returns its reference. `without`: nodes that are shut
        out.

        Raises:
            Misconfigured: no node has one.
            Transient: no node has one any more.
        """
        most = _devices_in(nodes, gpus, without)
        seen, there = gpus in self._by_gpus, self._by_gpus.get(gpus, [])
        idle = min(there, key=lambda d: (len(d.keys), not d.begun), default=None)
        may = idle is None or (idle.keys and time.monotonic() >= self._no_more_until)
        if may and len(there) < most:
            idle = _Device(_made(gpus, without))
            there.append(idle)
            self._by_gpus[gpus] = there
        if idle is None:
            words = (
                "No node of the Ray cluster has a GPU and a processor beside it, and the "
                "student is fine-tuned on one. Add such a node (ray start ... --num-gpus=1)."
            )
            raise (Transient if seen else Misconfigured)(words)
        idle.keys.add(key)
        return idle.handle.run.options(concurrency_group="runs").remote(*asked)

    def ended(self, key: str, *, drop: bool = False) -> None:
        """A job runs there no more. `drop`: nor does any other one, which ends then."""
        for device in self._of(key):
            device.keys.discard(key)
            if drop:
                self._drop(device)

    def give_up_late(
        self, nodes: list[dict[str, Any]], without: Collection[str] = frozenset()
    ) -> None:
        """Give up those that say nothing, and, where others have begun, those that do not begin:
        their GPU is somebody else's, or was on a node that is gone. Their jobs end."""
        now = time.monotonic()
        for gpus, there in self._by_gpus.items():
            some, most = any(d.begun for d in there), _devices_in(nodes, gpus, without)
            for device in list(there):
                silent = device.asked is not None and now - device.asked_at > SILENT_S
                late = len(there) > most or now - device.since > BEGIN_S
                if silent if device.begun else late and some:
                    self._drop(device)

    def _drop(self, device: _Device) -> None:
        for there in self._by_gpus.values():
            if device in there:
                there.remove(device)
        if not device.begun:
            self._no_more_until = time.monotonic() + NO_MORE_S
        ray.kill(device.handle)

    def allow(self, key: str, attempt: str, seconds: float | None) -> None:
        """See `DeviceActor.allow`."""
        for device in self._of(key):
            allow = device.handle.allow.options(concurrency_group="counts")
            allow.remote(key, attempt, seconds)

    def cancel(self, key: str) -> None:
        """End a job, if it is one of a device."""
        for device in self._of(key):
            device.handle.cancel.options(concurrency_group="counts").remote(key)
            device.keys.discard(key)

    async def counts(self) -> list[tuple[str, DeviceCount]]:
        """Of each job that runs on a device that answers."""
        asked = {}
        for device in self._all():
            if device.asked is None:
                ask = device.handle.counts.options(concurrency_group="counts")
                device.asked = asyncio.wrap_future(ask.remote().future())
                device.asked_at = time.monotonic()
            asked[device.asked] = device
        done = (await asyncio.wait(asked, timeout=COUNT_S))[0] if asked else set()
        found = []
        for answer in done:
            device = asked[answer]
            device.asked = None
            try:
                found += _COUNTS.validate_json(answer.result()).items()
                device.begun = True
            except ActorDiedError:
                self._drop(device)
            except (RayError, ValidationError):
                continue
        return found

    def _all(self) -> Iterator[_Device]:
        return itertools.chain.from_iterable(self._by_gpus.values())

    def _of(self, key: str) -> list[_Device]:
        """The device that has a job, if one has."""
        return [device for device in self._all() if key in device.keys]


def _made(gpus: int, without: Collection[str]) -> Any:
    words = f"!in({','.join(sorted(without))})"
    there = {"label_selector": {"ray.io/node-id": words}} if without else {}
    made = actor.options(num_gpus=gpus, num_cpus=1, scheduling_strategy="SPREAD", **there)
    return made.remote()


def _devices_in(nodes: list[dict[str, Any]], gpus: int, without: Collection[str]) -> int:
    """How many nodes have: GPUs with a processor each; or one of each that has processors."""
    found = 0
    for node in nodes:
        has = {kind: int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU")}
        if node["NodeID"] not in without:
            found += min(has.values()) if gpus else min(1, has["CPU"])
    return found
