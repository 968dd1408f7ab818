"""What a Ray worker runs: one job, in a sandbox of its own (see `node_worker`), whose end it signs
with the key of its node."""

import os
import platform
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import ray
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aarlab.core.errors import Transient
from aarlab.core.files import OWNER_ONLY
from aarlab.core.own_code import this_build
from aarlab.core.records import Record
from aarlab.core.settings import home
from aarlab.runs import node_worker
from aarlab.runs.alone import alone, beside_others
from aarlab.runs.node_keys import new_key, public_of, signed

if TYPE_CHECKING:  # imports what only a device needs
    from aarlab.runs.node_device import NodeDevice

BEGINS = b""
AGAIN = 3  # times that Ray runs a job again whose worker or node has died


class NodeRecord(Record):
    """What a node says of itself when it is asked by its name in Ray."""

    node: str  # its name in Ray
    host: str
    public: str  # its key, see `node_keys`
    aarlab: str
    code: str
    python: str
    nice: int  # of its workers, and of what they run


class RayEndHead(Record):
    """The first line of an end; the rest is what `run_jobs.opened` reads."""

    node: str
    signature: str


def run(
    key: str,
    request: bytes,
    sandbox: str,
    exclusive: bool,
    packs: dict[str, tuple[str, "ray.ObjectRef"]],
) -> Iterator[bytes]:
    """That the job begins, and its end. `packs`: by path inside, the hash of its data and where
    they can be had."""
    yield BEGINS
    yield end_of(key, request, sandbox, exclusive, packs)


def end_of(
    key: str,
    request: bytes,
    sandbox: str,
    exclusive: bool,
    packs: dict[str, tuple[str, "ray.ObjectRef"]],
    device: "NodeDevice | None" = None,
) -> bytes:
    """A job's end, signed; see `run`. `device`: that this process owns."""
    refs = dict(packs.values())
    names = {target: name for target, (name, _) in packs.items()}
    beside = (alone if exclusive else beside_others)(home().node)
    data = home().node_data
    body = node_worker.run(
        request,
        sandbox,
        names,
        lambda name: _fetched(refs[name]),
        data,
        beside,
        device=None if device is None else partial(device.run, key),
    )
    head = RayEndHead(node=_node(), signature=signed(_key(), key, body))
    return head.model_dump_json().encode() + b"\n" + body


def identify() -> bytes:
    """A `NodeRecord`."""
    build = this_build()
    return (
        NodeRecord(
            node=_node(),
            host=platform.node(),
            public=public_of(_key()),
            aarlab=build.version,
            code=build.source,
            python=platform.python_version(),
            nice=os.getpriority(os.PRIO_PROCESS, 0),
        )
        .model_dump_json()
        .encode()
    )


def _node() -> str:
    return ray.get_runtime_context().get_node_id()


def _key() -> Ed25519PrivateKey:
    """The key of this node, made once for all of its workers."""
    path = home().node_keys / _node()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        partial = path.with_name(f".{path.name}-{os.getpid()}")
        made = new_key()[0].private_bytes_raw()
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT, OWNER_ONLY), "wb") as file:
            file.write(made)
        try:
            path.hardlink_to(partial)  # the first one wins
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())


def _fetched(ref: "ray.ObjectRef") -> bytes:
    data = ray.get(ref)
    if not isinstance(data, bytes):
        raise Transient("The node was sent what are no data.")
    return data


task = ray.remote(max_retries=AGAIN, retry_exceptions=False)(run)
identity = ray.remote(max_retries=1, num_cpus=0)(identify)
