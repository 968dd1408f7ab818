"""What a worker on a node does with one job, whichever scheduler started it: JSON in, its data by
their hash, bytes out. Nothing from inside the sandbox is unpickled, and the sandbox has neither
the worker's environment, nor its network, nor its files."""

import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from pydantic import ValidationError

from aarlab.core.errors import AarError, Misconfigured, Transient
from aarlab.core.files import widen_umask
from aarlab.core.own_code import whole_code
from aarlab.runs.data_pack import kept, unpack
from aarlab.runs.run_jobs import Job, refusal
from aarlab.runs.run_worker import work
from aarlab.sandbox import SANDBOXES
from aarlab.sandbox.sandbox import MakeSandbox

JobOnDevice = Callable[[Job, Mapping[str, Path], MakeSandbox], bytes]
MARGIN_S = 60.0  # beyond a job's limit, to make its sandbox and to read what it left
# `cat` ends with the process whose pipe it reads, or where that closes it
WATCH = 'timeout "$1" cat; if [ $? -eq 124 ]; then kill -9 "$PPID"; fi'


@contextmanager
def killed_after(limit_s: float) -> Iterator[None]:
    """Have this process killed if what is done meanwhile takes longer, as in a process that is
    frozen: its scheduler sees the end of a worker, and has the job run again."""
    argv = ["/bin/sh", "-c", WATCH, "watch", f"{limit_s:g}"]
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin"},
        start_new_session=True,
    ):
        yield


def run(
    request: bytes,
    sandbox: str,
    packs: Mapping[str, str],
    fetched: Callable[[str], bytes],
    data: Path,
    beside: AbstractContextManager[None],
    *,
    device: JobOnDevice | None = None,
) -> bytes:
    """A job's end, as `run_jobs.opened` reads it.

    `packs`: by path inside, the hash of its data. They are kept in the folder `data`, and `fetched`
    where they are not there yet. `beside`: is held while the job runs. `device`: runs a job that
    asks for one.
    """
    widen_umask()
    try:
        job = Job.model_validate_json(request)
        if job.code != whole_code().digest:
            raise Misconfigured(
                f"The node {platform.node()} has another version of aarlab than who submits. "
                "Install the same on all."
            )
        kind = SANDBOXES[sandbox]
        _require(kind)
        folders = {
            target: kept(data, name) or unpack(data, name, fetched(name))
            for target, name in packs.items()
        }
        with beside:
            if job.strong is None:
                with killed_after(job.limits.timeout_s + MARGIN_S):
                    return work(job, folders, kind)
            if device is None:
                raise Transient(f"The worker on {platform.node()} has no device. Try again.")
            return device(job, folders, kind)  # its limit begins once its models are there
    except ValidationError as error:
        return refusal(
            Transient(f"The node was sent what is no job: {error.error_count()} faults.")
        )
    except AarError as error:
        return refusal(error)


def _require(kind: type) -> None:
    """Raises Misconfigured, with the node's name, where it cannot isolate."""
    try:
        kind.require()
    except Misconfigured as error:
        raise Misconfigured(f"The node {platform.node()} can run nothing: {error}") from error
