"""Attackers inside a researcher's sandbox: each program of `redteam/inside`, run there, and judged
from outside.

An attack is held when no secret of the scene is in what it printed, nothing of the host's has
changed, nothing outlives the sandbox, no limit was passed, and it does not boast of anything. Its
control runs the same program where it must get through: in the sandbox that isolates nothing, or
without limits.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from json import dumps
from pathlib import Path
from typing import Literal

from aarlab.redteam.handed_in import HANDED_IN
from aarlab.redteam.scene import Scene, wait_for
from aarlab.redteam.system import AttackRow
from aarlab.sandbox import Bubblewrap, Directory, volume
from aarlab.sandbox.disk_usage import remove
from aarlab.sandbox.output import END_BYTES
from aarlab.sandbox.sandbox import (
    LOG_BYTES,
    MIB,
    MakeSandbox,
    Standing,
    Usage,
)

TIGHT = Standing(memory_bytes=192 * MIB, pids=64, cpus=0.5, disk_bytes=48 * MIB)
LOOSE = Standing(memory_bytes=None, pids=None, cpus=None, disk_bytes=None)
PEOPLE = Standing(memory_bytes=1024 * MIB, pids=128)  # for attacks that want no resources
ATTACK_S, POLL_S = 30.0, 0.02
SLACK_PIDS, SLACK_MEMORY = 12, 16 * MIB  # bwrap's own; the kernel's rounding
# of the disk: the host's own blocks for an image; until the watch has looked
SLACK_FIXED, SLACK_WATCHED = 4 * MIB, 64 * MIB
HOST_BYTES = 2048 * MIB  # of the file system that stands for the host's disk
SLACK_LOG = 4096  # a line that names the limit that ended it
SAYS = "it says: "
BOASTS = (
    "opened", "mounted", "unmounted", "became", "joined", "reached", "connected", "resolved",
    "answer", "killed", "attached",
    "typed", "inherited", "wrote", "removed", "changed", "new name space", "read memory", "segment",
    "linked", "made itself",
    "key ", "sees", "made /",
)  # fmt: skip


@dataclass(frozen=True)
class Attack:
    """One attacking program: what it tries, and the sandbox in which it must succeed."""

    name: str  # of the program
    tried: str
    # wall: tests take one down, and it gets through
    control: Literal["directory", "unlimited", "wall"] | None = None
    wants: bool = False  # more resources than it may have


@dataclass(frozen=True)
class SandboxOutcome:
    """What was seen from outside."""

    said: str
    peak: Usage
    log_bytes: int
    wall_s: float
    code: int | None  # exit status; None if it had to be ended
    # that the file system below the sandbox's folders had less, at the worst moment
    host_bytes: int
    breaches: tuple[str, ...]


ATTACKS = (
    Attack("guessed paths", (
        "labels, sealed items, tokens, others' homes: as paths, by /proc/PID/root, cwd, ../"
    ), "directory"),
    Attack("crawl", "reads every file below / that can be read", "wall"),
    Attack("table of mounts", (
        "host paths that /proc/self/mountinfo names, their parents and siblings"
    )),
    Attack(
        "writing beyond home",
        "data, brief, socket, system, interpreter: new files, modes, the socket removed",
        "directory",
    ),
    Attack("links left at home", (
        "links to the host's files, a pipe, newlines in names, 1,500 nested folders, set-uid files"
    )),
    Attack("environments and command lines", (
        "environ, cmdline, maps and open files of every process in sight"
    ), "directory"),
    Attack("inherited files", "file descriptors that the supervisor left open"),
    Attack("memory of others", "/proc/PID/mem and ptrace on the supervisor's number and pid 1"),
    Attack("signals to the host", "SIGKILL to a host process's number", "directory"),
    Attack("outliving the sandbox", "a twice-forked daemon in its own session"),
    Attack("typing into a terminal", "TIOCSTI on every terminal in sight"),
    Attack("settings of the kernel", (
        "core_pattern, modprobe, sysrq, release_agent, kcore, disks: opened for writing"
    )),
    Attack("mounts and name spaces", (
        "remounts, proc, tmpfs, cgroup and disk mounts, unshare of four kinds, umount"
    ), "wall"),
    Attack("becoming root", "setuid, setgroups, su, sudo, pkexec, newuidmap"),
    Attack("devices", "mknod of disk, memory and vsock; every device in /dev"),
    Attack("rarely used system calls", (
        "bpf, perf, userfaultfd, io_uring, keyctl, kexec, modules, syslog, fsopen, ..."
    ), "wall"),
    Attack("kernel keys", "a key in the host's user ring; /proc/keys", "directory"),
    Attack("shared memory and queues", (
        "System V and POSIX segments of the host's, open to all there"
    ), "directory"),
    Attack("ports of the host", (
        "the lab's TCP port and another, by four names of this machine"
    ), "directory"),
    Attack("addresses beyond", (
        "metadata address, DNS, link-local, raw ICMP, packet, crypto and vsock sockets"
    ), "wall"),
    Attack("links of the network", "interfaces, and taking one down over netlink"),
    Attack("unix sockets", (
        "abstract, docker's, the gateway's control socket, another researcher's socket"
    ), "directory"),
    Attack("the gateway", (
        "26 paths, 5 methods, forged headers, smuggled requests: for keys and tokens"
    )),
    Attack("fork bomb", "400 children", "unlimited", True),
    Attack("memory hog", "3 x 100 MiB in processes of their own", "unlimited", True),
    Attack("processor hog", "two processes on half a core", None, True),
    Attack("filling its home", "144 MiB in allowed files", "unlimited", True),
    Attack("empty files", "32,000 files without content", "unlimited", True),
    Attack("one sparse file", "a terabyte of nothing, and one large file", "unlimited", True),
    Attack("filling what is not its home", "/tmp, /dev/shm, /run, /dev", "unlimited", True),
    Attack("room without writing", (
        "fallocate and FS_IOC_RESVSP64, 448 MiB within a millisecond"
    ), "unlimited", True),
    Attack("files without a name", (
        "448 MiB in files that are unlinked and kept open"
    ), "unlimited", True),
    Attack("files that never had a name", "448 MiB by O_TMPFILE", "unlimited", True),
    Attack("deleted files in memory maps", (
        "448 MiB in deleted files that a map alone keeps"
    ), "unlimited", True),
    Attack("deleted files on their way", (
        "448 MiB in deleted files that wait in a socket"
    ), "unlimited", True),
    Attack("deleted files of single threads", (
        "448 MiB, open in tables that threads have for themselves"
    ), "unlimited", True),
    Attack(
        "deleted files of a process without its first thread", "448 MiB, open or mapped there",
        "unlimited", True
    ),
    Attack("what nobody may look at", (
        "448 MiB in a folder without a mode, by a process not dumpable"
    ), "unlimited", True),
    Attack("many hands", "448 MiB by 16 processes, each far below the limit", "unlimited", True),
    Attack("holes that are filled later", "sparse files, measured, then filled", "unlimited", True),
    Attack("names, links and attributes", (
        "links, folders, extended attributes: blocks that are no content"
    ), "unlimited", True),
    Attack("flood of output", "24 MiB to the log", "wall"),
)  # fmt: skip


def attack_sandbox(
    folder: Path,
    make: MakeSandbox = Bubblewrap,
    names: Iterable[str] | None = None,
    *,
    progress: Callable[[str], None] = lambda w: None,
) -> list[AttackRow]:
    """Every attack (or those named) in a new sandbox each, with its control; `say` hears which is
    at work."""
    chosen = [a for a in ATTACKS if names is None or a.name in set(names)]
    rows = []
    for number, attack in enumerate(chosen):
        progress(attack.name)
        own = folder / f"a{number}"
        own.mkdir()
        with disk_of_its_own(own), Scene(own) as scene:
            rows.append(row(scene, attack, make))
    return rows + [HANDED_IN[name]() for name in HANDED_IN if names is None or name in set(names)]


@contextmanager
def disk_of_its_own(folder: Path) -> Iterator[None]:
    """Where the machine can, a file system for the scene, so that what it loses is the attacker's
    doing alone."""
    if not volume.possible():
        yield
        return
    made = volume.take(folder, HOST_BYTES)
    try:
        yield
    finally:
        for path in folder.iterdir():
            remove(path)
        volume.give_back(made)


@contextmanager
def _lost(folder: Path) -> Iterator[list[int]]:
    """The most that a file system of the scene's own loses meanwhile, in bytes; 0 where it has
    none."""
    done, seen = threading.Event(), [0]

    def sample() -> None:
        before = os.statvfs(folder).f_bfree
        while not done.wait(POLL_S / 10):
            now = os.statvfs(folder)
            seen[0] = max(seen[0], (before - now.f_bfree) * now.f_frsize)

    if not os.path.ismount(folder):
        yield seen
        return
    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield seen
    finally:
        done.set()
        sampler.join()


def row(scene: Scene, attack: Attack, make: MakeSandbox) -> AttackRow:
    """One attack and its control."""
    outcome = run(scene, attack, make)
    control = _control(scene, attack, make) if not outcome.breaches else None
    evidence = "no control: it would harm this machine, or there is no place where it gets through"
    if attack.control == "wall":
        evidence = "a test takes down the wall that holds it, and it gets through"
    if control is not None:
        where = (
            "in the sandbox that isolates nothing"
            if attack.control == "directory"
            else "without limits"
        )
        hard = [
            words for words in control.breaches if not words.startswith(SAYS)
        ] or control.breaches
        evidence = f"{where}: {'; '.join(hard) or 'HELD THERE TOO'}"
    return AttackRow(
        attack=attack.name,
        tried=attack.tried,
        came_back="; ".join(outcome.breaches) or _nothing(attack, outcome),
        held=not outcome.breaches and (control is None or bool(control.breaches)),
        evidence=evidence,
    )


def _nothing(attack: Attack, outcome: SandboxOutcome) -> str:
    if not attack.wants:
        return "nothing"
    peak = outcome.peak
    disk = max(peak.disk_bytes, outcome.host_bytes) >> 20
    return (
        f"at most {peak.processes} processes, {peak.memory_bytes >> 20} MiB of memory, {disk} MiB "
        "of disk"
    )


def _control(scene: Scene, attack: Attack, make: MakeSandbox) -> SandboxOutcome | None:
    if attack.control in {None, "wall"}:
        return None
    home = scene.folder / "home-without"
    home.mkdir()
    if attack.control == "directory":
        return run(scene, attack, Directory, home=home)
    return run(scene, attack, make, home=home, standing=LOOSE)


def run(
    scene: Scene,
    attack: Attack,
    make: MakeSandbox,
    *,
    home: Path | None = None,
    standing: Standing | None = None,
) -> SandboxOutcome:
    """One program in one sandbox, watched from outside, and judged by the tight limits whatever it
    was given."""
    sandbox = make(scene.spec(standing or (TIGHT if attack.wants else PEOPLE), home))
    log = scene.folder / f"log-{time.monotonic_ns()}"
    started = time.monotonic()
    try:
        hints = scene.hints(sandbox, confined=make is Directory)
        program = [sys.executable, "-m", "aarlab.redteam.inside", attack.name, dumps(hints)]
        with _lost(scene.folder) as lost:
            process = sandbox.start(program, log)
            peak = Usage(0.0, 0, 0, 0)
            while process.poll() is None and time.monotonic() - started < ATTACK_S:
                peak = _most(peak, sandbox.usage())
                time.sleep(POLL_S)
        wall_s = time.monotonic() - started
        peak, code = _most(peak, sandbox.usage()), process.poll()
    finally:
        sandbox.close()
    wait_for(lambda: not scene.left_behind(), 2)
    log_bytes = log.stat().st_size if log.exists() else 0
    said = log.read_text(errors="replace") if log.exists() else ""
    outcome = SandboxOutcome(said, peak, log_bytes, wall_s, code, lost[0], ())
    _next_incarnation(scene, attack, make, home)
    return replace(outcome, breaches=tuple(_breaches(scene, attack, outcome)))


def _most(one: Usage, other: Usage) -> Usage:
    return Usage(
        *(max(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))
    )


def _next_incarnation(scene: Scene, attack: Attack, make: MakeSandbox, home: Path | None) -> None:
    """What the supervisor does after it: measures the home and hands it to a new sandbox."""
    if not attack.wants:
        sandbox = make(scene.spec(PEOPLE, home))
        sandbox.usage()
        sandbox.close()


def _breaches(scene: Scene, attack: Attack, outcome: SandboxOutcome) -> Iterable[str]:
    if secrets := scene.found(outcome.said):
        yield f"it has {', '.join(secrets)}"
    for what in scene.changed():
        yield f"it changed {what}"
    for pid in scene.left_behind():
        yield f"process {pid} outlives it"
    boasts = [w for w in outcome.said.split("\n") if w.startswith(BOASTS)]
    if boasts:
        yield f"{SAYS}{', '.join(b[:80] for b in dict.fromkeys(boasts[:4]))}"
    if outcome.code != 0 and not attack.wants:  # an attack that did not run shows nothing
        yield f"the program itself ended with status {outcome.code}: {outcome.said[-300:].strip()}"
    if outcome.log_bytes > LOG_BYTES + END_BYTES + SLACK_LOG:
        yield f"its log has {outcome.log_bytes:,} bytes"
    if attack.wants:
        yield from _beyond(outcome)


def _beyond(outcome: SandboxOutcome) -> Iterable[str]:
    """Limits that were passed, by what was counted outside."""
    peak = outcome.peak
    pids, memory, cpus, disk = (
        TIGHT.pids or 0,
        TIGHT.memory_bytes or 0,
        TIGHT.cpus or 0,
        TIGHT.disk_bytes or 0,
    )
    if peak.processes > pids + SLACK_PIDS:
        yield f"{peak.processes} processes"
    if peak.memory_bytes > memory + SLACK_MEMORY:
        yield f"{peak.memory_bytes >> 20} MiB of memory"
    slack = SLACK_FIXED if volume.possible() else SLACK_WATCHED
    if (taken := max(peak.disk_bytes, outcome.host_bytes)) > disk + slack:
        yield f"{taken >> 20} MiB of disk"
    if peak.cpu_s > cpus * outcome.wall_s + 0.5:
        yield f"{peak.cpu_s:.1f} s of processor time in {outcome.wall_s:.1f} s"
