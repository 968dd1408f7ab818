"""The contract of a sandbox: a place where untrusted code runs and sees only what is mounted. `check_sandbox` examines one."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from aarlab.core.registry import Registry

GIB, MIB = 1 << 30, 1 << 20


@dataclass(frozen=True)
class Mount:
    """A host path and where it appears inside.

    A folder that holds a unix socket is mounted as it is: what its owner makes anew in it is seen. Code inside may run
    under another uid than the owner's, so the socket must be writable to all (0666) and the folder open to all (0711);
    a parent folder that only its owner may enter keeps the host's other users out.
    """

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
    pids: int | None = 512  # processes and threads
    cpus: float | None = None
    disk_bytes: int | None = 10 * GIB  # of its writable mounts; a file counts as 4 KiB at least


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
    """Five methods of one sandbox. Of a provider, as a class: `isolates` names what it keeps apart (an empty set is for tests
    only), `require` refuses to go on where it cannot, `limits_held` says how limits are held."""

    isolates: ClassVar[frozenset[str]]

    @staticmethod
    def require() -> None:
        """Refuse to go on where this machine cannot isolate.

        Raises:
            Misconfigured: the operator must mend it; says how.
        """

    @staticmethod
    def limits_held() -> dict[str, str]:
        """How each standing limit (memory, pids, cpus, disk) is held on this machine, in words; one that is not is missing."""

    def inside(self, target: str) -> str:
        """The path by which code inside reaches a mount's target."""

    def start(self, argv: list[str], log: Path) -> subprocess.Popen:
        """Start a long-running command whose output goes to `log` (at most LOG_BYTES of it). Its stdin is a pipe that the
        caller holds: closing it asks the program to stop. Where a standing limit ends it, a last line of JSON in the log
        says which.

        Raises:
            Misconfigured: this machine cannot isolate; the operator must act.
        """

    def exec(self, argv: list[str], limits: Limits) -> Completed:
        """Run a command to its end, or kill all of it at the time limit.

        Raises:
            Misconfigured: this machine cannot isolate. A missing executable is an ordinary failed `Completed`.
        """

    def usage(self) -> Usage:
        """What it uses now. Disk is as it was last measured while a command runs, which is at most DISK_EVERY_S ago."""

    def close(self) -> None:
        """Release what the sandbox holds; its processes are gone afterwards."""


SANDBOXES: Registry[type] = Registry("sandbox")
LOG_BYTES = 16 * MIB
DISK_EVERY_S = 30.0
