"""What the sandbox of a researcher shows it, and its program started there; the same on every
machine."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from aarlab.researchers.researcher import (
    BRIEF,
    DATA,
    GATE,
    HOME,
    SOCKET_NAME,
    IncarnationStart,
    Inside,
    Researcher,
)
from aarlab.sandbox.sandbox import Mount, Sandbox, SandboxSpec, Standing

ENV = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}


def sandbox_of(
    name: str,
    *,
    data: Path,
    brief: Path,
    home: Path,
    gate: Path,
    more: Sequence[Mount],
    standing: Standing,
    devices: tuple[str, ...],
) -> SandboxSpec:
    """Public data, its brief, its home, the folder with its socket, and `more`; nothing else."""
    mounts = (
        Mount(data, DATA),
        Mount(brief, BRIEF),
        Mount(home, HOME, writable=True),
        Mount(gate, GATE),
        *more,
    )
    return SandboxSpec(
        name=name,
        mounts=mounts,
        env=ENV | {"HOME": HOME},
        workdir=HOME,
        standing=standing,
        devices=devices,
        lasting=True,
    )


def start_program(
    researcher: Researcher, sandbox: Sandbox, start: IncarnationStart, python: str, log: Path
) -> subprocess.Popen:
    """Start, or resume, the program of a researcher in its sandbox."""
    log.parent.mkdir(parents=True, exist_ok=True)
    at = sandbox.inside
    inside = Inside(
        home=at(HOME), brief=at(BRIEF), data=at(DATA), socket=at(f"{GATE}/{SOCKET_NAME}")
    )
    launch = researcher.launch(inside, start)
    env = ["/usr/bin/env", *(f"{name}={value}" for name, value in launch.env.items())]
    wrapper = [python, "-m", "aarlab.researchers.inside", "--socket", inside.socket, "--"]
    return sandbox.start([*env, *wrapper, *launch.argv], log)
