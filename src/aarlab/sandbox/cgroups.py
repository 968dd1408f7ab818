"""Control groups: what all processes of one sandbox use together is limited and counted by the
kernel.

Version 1 and version 2, below this process's own group so that no limit of the host's is left;
where systemd keeps version 2 to itself, a scope of the user's service manager. A group's name holds
its maker's pid and start time, so that those of dead makers are known and removed.
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aarlab.sandbox.sandbox import MIB, Standing

V1 = ("memory", "pids", "cpu", "cpuacct")
OWN_PIDS = 8  # of bwrap and setpriv, in the same group
PERIOD_US = 100_000
ENTER = (
    'n=$1; shift; while [ "$n" -gt 0 ]; do echo 0 >"$1/cgroup.procs" || exit 126; shift; '
    'n=$((n-1)); done; exec "$@"'
)
PROBE = Standing(memory_bytes=64 * MIB, pids=64, cpus=1.0)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class CgroupPlace:
    """Where this process may make groups."""

    version: int
    folders: dict[str, Path]  # controller -> the folder below which; version 2: one folder for all


class Group:
    """One existing group in each hierarchy, and what its processes use."""

    def __init__(self, version: int, folders: dict[str, Path]) -> None:
        self.version, self.folders = version, folders

    def cpu_s(self) -> float | None:
        """Seconds of processor time of all that ever ran in it."""
        if self.version == 2:
            return int(self._stat("memory", "cpu.stat")["usage_usec"]) / 1e6
        folder = self.folders.get("cpuacct")
        return int((folder / "cpuacct.usage").read_text()) / 1e9 if folder else None

    def memory_bytes(self) -> int | None:
        """What the group holds and could not drop: no cached files, but shared memory and tmpfs."""
        if "memory" not in self.folders:
            return None
        stat = self._stat("memory", "memory.stat")
        return int(stat["anon" if self.version == 2 else "rss"]) + int(stat["shmem"])

    def out_of_memory(self) -> bool:
        """True if a process of the group was ever killed because its memory or the machine's was
        exhausted."""
        if "memory" not in self.folders:
            return False
        # version 1 counts since Linux 4.13
        file = "memory.events" if self.version == 2 else "memory.oom_control"
        return int(self._stat("memory", file).get("oom_kill", "0")) > 0

    def pids(self) -> list[int]:
        """Its processes."""
        folder = next(iter(self.folders.values()))
        return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]

    def _stat(self, controller: str, file: str) -> dict[str, str]:
        return dict(
            line.split(" ", 1)
            for line in (self.folders[controller] / file).read_text().splitlines()
        )


class Cgroup(Group):
    """Creates one group in each hierarchy, with limits. `holds` lists the limits that could be set.

    Raises:
        OSError: the kernel refuses it.
    """

    def __init__(self, place: CgroupPlace, standing: Standing) -> None:
        name = f"aar-{os.getpid()}-{started(os.getpid())}-{next(_numbers)}"
        super().__init__(
            place.version,
            {controller: folder / name for controller, folder in place.folders.items()},
        )
        try:
            for folder in set(self.folders.values()):
                folder.mkdir()
            for controller, file, value in limits(place.version, standing):
                if controller in self.folders:
                    (self.folders[controller] / file).write_text(value)
            # no swap beyond it, where swap is counted
            for file in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
                path = self.folders.get("memory", Path("/nowhere")) / file
                if standing.memory_bytes is not None and path.exists():
                    path.write_text(
                        "0" if file == "memory.swap.max" else str(standing.memory_bytes)
                    )
        except OSError:
            self.close()
            raise
        self.holds = frozenset(
            {"memory", "pids", "cpus"} & {"cpus" if c == "cpu" else c for c in self.folders}
        )

    def enter(self, argv: list[str]) -> list[str]:
        """A command line that runs argv inside the group from its first instruction."""
        folders = [str(folder) for folder in sorted(set(self.folders.values()))]
        return ["/bin/sh", "-c", ENTER, "enter", str(len(folders)), *folders, *argv]

    def close(self) -> None:
        """Kill all processes of the group, and remove it."""
        deadline = time.monotonic() + 5
        for folder in set(self.folders.values()):
            while folder.exists():
                for pid in _read(folder / "cgroup.procs").split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                with contextlib.suppress(OSError):  # busy until its processes are gone altogether
                    folder.rmdir()
                    break
                if time.monotonic() > deadline:
                    break  # swept when the next supervisor starts
                time.sleep(0.01)


def limits(version: int, standing: Standing) -> Iterator[tuple[str, str, str]]:
    """(controller, file, value) of each limit, in the words of a version."""
    first = version == 1
    if standing.memory_bytes is not None:
        yield (
            "memory",
            "memory.limit_in_bytes" if first else "memory.max",
            str(standing.memory_bytes),
        )
    if standing.pids is not None:
        yield "pids", "pids.max", str(standing.pids + OWN_PIDS)
    if standing.cpus is not None:
        quota = str(int(standing.cpus * PERIOD_US))
        if first:
            yield "cpu", "cpu.cfs_period_us", str(PERIOD_US)
        yield (
            "cpu",
            "cpu.cfs_quota_us" if first else "cpu.max",
            quota if first else f"{quota} {PERIOD_US}",
        )


@cache
def place() -> CgroupPlace | None:
    """The place where groups can be created, found by creating one; None if there is none.
    Removes groups of dead makers."""
    mounts, own = hierarchies(_read(Path("/proc/self/mountinfo"))), _read(Path("/proc/self/cgroup"))
    for found in (version_1(mounts, own), version_2(mounts, own)):
        if found is None:
            continue
        for root in {mount for mount, _ in mounts.values()}:
            sweep(root)
        usable = {
            c: f for c, f in found.folders.items() if _works(CgroupPlace(found.version, {c: f}))
        }
        if "memory" in usable:
            return CgroupPlace(found.version, usable)
    return None


def _works(found: CgroupPlace) -> bool:
    try:
        Cgroup(found, PROBE).close()
    except OSError:
        return False
    return True


def hierarchies(mountinfo: str) -> dict[str, tuple[Path, str]]:
    """Controller (version 2: "") -> (where its hierarchy is mounted, which group of it is at the
    mount's root)."""
    found: dict[str, tuple[Path, str]] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = [*after.split(), "", "", ""][:3]
        if kind == "cgroup2":
            found.setdefault("", (Path(point), root))
        elif kind == "cgroup":
            for controller in set(options.split(",")) & set(V1):
                found.setdefault(controller, (Path(point), root))
    return found


def version_1(mounts: dict[str, tuple[Path, str]], own: str) -> CgroupPlace | None:
    """The folders of this process's own groups of version 1."""
    groups = {
        c: path
        for line in own.splitlines()
        for _, cs, path in [line.split(":", 2)]
        for c in cs.split(",")
    }
    folders = {c: _below(*mounts[c], groups[c]) for c in V1 if c in mounts and c in groups}
    return CgroupPlace(1, folders) if "memory" in folders else None


def version_2(mounts: dict[str, tuple[Path, str]], own: str) -> CgroupPlace | None:
    """The nearest group, from this process's own upwards, that may have limited children: it hands
    the controllers on."""
    path = next(
        (line.split(":", 2)[2] for line in own.splitlines() if line.startswith("0::")), None
    )
    if path is None or "" not in mounts:
        return None
    top, root = mounts[""]
    folder = _below(top, root, path)
    for group in [folder, *(p for p in folder.parents if p.is_relative_to(top))]:
        handed_on = set(_read(group / "cgroup.subtree_control").split())
        if {"memory", "pids"} <= handed_on and os.access(group, os.W_OK):
            return CgroupPlace(2, {c: group for c in ("memory", "pids", "cpu") if c in handed_on})
    return None


def group_of(pid: int, name: str) -> Group | None:
    """The groups of a process, if all relevant ones have this name; None if this is unknown or
    not yet so."""
    mounts, own = (
        hierarchies(_read(Path("/proc/self/mountinfo"))),
        _read(Path(f"/proc/{pid}/cgroup")),
    )
    own = "\n".join(line for line in own.splitlines() if name in line)
    if found := version_1(mounts, own):
        return Group(1, found.folders)
    path = next(
        (line.split(":", 2)[2] for line in own.splitlines() if line.startswith("0::")), None
    )
    if path is None or "" not in mounts:
        return None
    folder = _below(*mounts[""], path)
    return Group(2, {"memory": folder}) if (folder / "memory.stat").exists() else None


def _below(point: Path, root: str, path: str) -> Path:
    return point / os.path.relpath(path, root) if Path(path).is_relative_to(root) else point


def sweep(root: Path) -> None:
    """Remove the empty groups whose makers are dead."""
    for folder, names, _ in os.walk(root):
        for name in names:
            parts = name.split("-")
            if parts[0] == "aar" and len(parts) == 4 and started(int(parts[1])) != parts[2]:
                # not empty: its processes are another's, or are ending
                with contextlib.suppress(OSError):
                    Path(folder, name).rmdir()


def started(pid: int) -> str:
    """When a process started, in ticks since boot; "" if there is none such."""
    return (
        _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split(" ")[20:21][0]
        if Path(f"/proc/{pid}").exists()
        else ""
    )


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@cache
def scopes() -> bool:
    """Can the user's service manager (as root: the system's) limit a command?"""
    if place() is not None or shutil.which("systemd-run") is None:
        return False
    try:
        return (
            subprocess.run(scoped(["true"], PROBE), capture_output=True, timeout=10).returncode == 0
        )
    except subprocess.TimeoutExpired:
        return False


def scoped(argv: list[str], standing: Standing) -> list[str]:
    """argv in a scope of its own, which goes with its last process."""
    manager = [] if os.geteuid() == 0 else ["--user"]
    words = {
        "MemoryMax": standing.memory_bytes,
        "MemorySwapMax": None if standing.memory_bytes is None else 0,
        "TasksMax": None if standing.pids is None else standing.pids + OWN_PIDS,
        "CPUQuota": None if standing.cpus is None else f"{standing.cpus * 100:.0f}%",
    }
    properties = [
        word
        for key, value in words.items()
        if value is not None
        for word in ("-p", f"{key}={value}")
    ]
    return ["systemd-run", *manager, "--scope", "--quiet", "--collect", *properties, "--", *argv]
