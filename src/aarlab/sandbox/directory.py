"""A directory and a child process. It isolates nothing: for tests and machines without namespaces, by name only."""

import subprocess
from pathlib import Path
from typing import ClassVar

from aarlab.sandbox.processes import Processes
from aarlab.sandbox.sandbox import SANDBOXES, Completed, Limits, SandboxSpec, Usage


@SANDBOXES.add("directory")
class Directory:
    """Code inside sees the whole machine; the environment is cleared and limits hold, no more."""

    isolates: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, spec: SandboxSpec) -> None:
        self.spec = spec
        self._processes = Processes(spec, own_pids=False)

    @staticmethod
    def require() -> None:
        """Nothing is required."""

    def inside(self, target: str) -> str:
        """The host's path: there is no other name space."""
        for mount in self.spec.mounts:
            if target == mount.target or target.startswith(mount.target + "/"):
                return str(mount.source) + target[len(mount.target) :]
        return target

    def start(self, argv: list[str], log: Path) -> subprocess.Popen:
        """See `Sandbox.start`."""
        process = self._popen(self._processes.limited(argv, None), subprocess.PIPE)
        self._processes.follow(process, log)
        return process

    def exec(self, argv: list[str], limits: Limits) -> Completed:
        """See `Sandbox.exec`."""
        return self._processes.run(self._popen(self._processes.limited(argv, limits), subprocess.DEVNULL), limits)

    def usage(self) -> Usage:
        """See `Sandbox.usage`."""
        return self._processes.usage()

    def close(self) -> None:
        """Kill what still runs; without groups, what left its process group escapes."""
        self._processes.close()

    def _popen(self, argv: list[str], stdin: int) -> subprocess.Popen:
        workdir = Path(self.inside(self.spec.workdir))
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", **self.spec.env, "HOME": str(workdir)}
        return self._processes.popen(argv, stdin=stdin, env=env, cwd=workdir)
