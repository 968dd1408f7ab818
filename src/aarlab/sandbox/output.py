"""Read the output of untrusted commands within bounds, and end the commands."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Self, TypeVar

from aarlab.sandbox.sandbox import LOG_BYTES, LOG_PARTS, Completed, Limits

END_BYTES = 1 << 16  # beyond which a full log does not wait for the end of a line
AGAIN_S = 0.5  # until a log that could not be written is tried again
R = TypeVar("R")


def kill_group(process: subprocess.Popen) -> None:
    """Send SIGKILL to the process's own group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_to_end(
    process: subprocess.Popen, limits: Limits, end: Callable[[subprocess.Popen], None] = kill_group
) -> Completed:
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
    # else a child that left the group holds the other end; closing would wait for it
    if not reader.is_alive():
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
        """Add a chunk."""
        self._data += chunk
        if len(self._data) > 2 * self.keep:
            del self._data[: -self.keep]

    def kept(self) -> bytes:
        """What is kept."""
        return bytes(self._data[-self.keep :])

    def text(self) -> str:
        """What is kept, as text."""
        return self.kept().decode(errors="replace")


def copy_capped(
    stream: IO[bytes],
    log: Path,
    cap: int = LOG_BYTES,
    unwritten: Callable[[str], object] = lambda _: None,
) -> None:
    """Append a stream to a `CappedLog`. While that cannot be written (the disk is full, say) it is
    tried again, and who prints waits; `unwritten` is called with why, and with "" once it can be.

    Raises:
        FileNotFoundError: the log's folder was removed.
    """
    with stream, _tried_again(lambda: CappedLog(log, cap), unwritten) as kept:
        while chunk := stream.read1(65536):  # type: ignore[attr-defined]
            upto = kept.taken + len(chunk)
            _tried_again(partial(_write_up_to, kept, upto, chunk), unwritten)


def _write_up_to(kept: "CappedLog", upto: int, chunk: bytes) -> None:
    """Write what is left of a chunk, with which so many bytes are taken."""
    kept.write(chunk[len(chunk) - (upto - kept.taken) :])


def _tried_again(act: Callable[[], R], unwritten: Callable[[str], object]) -> R:
    """What `act` returns, once it can write."""
    while True:
        try:
            found = act()
        except FileNotFoundError:
            raise
        except OSError as error:
            unwritten(error.strerror or str(error))
            time.sleep(AGAIN_S)
        else:
            unwritten("")
            return found


class CappedLog:
    """A log to which is appended. A file of `cap` bytes is put aside at the end of a line (or
    within END_BYTES) and another is begun; of those that were put aside (see `aside`) the first and
    the latest are kept, LOG_PARTS - 1 together, so that a command that runs for days, or floods,
    cannot fill the disk and its latest words are always in `log`."""

    def __init__(self, log: Path, cap: int = LOG_BYTES) -> None:
        self._log, self._cap = log, cap
        self._written = log.stat().st_size if log.exists() else 0
        self._file = log.open("ab", buffering=0)
        self.taken = 0  # bytes that were written, in all

    def write(self, chunk: bytes) -> None:
        """Append, at once.

        Raises:
            OSError: the disk is full, say; `taken` says how much was written.
        """
        while chunk:
            part = _up_to(chunk, self._cap - self._written)
            part = part[: self._file.write(part)]
            self.taken, self._written = self.taken + len(part), self._written + len(part)
            chunk = chunk[len(part) :]
            full = self._written >= self._cap + END_BYTES
            if full or (self._written >= self._cap and part.endswith(b"\n")):
                _put_aside(self._log)
                before = self._file  # which goes on if no other can be opened
                self._file, self._written = self._log.open("ab", buffering=0), 0
                before.close()

    def close(self) -> None:
        """Nothing more comes."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _up_to(chunk: bytes, left: int) -> bytes:
    """What of a chunk belongs to a file that has `left` bytes left: up to the end of a line."""
    if len(chunk) < left:
        return chunk
    end = chunk.find(b"\n", max(0, left - 1)) + 1
    return chunk[: end or max(1, left + END_BYTES)]


def aside(log: Path, number: int | str) -> Path:
    """Where part `number` (from 1) of a log is, once it was put aside."""
    return log.with_name(f"{log.stem}.{number}{log.suffix}")


def put_aside(log: Path) -> list[int]:
    """The numbers of the parts of a log that were put aside and are kept, in order."""
    numbers = (path.name.split(".")[1] for path in log.parent.glob(aside(log, "*").name))
    return sorted(int(n) for n in numbers if n.isascii() and n.isdigit())


def _put_aside(log: Path) -> None:
    before = put_aside(log)
    with contextlib.suppress(FileNotFoundError):  # whoever has removed the log reads none
        log.rename(aside(log, max(before, default=0) + 1))
        for number in before[1 : -LOG_PARTS + 3]:
            aside(log, number).unlink(missing_ok=True)
