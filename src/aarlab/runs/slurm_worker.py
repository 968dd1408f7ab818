"""`python -m aarlab.runs.slurm_worker`: one task of an array in Slurm, which takes jobs of one size
from the shared folder, one after the other, until there are none, the process that submits them is
gone, or Slurm ends it."""

import argparse
import contextlib
import os
import platform
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aarlab.core.cluster_layout import SlurmFolder
from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.files import OWNER_ONLY, write_whole
from aarlab.core.held_folder import HeldFolder
from aarlab.core.own_code import this_build
from aarlab.core.settings import Home, slurm_node, slurm_task
from aarlab.runs import node_worker
from aarlab.runs.data_pack import MAX_BYTES
from aarlab.runs.node_keys import new_key, signed
from aarlab.runs.run_jobs import DeviceCount, Job, refusal
from aarlab.runs.slurm_folder import (
    MAX_RECORD_BYTES,
    Allowance,
    DriverState,
    JobOrder,
    SlurmEndHead,
    TakenJob,
    WorkerRecord,
    give_back,
    named,
    plain_bytes,
    record_in,
    sizes_for,
    take,
    write_end,
)
from aarlab.sandbox.sandbox import MakeSandbox

if TYPE_CHECKING:
    from aarlab.runs.node_device import NodeDevice

BEAT_S = 3.0
QUICK_S, SLOW_S = 0.05, 1.0  # between two looks for a job, doubled while there is none
MARGIN_S = 60.0  # that a job's limit leaves of the worker's time


class SlurmWorker:
    """Of one size, for one folder. `gone_s`: after which a silent process that submits is gone."""

    def __init__(
        self, folder: SlurmFolder, size: str, *, idle_s: float, gone_s: float, minutes: float | None
    ) -> None:
        self._folder, self._idle_s, self._gone_s = folder, idle_s, gone_s
        self._device: NodeDevice | None = None  # made for the first job that asks for one
        self._until = None if minutes is None else time.monotonic() + 60 * minutes
        self._mutex, self._ended = threading.Lock(), threading.Event()
        task, build = slurm_task(), this_build()
        self._key, public = new_key()
        self._not = named(slurm_node())
        self._record = WorkerRecord(
            name=f"{task}-{secrets.token_hex(4)}",
            task=task,
            node=platform.node(),
            pid=os.getpid(),
            size=size,
            public=public,
            aarlab=build.version,
            code=build.source,
            python=platform.python_version(),
            beat=0,
        )

    def serve(self) -> None:
        """Take jobs until there is a reason to end."""
        self._say()
        threading.Thread(target=self._beat, daemon=True).start()
        try:
            with HeldFolder() as held:
                idle_since, pause = time.monotonic(), QUICK_S
                while time.monotonic() - idle_since < self._idle_s and not self._over():
                    sizes = sizes_for(self._folder, self._record.size, self._not)
                    lease = take(self._folder, sizes, self._record.name)
                    if lease is None:
                        time.sleep(pause)
                        pause = min(2 * pause, SLOW_S)
                        continue
                    if not self._run(lease, held.path):
                        return
                    idle_since, pause = time.monotonic(), QUICK_S
        finally:
            self._ended.set()
            if self._device is not None:
                self._device.close()

    def _over(self) -> bool:
        return self._folder.closed.exists() or not self._folder.root.exists()

    def _run(self, lease: TakenJob, data: Path) -> bool:
        """Run a job; whether another one may follow."""
        order = record_in(lease.path, JobOrder)
        if order is not None and not self._has_time(order):
            give_back(self._folder, lease)
            return False
        self._say(running=lease.key)
        with _given_back_on_end(self._folder, lease):
            if order is None or order.key != lease.key:
                body = refusal(Transient("The node was sent what is no job."))
            else:
                body = node_worker.run(
                    order.job.model_dump_json().encode(),
                    order.sandbox,
                    order.packs,
                    self._fetched,
                    data,
                    contextlib.nullcontext(),  # Slurm gives a node to one that runs alone
                    device=partial(self._beside_a_device, lease.key),
                )
            signature = signed(self._key, lease.key, body)
            head = SlurmEndHead(key=lease.key, worker=self._record.name, signature=signature)
            write_end(self._folder, head, body)
        lease.path.unlink(missing_ok=True)
        self._say(running=None, done=self._record.done + 1)
        return True

    def _beside_a_device(
        self, key: str, job: Job, folders: Mapping[str, Path], make_sandbox: MakeSandbox
    ) -> bytes:
        from aarlab.runs.node_device import NodeDevice  # imports what only a device needs

        if self._device is None:
            self._device = NodeDevice(Home(self._folder.home))
        return self._device.run(key, job, folders, make_sandbox)

    def _counts(self) -> dict[str, DeviceCount]:
        """What jobs have used of the device; how much they may is passed on to it."""
        if self._device is None:
            return {}
        counts = self._device.counts()
        for key in counts:
            if (found := record_in(self._folder.allowance(key), Allowance)) is not None:
                self._device.allow(key, found.attempt, found.seconds)
        return counts

    def _has_time(self, order: JobOrder) -> bool:
        left = float("inf") if self._until is None else self._until - time.monotonic()
        return left > order.job.limits.timeout_s + MARGIN_S

    def _fetched(self, name: str) -> bytes:
        try:
            return plain_bytes(self._folder.pack(name), MAX_BYTES + MAX_RECORD_BYTES)
        except OSError as error:
            raise Transient(
                f"The shared folder lacks the data {name[:12]} ({error.strerror}). Try again."
            ) from error

    def _say(self, **changed: object) -> None:
        """Write down what this worker is doing."""
        with self._mutex:
            self._record = self._record.model_copy(update=changed)
            text = self._record.model_dump_json()
        # without its folder or on a full disk it is silent, and is given up at last
        with contextlib.suppress(OSError):
            if self._folder.workers.is_dir():
                write_whole(self._folder.worker(self._record.name), text, mode=OWNER_ONLY)

    def _beat(self) -> None:
        """Say that this worker works, and end it when nobody waits for it any more."""
        seen, since = -1, time.monotonic()
        while not self._ended.wait(BEAT_S):
            self._say(beat=self._record.beat + 1, counts=self._counts())
            state = record_in(self._folder.state, DriverState)
            if state is not None and state.beat != seen:
                seen, since = state.beat, time.monotonic()
            if time.monotonic() - since > self._gone_s or self._over():
                os.kill(os.getpid(), signal.SIGTERM)
                return


@contextlib.contextmanager
def _given_back_on_end(folder: SlurmFolder, lease: TakenJob) -> Iterator[None]:
    """Where Slurm ends this worker meanwhile, or its disk fails, another one takes the job."""
    try:
        yield
    except BaseException:
        give_back(folder, lease)
        raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="the shared folder")
    parser.add_argument("--size", required=True, help="of the jobs that it takes")
    parser.add_argument("--idle-s", type=float, required=True, help="seconds without a job")
    parser.add_argument("--gone-s", type=float, required=True, help="of a silent submitter")
    parser.add_argument("--minutes", type=float, help="that Slurm gives it")
    a = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if not a.folder.is_dir():
        raise Misconfigured(
            f"The node {platform.node()} does not have {a.folder}. Set AAR_HOME to a folder on a "
            "disk that every node has."
        )
    folder = SlurmFolder(a.folder)
    SlurmWorker(folder, a.size, idle_s=a.idle_s, gone_s=a.gone_s, minutes=a.minutes).serve()


if __name__ == "__main__":
    main()
