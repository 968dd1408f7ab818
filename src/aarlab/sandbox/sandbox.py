"""The contract of a sandbox: a place where untrusted code runs and sees only what is mounted; and its examination."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, ClassVar, Protocol

from aarlab.core.registry import Registry

GIB, MIB = 1 << 30, 1 << 20


@dataclass(frozen=True)
class Mount:
    """A host path and where it appears inside."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Limits:
    """What one command may use."""

    timeout_s: float
    memory_bytes: int = 4 * GIB  # address space of each process
    file_bytes: int = 256 * MIB  # of each file written
    output_bytes: int = MIB  # kept; the rest is drained and dropped


@dataclass(frozen=True)
class Standing:
    """What all processes of one sandbox may use together, as long as it stands. None: no limit."""

    memory_bytes: int | None = 4 * GIB
    pids: int | None = 512
    cpus: float | None = None
    disk_bytes: int | None = 10 * GIB  # of its writable mounts


@dataclass(frozen=True)
class Usage:
    """What all processes of one sandbox use now, or (processor time) have used."""

    cpu_s: float
    memory_bytes: int
    disk_bytes: int
    processes: int


@dataclass(frozen=True)
class SandboxSpec:
    """What a sandbox is made of. Nothing of the host's environment comes along."""

    name: str
    mounts: tuple[Mount, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/tmp"
    standing: Standing = Standing()
    devices: tuple[str, ...] = ()  # host device files to be seen inside (/dev/nvidia0, ...)


@dataclass(frozen=True)
class Completed:
    """How a command ended. `output` is stdout and stderr together, its last `output_bytes` at most."""

    returncode: int
    output: str
    timed_out: bool
    wall_s: float


class Sandbox(Protocol):
    """Four methods. `isolates` names what it keeps apart; an empty set is for tests only."""

    isolates: ClassVar[frozenset[str]]

    def inside(self, target: str) -> str:
        """The path by which code inside reaches a mount's target."""

    def start(self, argv: list[str], log: Path) -> subprocess.Popen:
        """Start a long-running command whose output goes to `log` (at most LOG_BYTES of it).

        Raises:
            Misconfigured: this machine cannot isolate; the operator must act.
        """

    def exec(self, argv: list[str], limits: Limits) -> Completed:
        """Run a command to its end, or kill all of it at the time limit.

        Raises:
            Misconfigured: this machine cannot isolate. A missing executable is an ordinary failed `Completed`.
        """

    def close(self) -> None:
        """Release what the sandbox holds; its processes are gone afterwards."""


SANDBOXES: Registry[type] = Registry("sandbox")
LOG_BYTES = 16 * MIB


STANDING = Limits(timeout_s=math.inf)  # of a long-running command: its caller decides when it ends


def limited(argv: list[str], limits: Limits) -> list[str]:
    """argv under resource limits, set by `prlimit` of util-linux where it is there (every Linux has it)."""
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        return argv
    return [prlimit, f"--as={limits.memory_bytes}", f"--fsize={limits.file_bytes}", "--core=0", "--", *argv]


def run_to_end(process: subprocess.Popen, limits: Limits) -> Completed:
    """Drain a process's output, keep its tail, kill its whole group at the time limit."""
    started = time.monotonic()
    assert process.stdout is not None
    tail = Tail(limits.output_bytes)
    reader = threading.Thread(target=tail.drain, args=(process.stdout,), daemon=True)
    reader.start()
    timed_out = False
    try:
        process.wait(limits.timeout_s)
    except subprocess.TimeoutExpired:
        timed_out = True
        kill_group(process)
    except BaseException:
        kill_group(process)
        raise
    reader.join(5)
    process.stdout.close()
    wall_s = time.monotonic() - started
    return Completed(process.returncode, tail.text(), timed_out, round(wall_s, 3))


def kill_group(process: subprocess.Popen) -> None:
    """SIGKILL to the process's group, which its starter made for it alone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Tail:
    """The last `keep` bytes of a stream."""

    def __init__(self, keep: int) -> None:
        self.keep, self._data = keep, bytearray()

    def drain(self, stream: IO[bytes]) -> None:
        """Read to the end, in constant memory."""
        try:
            while chunk := stream.read1(65536):  # type: ignore[attr-defined]
                self._data += chunk
                if len(self._data) > 2 * self.keep:
                    del self._data[: -self.keep]
        except ValueError:
            return  # closed under us after a kill

    def text(self) -> str:
        """What is kept, as text."""
        return bytes(self._data[-self.keep :]).decode(errors="replace")


def copy_capped(stream: IO[bytes], log: Path, cap: int = LOG_BYTES) -> None:
    """Append a stream to a file up to `cap` bytes of it, and go on draining, so that a chatterer fills no disk."""
    written = log.stat().st_size if log.exists() else 0
    with stream, log.open("ab") as file:
        while chunk := stream.read1(65536):  # type: ignore[attr-defined]
            if written < cap:
                file.write(chunk[: cap - written])
                file.flush()
                written += len(chunk)
