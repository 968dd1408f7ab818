"""One device of a node (a GPU), which this process owns, and the model worker on it: it is started
with the first job that asks for it, and kept for the next ones. Several jobs share it, and those of
different people take turns."""

import platform
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from aarlab.core.errors import AarError, Misconfigured, Transient
from aarlab.core.files import write_whole
from aarlab.core.layout import DeviceFolder
from aarlab.core.settings import Home, visible_gpus
from aarlab.models.device_meter import Allowed, DeviceMeter, read_counted
from aarlab.models.item_batches import read_item_batch
from aarlab.models.preset import Preset
from aarlab.models.results import fingerprint
from aarlab.models.workers import Workers
from aarlab.runs.node_worker import MARGIN_S, killed_after
from aarlab.runs.run_jobs import (
    ITEMS,
    STRONG,
    DeviceCount,
    Job,
    StrongNeed,
    checked,
    packed,
    refusal,
)
from aarlab.runs.run_worker import work
from aarlab.sandbox.disk_usage import scratch
from aarlab.sandbox.endable import Endable
from aarlab.sandbox.sandbox import MakeSandbox

CPU, GPU = "cpu", "cuda:0"  # the only one that this process sees
LAST_BEAT_S = 60.0  # within which a job that was given up stops at the device
CANCELLED = 1024  # jobs that are remembered, which may not have come here yet


@dataclass(frozen=True)
class _Attempt:
    name: str
    meter: DeviceMeter
    sandbox: Endable


class NodeDevice:
    """See the module's docstring. Its methods may be called from several threads."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._changed = threading.Condition()  # of the models; held while they are looked at
        self._need: tuple[str, dict[str, str]] | None = None  # whose models the workers have
        self._workers: Workers | None = None
        self._users = 0
        self._mutex = threading.Lock()  # of what follows, never held for long
        self._attempts: dict[str, _Attempt] = {}  # by key, those that run, or wait for models
        self._cancelled: deque[str] = deque(maxlen=CANCELLED)

    def run(
        self, key: str, job: Job, folders: Mapping[str, Path], make_sandbox: MakeSandbox
    ) -> bytes:
        """As `run_worker.work`, with the strong model's socket in STRONG; the end says how long the
        device was used.

        Raises:
            Misconfigured: this node has not these models, or no such device.
            Transient: what it was sent is not usable; or it was cancelled.
        """
        assert job.strong is not None
        need, items = job.strong, _only_file(folders[ITEMS])
        mounted = {target: path for target, path in folders.items() if target != ITEMS}
        with (
            self._attempt(key, need, make_sandbox) as attempt,
            self._models(need) as workers,
            scratch() as place,
        ):
            socket = place / "socket"
            socket.mkdir()
            try:
                workers.add_item_batch(items.stem, read_item_batch(items).splits)
                with workers.open_socket(items.stem, need.splits, socket, attempt.meter) as path:
                    with killed_after(job.limits.timeout_s + MARGIN_S):
                        body = work(job, {**mounted, STRONG: socket}, attempt.sandbox)
                    failed = workers.failed(path)
            except Misconfigured:  # the worker cannot start: who comes next tries another one
                self._forget(workers)
                raise
            # of a worker that failed, nothing more is said
            return _with_count(body, failed, _last_count(attempt, LAST_BEAT_S if not failed else 0))

    def counts(self) -> dict[str, DeviceCount]:
        """Of each job that runs, by its key."""
        with self._mutex:
            attempts = dict(self._attempts)
        return {key: _count_of(attempt) for key, attempt in attempts.items()}

    def allow(self, key: str, attempt: str, seconds: float | None) -> None:
        """How many seconds a job that runs may count."""
        with self._mutex:
            found = self._attempts.get(key)
        if found is not None and found.name == attempt:
            write_whole(found.meter.allowed, Allowed(seconds=seconds).model_dump_json())

    def cancel(self, key: str) -> None:
        """End a job: its sandbox is closed, and with it what it asked of the device. One that waits
        here, or has not come here yet, does not begin."""
        with self._mutex:
            self._cancelled.append(key)
            found = self._attempts.get(key)
        if found is not None:
            found.sandbox.end()

    def close(self) -> None:
        """Stop the worker."""
        if (workers := self._workers) is not None:
            self._forget(workers)

    # --- the model worker -------------------------------------------------------------------------

    @contextmanager
    def _models(self, need: StrongNeed) -> Iterator[Workers]:
        """The worker with these models. Who needs others waits until nobody needs those that are
        loaded."""
        wanted = (need.preset, need.models)
        with self._changed:
            self._changed.wait_for(lambda: self._need in (None, wanted) or not self._users)
            if self._need != wanted or self._workers is None:
                if self._workers is not None:
                    self._workers.close()
                self._need, self._workers = None, None
                self._workers = self._made(need)
                self._need = wanted
            workers = self._workers
            self._users += 1
        try:
            yield workers
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def _forget(self, workers: Workers) -> None:
        with self._changed:
            if self._workers is workers:
                self._workers, self._need = None, None
        workers.close()

    def _made(self, need: StrongNeed) -> Workers:
        try:
            preset = Preset.model_validate_json(need.preset)
        except ValidationError as error:
            raise Transient(f"The node was sent what is no preset: {error}") from error
        device = GPU if need.gpus else CPU
        here = preset.model_copy(
            update={"hardware": preset.hardware.model_copy(update={"devices": (device,)})}
        )
        place = self._home.node / f"{platform.node()}-{visible_gpus() or device}"
        workers = Workers(here, self._home, progress=lambda what, done, of: None, place=place)
        for which, folder in workers.folders.items():
            source = preset.weak if which == "weak" else preset.strong
            if fingerprint(folder, self._home.cache / "tuned") != need.models.get(which):
                raise Misconfigured(
                    f"The node {platform.node()} has other files of the model {source.name} (in "
                    f"{folder}) than the machine that set the problem up. Copy that folder from "
                    "there."
                )
        return workers

    # --- what is counted --------------------------------------------------------------------------

    @contextmanager
    def _attempt(self, key: str, need: StrongNeed, make_sandbox: MakeSandbox) -> Iterator[_Attempt]:
        with scratch() as place:
            name = secrets.token_hex(8)
            folder = DeviceFolder(place)
            meter = DeviceMeter(need.who, folder.counted(name), folder.allowed(name))
            write_whole(meter.allowed, Allowed(seconds=need.allowed_s).model_dump_json())
            made = _Attempt(name, meter, Endable(make_sandbox))
            with self._mutex:
                self._attempts[key] = made
                cancelled = key in self._cancelled
            try:
                if cancelled:
                    made.sandbox.end()
                made.sandbox.require_going_on()
                yield made
            finally:
                with self._mutex:
                    del self._attempts[key]


def _last_count(attempt: _Attempt, within_s: float) -> DeviceCount:
    """After the socket was closed: a job that its caller left is at the device up to its next
    step, or until the models are loaded."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        found = read_counted(attempt.meter.counted)
        if found is None or not found.running:
            break
        time.sleep(0.1)
    return _count_of(attempt)


def _count_of(attempt: _Attempt) -> DeviceCount:
    found = read_counted(attempt.meter.counted)
    return DeviceCount(attempt=attempt.name, seconds=0.0 if found is None else found.seconds)


def _with_count(body: bytes, failed: AarError | None, count: DeviceCount) -> bytes:
    """A job's end with its count; where the worker failed during it, what ended badly is no result
    of the method's."""
    head, result = checked(body)
    done = head.completed
    if failed is not None and (done.returncode or done.limit or result is None):
        kind = type(failed)
        words = f"On the node {platform.node()}: {failed}"
        head, result = checked(refusal(kind(words)))
    return packed(head.model_copy(update={"device": count}), result or b"")


def _only_file(folder: Path) -> Path:
    found = [path for path in folder.iterdir() if path.is_file()]
    if len(found) != 1:
        raise Transient(f"The node was sent {len(found)} files of items; it needs one. Try again.")
    return found[0]
