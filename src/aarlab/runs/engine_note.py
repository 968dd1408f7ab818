"""What a process that places runs on a cluster writes down of them, for `aar cluster status`."""

import os
import platform
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from pydantic import Field

from aarlab.core.errors import Transient
from aarlab.core.files import write_whole
from aarlab.core.records import Record
from aarlab.runs.run_jobs import JobHead, checked

NOTE_S = 2.0
OLD_S = 60.0  # from which on a process that writes no note is gone


class EngineNote(Record):
    """Of one process. `ended`: jobs by how they ended; `twice`: runs that were run on another node
    as well, by node; `unlike`: those of it whose results differ; `shut_out`: nodes, and why."""

    engine: str
    host: str
    pid: int
    began: float  # seconds since 1970
    at: float
    open: int = 0  # submitted, and not answered
    ended: dict[str, int] = Field(default_factory=dict)
    twice: dict[str, int] = Field(default_factory=dict)
    unlike: int = 0
    shut_out: dict[str, str] = Field(default_factory=dict)
    words: str = ""  # what is wrong now
    whose: str = ""  # whose move it is


def kind_of(body: bytes) -> str:
    """How a job ended, as text."""
    try:
        head, _ = checked(body)
    except Transient:
        return "sent what is no result"
    return kind_of_head(head)


def kind_of_head(head: JobHead) -> str:
    """The same, of its head."""
    if head.error is not None:
        return f"refused: {head.error}"
    if head.timed_out:
        return "timed out"
    if head.limit is not None:
        return f"{head.limit} limit"
    return "ended with an error" if head.returncode else "done"


class Notes:
    """Writes one, every NOTE_S seconds while something changes, and removes it in the end."""

    def __init__(self, folder: Path, engine: str) -> None:
        host, pid, now = platform.node(), os.getpid(), time.time()
        self._path = folder / f"{engine}-{host}-{pid}.json"
        self._note = EngineNote(engine=engine, host=host, pid=pid, began=now, at=now)
        self._ended: Counter[str] = Counter()
        self._twice: Counter[str] = Counter()
        self._mutex, self._over = threading.Lock(), threading.Event()
        self.write()
        threading.Thread(target=self._run, daemon=True, name="notes").start()

    def begun(self) -> None:
        """A job was submitted."""
        self._set(open=self._note.open + 1)

    def ended(self, kind: str) -> None:
        """It was answered."""
        with self._mutex:
            self._ended[kind] += 1
        self._set(open=self._note.open - 1)

    def compared(self, node: str, unlike: bool) -> None:
        """A run of a node was run again."""
        with self._mutex:
            self._twice[node] += 1
        self._set(unlike=self._note.unlike + unlike)

    def shut_out(self, node: str, why: str) -> None:
        """No run goes to that node any more."""
        self._set(shut_out={**self._note.shut_out, node: why})

    def wrong(self, words: str, whose: str) -> None:
        """What is wrong now; "" if nothing is."""
        self._set(words=words, whose=whose)

    @property
    def now(self) -> EngineNote:
        """As it is."""
        with self._mutex:
            counts = {"ended": dict(self._ended), "twice": dict(self._twice), "at": time.time()}
            return self._note.model_copy(update=counts)

    def _set(self, **changed: object) -> None:
        with self._mutex:
            self._note = self._note.model_copy(update=changed)

    def write(self) -> None:
        """Write it."""
        with suppress(OSError):  # it is for who looks, and no run depends on it
            write_whole(self._path, self.now.model_dump_json())

    def _run(self) -> None:
        while not self._over.wait(NOTE_S):
            self.write()

    def close(self) -> None:
        """Remove it."""
        self._over.set()
        self._path.unlink(missing_ok=True)
