"""The engine of a Slurm cluster: jobs are files in a shared folder (`slurm_folder`), and arrays of
workers (`slurm_worker`), started by sbatch as jobs need them, take one after the other. What a lost
worker or node took along is run again; while Slurm's controller is down, jobs wait."""

import os
import platform
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.errors import AarError, Misconfigured, Transient
from aarlab.core.files import OWNER_ONLY, write_whole
from aarlab.core.own_code import ROOT
from aarlab.runs import slurm_commands as slurm
from aarlab.runs.data_pack import hash_of, pack
from aarlab.runs.local_pool import Waiting, key_with
from aarlab.runs.run_jobs import Job, Resources, checked
from aarlab.runs.slurm_commands import SlurmOptions, Task
from aarlab.runs.slurm_folder import (
    DriverState,
    Lease,
    Order,
    Size,
    WorkerRecord,
    leases,
    make_folder,
    put,
    read_end,
    record_in,
)
from aarlab.runs.slurm_worker import MARGIN_S

AGAIN = 3  # times that a job is run again whose worker has ended
STARTS = 3  # arrays in a row of which no worker began
LOOK_S, ASK_S, BEAT_S = 0.05, 3.0, 2.0  # at ends; to Slurm; of this process
LOST_S = (
    120.0  # after which a silent worker is lost; a shared disk may show its beats a minute late
)
IDLE_S, GONE_S = 60.0, 180.0  # of workers: without a job; without this process
WORKER = "aarlab.runs.slurm_worker"
Say = Callable[[str], None]


@dataclass
class _Placed:
    """A job that somebody waits for."""

    job: Job
    size: Size
    future: "Future[bytes]"
    again: int = 0


class SlurmEngine:
    """See `Engine`."""

    def __init__(
        self,
        root: Path,
        options: SlurmOptions | None = None,
        sandbox: str = "bubblewrap",
        *,
        workers: int,
        say: Say | None = None,
        idle_s: float = IDLE_S,
    ) -> None:
        """`root`: a folder on a disk that every node has; `workers`: of one size, at most at once;
        `say`: is given sentences for the operator.

        Raises:
            Misconfigured: Slurm is not here or does not answer, the folder is open to others, or
                the sandbox isolates nothing.
        """
        if sandbox == "directory":
            raise Misconfigured(
                "On a cluster the sandbox must isolate: code of researchers would reach the shared "
                "folder, and with it every node. Leave sandbox=directory out."
            )
        self._options, self._sandbox, self._workers = options or SlurmOptions(), sandbox, workers
        self._sbatch = self._options.argv
        slurm.require_slurm()
        self.folder = make_folder(root)
        self._name, self._idle_s = f"aar-{self.folder.root.name}", idle_s
        self._tell = say or (lambda words: None)
        self._waiting, self._mutex = Waiting(), threading.RLock()
        self._placed: dict[str, _Placed] = {}
        self._hashes: dict[Path, str] = {}
        self._arrays: dict[str, Size] = {}  # by number
        self._began: set[str] = set()  # arrays of which a worker was seen
        self._beats: dict[str, tuple[int, float]] = {}  # by worker: its beat, and since when
        self._to_cancel: list[str] = []  # tasks
        self._failed_starts = 0
        self._state = DriverState(
            beat=0, pid=os.getpid(), host=platform.node(), name=self._name, began=time.time()
        )
        self._note()
        self._closing, self._asking, self._looking = (threading.Event() for _ in range(3))
        self._threads = [
            threading.Thread(target=loop, daemon=True, name="slurm")
            for loop in (self._look, self._ask)
        ]
        for thread in self._threads:
            thread.start()

    # --- the contract -----------------------------------------------------------------------------

    def submit(self, job: Job, resources: Resources) -> str:
        """See `Engine`."""
        key, size = key_with(job, resources), Size.of(job, resources)
        minutes = self._options.minutes
        if minutes is not None and job.limits.timeout_s + MARGIN_S > 60 * minutes:
            raise Misconfigured(
                f"A run may take {job.limits.timeout_s:g} s, and a minute before and after it, "
                f"which slurm.minutes, {minutes}, does not give. Raise it, or lower that limit."
            )

        def start() -> "Future[bytes]":
            with self._mutex:
                if self._closing.is_set():
                    raise Transient("The engine was closed. Nothing is run any more.")
                placed = self._placed[key] = _Placed(job, size, Future())
                try:
                    self._send(key, placed)
                except OSError as error:
                    self._placed.pop(key, None)
                    raise Transient(
                        f"The shared folder {self.folder.root} cannot be written "
                        f"({error.strerror}). Make room; try again."
                    ) from error
            self._asking.set()
            self._looking.set()
            return placed.future

        return self._waiting.join(key, start)

    def _send(self, key: str, placed: _Placed) -> None:
        """Let a job wait for a worker. Raises OSError."""
        packs = {target: self._data(folder) for target, folder in placed.job.folders.items()}
        bare = placed.job.model_copy(update={"folders": dict.fromkeys(packs, Path("/"))})
        order = Order(key=key, sandbox=self._sandbox, packs=packs, job=bare)
        put(self.folder, placed.size, order)

    def _data(self, folder: Path) -> str:
        """The hash of a folder's data, which the shared folder has then."""
        if (name := self._hashes.get(folder)) is None:
            data = pack(folder)
            name = hash_of(data)
            if not self.folder.pack(name).exists():
                write_whole(self.folder.pack(name), data, mode=OWNER_ONLY)
            self._hashes[folder] = name
        return name

    def poll(self, key: str, wait_s: float = 0.0) -> bytes | None:
        """See `Engine`."""
        return self._waiting.poll(key, wait_s)

    def cancel(self, key: str) -> None:
        """See `Engine`. The worker is ended by scancel, and its sandbox with it."""
        if self._waiting.leave(key) is None:
            return
        with self._mutex:
            placed = self._placed.pop(key, None)
        if placed is None:
            return
        with suppress(FileNotFoundError):
            (self.folder.waiting(str(placed.size)) / key).unlink()
            return
        for lease in leases(self.folder):
            if lease.key == key:
                lease.path.unlink(missing_ok=True)
                self._to_cancel.append(_task_of(lease.worker))
        self._asking.set()

    def close(self) -> None:
        """See `Engine`."""
        self._closing.set()
        self._asking.set()
        self._looking.set()
        with suppress(OSError):
            self.folder.closed.touch()
        with suppress(AarError):
            slurm.cancel([f"--name={self._name}", f"--user={os.geteuid()}"])
        for thread in self._threads:
            thread.join(slurm.WITHIN_S)
        shutil.rmtree(self.folder.root, ignore_errors=True)
        for _, future in self._waiting.all():
            if not future.done():
                future.set_exception(Transient("The engine was closed. Submit the job again."))

    # --- what comes back --------------------------------------------------------------------------

    def _look(self) -> None:
        """Take ends, and say that this process runs, until it closes."""
        noted = time.monotonic()
        while not self._closing.is_set():
            self._looking.clear()
            with suppress(OSError):  # a disk that is away for a moment
                self._take_ends()
                if time.monotonic() - noted > BEAT_S:
                    self._note()
                    noted = time.monotonic()
            if self._placed:
                self._closing.wait(LOOK_S)
            else:
                self._looking.wait(BEAT_S)

    def _take_ends(self) -> None:
        for key in os.listdir(self.folder.ends):  # noqa: PTH208
            if key.startswith("."):
                continue  # one that is being written
            with self._mutex:
                placed = self._placed.get(key)
            if placed is not None:
                try:
                    _, body = read_end(self.folder, key)
                    checked(body)
                except Transient as error:
                    (self.folder.ends / key).unlink(missing_ok=True)
                    self._run_again(key, placed, str(error))
                    continue
                self._settle(key, placed, body)
            (self.folder.ends / key).unlink(missing_ok=True)

    def _settle(self, key: str, placed: _Placed, found: bytes | AarError) -> None:
        """Answer who waits."""
        with self._mutex:
            if self._placed.get(key) is not placed:
                return
            del self._placed[key]
            count = {"lost": self._state.lost + 1} if isinstance(found, AarError) else {}
            self._state = self._state.model_copy(update=count or {"done": self._state.done + 1})
        (self.folder.waiting(str(placed.size)) / key).unlink(missing_ok=True)
        if isinstance(found, AarError):
            placed.future.set_exception(found)
        else:
            placed.future.set_result(found)

    def _run_again(self, key: str, placed: _Placed, why: str) -> None:
        """Let a job wait again whose worker has ended, or left what is no end."""
        placed.again += 1
        with self._mutex:
            self._state = self._state.model_copy(update={"again": self._state.again + 1})
        if placed.again > AGAIN:
            words = f"The cluster lost the job {placed.again} times ({why}). It may be run again."
            self._settle(key, placed, Transient(words))
            return
        self._send(key, placed)
        self._asking.set()

    def _note(self, **changed: object) -> None:
        """Write down what this process sees."""
        held = Counter(lease.key for lease in leases(self.folder))
        with self._mutex:
            leased = sum(key in held for key in self._placed)
            counts = {"waiting": len(self._placed) - leased, "leased": leased}
            beat = {"beat": self._state.beat + 1}
            self._state = self._state.model_copy(update={**counts, **beat, **changed})
            text = self._state.model_dump_json()
        with suppress(OSError):
            write_whole(self.folder.state, text, mode=OWNER_ONLY)

    # --- workers ----------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Ask Slurm how workers are, and start those that jobs need, until this process closes."""
        while not self._closing.is_set():
            self._asking.wait(None if not self._placed and not self._to_cancel else ASK_S)
            self._asking.clear()
            if self._closing.is_set():
                return
            try:
                self._tend()
                self._say("", "")
            except Transient as error:
                words = "Jobs wait; those that run go on. Slurm's administrator must act."
                self._say(f"{error} {words}", "Slurm's administrator")
                with suppress(OSError):
                    self._return_leases(list(leases(self.folder)), None)
            except Misconfigured as error:
                self._say(str(error), "operator")
                self._give_up(error)
            except OSError as error:
                self._say(f"The shared folder cannot be used now ({error.strerror}).", "operator")

    def _say(self, words: str, whose: str) -> None:
        before = self._state.words
        self._note(words=words, whose=whose)
        if words != before:
            self._tell(words or "Slurm places runs again.")

    def _give_up(self, error: Misconfigured) -> None:
        """Answer all whose job no worker can take."""
        held = {lease.key for lease in leases(self.folder)}
        for key, placed in list(self._placed.items()):
            if key not in held:
                self._settle(key, placed, error)

    def _tend(self) -> None:
        """One round."""
        held = list(leases(self.folder))  # before Slurm is asked: their tasks have begun
        tasks = slurm.tasks_of(self._name)
        with self._mutex:
            ended, self._to_cancel = self._to_cancel, []
        slurm.cancel([task for task in ended if task in tasks])
        self._return_leases(held, tasks)
        self._require_begun(tasks)
        self._start_workers({n: t for n, t in tasks.items() if n not in ended})
        if stuck := Counter(task.reason for task in tasks.values() if task.stuck):
            reasons = ", ".join(f"{reason} ({count})" for reason, count in stuck.items())
            raise Transient(f"Slurm does not start workers: {reasons}; `squeue --me` says more.")

    def _return_leases(self, held: list[Lease], tasks: dict[str, Task] | None) -> None:
        """Let jobs wait again whose worker has ended. `tasks` is None: Slurm does not say."""
        for lease in held:
            with self._mutex:
                placed = self._placed.get(lease.key)
            if placed is None:
                lease.path.unlink(missing_ok=True)
                continue
            task = _task_of(lease.worker)
            runs = tasks is None or (task in tasks and tasks[task].state == "RUNNING")
            silent = self._silent_s(lease.worker) > LOST_S
            if (runs and not silent) or not lease.path.exists():
                continue
            if silent and runs:
                self._to_cancel.append(task)
            if not (self.folder.ends / lease.key).exists():
                node = record_in(self.folder.worker(lease.worker), WorkerRecord)
                where = f" on {node.node}" if node else ""
                why = f"its worker{where} {'was silent' if runs else 'ended'}"
                lease.path.unlink(missing_ok=True)
                self._run_again(lease.key, placed, why)

    def _silent_s(self, worker: str) -> float:
        found = record_in(self.folder.worker(worker), WorkerRecord)
        beat, now = -1 if found is None else found.beat, time.monotonic()
        known = self._beats.get(worker)
        if known is None or known[0] != beat:
            known = self._beats[worker] = beat, now
        return now - known[1]

    def _require_begun(self, tasks: dict[str, Task]) -> None:
        """Raise where workers end as soon as Slurm starts them: the node lacks something."""
        for path in self.folder.workers.glob("*.json"):
            self._began.add(path.name.partition("_")[0])
        alive = {_array_of(name) for name, task in tasks.items() if task.alive}
        for array in [a for a in self._arrays if a not in alive]:
            del self._arrays[array]
            if array in self._began:
                self._failed_starts = 0
                continue
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                self._failed_starts = 0
                raise Misconfigured(
                    f"Slurm starts workers, and they end at once: {self._last_words(array)}. Each "
                    f"node needs {sys.executable} with the same aarlab, and {self.folder.root}."
                )

    def _last_words(self, array: str) -> str:
        for path in sorted(self.folder.logs.glob(f"{array}_*")):
            with suppress(OSError):
                if lines := path.read_text(errors="replace")[-4000:].strip().splitlines():
                    return f"{lines[-1][:300]!a}"
        return "they left no log, so that the nodes may lack the folder"

    def _start_workers(self, tasks: dict[str, Task]) -> None:
        with self._mutex:
            needed = Counter(placed.size for placed in self._placed.values())
        for size, jobs in needed.items():
            there = [
                n for n, t in tasks.items() if t.alive and self._arrays.get(_array_of(n)) == size
            ]
            if (lack := min(jobs, self._workers) - len(there)) > 0:
                number = slurm.submit(
                    self._name,
                    self._argv(size),
                    lack,
                    [*_asked_for(size), *self._sbatch],
                    f"{self.folder.logs}/%A_%a",
                )
                self._arrays[number] = size

    def _argv(self, size: Size) -> list[str]:
        argv = ["env", f"PYTHONPATH={ROOT.parent}", sys.executable, "-m", WORKER]
        argv += ["--folder", str(self.folder.root)]
        argv += ["--size", str(size), "--idle-s", str(self._idle_s), "--gone-s", str(GONE_S)]
        minutes = self._options.minutes
        return argv if minutes is None else [*argv, "--minutes", str(minutes)]


def _asked_for(size: Size) -> list[str]:
    whole = ["--exclusive"] if size.alone else []
    return [f"--cpus-per-task={size.cpus}", f"--mem={size.mib}M", *whole]


def _task_of(worker: str) -> str:
    return worker.rpartition("-")[0]


def _array_of(task: str) -> str:
    return task.partition("_")[0]
