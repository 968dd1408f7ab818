"""Locks for runs of one home: shared (concurrent runs) or exclusive (one run alone on this
machine).

There are two kernel file locks; the kernel releases them when their process ends. A shared run
takes and releases `turn`, then holds `room` shared. An exclusive run holds `turn`, so that no new
run starts, and then holds `room` exclusively, once all other runs have ended.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aarlab.core.hold import file_lock

TURN, ROOM = ".turn.lock", ".room.lock"


@contextmanager
def beside_others(folder: Path) -> Iterator[None]:
    """Run concurrently with others; waits while an exclusive run is running or waiting."""
    with file_lock(folder / TURN, shared=True):
        pass
    with file_lock(folder / ROOM, shared=True):
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Run exclusively; waits until all other runs have ended."""
    with file_lock(folder / TURN), file_lock(folder / ROOM):
        yield
