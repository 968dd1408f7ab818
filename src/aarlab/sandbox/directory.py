"""A directory and a child process. It isolates nothing: for tests and machines without namespaces, by name only."""

import subprocess
import threading
from pathlib import Path
from typing import ClassVar

from aarlab.sandbox.sandbox import (
    SANDBOXES,
    STANDING,
    Completed,
    Limits,
    SandboxSpec,
    copy_capped,
    kill_group,
    limited,
    run_to_end,
)


@SANDBOXES.add("directory")
class Directory:
    """Code inside sees the whole machine; the environment is cleared and limits hold, no more."""

    isolates: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, spec: SandboxSpec) -> None:
        self.spec = spec
        self._processes: list[subprocess.Popen] = []

    @staticmethod
    def require() -> None:
        """Nothing is required."""

    def inside(self, target: str) -> str:
        """The host's path: there is no other name space."""
        for mount in self.spec.mounts:
            if target == mount.target or target.startswith(mount.target + "/"):
                return str(mount.source) + target[len(mount.target) :]
        return target

    def _popen(self, argv: list[str]) -> subprocess.Popen:
        workdir = Path(self.inside(self.spec.workdir))
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", **self.spec.env, "HOME": str(workdir)}
        process = subprocess.Popen(
            argv,
            cwd=workdir,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def start(self, argv: list[str], log: Path) -> subprocess.Popen:
        """See `Sandbox.start`."""
        process = self._popen(limited(argv, STANDING))
        threading.Thread(target=copy_capped, args=(process.stdout, log), daemon=True).start()
        return process

    def exec(self, argv: list[str], limits: Limits) -> Completed:
        """See `Sandbox.exec`."""
        return run_to_end(self._popen(limited(argv, limits)), limits)

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._processes:
            if process.poll() is None:
                kill_group(process)
