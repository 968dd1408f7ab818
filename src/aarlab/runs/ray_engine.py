"""The engine of a Ray cluster: jobs go to a driver of its own (`ray_broker`), which Ray places on
nodes. What a lost worker, node or head took along is run again; a cluster without token
authentication is refused."""

import importlib.util
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.settings import ray_environment
from aarlab.runs.data_pack import hash_of, pack
from aarlab.runs.frames import Frame, Pipe
from aarlab.runs.local_pool import WaitingJobs, key_with
from aarlab.runs.run_jobs import DeviceCount, Job, JobResources

STARTS = 3  # of the driver, when it was lost
PAUSE_S = 2.0
STOP_S = 15.0


@dataclass
class _Placed:
    """A job that somebody waits for."""

    job: Job
    resources: JobResources
    future: "Future[bytes]"


class RayEngine:
    """See `Engine`."""

    def __init__(self, address: str, sandbox: str = "bubblewrap") -> None:
        """`address`: of the cluster's head, HOST:PORT.

        Raises:
            Misconfigured: Ray is not installed; the cluster asks for no token, refuses it or does
                not answer; or the sandbox isolates nothing.
        """
        if importlib.util.find_spec("ray") is None:
            raise Misconfigured("engine=ray needs Ray. Install 'aarlab[cluster]' on every node.")
        if sandbox == "directory":
            raise Misconfigured(
                "On a cluster the sandbox must isolate: code of researchers would reach Ray, and "
                "with it every node. Leave sandbox=directory out."
            )
        self._address, self._sandbox = address, sandbox
        self._waiting, self._mutex = WaitingJobs(), threading.RLock()
        self._placed: dict[str, _Placed] = {}
        self._hashes: dict[Path, str] = {}
        self._sent: set[str] = set()  # packs that the driver has
        self._answers: dict[str, str] = {}  # by job: the node that answered
        self._counts: dict[str, DeviceCount] = {}
        self._shut_out: set[str] = set()
        self._closing = False
        self._env = ray_environment()  # with the token, also for a driver that is started again
        self._process: subprocess.Popen | None = None
        self._start()

    # --- the driver -------------------------------------------------------------------------------

    def _start(self) -> None:
        """Start the driver. Under the mutex, or before anybody else knows us."""
        argv = [sys.executable, "-m", "aarlab.runs.ray_broker", "--address", self._address]
        process = subprocess.Popen(
            [*argv, "--sandbox", self._sandbox],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._env,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        pipe = Pipe(process.stdout, process.stdin)
        try:
            frame, _ = pipe.receive()
        except EOFError as error:
            _end(process)
            raise Misconfigured(
                f"The driver of the Ray cluster at {self._address} ended at once. Look at the "
                "cluster's logs."
            ) from error
        if frame.what != "ready":
            _end(process)
            raise Misconfigured(frame.words)
        self._process, self._pipe, self.nodes = process, pipe, frame.nodes
        self._sent = set()
        for node in self._shut_out:
            pipe.send(Frame(what="shut", node=node))
        reader = threading.Thread(target=self._read, args=(process, pipe), daemon=True)
        reader.start()

    def _read(self, process: subprocess.Popen, pipe: Pipe) -> None:
        while True:
            try:
                frame, body = pipe.receive()
            except EOFError:
                break
            if frame.what == "counted":
                if frame.count is not None and frame.key in self._placed:
                    self._counts[frame.key] = frame.count
                continue
            with self._mutex:
                placed = self._placed.pop(frame.key, None)
            self._counts.pop(frame.key, None)
            if placed is None or placed.future.done():
                continue
            if frame.what == "done":
                self._answers[frame.key] = frame.node
                placed.future.set_result(body)
            elif frame.what == "refused":
                placed.future.set_exception(Misconfigured(frame.words))
            else:
                placed.future.set_exception(
                    Transient(f"The cluster lost the job ({frame.words}). It may be run again.")
                )
        _end(process)
        self._again()

    def _again(self) -> None:
        """The driver is gone: start another one, and have what it had run again."""
        words = "The driver of the Ray cluster ended."
        for _ in range(STARTS):
            with self._mutex:
                if self._closing:
                    return
                try:
                    self._start()
                    for key in list(self._placed):
                        self._send(key)
                    return
                except (Misconfigured, OSError) as error:
                    words = str(error)
            time.sleep(PAUSE_S)
        with self._mutex:
            self._process = None
            lost, self._placed = list(self._placed.values()), {}
        for one in lost:
            if not one.future.done():
                one.future.set_exception(Transient(f"{words} The job waits; it is tried again."))

    # --- the contract -----------------------------------------------------------------------------

    def submit(self, job: Job, resources: JobResources) -> str:
        """See `NodeEngine`."""
        key = key_with(job, resources)

        def start() -> "Future[bytes]":
            with self._mutex:
                if self._closing:
                    raise Transient("The engine was closed. Nothing is run any more.")
                if self._process is None:
                    try:
                        self._start()
                    except Misconfigured as error:
                        raise Transient(f"{error} Then try again.") from error
                placed = self._placed[key] = _Placed(job, resources, Future())
                with suppress(OSError):  # the driver has just ended: `_again` sends it
                    self._send(key)
                return placed.future

        return self._waiting.join(key, start)

    def answered_by(self, key: str) -> str | None:
        """See `NodeEngine`."""
        return self._answers.pop(key, None)

    def shut_out(self, node: str) -> None:
        """See `NodeEngine`."""
        with self._mutex:
            self._shut_out.add(node)
            if self._process is not None:
                with suppress(OSError):  # the next one is given it when it starts
                    self._pipe.send(Frame(what="shut", node=node))

    def _send(self, key: str) -> None:
        """Under the mutex."""
        placed = self._placed[key]
        packs = {target: self._data(folder) for target, folder in placed.job.folders.items()}
        frame = Frame(
            what="submit",
            key=key,
            cpus=placed.resources.cpus,
            alone=placed.resources.alone,
            node=placed.resources.only or placed.resources.apart,
            only=bool(placed.resources.only),
            packs=packs,
            gpus=None if placed.job.strong is None else placed.job.strong.gpus,
        )
        self._pipe.send(frame, placed.job.without_folders.model_dump_json().encode())

    def _data(self, folder: Path) -> str:
        """The hash of a folder's data, which the driver has then."""
        name = self._hashes.get(folder)
        if name is None or name not in self._sent:
            data = pack(folder)
            name = self._hashes[folder] = hash_of(data)
            if name not in self._sent:
                self._pipe.send(Frame(what="pack", key=name), data)
                self._sent.add(name)
        return name

    def poll(self, key: str, wait_s: float = 0.0) -> bytes | None:
        """See `Engine`."""
        return self._waiting.poll(key, wait_s)

    def counted(self, key: str) -> DeviceCount | None:
        """See `DeviceEngine`."""
        return self._counts.get(key)

    def allow(self, key: str, attempt: str, seconds: float | None) -> None:
        """See `DeviceEngine`."""
        with self._mutex:
            if self._process is not None:
                with suppress(OSError):  # the next attempt gets it again
                    self._pipe.send(Frame(what="allow", key=key, attempt=attempt, seconds=seconds))

    def cancel(self, key: str) -> None:
        """See `Engine`. The worker is killed, and its sandbox with it."""
        if self._waiting.leave(key) is None:
            return
        with self._mutex:
            self._placed.pop(key, None)
            self._counts.pop(key, None)
            if self._process is not None:
                try:
                    self._pipe.send(Frame(what="cancel", key=key))
                except OSError:
                    return  # the driver has ended, and with it the job

    def close(self) -> None:
        """See `Engine`."""
        with self._mutex:
            self._closing = True
            process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            with suppress(OSError, subprocess.TimeoutExpired):
                process.stdin.close()
                process.wait(STOP_S)
            _end(process)
        self._waiting.give_up()


def _end(process: subprocess.Popen) -> None:
    """Kill it, if it runs, and close its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
