"""The folder on a shared disk through which jobs reach workers in Slurm, and their ends come back.

A job is one file. It moves by rename(2), which one of many workers wins: `waiting/SIZE/KEY`, then
`leased/SIZE@KEY@WORKER`, which goes back where the worker ends. Its end is `ends/KEY`, written
whole. Everything in it is read as what anybody may have written, and nothing is unpickled.
"""

import math
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import Field, ValidationError

from aarlab.core.cluster_layout import SlurmFolder
from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.files import OWNER_ONLY, write_whole
from aarlab.core.records import Record
from aarlab.runs.run_jobs import (
    MAX_HEAD_BYTES,
    MAX_RESULT_BYTES,
    DeviceCount,
    Job,
    JobResources,
    key_of,
)
from aarlab.sandbox.sandbox import GIB, MIB

KEY = re.compile(r"[0-9a-f]{16,64}(-alone)?(-apart|-on)?")
NOT, ON = "-not-", "-on-"
WORKER_BYTES, ROUND_MIB = 512 * MIB, 256  # a worker's own memory; sizes are multiples of that
MODELS_BYTES = 2 * GIB  # of a model worker, beside its models
MAX_END_BYTES = MAX_RESULT_BYTES + MAX_HEAD_BYTES + MIB
MAX_RECORD_BYTES = 64 * MIB
OLD_S = 86_400.0  # from which on a folder whose process is silent is removed
R = TypeVar("R", bound=Record)


class Size(NamedTuple):
    """What a worker has of its node; a job goes to a worker of its size. `gpus`: None of a worker
    without a device; 0 where a processor is its device. `apart`: the node on which it must not be;
    `only`: the one on which it must be."""

    cpus: int
    mib: int
    alone: bool
    gpus: int | None = None
    apart: str = ""
    only: str = ""

    @classmethod
    def of(cls, job: Job, resources: JobResources) -> "Size":
        """The memory of a job's sandbox, and of the worker; of a model worker, too, which reads
        its models' files into memory before they are on the device."""
        most = (job.limits.together_bytes or 4 * GIB) + WORKER_BYTES
        if job.strong is not None:
            most += MODELS_BYTES + 2 * job.strong.model_bytes
        mib = ROUND_MIB * math.ceil(most / MIB / ROUND_MIB)
        gpus = None if job.strong is None else job.strong.gpus
        where = resources.apart, resources.only
        return cls(math.ceil(resources.cpus), mib, resources.alone, gpus, *where)

    def __str__(self) -> str:
        apart = f"{NOT}{named(self.apart)}" if self.apart else ""
        only = f"{ON}{named(self.only)}" if self.only else ""
        device = "" if self.gpus is None else f"-d{self.gpus}"
        return f"c{self.cpus}-m{self.mib}{device}{'-alone' if self.alone else ''}{apart}{only}"

    @property
    def shared(self) -> "Size":
        """That of the workers which may take it as well, if their nodes permit it."""
        return self._replace(apart="", only="")

    def may_be_on(self, node: str) -> bool:
        """Whether a worker on that node may take it."""
        return node != self.apart and self.only in ("", node)


def named(node: str) -> str:
    """A node in the name of a folder."""
    return key_of(node)[:12]


def sizes_for(folder: SlurmFolder, size: str, node: str) -> list[str]:
    """The sizes of jobs that a worker takes: its own, and those of it that another node must not
    run, or this one must."""
    try:
        names = os.listdir(folder.waiting("."))  # noqa: PTH208
    except FileNotFoundError:
        return []
    apart = [n for n in names if n.startswith(size + NOT) and not n.endswith(node)]
    return [n for n in names if n in (size, f"{size}{ON}{node}")] + apart


class JobOrder(Record):
    """A job in a file. `packs`: by path inside, the hash of its data."""

    key: str
    sandbox: str
    packs: dict[str, str]
    job: Job


class SlurmEndHead(Record):
    """The first line of an end; the rest is what `run_jobs.opened` reads."""

    key: str
    worker: str
    signature: str  # by the worker's key


class WorkerRecord(Record):
    """What a worker says of itself, every few seconds. `task`: of its array in Slurm; `beat` grows
    while it works; `running`: the key of its job."""

    name: str
    task: str
    node: str
    pid: int
    size: str
    public: str  # its key, see `node_keys`
    aarlab: str  # its version
    code: str  # and the digest of all of its code
    python: str
    beat: int
    running: str | None = None
    counts: dict[str, DeviceCount] = Field(default_factory=dict)  # by key: of the device
    done: int = 0


class Allowance(Record):
    """How much of a device an attempt to run a job may use; None: there is no limit."""

    attempt: str
    seconds: float | None


class DriverState(Record):
    """What the process that submits says every few seconds. `beat` grows while it runs."""

    beat: int
    pid: int
    host: str
    name: str  # of its jobs in Slurm
    began: float
    waiting: int = 0
    leased: int = 0
    done: int = 0
    again: int = 0  # times that a job was run again, because its worker ended
    lost: int = 0  # jobs that were given up
    words: str = ""  # what is wrong
    whose: str = Field("", description="whose move it is")


class TakenJob(NamedTuple):
    """A job that a worker has taken."""

    size: str
    key: str
    worker: str
    path: Path


def make_folder(root: Path) -> SlurmFolder:
    """A new one; those of processes that are silent for a day are removed.

    Raises:
        Misconfigured: it cannot be made, or others may write there.
    """
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = root.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise Misconfigured(
                f"{root} belongs to another user, or others may write there: they would run code "
                "as you on every node. Make it yours alone (chmod 700)."
            )
        for old in root.iterdir():
            seen = SlurmFolder(old).state
            age = time.time() - (seen if seen.exists() else old).stat().st_mtime
            if age > OLD_S:
                shutil.rmtree(old, ignore_errors=True)
        made = SlurmFolder(root / f"{int(time.time()):x}-{secrets.token_hex(4)}")
        made.root.mkdir(mode=0o700)
        for folder in (made.leased, made.ends, made.workers, made.logs):
            folder.mkdir()
    except OSError as error:
        raise Misconfigured(
            f"The shared folder {root} cannot be used ({error.strerror}). Set AAR_HOME to a folder "
            "on a disk that every node has."
        ) from error
    return made


# --- jobs -----------------------------------------------------------------------------------------


def put(folder: SlurmFolder, size: Size, order: JobOrder) -> None:
    """Let a job wait. Raises OSError."""
    path = folder.waiting(str(size)) / order.key
    write_whole(path, order.model_dump_json(), mode=OWNER_ONLY)


def take(folder: SlurmFolder, sizes: Sequence[str], worker: str) -> TakenJob | None:
    """Take a job of one of these sizes, one that no other worker gets; None where none waits."""
    found = (_take(folder, size, worker) for size in sizes)
    return next((lease for lease in found if lease is not None), None)


def _take(folder: SlurmFolder, size: str, worker: str) -> TakenJob | None:
    try:
        names = [n for n in os.listdir(folder.waiting(size)) if KEY.fullmatch(n)]  # noqa: PTH208
    except FileNotFoundError:
        return None
    secrets.SystemRandom().shuffle(names)  # else all workers try for the same one
    for key in names:
        path = folder.leased / f"{size}@{key}@{worker}"
        try:
            (folder.waiting(size) / key).rename(path)
        except OSError:
            # a rename that was done, and whose answer over the network was lost, is a lease
            if not path.exists():
                continue
        return TakenJob(size, key, worker, path)
    return None


def give_back(folder: SlurmFolder, lease: TakenJob) -> bool:
    """Let its job wait again; whether it was still leased."""
    try:
        lease.path.rename(folder.waiting(lease.size) / lease.key)
    except OSError:
        return False
    return True


def leases(folder: SlurmFolder) -> Iterator[TakenJob]:
    """All of them."""
    with suppress(FileNotFoundError):
        for path in folder.leased.iterdir():
            parts = path.name.split("@")
            if len(parts) == 3:
                yield TakenJob(*parts, path)


# --- what is read ---------------------------------------------------------------------------------


def plain_bytes(path: Path, limit: int) -> bytes:
    """A file of this user, no link and no pipe, of at most so many bytes.

    Raises:
        OSError: there is none.
        Transient: it is something else.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise Transient(f"{path} is no file of this user. It is not read.")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Transient(f"{path} has more than {limit:,} bytes. It is not read.")
    return data


def remove(path: Path) -> None:
    """What lies there, be it a folder. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def record_in(path: Path, kind: type[R]) -> R | None:
    """A record in a file; None where there is none, or none that can be read."""
    try:
        return kind.model_validate_json(plain_bytes(path, MAX_RECORD_BYTES))
    except (OSError, Transient, ValidationError):
        return None


def write_end(folder: SlurmFolder, head: SlurmEndHead, body: bytes) -> None:
    """Write how a job ended. Raises OSError."""
    data = head.model_dump_json().encode() + b"\n" + body
    write_whole(folder.ends / head.key, data, mode=OWNER_ONLY)


def read_end(folder: SlurmFolder, key: str) -> tuple[SlurmEndHead, bytes]:
    """How a job ended.

    Raises:
        OSError: it did not.
        Transient: what lies there is no end of this job.
    """
    first, _, body = plain_bytes(folder.ends / key, MAX_END_BYTES).partition(b"\n")
    try:
        head = SlurmEndHead.model_validate_json(first)
    except ValidationError as error:
        raise Transient(f"What a node left as the end of {key[:12]} is none.") from error
    if head.key != key:
        raise Transient(f"A node left the end of another job as that of {key[:12]}.")
    return head, body
