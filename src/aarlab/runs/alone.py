"""Locks for runs of one home: shared (concurrent runs) or exclusive (one run alone on this
machine).

There are two kernel file locks; the kernel releases them when their process ends. A shared run
takes and releases `turn`, then holds `room` shared. An exclusive run holds `turn`, so that no new
run starts, and then holds `room` exclusively, once all other runs have ended.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TURN, ROOM = ".turn.lock", ".room.lock"


@contextmanager
def beside_others(folder: Path) -> Iterator[None]:
    """Run concurrently with others; waits while an exclusive run is running or waiting."""
    with _held(folder / TURN, fcntl.LOCK_SH):
        pass
    with _held(folder / ROOM, fcntl.LOCK_SH):
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Run exclusively; waits until all other runs have ended."""
    with _held(folder / TURN, fcntl.LOCK_EX), _held(folder / ROOM, fcntl.LOCK_EX):
        yield


@contextmanager
def _held(path: Path, how: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        fcntl.flock(lock, how)
        yield
