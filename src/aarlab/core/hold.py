"""Locks on files (flock(2)), which end with their process however it ends: `Hold`, one process at
a time, named in the file; `file_lock` for a block of code; `lock_now`."""

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from aarlab.core.errors import Misconfigured

TAKEOVER_S = 15.0  # for an earlier process of the same kind to end, whose starter was killed
PAUSE_S = 0.05  # between two tries

_held: "set[Hold]" = set()


class Hold:
    """The lock on `path`, which names its holder. It is released by `release`, by the end of a
    `with`, and by kill -9.

    It is for this process alone: what this process starts does not inherit it, and a fork of it
    drops it, so that a child that runs longer keeps nobody out. A second one in the same process
    is refused, too.

    Raises:
        Misconfigured: another one holds it for longer than `wait_s`; `busy` makes the message of
            "PID (command)".
    """

    def __init__(self, path: Path, busy: Callable[[str], str], *, wait_s: float = 0.0) -> None:
        # `holder` has it for an instant
        until = time.monotonic() + max(wait_s, 2 * PAUSE_S)
        self._path = path
        self._fd: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _held.add(self)
            while not lock_now(self._fd):
                if time.monotonic() >= until:
                    holder = os.pread(self._fd, 200, 0).decode(errors="replace").strip()
                    raise Misconfigured(busy(holder or "of an unknown number"))
                time.sleep(PAUSE_S)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, _me().encode(), 0)
        except OSError as error:
            self.close()
            words = (
                f"{path} cannot be locked ({error.strerror}). Use a folder of your own, on a disk "
                "that can be written to."
            )
            raise Misconfigured(words) from error
        except BaseException:
            self.close()
            raise

    @property
    def kept(self) -> bool:
        """Is the file still the one that is locked? Whoever deletes it lets a second one in."""
        try:
            return self._fd is not None and os.path.samestat(os.fstat(self._fd), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let others have it at once, also while a child that is being started still has a copy of
        the descriptor."""
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self.close()

    def close(self) -> None:
        """Close this process's copy; the lock stays with whoever has another one."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            _held.discard(self)
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def holder(path: Path) -> str | None:
    """Whoever holds the lock on `path`, as "PID (command, started by process PID)"; None where
    nobody does. Nothing is locked for longer than an instant, or written."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(fd, 200, 0).decode(errors="replace").strip() or None
    finally:
        os.close(fd)
    return None


@contextmanager
def file_lock(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Wait for the lock on `path`, which is made if need be, and hold it for the block; with others
    that hold it so if `shared`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def lock_now(fd: int) -> bool:
    """Lock an open file or folder; False where another one holds it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _me() -> str:
    """Our number and command, and who started us: ending us alone may only make that one start us
    again."""
    command = [word for word in sys.argv[1:2] if not word.startswith("-")]
    return (
        f"{os.getpid()} ({' '.join([Path(sys.argv[0]).name, *command])[:100]}, started by process "
        f"{os.getppid()})"
    )


def _drop() -> None:
    for hold in list(_held):
        hold.close()  # the parent's copy goes on holding


os.register_at_fork(after_in_child=_drop)
