"""`python -m aarlab.models.tuned.serve`: a worker that serves the models of one preset on one
device.

It runs until its parent process ends or a request stops it. Requests come through the operator's
socket and through sockets that each belong to one sandbox (`aarlab.models.wire`). One thread owns
the device; the jobs of several sockets take turns. An unexpected error ends the process. Its parent
starts it again; callers repeat their requests, and jobs resume from their checkpoints.
"""

import argparse
import asyncio
import json
import logging
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured, Transient
from aarlab.core.parent_pipe import when_parent_ends
from aarlab.models.device_meter import BEAT_S, DeviceMeter, Gauge
from aarlab.models.item_batches import ItemBatch, read_item_batch
from aarlab.models.preset import Preset
from aarlab.models.tuned.bounded_listener import BoundedListener
from aarlab.models.tuned.job_queue import MOST_WAITING, JobQueue
from aarlab.models.tuned.link import CallerGone, Link
from aarlab.models.tuned.worker_operations import OPERATIONS, Loaded, WorkerOperation, WorkerPlace
from aarlab.models.wire import ANSWER_S, LINE, SOCKET_LINE, Message, failure
from aarlab.models.worker_requests import SOCKET_BATCH, Fields, through

OPERATOR, OPERATOR_CONNECTIONS = "operator", 256
log = logging.getLogger("aarlab.worker")


@dataclass(eq=False)
class WorkerJob:
    """One request, read, and its last line once there is one. `source`: its socket; `whose`: who
    takes turns; `gauge`: what counts its time on the device."""

    source: str
    whose: str
    gauge: Gauge | None
    operation: WorkerOperation
    asked: Any
    link: Link
    last: "asyncio.Future[Message]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Worker:
    """The event loop's side: connections, turns, sandboxes' sockets."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded, self._turns = loaded, JobQueue[WorkerJob]()
        self._item_batches: dict[str, ItemBatch] = {}
        self._listeners: dict[str, BoundedListener] = {}
        self._faults: dict[str, str] = {}  # by socket: see `_failed`
        self._gauges: dict[str, Gauge] = {}  # by socket
        self._now: WorkerJob | None = None  # at the device
        self._at_once = {
            "hello": self._hello,
            "deck": self._item_batch,
            "open": self._open,
            "failed": self._failed,
            "shut": self._shut,
        }

    async def run(self, path: Path, stop: asyncio.Event) -> None:
        """Serve requests until a request stops the worker."""
        operator = BoundedListener(path, 0o600, self._operator, OPERATOR_CONNECTIONS, LINE)
        work = asyncio.create_task(self._work())
        ended, beat = asyncio.create_task(stop.wait()), asyncio.create_task(self._beat())
        await asyncio.wait([work, ended, beat], return_when=asyncio.FIRST_COMPLETED)
        for listener in (operator, *self._listeners.values()):
            listener.shut()
        for task in (work, beat):
            if task.done():
                task.result()

    # --- jobs -------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """One job after another in the device's thread."""
        thread, loop = ThreadPoolExecutor(1), asyncio.get_running_loop()
        while True:
            job = await self._turns.next()
            if job.link.over:
                continue
            began, self._now = time.monotonic(), job
            run = partial(loop.run_in_executor, thread, self._done, job)
            last = await self._metered(job, run)
            self._now = None
            self._turns.took(job.whose, time.monotonic() - began)
            if last is not None and not job.last.done():
                job.last.set_result(last)

    async def _metered(
        self, job: WorkerJob, run: Callable[[], Awaitable[Message | None]]
    ) -> Message | None:
        """Run a job if its budget allows it, and count its time on the device."""
        if job.gauge is None:
            return await run()
        try:
            job.gauge.begin()
        except InvalidSubmission as error:
            return failure(error)
        try:
            return await run()
        finally:
            job.gauge.end()

    async def _beat(self) -> None:
        """Note all counts while jobs run, and end the one that has used all it may."""
        while True:
            await asyncio.sleep(BEAT_S)
            for gauge in self._gauges.values():
                try:
                    gauge.beat()
                except InvalidSubmission as error:
                    if self._now is not None and self._now.gauge is gauge:
                        self._now.link.refuse(error)

    def _done(self, job: WorkerJob) -> Message | None:
        """The last line; None where nobody waits for it."""
        try:
            return {"is": "done", **job.operation.run(self._loaded, job.asked, job.link)}
        except CallerGone:
            return None
        except InvalidSubmission as error:
            return failure(error)
        except AarError as error:
            log.warning("%s", error)
            if job.link.keeps:
                return failure(error)
            self._faults[job.source] = type(error).__name__
            return failure(hidden(error))

    async def _answer(
        self,
        source: str,
        operation: WorkerOperation,
        message: Message,
        link: Link,
        item_batches: Mapping[str, ItemBatch],
    ) -> None:
        """Let a request wait for its turn, and send its last line; a caller who hangs up ends
        it."""
        gauge = self._gauges.get(source)
        whose = source if gauge is None else gauge.meter.who
        job = WorkerJob(
            source, whose, gauge, operation, operation.read(message, item_batches), link
        )
        self._turns.put(whose, job, None if link.keeps else MOST_WAITING)
        listening = asyncio.create_task(link.listen())
        try:
            await asyncio.wait([listening, job.last], return_when=asyncio.FIRST_COMPLETED)
            if job.last.done():
                await link.send(job.last.result())
            else:
                link.check()  # raises
        finally:
            listening.cancel()
            self._turns.remove(whose, job)

    # --- connections ------------------------------------------------------------------------------

    async def _operator(self, link: Link) -> None:
        """One request of the operator's."""
        link.keeps = True
        message = await link.request()
        op = message.get("op")
        if op in self._at_once:
            await link.send({"is": "done", **self._at_once[op](message)})
        elif isinstance(op, str) and op in OPERATIONS:
            await self._answer(OPERATOR, OPERATIONS[op], message, link, self._item_batches)
        else:
            raise InvalidSubmission(
                f"op must be one of {', '.join([*self._at_once, *OPERATIONS])}.", field="op"
            )

    def _sandbox(self, source: str, item_batch: ItemBatch) -> Any:
        """The handler of a sandbox's connections."""

        async def one(link: Link) -> None:
            message = through(await link.request())
            await self._answer(
                source, OPERATIONS[message["op"]], message, link, {SOCKET_BATCH: item_batch}
            )

        return one

    # --- what the operator asks for beside jobs ---------------------------------------------------

    def _hello(self, message: Message) -> Message:
        Fields(message).done()
        return {"pid": os.getpid(), "device": self._loaded.place.device}

    def _item_batch(self, message: Message) -> Message:
        """Read an item batch from the operator's file."""
        self._item_batches[message["name"]] = read_item_batch(Path(message["path"]))
        return {}

    def _open(self, message: Message) -> Message:
        """Open a socket to two splits of an item batch."""
        item_batch, names = (
            self._item_batches[message["deck"]],
            {"student": message["student"], "test": message["test"]},
        )
        seen = ItemBatch(
            {ours: item_batch.splits[s] for ours, s in names.items()},
            {ours: item_batch.digests[s] for ours, s in names.items()},
        )
        self._shut(message)
        path = Path(message["path"])
        if (meter := message.get("meter")) is not None:
            self._gauges[message["path"]] = Gauge(DeviceMeter.of(meter))
        self._listeners[message["path"]] = BoundedListener(
            path, 0o666, self._sandbox(str(path), seen), line=SOCKET_LINE
        )
        return {}

    def _shut(self, message: Message) -> Message:
        """Close a socket and its connections."""
        self._faults.pop(message["path"], None)
        if listener := self._listeners.pop(message["path"], None):
            listener.shut()
        if gauge := self._gauges.pop(message["path"], None):
            gauge.close()
        return {}

    def _failed(self, message: Message) -> Message:
        """The kind of the last failure of a socket's jobs that was not the caller's fault; empty
        if there was none."""
        return {"kind": self._faults.get(message["path"], "")}


def hidden(error: AarError) -> AarError:
    """A failure that is not the sandbox's, without what it says about this machine."""
    if isinstance(error, Misconfigured):
        return Misconfigured(
            "The strong model cannot answer. The operator must fix the cause, which the worker's "
            "log names."
        )
    return Transient(
        "The strong model cannot answer now; the worker's log names the cause. Ask again."
    )


async def serve(place: WorkerPlace, path: Path, parent_pipe: int | None) -> None:
    """Take requests until SIGTERM, SIGINT or the end of the parent."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if parent_pipe is not None:
        when_parent_ends(parent_pipe, stop.set)
    await Worker(Loaded(place)).run(path, stop)


def devices() -> list[str]:
    """Every GPU, or the CPU where there is none."""
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]


def check_device(name: str) -> None:
    """Raise where torch has no such device.

    Raises:
        Misconfigured: it has not.
    """
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        said = str(error).partition("\n")[0]
        raise Misconfigured(
            f"torch has no device {name} ({said}). Here: {', '.join(devices())}."
        ) from error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--devices", action="store_true", help="say as JSON which devices there are, and end"
    )
    parser.add_argument("--preset", type=Path, help="a file with a Preset, as JSON")
    parser.add_argument("--weak", type=Path, help="the folder of the weak model")
    parser.add_argument("--strong", type=Path, help="the folder of the strong model")
    parser.add_argument("--device", help="a torch device")
    parser.add_argument("--socket", type=Path, help="the operator's socket")
    parser.add_argument("--cache", type=Path, help="a folder for results and checkpoints")
    parser.add_argument(
        "--answer-s", type=float, default=ANSWER_S, help="for a caller's own loss of one step"
    )
    parser.add_argument("--parent-pipe", type=int, help="a file descriptor: end when it does")
    a = parser.parse_args()
    if a.devices:
        parser.exit(0, json.dumps(devices()))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    preset = Preset.model_validate_json(a.preset.read_bytes())
    place = WorkerPlace(preset, {"weak": a.weak, "strong": a.strong}, a.device, a.cache)
    Link.answer_s = a.answer_s
    try:
        check_device(a.device)
        asyncio.run(serve(place, a.socket, a.parent_pipe))
    except AarError as error:
        parser.exit(1, f"{error}\n")
    logging.shutdown()
    # a job may be under way in the device's thread: what it has not written yet is not wanted
    os._exit(0)


if __name__ == "__main__":
    main()
