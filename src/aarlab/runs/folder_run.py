"""One run of the code of a problem in a folder, or of a submission to it, in a sandbox without
network; and how it ended."""

import shutil
from pathlib import Path

from aarlab.core.own_code import ROOT
from aarlab.problems.folder.folder_problem import Resources
from aarlab.runs.endings import Around, Processors
from aarlab.sandbox.sandbox import (
    GIB,
    Completed,
    Limits,
    Mount,
    Sandbox,
    SandboxSpec,
    Standing,
)

BEGUN = ".begun"  # written when the code was loaded and is called
_ENV = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/tmp"}


def sandbox_of(
    name: str, resources: Resources, *mounts: Mount, workdir: str = "/tmp"
) -> SandboxSpec:
    """A sandbox with the limits that the contract states."""
    return SandboxSpec(
        name=name,
        mounts=mounts,
        env=_ENV | {"PYTHONPATH": str(ROOT.parent)},
        workdir=workdir,
        standing=Standing(
            memory_bytes=int(resources.memory_gib * GIB), cpus=resources.cpus, disk_bytes=GIB
        ),
    )


def limits_of(resources: Resources) -> Limits:
    """The limits of one command in it."""
    return Limits(resources.wall_s, memory_bytes=int(resources.memory_gib * GIB))


def run_once(
    sandbox: Sandbox, argv: list[str], resources: Resources, begun: Path
) -> tuple[Completed, Around]:
    """Run a command to its end, and close the sandbox. `begun`: what the code writes when it is
    started, in a folder whose disk is looked at, too."""
    try:
        processors = Processors()
        done = sandbox.exec(argv, limits_of(resources))
        left = processors.left(sandbox.usage().cpu_s)
    finally:
        sandbox.close()
    free = shutil.disk_usage(begun.parent).free
    return done, Around(begun.exists(), free, left, int(resources.memory_gib * GIB))
