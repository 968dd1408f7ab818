"""The actors of a Ray cluster that own its devices: one for each GPU, from the first job that needs
it until the driver ends. Each keeps the model worker on its device, and runs jobs beside it."""

import itertools
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from pydantic import TypeAdapter, ValidationError
from ray.exceptions import GetTimeoutError, RayError

from aarlab.core.errors import Misconfigured
from aarlab.core.settings import home
from aarlab.runs import ray_worker
from aarlab.runs.node_device import NodeDevice
from aarlab.runs.run_jobs import DeviceCount

JOBS_AT_ONCE = 4  # of one device, which take turns at it; further ones wait
COUNT_S = 2.0  # within which an actor must say its counts
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
    max_restarts=-1,
    max_task_retries=ray_worker.AGAIN,
    concurrency_groups={"runs": JOBS_AT_ONCE, "counts": 1},
)(DeviceActor)


@dataclass(eq=False)
class _Device:
    handle: Any
    keys: set[str] = field(default_factory=set)  # of its jobs


class RayDevices:
    """The driver's side. Its methods may be called from several threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._by_gpus: dict[int, list[_Device]] = {}

    def submit(self, key: str, gpus: int, nodes: list[dict[str, Any]], asked: tuple) -> Any:
        """Give a job to the device that has the fewest, or to one more while each has some and
        `nodes`, which are alive, have more. Returns its reference.

        Raises:
            Misconfigured: no node has one.
        """
        with self._mutex:
            there = self._by_gpus.setdefault(gpus, [])
            idle = min(there, key=lambda d: len(d.keys), default=None)
            if (idle is None or idle.keys) and len(there) < _devices_of(nodes, gpus):
                made = actor.options(num_gpus=gpus, num_cpus=1, scheduling_strategy="SPREAD")
                idle = _Device(made.remote())
                there.append(idle)
            if idle is None:
                raise Misconfigured(
                    "No node of the Ray cluster has a GPU, and the student is fine-tuned on one. "
                    "Add a node with one (ray start ... --num-gpus=1)."
                )
            idle.keys.add(key)
            return idle.handle.run.options(concurrency_group="runs").remote(*asked)

    def ended(self, key: str) -> None:
        """A job runs there no more."""
        with self._mutex:
            for device in self._all():
                device.keys.discard(key)

    def allow(self, key: str, attempt: str, seconds: float | None) -> None:
        """See `DeviceActor.allow`."""
        with self._mutex:
            for device in self._all():
                if key in device.keys:
                    allow = device.handle.allow.options(concurrency_group="counts")
                    allow.remote(key, attempt, seconds)

    def cancel(self, key: str) -> bool:
        """End a job; whether it is one of a device."""
        with self._mutex:
            found = [device for device in self._all() if key in device.keys]
            for device in found:
                device.handle.cancel.options(concurrency_group="counts").remote(key)
                device.keys.discard(key)
        return bool(found)

    def counts(self) -> Iterator[tuple[str, DeviceCount]]:
        """Of each job that runs on a device that answers."""
        with self._mutex:
            asked = [
                device.handle.counts.options(concurrency_group="counts").remote()
                for device in self._all()
                if device.keys
            ]
        done, late = ray.wait(asked, num_returns=len(asked), timeout=COUNT_S) if asked else ([], [])
        for ref in late:
            ray.cancel(ref)
        for ref in done:
            yield from _read(ref).items()

    def _all(self) -> Iterator[_Device]:
        return itertools.chain.from_iterable(self._by_gpus.values())


def _read(ref: Any) -> Mapping[str, DeviceCount]:
    try:
        return _COUNTS.validate_json(ray.get(ref, timeout=COUNT_S))
    except (RayError, GetTimeoutError, ValidationError, TypeError):
        return {}


def _devices_of(nodes: list[dict[str, Any]], gpus: int) -> int:
    """How many there are: GPUs, or nodes with processors."""
    if gpus:
        return sum(int(node["Resources"].get("GPU", 0)) for node in nodes)
    return sum(node["Resources"].get("CPU", 0) > 0 for node in nodes)
