"""What untrusted commands print, kept within bounds; and their end."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from aarlab.sandbox.sandbox import LOG_BYTES, Completed, Limits

END_BYTES = 1 << 16  # of what a log has no room for


def kill_group(process: subprocess.Popen) -> None:
    """SIGKILL to the process's group, which its starter made for it alone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_to_end(process: subprocess.Popen, limits: Limits, end: Callable[[subprocess.Popen], None] = kill_group) -> Completed:
    """Drain a process's output, keep its tail, `end` it at the time limit."""
    started = time.monotonic()
    assert process.stdout is not None
    tail = Tail(limits.output_bytes)
    reader = threading.Thread(target=tail.drain, args=(process.stdout,), daemon=True)
    reader.start()
    timed_out = False
    try:
        process.wait(limits.timeout_s)
    except subprocess.TimeoutExpired:
        timed_out = True
        end(process)
    except BaseException:
        end(process)
        raise
    reader.join(5)
    if not reader.is_alive():  # else a child that left the group holds the other end; closing would wait for it
        process.stdout.close()
    wall_s = time.monotonic() - started
    return Completed(process.returncode, tail.text(), timed_out, round(wall_s, 3))


class Tail:
    """The last `keep` bytes of a stream."""

    def __init__(self, keep: int) -> None:
        self.keep, self._data = keep, bytearray()

    def drain(self, stream: IO[bytes]) -> None:
        """Read to the end, in constant memory."""
        try:
            while chunk := stream.read1(65536):  # type: ignore[attr-defined]
                self.add(chunk)
        except ValueError:
            return  # closed under us after a kill

    def add(self, chunk: bytes) -> None:
        """Take in more of it."""
        self._data += chunk
        if len(self._data) > 2 * self.keep:
            del self._data[: -self.keep]

    def kept(self) -> bytes:
        """What is kept."""
        return bytes(self._data[-self.keep :])

    def text(self) -> str:
        """What is kept, as text."""
        return self.kept().decode(errors="replace")


def copy_capped(stream: IO[bytes], log: Path, cap: int = LOG_BYTES) -> None:
    """Append a stream to a file up to `cap` bytes of it, and go on draining, so that a chatterer fills no disk. Of what is
    dropped the last END_BYTES follow when the stream ends: by them is seen how a program ended. Until then the file's time
    says that something was written."""
    written = log.stat().st_size if log.exists() else 0
    end = Tail(END_BYTES)
    with stream, log.open("ab") as file:
        while chunk := stream.read1(65536):  # type: ignore[attr-defined]
            kept = chunk[: max(0, cap - written)]
            if kept:
                file.write(kept)
                file.flush()
                written += len(kept)
            if len(kept) < len(chunk):
                end.add(chunk[len(kept) :])
                os.utime(file.fileno())
        if dropped := end.kept():
            file.write(b"\n" + dropped)
