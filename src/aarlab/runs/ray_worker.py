"""What a Ray worker runs: one job, in a sandbox of its own (see `node_worker`)."""

import ray

from aarlab.core.errors import Transient
from aarlab.core.settings import home
from aarlab.runs import node_worker
from aarlab.runs.alone import alone, beside_others

AGAIN = 3  # times that Ray runs a job again whose worker or node has died


def run(
    request: bytes, sandbox: str, exclusive: bool, packs: dict[str, tuple[str, "ray.ObjectRef"]]
) -> bytes:
    """A job's end, as `run_jobs.opened` reads it. `packs`: by path inside, the hash of its data and
    where they can be had."""
    refs = dict(packs.values())
    names = {target: name for target, (name, _) in packs.items()}
    beside = (alone if exclusive else beside_others)(home().node)
    data = home().node_data
    return node_worker.run(request, sandbox, names, lambda name: _fetched(refs[name]), data, beside)


def _fetched(ref: "ray.ObjectRef") -> bytes:
    data = ray.get(ref)
    if not isinstance(data, bytes):
        raise Transient("The node was sent what are no data.")
    return data


task = ray.remote(max_retries=AGAIN, retry_exceptions=False)(run)
