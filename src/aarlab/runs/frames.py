"""Frames on a pipe between two of our processes: a line of JSON of a strict shape, and bytes."""

import struct
import threading
from typing import IO, Literal

from pydantic import Field, ValidationError

from aarlab.core.records import Record
from aarlab.runs.run_jobs import DeviceCount

_SIZES = struct.Struct(">IQ")
MAX_HEAD, MAX_BODY = 1 << 20, 8 << 30
What = Literal[
    "ready", "refused", "pack", "submit", "cancel", "done", "lost", "shut", "counted", "allow"
]


class Frame(Record):
    """`key`: of the job; of a pack, its hash. `packs`: of a job, the hash of its data by path.
    `node`: that answered; that a job must not run on, or, with `only`, must; that is shut out.
    `gpus`: of a job that runs beside a device. `count`: what it has used; `seconds`: that its
    `attempt` may use, None: there is no limit."""

    what: What
    key: str = ""
    words: str = ""
    cpus: float = 1.0
    alone: bool = False
    node: str = ""
    only: bool = False
    packs: dict[str, str] = Field(default_factory=dict)
    nodes: int = 0
    gpus: int | None = None
    count: DeviceCount | None = None
    attempt: str = ""
    seconds: float | None = None


class Pipe:
    """One direction each."""

    def __init__(self, reads: IO[bytes], writes: IO[bytes]) -> None:
        self._reads, self._writes, self._mutex = reads, writes, threading.Lock()

    def send(self, frame: Frame, body: bytes = b"") -> None:
        """Send one.

        Raises:
            OSError: the other end is gone.
        """
        head = frame.model_dump_json().encode()
        with self._mutex:
            self._writes.write(_SIZES.pack(len(head), len(body)))
            self._writes.write(head)
            self._writes.write(body)
            self._writes.flush()

    def receive(self) -> tuple[Frame, bytes]:
        """The next one.

        Raises:
            EOFError: the other end is gone, or sends what is none.
        """
        try:
            head, body = _SIZES.unpack(self._exactly(_SIZES.size))
            if head > MAX_HEAD or body > MAX_BODY:
                raise EOFError("a frame is too long")
            return Frame.model_validate_json(self._exactly(head)), self._exactly(body)
        except (OSError, ValueError, ValidationError) as error:
            raise EOFError(str(error)) from error

    def _exactly(self, size: int) -> bytes:
        data = self._reads.read(size)
        if len(data) != size:
            raise EOFError("the other end is gone")
        return data
