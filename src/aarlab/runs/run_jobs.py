"""What an engine is given and what it gives back, as bytes: a command in a sandbox, with code, data
and limits, and how it ended, with the one file that it left.

Nothing here is pickled. Both sides read JSON of a strict shape, and a file's bytes with a limit.
"""

import hashlib
import json
import struct
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured, Transient
from aarlab.core.records import Record
from aarlab.sandbox.sandbox import Completed, Limits, Standing

MAX_RESULT_BYTES = 64 << 20  # of the file that a job leaves
MAX_HEAD_BYTES = 16 << 20
STRONG, ITEMS = "/strong", "/items"  # see `Job.strong`
_HEAD = struct.Struct(">I")
_ERRORS: dict[str, type[AarError]] = {
    kind.__name__: kind for kind in (InvalidSubmission, Misconfigured, Transient)
}


class JobLimits(Record):
    """As `Limits`; and of all its processes together, memory, bytes that they may write, and
    processors."""

    timeout_s: Annotated[float, Field(gt=0)]
    memory_bytes: int
    file_bytes: int
    output_bytes: int
    disk_bytes: int | None
    together_bytes: int | None
    cpus: float | None = None

    @classmethod
    def of(cls, limits: Limits, standing: Standing) -> "JobLimits":
        """Of a command, and of its sandbox."""
        return cls(
            **vars(limits),
            disk_bytes=standing.disk_bytes,
            together_bytes=standing.memory_bytes,
            cpus=standing.cpus,
        )

    @property
    def limits(self) -> Limits:
        """Of one command."""
        return Limits(self.timeout_s, self.memory_bytes, self.file_bytes, self.output_bytes)


class StrongNeed(Record):
    """The strong model that a run asks, on a device of the node on which it runs. `preset`: a
    `Preset`, as JSON; `models`: of weak and strong, the fingerprint of their files; `splits`: of
    the item batch in ITEMS, student and test; `who`: takes turns, and is charged; `gpus`: 0 where
    the preset says that a processor is the device; `model_bytes`: of both models' files;
    `allowed_s`: seconds of the device that it may use at first, None: there is no limit."""

    preset: str
    models: dict[str, str]
    splits: dict[str, str]
    who: str
    gpus: Annotated[int, Field(ge=0, le=1)] = 1
    model_bytes: Annotated[int, Field(ge=0)] = 0
    allowed_s: float | None = None


class DeviceCount(Record):
    """Seconds of a device that one attempt to run a job took. A job that is run again is another
    attempt, which counts from 0."""

    attempt: str
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Job(Record):
    """One command. In `argv` a word that begins with "@/" is a path inside the sandbox, and
    "@python" is the node's Python. `folders`: by their path inside, the local folder, which is
    mounted read-only. Code is in /code, and /out may be written. `own`: top folders that are there,
    empty and writable. `image`: of a docker engine. `strong`: what it asks of a device; its socket
    is in STRONG, and what `folders` has under ITEMS is for the device and not mounted."""

    name: str
    key: str  # of all that decides the result
    code: str  # digest of the aarlab that runs it
    files: dict[str, str]
    folders: dict[str, Path]
    argv: tuple[str, ...]
    env: dict[str, str]
    limits: JobLimits
    # the file in /out that is given back; not below a folder, which code could make a link
    result: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    begun: str  # the file in /out that says that it began
    # `result` is a folder of plain files of at most so many bytes, which comes back packed
    folder_bytes: Annotated[int, Field(ge=0, le=MAX_RESULT_BYTES)] | None = None
    own: tuple[str, ...] = ()
    image: str | None = None
    strong: StrongNeed | None = None

    @property
    def without_folders(self) -> "Job":
        """The job as it travels: a node has the folders' data by their hash."""
        return self.model_copy(update={"folders": dict.fromkeys(self.folders, Path("/"))})


class JobResources(Record):
    """What a job needs of a node; its sandbox holds it to its limits, whatever the scheduler
    counts. `alone`: no other job of aarlab runs on that node meanwhile. Of a `NodeEngine`, the node
    on which it must not run (`apart`), or must (`only`)."""

    cpus: Annotated[float, Field(gt=0, le=1024)] = 1.0
    alone: bool = False
    apart: str = ""
    only: str = ""


class JobHead(Record):
    """How a job ended; `size`: bytes of its result, None where it left none."""

    returncode: int = 0
    output: str = ""
    timed_out: bool = False
    wall_s: float = 0.0
    limit: str | None = None
    begun: bool = False
    free_bytes: int = 0
    left: float = 0.0
    size: Annotated[int, Field(ge=0, le=MAX_RESULT_BYTES)] | None = None
    device: DeviceCount | None = None  # of a job with `strong`
    misshapen: bool = False  # it left something that is no plain file of that size
    error: str | None = None  # one of _ERRORS: it was not run
    words: str = ""  # why; or what is wrong with what it left

    @property
    def completed(self) -> Completed:
        """As a sandbox says it."""
        return Completed(self.returncode, self.output, self.timed_out, self.wall_s, self.limit)


def key_of(*parts: object) -> str:
    """A key by all that decides a result."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def packed(head: JobHead, result: bytes = b"") -> bytes:
    """Both as bytes."""
    text = head.model_dump_json().encode()
    return _HEAD.pack(len(text)) + text + result


def refusal(error: AarError) -> bytes:
    """A job that was not run, and why."""
    kind = type(error).__name__ if type(error).__name__ in _ERRORS else Transient.__name__
    return packed(JobHead(error=kind, words=str(error)))


def checked(data: bytes) -> tuple[JobHead, bytes | None]:
    """How a job ended, and its result; None where it left none.

    Raises:
        Transient: these bytes are no result: the node is not what it should be.
    """
    try:
        (size,) = _HEAD.unpack_from(data)
        if size > MAX_HEAD_BYTES:
            raise ValueError("its head is too long")
        if len(data) < _HEAD.size + size:
            raise ValueError("it was cut short")
        head = JobHead.model_validate_json(data[_HEAD.size : _HEAD.size + size])
        result = data[_HEAD.size + size :]
        if len(result) != (head.size or 0):
            raise ValueError("it has another length than it says")
    except (ValueError, ValidationError, struct.error) as error:
        raise Transient(
            f"A node sent what is no result ({str(error)[:200]}). It is not taken; try again."
        ) from error
    return head, None if head.size is None else result


def opened(data: bytes) -> tuple[JobHead, bytes | None]:
    """How a job ended, and its result; None where it left none.

    Raises:
        Transient: see `checked`.
        InvalidSubmission, Misconfigured: it was not run; the message says why.
    """
    head, result = checked(data)
    if head.error is not None:
        raise _ERRORS.get(head.error, Transient)(head.words)
    return head, result
