"""The second sandbox: a container of a docker engine, for machines with an engine and without user
name spaces.

The engine enforces the limits; its command line is a child process of aarlab. Inside are the host's
/usr and the running Python, read-only as in bubblewrap's sandbox. Of the image, only the links from
/bin and /lib into /usr are used; where code names an image of its own, that is there instead of the
host's /usr, may be written to, and goes with the container. There is no network: the gateway is
reached through its socket's folder. Containers of dead processes are removed at the next start.
"""

import atexit
import base64
import contextlib
import csv
import io
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import weakref
from functools import cache
from pathlib import Path
from typing import ClassVar

from aarlab.core.errors import Misconfigured
from aarlab.core.held_folder import HeldFolder
from aarlab.core.settings import docker_image, environment
from aarlab.sandbox import cgroups, seccomp
from aarlab.sandbox.bubblewrap import UidLease, hand_over, python_mounts
from aarlab.sandbox.etc_files import HOSTNAME, etc_files
from aarlab.sandbox.output import kill_group
from aarlab.sandbox.processes import WATCHED_DISK, Commands, Processes, TreeUse
from aarlab.sandbox.sandbox import MIB, SANDBOXES, Mount, SandboxSpec

TMP_BYTES = 512 * MIB
COMMAND_S = 60.0
MAKER = "aarlab.maker"  # the label that says who made a container: pid and start time
REMEDY = "Start it (is `docker info` content?), set DOCKER_HOST, or use --set sandbox=bubblewrap."
# reaps orphans; docker's own would have to lie in the host's /usr
INIT = ["/bin/sh", "-c", '"$@"; exit $?', "init"]
FILTER = """import base64, ctypes, os, sys
calls, c = base64.b64decode(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
if c.prctl(22, 2, ctypes.byref(Program(len(calls) // 8, calls)), 0, 0):
    sys.exit(f"no filter: {ctypes.get_errno()}")
os.execv(sys.argv[2], sys.argv[2:])
"""  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER: on top of the engine's own filter
_numbers = itertools.count(1)


@SANDBOXES.add("docker")
class Docker(Commands):
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
        sweep()
        self._lease = UidLease() if os.geteuid() == 0 else None
        self.uid = self._lease.uid if self._lease else os.geteuid()
        if self._lease:
            hand_over(spec, self.uid)
        self._engine = Containers()
        self._processes = Processes(spec, own_pids=False, engine=self._engine)
        if self._lease:
            weakref.finalize(self, self._lease.close)

    @staticmethod
    def require() -> None:
        """Refuse to go on where no engine answers, or it does not have the image.

        Raises:
            Misconfigured: the operator must start it, or get the image.
        """
        if shutil.which("docker") is None:
            raise Misconfigured(f"There is no docker command. Install it. {REMEDY}")
        if words := _ask("info", "--format", "{{.ServerVersion}}")[1]:
            raise Misconfigured(f"The docker engine does not answer: {words}. {REMEDY}")
        if _ask("image", "inspect", docker_image())[1]:
            raise Misconfigured(
                f"The engine has no image {docker_image()}. Run `docker pull {docker_image()}`, "
                "or set AAR_DOCKER_IMAGE."
            )

    @staticmethod
    def limits_held() -> dict[str, str]:
        """See `Sandbox.limits_held`."""
        return dict.fromkeys(("memory", "pids", "cpus"), "the docker engine") | {
            "disk": WATCHED_DISK
        }

    def inside(self, target: str) -> str:
        """The target itself."""
        return target

    def close(self) -> None:
        """Kill what still runs, containers and all."""
        self._processes.close()
        self._engine.close()
        if self._lease:
            self._lease.close()

    def _popen(self, argv: list[str], stdin: int) -> subprocess.Popen:
        name = f"aar-{maker()}-{next(_numbers)}"
        command = [
            "docker",
            *run_words(self.spec, name=name, uid=self.uid),
            self.spec.image or docker_image(),
            *filtered([*INIT, *argv]),
        ]
        process = self._processes.popen(command, stdin=stdin, env=environment())
        self._engine.names[process.pid] = name
        return process


class Containers:
    """The containers of one sandbox, by the pid of the docker command that waits for each."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self._found: dict[str, cgroups.Group] = {}

    def end(self, process: subprocess.Popen) -> None:
        """Remove the container and end its docker command; at once, where we may."""
        if self.names[process.pid] in self._found:
            for pid in self.pids(process):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        _ask("rm", "--force", self.names[process.pid])
        kill_group(process)

    def look(self, process: subprocess.Popen) -> TreeUse:
        """What the kernel has counted for the container."""
        try:
            if group := self._group(process):
                return TreeUse(group.cpu_s() or 0.0, group.memory_bytes() or 0, len(group.pids()))
        except OSError:
            pass  # it has ended
        return TreeUse()

    def pids(self, process: subprocess.Popen) -> list[int]:
        """All processes of the container, by the host's numbers."""
        try:
            group = self._group(process)
            return group.pids() if group else []
        except OSError:
            return []  # it has ended

    def _group(self, process: subprocess.Popen) -> cgroups.Group | None:
        """The container's group; None where it is not there yet."""
        name = self.names[process.pid]
        if name not in self._found:
            pid, _, identity = _ask("inspect", "--format", "{{.State.Pid}} {{.Id}}", name)[
                0
            ].partition(" ")
            if (
                not identity
                or pid == "0"
                or (group := cgroups.group_of(int(pid), identity)) is None
            ):
                return None
            self._found[name] = group
        return self._found[name]

    def close(self) -> None:
        """Remove all that is left; a docker command that was killed leaves its container."""
        if self.names:
            _ask("rm", "--force", *self.names.values())
            self.names.clear()


def filtered(argv: list[str]) -> list[str]:
    """argv, run inside under the same filter of system calls as in bubblewrap: an engine's own lets
    AF_VSOCK through."""
    calls = seccomp.program()
    return (
        argv
        if calls is None
        else [sys.executable, "-S", "-E", "-c", FILTER, base64.b64encode(calls).decode(), *argv]
    )


def run_words(spec: SandboxSpec, *, name: str, uid: int) -> list[str]:
    """The words of `docker run` for one command in the sandbox, without image and command."""
    standing = spec.standing
    options = {
        "--name": name,
        "--label": f"{MAKER}={maker()}",
        "--hostname": HOSTNAME,
        "--network": "none",
        "--cap-drop": "ALL",
        "--security-opt": "no-new-privileges",
        "--pull": "never",
        "--user": f"{uid}:{uid}",
        "--ipc": "private",
        "--shm-size": str(TMP_BYTES),
        "--log-driver": "none",
        "--workdir": spec.workdir,
    }
    if standing.pids is not None:
        options["--pids-limit"] = str(standing.pids + cgroups.OWN_PIDS)
    if standing.memory_bytes is not None:
        options |= dict.fromkeys(("--memory", "--memory-swap"), str(standing.memory_bytes))
    if standing.cpus is not None:
        options["--cpus"] = f"{standing.cpus:g}"
    many = [("--tmpfs", f"/tmp:rw,exec,mode=1777,size={TMP_BYTES}")]
    many.append(("--tmpfs", f"/run:rw,mode=0755,size={TMP_BYTES}"))
    etc = _written(tuple(etc_files(spec, uid).items()))
    system = [] if spec.image else [Mount(Path("/usr"), "/usr")]
    mounts = [*system, *etc, *python_mounts(), *spec.mounts]
    closed = pwd.getpwuid(0).pw_dir  # the home of root
    if below := tuple(m.target for m in mounts if Path(m.target).is_relative_to(closed)):
        mounts.insert(0, Mount(_open_root(closed, below), closed))
    many += [("--mount", _mount(mount)) for mount in mounts]
    many += [("--device", device) for device in spec.devices]
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", **spec.env}
    many += [("--env", f"{key}={value}") for key, value in env.items()]
    pairs = (*options.items(), *many)
    kept = [] if spec.image else ["--read-only"]
    return ["run", "--rm", "--interactive", *kept, *(w for pair in pairs for w in pair)]


def _mount(mount: Mount) -> str:
    """One bind mount as a line of CSV, so that a path may hold commas."""
    fields = ["type=bind", f"source={mount.source.absolute()}", f"target={mount.target}"]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(
        [*fields, *([] if mount.writable else ["readonly"])]
    )
    return line.getvalue()


@cache
def _open_root(closed: str, targets: tuple[str, ...]) -> Path:
    """In place of the home of root, which images close: a folder that all may enter, with the
    places of these mounts."""
    folder = _open_folder()
    for target in targets:
        (folder / Path(target).relative_to(closed)).mkdir(parents=True, exist_ok=True)
    return folder


@cache
def _written(files: tuple[tuple[str, str], ...]) -> list[Mount]:
    """Mounts of files with these texts, by their paths inside."""
    folder = _open_folder()
    mounts = [Mount(folder / Path(path).name, path) for path, _ in files]
    for mount, (_, text) in zip(mounts, files, strict=True):
        mount.source.write_text(text)
        mount.source.chmod(0o444)
    return mounts


def _open_folder() -> Path:
    """A temporary folder that all may enter, for as long as this process runs."""
    held = HeldFolder(0o755)
    atexit.register(held.close)
    return held.path


def maker() -> str:
    """This process, so that its containers are known from those of the dead."""
    return f"{os.getpid()}-{cgroups.started(os.getpid())}"


@cache
def sweep() -> None:
    """Remove the containers of dead makers, once a process."""
    said, _ = _ask(
        "ps",
        "--all",
        "--filter",
        f"label={MAKER}",
        "--format",
        f'{{{{.ID}}}} {{{{.Label "{MAKER}"}}}}',
    )
    for line in said.splitlines():
        name, _, who = line.partition(" ")
        pid, _, start = who.partition("-")
        if cgroups.started(int(pid)) != start:
            _ask("rm", "--force", name)


def _ask(*words: str) -> tuple[str, str]:
    """(output, "") of a docker command; ("", why) where it failed."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            ["docker", *words], capture_output=True, text=True, timeout=COMMAND_S, check=False
        )
        failed = done.returncode != 0
        return (
            ("", done.stderr.strip() or f"exit status {done.returncode}")
            if failed
            else (done.stdout.strip(), "")
        )
    return "", f"no answer within {COMMAND_S:.0f} s"
