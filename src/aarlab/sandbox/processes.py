"""All processes of one sandbox: started under its limits, counted, watched, and ended together.

The kernel's groups limit memory, pids and processor time where they can be made; else pids are
limited in the sandbox's own user name space, memory is watched, and processor time is not limited,
which `held` says. Disk is held by volumes of a fixed size, else watched: a command is stopped while
it is measured, and ended if it is beyond. The host's reserve is watched always.
"""

import contextlib
import json
import os
import shutil
import subprocess
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from aarlab.sandbox import cgroups
from aarlab.sandbox.disk_usage import GREW_BYTES, Disk, FixedSizeFolder
from aarlab.sandbox.output import copy_capped, kill_group, run_to_end
from aarlab.sandbox.sandbox import Completed, Limits, SandboxSpec, Usage
from aarlab.sandbox.usage_watch import QUICK_S, SLOW_S, WATCH, below, stopped

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
LIMITED = ("memory", "pids", "cpus", "disk")
WATCHED = f"watched every {SLOW_S:g} s: what goes beyond is ended"
WATCHED_DISK = (
    f"watched every {1000 * QUICK_S:g} ms by the free space, deleted files counted: what goes "
    "beyond is ended"
)
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class TreeUse:
    """What a tree of processes was last seen to use."""

    cpu_s: float = 0.0
    memory_bytes: int = 0
    processes: int = 0


class ProcessEngine(Protocol):
    """For sandboxes whose processes are children of an engine, which enforces their limits."""

    def end(self, process: subprocess.Popen) -> None:
        """Kill all of a command, and wait for our end of it."""

    def look(self, process: subprocess.Popen) -> TreeUse:
        """What all of a command use now."""

    def pids(self, process: subprocess.Popen) -> list[int]:
        """All of a command, by the host's numbers."""


def held(own_pids: bool, disk: str = WATCHED_DISK) -> dict[str, str]:
    """How each standing limit is enforced on this machine; a limit that is not enforced is missing.

    `own_pids`: the sandbox's processes have a user name space or a uid of their own.
    """
    found = {"disk": disk}
    if where := cgroups.place():
        names = {"cpu": "cpus", "memory": "memory", "pids": "pids"}
        found |= {names[c]: f"cgroup version {where.version}" for c in where.folders if c in names}
    elif cgroups.scopes():
        found |= dict.fromkeys(("memory", "pids", "cpus"), "a systemd scope for each command")
    found.setdefault("memory", WATCHED)
    if own_pids:
        found.setdefault("pids", "prlimit --nproc")
    return {name: found[name] for name in LIMITED if name in found}


class Processes:
    """See the module's docstring."""

    def __init__(
        self,
        spec: SandboxSpec,
        *,
        own_pids: bool,
        engine: ProcessEngine | None = None,
        volumes: Sequence[FixedSizeFolder] = (),
    ) -> None:
        self.spec, self.standing, self._engine = spec, spec.standing, engine
        self._end = engine.end if engine else kill_group
        self.disk = Disk([m.source for m in spec.mounts if m.writable], volumes)
        where = None if self._engine else cgroups.place()
        self.cgroup = cgroups.Cgroup(where, spec.standing) if where else None
        if self.cgroup:
            # also where nobody closed the sandbox, at the latest as we exit
            weakref.finalize(self, self.cgroup.close)
        self._nproc = own_pids and not self._engine and held(own_pids)["pids"].startswith("prlimit")
        self._all: list[subprocess.Popen] = []
        self._closed: Usage | None = None
        self._over = False  # it is being closed
        self._unwritten = ""  # see `Usage`
        self._seen: dict[int, TreeUse] = {}

    def limited(self, argv: list[str], limits: Limits | None) -> list[str]:
        """argv, which runs inside, under limits of each process. A long-running command (None) has
        none on address space, for some programs reserve far more than they use."""
        # inside there are the system's folders, and no other one that PATH may name first
        prlimit = shutil.which("prlimit", path=SYSTEM_PATH) or shutil.which("prlimit")
        if prlimit is None:
            return argv
        words = ["--core=0"]
        if limits is not None:
            words.append(f"--as={limits.memory_bytes}")
        sizes = [self.standing.disk_bytes, limits.file_bytes if limits is not None else None]
        if known := [size for size in sizes if size is not None]:
            words.append(f"--fsize={min(known)}")
        if self._nproc and self.standing.pids is not None:
            words.append(f"--nproc={self.standing.pids + cgroups.OWN_PIDS}")
        return [prlimit, *words, "--", *argv]

    def popen(
        self,
        command: list[str],
        *,
        stdin: int,
        env: dict[str, str],
        cwd: Path | None = None,
        fds: Sequence[int] = (),
    ):
        """Start a command of the host's in the sandbox's group."""
        if self.cgroup:
            command = self.cgroup.enter(command)
        elif not self._engine and cgroups.scopes():
            command = cgroups.scoped(command, self.standing)
            env = env | {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}"}
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=fds,
            start_new_session=True,
        )
        self._all.append(process)
        return process

    def run(self, process: subprocess.Popen, limits: Limits) -> Completed:
        """Let it run to its end or to the first limit."""
        ended = self._follow(process)
        done = run_to_end(process, limits, self._end)
        limit = (
            json.loads(ended[0])["limit"]
            if ended
            else "memory"
            if self.cgroup and self.cgroup.out_of_memory()
            else None
        )
        return replace(done, output="\n".join([done.output, *ended]), limit=limit)

    def follow(self, process: subprocess.Popen, log: Path) -> None:
        """Copy its output to a log, whose last line says which standing limit ended it, if one
        did."""
        copier = threading.Thread(
            target=copy_capped,
            args=(process.stdout, log),
            kwargs={"unwritten": self._cannot_write},
            daemon=True,
        )
        copier.start()
        self._follow(process, copier, log)

    def _cannot_write(self, why: str) -> None:
        self._unwritten = why

    def _follow(
        self,
        process: subprocess.Popen,
        copier: threading.Thread | None = None,
        log: Path | None = None,
    ) -> list[str]:
        """Watch a process. In the list, which limit ended it."""
        watched = _Command(self, process, self.disk.allowed(self.standing.disk_bytes), copier, log)
        WATCH.add(watched)
        if self._over:  # another thread closes it, and may not have seen this process
            self._end(process)
        return watched.ended

    def pids(self, process: subprocess.Popen) -> list[int]:
        """All processes of a command."""
        if self._engine:
            return self._engine.pids(process)
        return self.cgroup.pids() if self.cgroup else below(process.pid)

    def _open_in(self) -> list[int]:
        """All processes of all running commands."""
        return [
            pid for process in self._all if process.returncode is None for pid in self.pids(process)
        ]

    def look_at_disk(self, command: "_Command") -> None:
        """Measure, and end it if it is beyond. Where only we look, it stands still meanwhile, so
        that it gains nothing by a folder that takes long to walk."""
        if self.disk.volumes:
            self.disk.measure()
            self._judge_disk(command)
            return
        with stopped(lambda: self.pids(command.process)):
            self.disk.measure(self._open_in())
            self._judge_disk(command)

    def _judge_disk(self, command: "_Command") -> None:
        """If the reserve is touched, a command whose folders have grown recently is the cause."""
        if self.disk.bytes > command.allowed and not self.disk.volumes:
            command.end(f"disk: {self.disk.bytes:,} bytes of {command.allowed:,.0f}")
        elif self.disk.grew >= GREW_BYTES and (lacks := self.disk.lacks()):
            command.end(f"disk: {lacks}; {self.spec.name} took {self.disk.grew:,} bytes recently")

    @property
    def watches_memory(self) -> bool:
        """Whether nobody but us holds the limit on memory."""
        return (
            self.cgroup is None
            and not self._engine
            and self.standing.memory_bytes is not None
            and not cgroups.scopes()
        )

    def look_at_memory(self, command: "_Command") -> None:
        """Measure, and end it if it is beyond."""
        memory, most = self._look(command.process).memory_bytes, self.standing.memory_bytes
        if most is not None and memory > most:
            command.end(f"memory: {memory:,} bytes of {most:,}")

    def end(self, process: subprocess.Popen) -> None:
        """Kill all of a command."""
        self._end(process)

    def _look(self, process: subprocess.Popen) -> TreeUse:
        """What the tree of a running process uses; what it used in all remains when it has
        ended."""
        now, before = (
            (self._engine.look(process) if self._engine else tree(process.pid)),
            self._seen.get(process.pid, TreeUse()),
        )
        self._seen[process.pid] = TreeUse(
            max(now.cpu_s, before.cpu_s), now.memory_bytes, now.processes
        )
        return self._seen[process.pid]

    def usage(self) -> Usage:
        """See `Sandbox.usage`. Without groups, processor time of the last quarter second of a
        process may be missing."""
        if self._closed is not None:
            return self._closed
        running = [p for p in self._all if p.returncode is None]
        seen = (
            [self._look(p) for p in running]
            if self.cgroup is None or self.cgroup.cpu_s() is None
            else []
        )
        cpu_s = self.cgroup.cpu_s() if self.cgroup else None
        memory = self.cgroup.memory_bytes() if self.cgroup else None
        return Usage(
            cpu_s=sum(s.cpu_s for s in self._seen.values()) if cpu_s is None else cpu_s,
            memory_bytes=sum(s.memory_bytes for s in seen) if memory is None else memory,
            disk_bytes=self.disk.bytes
            if running and self.disk.bytes
            else self.disk.measure(self._open_in()),
            processes=len(self.cgroup.pids()) if self.cgroup else sum(s.processes for s in seen),
            unwritten=self._unwritten,
        )

    def close(self) -> None:
        """Kill all running processes. `usage` then returns the totals."""
        self._over = True
        if self._closed is not None:
            return
        for process in self._all:
            if process.poll() is None:
                self._end(process)
            if process.stdin:
                process.stdin.close()
        self._closed = replace(self.usage(), memory_bytes=0, processes=0, unwritten="")
        if self.cgroup:
            self.cgroup.close()


@dataclass
class _Command:
    """One running command, as it is watched. What takes longer than microseconds is done beside."""

    of: Processes
    process: subprocess.Popen
    allowed: float
    copier: threading.Thread | None
    log: Path | None
    ended: list[str] = field(default_factory=list)
    _busy: threading.Thread | None = None

    @property
    def quick(self) -> bool:
        return (
            not self.of.disk.volumes and self.allowed != float("inf") and bool(self.of.disk.folders)
        )

    def look(self, slow: bool) -> bool:
        """See `Watched.look`."""
        if (
            self.process.returncode is not None
            or (slow and self.process.poll() is not None)
            or self.ended
        ):
            return False
        if self._busy is not None and self._busy.is_alive():
            return True
        if self.of.disk.suspect(self.allowed) or (slow and self.of.disk.late()):
            self._beside(self.of.look_at_disk, self)
        elif slow and self.of.watches_memory:
            self._beside(self.of.look_at_memory, self)
        return True

    def lose(self, error: OSError) -> None:
        """See `Watched.lose`."""
        self._beside(self.end, f"disk: its folders cannot be looked at: {error.strerror}")

    def _beside(self, act: Callable[..., None], *given: object) -> None:
        self._busy = threading.Thread(target=act, args=given, daemon=True)
        self._busy.start()

    def end(self, words: str) -> None:
        """Kill all of it, and let its log say at which limit."""
        self.ended.append(
            json.dumps({"type": "sandbox", "limit": words.split(":")[0], "words": words})
        )
        self.of.end(self.process)
        if self.copier and self.log:
            self.copier.join(5)
            # whoever has removed the log's folder reads no log
            with contextlib.suppress(FileNotFoundError), self.log.open("a") as file:
                file.write(f"\n{self.ended[0]}\n")


def tree(pid: int) -> TreeUse:
    """What a process and all below it use now, their ended children's processor time included."""
    seen, todo = TreeUse(), [pid]
    while todo:
        folder = Path("/proc", str(todo.pop()))
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            _, resident, shared, *_ = map(int, (folder / "statm").read_text().split())
            todo += [
                int(p)
                for children in folder.glob("task/*/children")
                for p in children.read_text().split()
            ]
        except (OSError, ValueError):
            continue  # it ended as we looked
        seen.cpu_s += sum(map(int, stat[11:15])) / TICKS
        seen.memory_bytes += (resident - shared) * PAGE
        seen.processes += 1
    return seen


class Commands:
    """What providers have alike: they differ in the command of the host's by which a command inside
    is started."""

    _processes: Processes

    def _popen(self, argv: list[str], stdin: int) -> subprocess.Popen:
        raise NotImplementedError

    def start(self, argv: list[str], log: Path) -> subprocess.Popen:
        """See `Sandbox.start`."""
        process = self._popen(self._processes.limited(argv, None), subprocess.PIPE)
        self._processes.follow(process, log)
        return process

    def exec(self, argv: list[str], limits: Limits) -> Completed:
        """See `Sandbox.exec`."""
        return self._processes.run(
            self._popen(self._processes.limited(argv, limits), subprocess.DEVNULL), limits
        )

    def usage(self) -> Usage:
        """See `Sandbox.usage`. bwrap's own processes count among them, three or four a command;
        processor time of docker's containers is as it was last looked at."""
        return self._processes.usage()
