"""The contract of a sandbox: a place where untrusted code runs and sees only what is mounted.
`check_sandbox` examines one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from aarlab.core.errors import Misconfigured
from aarlab.core.registry import Registry

GIB, MIB = 1 << 30, 1 << 20


@dataclass(frozen=True)
class Mount:
    """A host path and its path inside the sandbox.

    A folder that holds a unix socket is mounted itself, not copied: files that its owner creates
    later appear in it. Code inside may run under another uid than the owner's, so the socket must
    be writable to all (0666) and the folder open to all (0711); a parent folder that only its owner
    may enter keeps the host's other users out.
    """

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Limits:
    """Limits of one command."""

    timeout_s: float
    memory_bytes: int = 4 * GIB  # address space of each process
    file_bytes: int = 256 * MIB  # of each file written
    output_bytes: int = MIB  # kept; the rest is drained and dropped


@dataclass(frozen=True)
class Standing:
    """Limits of all processes of one sandbox together, while the sandbox exists. None: no limit."""

    memory_bytes: int | None = 4 * GIB
    pids: int | None = 512  # processes and threads
    cpus: float | None = None
    disk_bytes: int | None = (
        10 * GIB
    )  # of its writable mounts, each an equal part; a file counts as 4 KiB at least (in a volume 8)


@dataclass(frozen=True)
class Usage:
    """Current use of all processes of one sandbox; for processor time, the total so far."""

    cpu_s: float
    memory_bytes: int
    disk_bytes: int
    processes: int
    # why what a long-running command prints cannot be written now: it waits
    unwritten: str = ""


@dataclass(frozen=True)
class SandboxSpec:
    """The specification of a sandbox. It gets nothing of the host's environment."""

    name: str
    mounts: tuple[Mount, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/tmp"
    standing: Standing = Standing()
    devices: tuple[str, ...] = ()  # host device files that exist inside (/dev/nvidia0, ...)
    # the writable folders serve several sandboxes: what holds their size stays until
    # `volume.let_go`
    lasting: bool = False
    # of a docker engine: its programs and files are there instead of this machine's /usr
    image: str | None = None

    def require_devices(self) -> None:
        """Raises Misconfigured if a device that the operator named does not exist."""
        for device in self.devices:
            if not Path(device).exists():
                words = (
                    f"There is no device {device} for the sandbox. Correct the campaign's devices."
                )
                raise Misconfigured(words, device=device)

    def require_no_image(self) -> None:
        """Raises Misconfigured if code wants the programs of an image, which this sandbox has
        not."""
        if self.image is not None:
            raise Misconfigured(
                f"This code runs in the image {self.image}, for which a docker engine is needed. "
                "Use the sandbox docker (`--sandbox docker`, or `-s sandbox=docker`)."
            )


@dataclass(frozen=True)
class Completed:
    """How a command ended. `output` is stdout and stderr together, its last `output_bytes` at most.
    `limit`: the standing limit of its sandbox ("memory", "disk") at which a process of it was
    killed."""

    returncode: int
    output: str
    timed_out: bool
    wall_s: float
    limit: str | None = None


class Sandbox(Protocol):
    """A sandbox has five methods. Its class, the provider, has three members: `isolates` names
    what it isolates (an empty set is only for tests), `require` raises an error if this machine
    cannot do it, and `limits_held` lists how limits are enforced."""

    isolates: ClassVar[frozenset[str]]

    @staticmethod
    def require() -> None:
        """Check that this machine can isolate.

        Raises:
            Misconfigured: the operator must fix it; the message says how.
        """

    @staticmethod
    def limits_held() -> dict[str, str]:
        """How this machine enforces each standing limit (memory, pids, cpus, disk). A limit that
        is not enforced is missing."""

    def inside(self, target: str) -> str:
        """The path of a mount's target for code inside."""

    def start(self, argv: list[str], log: Path) -> subprocess.Popen:
        """Start a long-running command. Its output goes to `log`, in parts of LOG_BYTES of
        which LOG_PARTS are kept. While they cannot be written (the disk is full, say) the command
        waits, and `usage` says why. Its stdin is a pipe of the caller; closing the pipe asks the
        program to stop. If a standing limit ends the command, the last line of the log is JSON
        that names the limit.

        Raises:
            Misconfigured: this machine cannot isolate; the operator must act.
        """

    def exec(self, argv: list[str], limits: Limits) -> Completed:
        """Run a command to its end; kill all its processes at the time limit.

        Raises:
            Misconfigured: this machine cannot isolate. A missing executable is an ordinary failed
                `Completed`.
        """

    def usage(self) -> Usage:
        """Current use. While a command runs, the disk use is the last measurement, at most
        DISK_EVERY_S old."""

    def close(self) -> None:
        """Kill all processes of the sandbox and release its resources. Another thread may do it
        while `exec` runs, which then returns or raises an OSError; what is started later ends."""


MakeSandbox = Callable[[SandboxSpec], Sandbox]
SANDBOXES: Registry[type] = Registry("sandbox")
LOG_BYTES, LOG_PARTS = 16 * MIB, 16
DISK_EVERY_S = 30.0
