"""The engine of a Slurm cluster: jobs are files in a shared folder (`slurm_folder`), and arrays of
workers (`slurm_worker`), started by sbatch as jobs need them, take one after the other. What a lost
worker or node took along is run again; while Slurm's controller is down, jobs wait."""

import os
import platform
import shutil
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
from aarlab.runs.data_pack import hash_of, pack
from aarlab.runs.local_pool import WaitingJobs, key_with
from aarlab.runs.node_keys import is_by
from aarlab.runs.run_jobs import DeviceCount, Job, JobResources, checked
from aarlab.runs.slurm_commands import WITHIN_S, SlurmOptions, cancel, require_slurm
from aarlab.runs.slurm_folder import (
    Allowance,
    DriverState,
    JobOrder,
    Size,
    TakenJob,
    WorkerRecord,
    leases,
    make_folder,
    put,
    read_end,
    record_in,
    remove,
)
from aarlab.runs.slurm_worker import MARGIN_S
from aarlab.runs.slurm_workers import IDLE_S, SlurmWorkers, require_moving, task_of

AGAIN = 3  # times that a job is run again whose worker has ended
LOOK_S, ASK_S, BEAT_S = 0.05, 3.0, 2.0  # at ends; to Slurm; of this process
Say = Callable[[str, str], None]  # words, and whose move it is


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
        `say`: is given sentences for the operator, and
        whose move it is.

        Raises:
            Misconfigured: Slurm is not here or does not answer, the folder is open to others, or
                the sandbox isolates nothing.
        """
        if sandbox == "directory":
            raise Misconfigured(
                "On a cluster the sandbox must isolate: code of researchers would reach the shared "
                "folder, and with it every node. Leave sandbox=directory out."
            )
        self._options, self._sandbox = options or SlurmOptions(), sandbox
        self._options.argv  # noqa: B018 - raises
        require_slurm()
        self.folder = make_folder(root)
        self._name = f"aar-{self.folder.root.name}"
        self.workers = SlurmWorkers(self.folder, self._name, self._options, workers, idle_s)
        self._notify = say or (lambda words, whose: None)
        self._waiting, self._mutex = WaitingJobs(), threading.RLock()
        self._placed: dict[str, _Placed] = {}
        self._hashes: dict[Path, str] = {}
        self._answers: dict[str, str] = {}  # by job: the task that answered
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

    def submit(self, job: Job, resources: JobResources) -> str:
        """See `NodeEngine`."""
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
        order = JobOrder(
            key=key, sandbox=self._sandbox, packs=packs, job=placed.job.without_folders
        )
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
                self.workers.to_cancel.append(task_of(lease.worker))
        self._asking.set()

    def counted(self, key: str) -> DeviceCount | None:
        """See `DeviceEngine`."""
        for lease in leases(self.folder):
            if lease.key == key:
                found = record_in(self.folder.worker(lease.worker), WorkerRecord)
                return None if found is None else found.counts.get(key)
        return None

    def allow(self, key: str, attempt: str, seconds: float | None) -> None:
        """See `DeviceEngine`."""
        text = Allowance(attempt=attempt, seconds=seconds).model_dump_json()
        with suppress(OSError):  # a disk that is away for a moment
            write_whole(self.folder.allowance(key), text, mode=OWNER_ONLY)

    def close(self) -> None:
        """See `Engine`."""
        self._closing.set()
        self._asking.set()
        self._looking.set()
        with suppress(OSError):
            self.folder.closed.touch()
        with suppress(AarError):
            cancel([f"--name={self._name}", f"--user={os.geteuid()}"])
        for thread in self._threads:
            thread.join(WITHIN_S)
        shutil.rmtree(self.folder.root, ignore_errors=True)
        self._waiting.give_up()

    def answered_by(self, key: str) -> str | None:
        """See `NodeEngine`."""
        task = self._answers.pop(key, "")
        until = time.monotonic() + 3 * ASK_S
        while task and task not in self.workers.nodes and time.monotonic() < until:
            self._asking.set()
            if self._closing.wait(LOOK_S):
                break
        return self.workers.nodes.get(task)

    def shut_out(self, node: str) -> None:
        """See `NodeEngine`."""
        self.workers.without.add(node)
        self._asking.set()

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
            if not key.startswith("."):  # else it is being written
                with suppress(OSError):  # one that is no file holds up no other
                    self._take_end(key)

    def _take_end(self, key: str) -> None:
        with self._mutex:
            placed = self._placed.get(key)
        if placed is not None:
            try:
                body = self._believed(key, placed.size)
            except Transient as error:
                remove(self.folder.ends / key)
                self._run_again(key, placed, str(error))
                return
            if body is None:
                return
            self._settle(key, placed, body)
        remove(self.folder.ends / key)

    def _believed(self, key: str, size: Size) -> bytes | None:
        """The end of a job, by a worker that is known by its key, and is on a node that may run it;
        None where it is not known yet where that is.

        Raises:
            Transient: it is none, or by somebody else.
            OSError: it cannot be read.
        """
        head, body = read_end(self.folder, key)
        checked(body)
        if not is_by(self.workers.key_of(head.worker), key, body, head.signature):
            raise Transient(f"What lies there as the end of {key[:12]} is not by its worker.")
        task = task_of(head.worker)
        if size != size.shared or self.workers.without:
            if (node := self.workers.nodes.get(task)) is None:
                self._asking.set()
                return None
            if not size.may_be_on(node) or node in self.workers.without:
                raise Transient(f"The node {node} took a job that another one was to run.")
        self._answers[key] = task
        return body

    def _settle(self, key: str, placed: _Placed, found: bytes | AarError) -> None:
        """Answer who waits."""
        with self._mutex:
            if self._placed.get(key) is not placed:
                return
            del self._placed[key]
            count = {"lost": self._state.lost + 1} if isinstance(found, AarError) else {}
            self._state = self._state.model_copy(update=count or {"done": self._state.done + 1})
        (self.folder.waiting(str(placed.size)) / key).unlink(missing_ok=True)
        self.folder.allowance(key).unlink(missing_ok=True)
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
            self._asking.wait(ASK_S if self._placed or self.workers.to_cancel else None)
            self._asking.clear()
            if self._closing.is_set():
                return
            try:
                if not self._tend():
                    self._say("", "")
            except Transient as error:
                words = "Jobs wait; those that run go on. Slurm's administrator must act."
                self._say(f"{error} {words}", "Slurm's administrator")
                with suppress(OSError):
                    self._return(self.workers.lost(list(leases(self.folder)), None))
            except Misconfigured as error:
                self._say(str(error), "operator")
                self._give_up(error)
            except OSError as error:
                self._say(f"The shared folder cannot be used now ({error.strerror}).", "operator")

    def _tend(self) -> bool:
        """One round; whether Slurm refuses workers, which is said then."""
        held = list(leases(self.folder))  # before Slurm is asked: their tasks have begun
        tasks = self.workers.asked()
        for task in self.workers.newly_disputed():
            self._notify(
                f"Two keys were said to be that of the worker {task} on "
                f"{self.workers.nodes.get(task, 'an unknown node')}: somebody writes what is not "
                f"theirs in {self.folder.root}. Its results are not taken, and it is ended. Look "
                "who can write there.",
                "operator",
            )
        self._return(self.workers.lost(held, tasks))
        self.workers.require_begun(tasks)
        with self._mutex:
            needed = Counter(placed.size for placed in self._placed.values())
        refused = self.workers.start(needed, tasks)
        for size, error in refused.items():
            if size == size.shared:  # else it was to be on one node, or on another one
                self._say(str(error), "operator")
            self._give_up(error, size)
        require_moving(tasks)
        return any(size == size.shared for size in refused)

    def _return(self, lost: list[tuple[TakenJob, str]]) -> None:
        """Let jobs wait again whose worker has ended."""
        for lease, why in lost:
            lease.path.unlink(missing_ok=True)
            with self._mutex:
                placed = self._placed.get(lease.key)
            if placed is not None:
                self._run_again(lease.key, placed, why)

    def _say(self, words: str, whose: str) -> None:
        before = self._state.words
        self._note(words=words, whose=whose)
        if words != before:
            self._notify(words or "Slurm places runs again.", whose)

    def _give_up(self, error: Misconfigured, size: Size | None = None) -> None:
        """Answer all whose job no worker can take; `size`: those of that size alone."""
        held = {lease.key for lease in leases(self.folder)}
        for key, placed in list(self._placed.items()):
            if key not in held and size in (None, placed.size):
                self._settle(key, placed, error)
