"""One run of the code of a problem in a folder, or of a submission to it, in a sandbox without
network; and how it ended."""

import contextlib
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from aarlab.core.author import WEIGHTS
from aarlab.core.own_code import ROOT
from aarlab.core.settings import home
from aarlab.models.smollm_weights import ensure_weights
from aarlab.problems.folder.folder_problem import Contract, Resources
from aarlab.runs.endings import MachineState, Processors
from aarlab.runs.own_folders import require_own_folders
from aarlab.sandbox.disk_usage import scratch
from aarlab.sandbox.sandbox import (
    GIB,
    Completed,
    Limits,
    MakeSandbox,
    Mount,
    Sandbox,
    SandboxSpec,
    Standing,
)

METHOD = "method.py"  # the file of submitted code that is called
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
        image=resources.image,
        standing=Standing(
            memory_bytes=int(resources.memory_gib * GIB), cpus=resources.cpus, disk_bytes=GIB
        ),
    )


@contextlib.contextmanager
def folder_sandbox(
    make_sandbox: MakeSandbox,
    name: str,
    contract: Contract,
    resources: Resources,
    *mounts: Mount,
    workdir: str = "/tmp",
) -> Iterator[Sandbox]:
    """A sandbox for one run of a problem's code, or of a submission to it: with these mounts, the
    model that the contract names, and empty folders where `resources` wants them. Its user closes
    it.

    Raises:
        Transient, Misconfigured: see `weights_of` and `require_own_folders`.
    """
    weights = weights_of(contract)
    with scratch() as place:
        own = tuple(Mount(place / f[1:], f, writable=True) for f in resources.folders)
        for mount in own:
            mount.source.mkdir()
        spec = sandbox_of(name, resources, *mounts, *weights, *own, workdir=workdir)
        sandbox = make_sandbox(spec)
        require_own_folders(sandbox, resources.folders)
        yield sandbox


def weights_words(contract: Contract, sandbox: Sandbox) -> list[str]:
    """The arguments that say where the problem's model is inside."""
    return ["--weights", sandbox.inside(str(WEIGHTS))] if contract.weights else []


def weights_of(contract: Contract) -> tuple[Mount, ...]:
    """The folder of the model that a problem names, read-only, for each of its sandboxes; it is
    fetched where it was never used before.

    Raises:
        Transient, Misconfigured: see `ensure_weights`.
    """
    if contract.weights is None:
        return ()
    folder = ensure_weights(home().cache)
    for path in folder.iterdir():  # as root, a sandbox runs code as another user
        if (mode := path.stat().st_mode) & 0o044 != 0o044:
            path.chmod(stat.S_IMODE(mode) | 0o044)
    return (Mount(folder, str(WEIGHTS)),)


def limits_of(resources: Resources) -> Limits:
    """The limits of one command in it."""
    return Limits(resources.wall_s, memory_bytes=int(resources.memory_gib * GIB))


def run_once(
    sandbox: Sandbox, argv: list[str], resources: Resources, begun: Path
) -> tuple[Completed, MachineState]:
    """Run a command to its end, and close the sandbox. `begun`: what the code writes when it is
    started, in a folder whose disk is looked at, too."""
    try:
        processors = Processors()
        done = sandbox.exec(argv, limits_of(resources))
        left = processors.left(sandbox.usage().cpu_s)
    finally:
        sandbox.close()
    free = shutil.disk_usage(begun.parent).free
    return done, MachineState(begun.exists(), free, left, int(resources.memory_gib * GIB))
