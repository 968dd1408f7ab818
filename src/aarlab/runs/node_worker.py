"""What a worker on a node does with one job, whichever scheduler started it: JSON in, its data by
their hash, bytes out. Nothing from inside the sandbox is unpickled, and the sandbox has neither
the worker's environment, nor its network, nor its files."""

import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from pydantic import ValidationError

from aarlab.core.errors import AarError, Misconfigured, Transient
from aarlab.core.own_code import whole_code
from aarlab.runs.data_pack import kept, unpack
from aarlab.runs.run_jobs import Job, refusal
from aarlab.runs.run_worker import work
from aarlab.sandbox import SANDBOXES


def run(
    request: bytes,
    sandbox: str,
    packs: Mapping[str, str],
    fetched: Callable[[str], bytes],
    data: Path,
    beside: AbstractContextManager[None],
) -> bytes:
    """A job's end, as `run_jobs.opened` reads it.

    `packs`: by path inside, the hash of its data. They are kept in the folder `data`, and `fetched`
    where they are not there yet. `beside`: is held while the job runs.
    """
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
            return work(job, folders, kind)
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
