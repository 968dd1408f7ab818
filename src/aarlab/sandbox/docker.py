"""The second sandbox: a container of a docker engine, for machines that have one and no user name spaces.

The engine holds the limits; its command line is a child of ours. Inside there is the host's /usr and the running Python,
read-only as in bubblewrap's, over an image of which only the links from /bin and /lib into /usr are used. There is no network:
the gateway is reached through its socket's folder. Containers of dead makers are removed at the next start.
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
import tempfile
import weakref
from functools import cache
from pathlib import Path
from typing import ClassVar

from aarlab.core.errors import Misconfigured
from aarlab.core.settings import docker_image, environment
from aarlab.sandbox import cgroups, seccomp
from aarlab.sandbox.bubblewrap import Lease, python_mounts
from aarlab.sandbox.output import kill_group
from aarlab.sandbox.processes import WATCHED, Commands, Processes, Seen
from aarlab.sandbox.sandbox import MIB, SANDBOXES, Mount, SandboxSpec

TMP_BYTES = 512 * MIB
COMMAND_S = 60.0
MAKER = "aarlab.maker"  # the label that says who made a container: pid and start time
REMEDY = "Start it (is `docker info` content?), set DOCKER_HOST, or use --set sandbox=bubblewrap."
INIT = ["/bin/sh", "-c", '"$@"; exit $?', "init"]  # reaps orphans; docker's own would have to lie in the host's /usr
FILTER = """import base64, ctypes, os, sys
calls, c = base64.b64decode(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
if c.prctl(22, 2, ctypes.byref(Program(len(calls) // 8, calls)), 0, 0): sys.exit(f"no filter: {ctypes.get_errno()}")
os.execv(sys.argv[2], sys.argv[2:])
"""  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER: on top of the engine's own filter
_numbers = itertools.count(1)


@SANDBOXES.add("docker")
class Docker(Commands):
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
        sweep()
        self._lease = Lease() if os.geteuid() == 0 else None
        self.uid = self._lease.uid if self._lease else os.geteuid()
        writable = [str(m.source) for m in spec.mounts if m.writable]
        if self._lease and writable:
            subprocess.run(["chown", "-hR", f"{self.uid}:{self.uid}", "--", *writable], check=True, capture_output=True)
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
                f"The engine has no image {docker_image()}. Run `docker pull {docker_image()}`, or set AAR_DOCKER_IMAGE."
            )

    @staticmethod
    def limits_held() -> dict[str, str]:
        """See `Sandbox.limits_held`."""
        return dict.fromkeys(("memory", "pids", "cpus"), "the docker engine") | {"disk": WATCHED}

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
        command = ["docker", *run_words(self.spec, name=name, uid=self.uid), docker_image(), *filtered([*INIT, *argv])]
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
        group = self._found.get(self.names[process.pid])
        with contextlib.suppress(OSError):
            for pid in group.pids() if group else []:
                os.kill(pid, signal.SIGKILL)
        _ask("rm", "--force", self.names[process.pid])
        kill_group(process)

    def look(self, process: subprocess.Popen) -> Seen:
        """What the kernel has counted for the container."""
        name = self.names[process.pid]
        if name not in self._found:
            pid, _, identity = _ask("inspect", "--format", "{{.State.Pid}} {{.Id}}", name)[0].partition(" ")
            if not identity or pid == "0" or (group := cgroups.group_of(int(pid), identity)) is None:
                return Seen()  # it is not there yet
            self._found[name] = group
        group = self._found[name]
        try:
            return Seen(group.cpu_s() or 0.0, group.memory_bytes() or 0, len(group.pids()))
        except OSError:
            return Seen()  # it has ended

    def close(self) -> None:
        """Remove all that is left; a docker command that was killed leaves its container."""
        if self.names:
            _ask("rm", "--force", *self.names.values())
            self.names.clear()


def filtered(argv: list[str]) -> list[str]:
    """argv, run inside under the same filter of system calls as in bubblewrap: an engine's own lets AF_VSOCK through."""
    calls = seccomp.program()
    return argv if calls is None else [sys.executable, "-S", "-E", "-c", FILTER, base64.b64encode(calls).decode(), *argv]


def run_words(spec: SandboxSpec, *, name: str, uid: int) -> list[str]:
    """The words of `docker run` for one command in the sandbox, without image and command."""
    standing = spec.standing
    words = ["run", "--rm", "--interactive", "--name", name, "--label", f"{MAKER}={maker()}", "--hostname", "sandbox"]
    words += ["--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pull", "never"]
    words += ["--user", f"{uid}:{uid}", "--ipc", "private", "--shm-size", str(TMP_BYTES), "--log-driver", "none"]
    if standing.pids is not None:
        words += ["--pids-limit", str(standing.pids + cgroups.OWN_PIDS)]
    if standing.memory_bytes is not None:
        words += ["--memory", str(standing.memory_bytes), "--memory-swap", str(standing.memory_bytes)]
    if standing.cpus is not None:
        words += ["--cpus", f"{standing.cpus:g}"]
    words += ["--tmpfs", f"/tmp:rw,exec,mode=1777,size={TMP_BYTES}", "--tmpfs", f"/run:rw,mode=0755,size={TMP_BYTES}"]
    mounts = [Mount(Path("/usr"), "/usr"), *python_mounts(), *spec.mounts]
    closed = pwd.getpwuid(0).pw_dir  # the home of root
    if below := tuple(m.target for m in mounts if Path(m.target).is_relative_to(closed)):
        mounts.insert(0, Mount(_open_root(closed, below), closed))
    for mount in mounts:
        words += ["--mount", _mount(mount)]
    for device in spec.devices:
        words += ["--device", device]
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", **spec.env}
    words += [word for key, value in env.items() for word in ("--env", f"{key}={value}")]
    return [*words, "--workdir", spec.workdir]


def _mount(mount: Mount) -> str:
    """One bind mount as a line of CSV, so that a path may hold commas."""
    fields = ["type=bind", f"source={mount.source.absolute()}", f"target={mount.target}"]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([*fields, *([] if mount.writable else ["readonly"])])
    return line.getvalue()


@cache
def _open_root(closed: str, targets: tuple[str, ...]) -> Path:
    """In place of the home of root, which images close: a folder that all may enter, with the places of these mounts."""
    folder = Path(tempfile.mkdtemp(prefix="aar-root-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    for target in targets:
        (folder / Path(target).relative_to(closed)).mkdir(parents=True, exist_ok=True)
    return folder


def maker() -> str:
    """This process, so that its containers are known from those of the dead."""
    return f"{os.getpid()}-{cgroups.started(os.getpid())}"


@cache
def sweep() -> None:
    """Remove the containers of dead makers, once a process."""
    said, _ = _ask("ps", "--all", "--filter", f"label={MAKER}", "--format", f'{{{{.ID}}}} {{{{.Label "{MAKER}"}}}}')
    for line in said.splitlines():
        name, _, who = line.partition(" ")
        pid, _, start = who.partition("-")
        if cgroups.started(int(pid)) != start:
            _ask("rm", "--force", name)


def _ask(*words: str) -> tuple[str, str]:
    """(output, "") of a docker command; ("", why) where it failed."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=COMMAND_S, check=False)
        failed = done.returncode != 0
        return ("", done.stderr.strip() or f"exit status {done.returncode}") if failed else (done.stdout.strip(), "")
    return "", f"no answer within {COMMAND_S:.0f} s"
