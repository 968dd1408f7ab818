"""Child processes of aarlab: started with a log and a pipe from here, watched, started again after
a pause, and ended when we end."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.parent_pipe import ParentPipe

START_TIMEOUT_S, STOP_TIMEOUT_S = 30.0, 10.0
POLL_S = 0.02
TICKS = os.sysconf("SC_CLK_TCK")
MAX_PAUSE_S = 30.0
STABLE_S = 60.0
# by which a process that takes long to start is seen to work, in the time that it is given: share
# of the time for which it used a processor, or waited for one; bytes that it read
WORKS_SHARE, WORKS_BYTES = 0.05, 8 << 20
LOG_TAIL_BYTES = 1 << 16  # of a log, in which its last line is looked for


def doubled(first: float, times: int, most: float) -> float:
    """`first`, doubled so many times, but not beyond `most`."""
    return min(most, first * 2.0 ** min(times, 64))  # days of failures are no overflow


@dataclass
class BackOff:
    """The pause before a process that ended is started again: `first_s`, doubled with each failure
    up to MAX_PAUSE_S."""

    first_s: float = 1.0
    failures: int = 0  # in a row

    def after(self, lived_s: float) -> float:
        """The pause in seconds after a process that ran for `lived_s`; a run of STABLE_S forgets
        earlier failures."""
        self.failures = 1 if lived_s >= STABLE_S else self.failures + 1
        return doubled(self.first_s, self.failures - 1, MAX_PAUSE_S)


class _Work(NamedTuple):
    """What a process has done."""

    cpu_s: float  # with the time for which others had the processor that it waited for
    read_bytes: int

    def shows(self, before: "_Work", seconds: float) -> bool:
        """Whether it worked in the last `seconds`, since it had done `before`."""
        return (
            self.cpu_s - before.cpu_s >= WORKS_SHARE * seconds
            or self.read_bytes - before.read_bytes >= WORKS_BYTES
        )


def _waited_s(path: Path) -> float:
    """For how long others had the processor that a process could have used; 0 where the kernel
    does not count it."""
    try:
        return int(path.read_text().split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0


class Child:
    """One process with a log. It is given `--parent-pipe FD` and ends when we end, also after kill
    -9.

    Methods may be called from several threads.
    """

    def __init__(
        self, name: str, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """`name`: as error messages call it. `env`: all of its environment; None: our own."""
        self.name, self.log = name, log
        self._argv, self._env = list(argv), None if env is None else dict(env)
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._parent_pipe: ParentPipe | None = None
        self._log_from = 0

    def start(self) -> None:
        """Start it and return at once.

        Raises:
            Transient: the system has no process, no file or no disk space left for it.
            Misconfigured: what it is to be handed cannot be made (a taken port, say).
        """
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, self.log.open("ab") as log, ExitStack() as files:
                self._log_from, self._parent_pipe = log.tell(), ParentPipe()
                argv, fds = self._command(
                    [*self._argv, "--parent-pipe", str(self._parent_pipe.fd)], files
                )
                self._process = subprocess.Popen(
                    argv,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[self._parent_pipe.fd, *fds],
                    start_new_session=True,
                )
                self._parent_pipe.close_child_end()
        except OSError as error:
            self._close_pipe()
            raise Transient(
                f"The {self.name} cannot be started now ({error}). Try again."
            ) from error
        except Misconfigured:
            self._close_pipe()
            raise

    def _command(self, argv: list[str], files: ExitStack) -> tuple[list[str], list[int]]:
        """What is started to run argv, and the file descriptors that it is handed; `files` closes
        those of this process."""
        del files
        return argv, []

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return self._process.pid if self._process is not None and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def wait_until(
        self,
        ready: Callable[[], bool],
        within_s: float,
        *,
        given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """Return once it is ready. One that works is waited for as long as it works: it may have
        days of records to read.

        Raises:
            Misconfigured: it ended, did next to nothing for `within_s`, or was given up; then it is
                stopped.
        """
        began = since = time.monotonic()
        before = self._work()
        while not ready():
            late = (now := time.monotonic()) - since > within_s
            if late and self.alive and (work := self._work()).shows(before, now - since):
                since, before, late = now, work, False
            if late or not self.alive or given_up():
                waited = f" in {now - began:.0f} s" if self.alive else ""  # else it ended
                self.stop()
                words = f"The {self.name} did not start{waited}."
                raise Misconfigured(
                    f"{words} Its last output: {self.last_output()} (log: {self.log})"
                )
            time.sleep(POLL_S)

    def _work(self) -> "_Work":
        """What it has done so far; nothing where the system does not say."""
        if self._process is None:
            return _Work(0.0, 0)
        at = Path("/proc", str(self._process.pid))
        try:
            # after the name, which may hold anything
            fields = at.joinpath("stat").read_text().rpartition(")")[2].split()
            read = at.joinpath("io").read_text().splitlines()[0].split()
            used_s = (int(fields[11]) + int(fields[12])) / TICKS
            return _Work(used_s + _waited_s(at / "schedstat"), int(read[1]))
        except (OSError, ValueError, IndexError):
            return _Work(0.0, 0)

    def join(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end: the exit code, negative for a signal; None if it still runs after
        `timeout_s`."""
        assert self._process is not None, "it was not started"
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self) -> None:
        """Let it end in order; do not wait."""
        self._close_pipe()
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """End it: in order within STOP_TIMEOUT_S, else by SIGKILL."""
        self.terminate()
        self._end()

    def _end(self) -> None:
        """Wait for its end for STOP_TIMEOUT_S, then send SIGKILL."""
        if self._process is not None and self.join(STOP_TIMEOUT_S) is None:
            self._process.kill()
            self._process.wait()

    def _close_pipe(self) -> None:
        with self._lock:
            if self._parent_pipe is not None:
                self._parent_pipe.close()
                self._parent_pipe = None

    def last_output(self) -> str:
        """The last line of its log since it was started, or the signal that ended it."""
        if self.log.exists():
            with self.log.open("rb") as log:
                log.seek(max(self._log_from, log.seek(0, 2) - LOG_TAIL_BYTES))
                if lines := log.read().decode(errors="replace").strip().splitlines():
                    return lines[-1]
        code = self._process.poll() if self._process is not None else None
        return f"none; it ended by signal {-code}" if code is not None and code < 0 else "none"


class Service(Child):
    """A child that takes requests, and writes the file `address` once it does. It is started again
    after a pause."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        address: Path,
        log: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, argv, log=log, env=env)
        self.address = address
        self._back_off, self._not_before = BackOff(), 0.0
        self._began: float | None = None  # by the clock of `revive`
        self._seen = 0.0  # when it last ran, by the same clock

    def __enter__(self) -> Self:
        self.start()
        self.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """See `Child.start`; `wait` waits until it takes requests."""
        try:
            self.address.unlink(missing_ok=True)
            self.address.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Transient(
                f"The {self.name} cannot be started now ({error}). Try again."
            ) from error
        super().start()

    @property
    def up(self) -> bool:
        """Whether it takes requests."""
        return self.alive and self.address.exists()

    def wait(self) -> None:
        """Return once it takes requests.

        Raises:
            Misconfigured: it ended instead, or did next to nothing for START_TIMEOUT_S; with its
                last log line.
        """
        self.wait_until(self.address.exists, START_TIMEOUT_S)

    def stop(self) -> None:
        """End it by its pipe, which reaches it also inside a sandbox; by SIGKILL after
        STOP_TIMEOUT_S."""
        self._close_pipe()
        self._end()

    def revive(self, now: Callable[[], float] = time.monotonic) -> bool:
        """Start it again if it has ended and its pause is over; True if it was started.

        Raises:
            Transient: see `Child.start`.
        """
        if self.alive:
            self._seen = now()
            return False
        if self._not_before == 0.0:
            lived_s = self._seen - self._began if self._began is not None else 0.0
            self._not_before = now() + self._back_off.after(lived_s)
        if now() < self._not_before:
            return False
        self._not_before, self._began, self._seen = 0.0, now(), now()
        self._close_pipe()
        self.start()
        return True
