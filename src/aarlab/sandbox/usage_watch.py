"""One thread that looks after all running commands of this process, and the stop in which one of
them is measured."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

QUICK_S, SLOW_S = 0.005, 0.25
STOP_ROUNDS = 50  # until no process is new: who forks faster is stopped by halves


class WatchedCommand(Protocol):
    """A running command."""

    quick: bool  # to be looked at every QUICK_S, else every SLOW_S

    def look(self, slow: bool) -> bool:
        """Whether to go on. `slow`: SLOW_S have gone since the last such look. Must take
        microseconds."""

    def lose(self, error: OSError) -> None:
        """It cannot be looked at, so it must not go on."""


class UsageWatch:
    """See the module's docstring. The thread starts with the first command and lasts as long as the
    process."""

    def __init__(self) -> None:
        self._all: list[WatchedCommand] = []
        self._new = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, watched: WatchedCommand) -> None:
        """Look after it from now on."""
        with self._new:
            self._all.append(watched)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="sandboxes")
                self._thread.start()
            self._new.notify()

    def _run(self) -> None:
        slow_at = 0.0
        while True:
            with self._new:
                while not self._all:
                    self._new.wait()
                now = list(self._all)
            if slow := time.monotonic() >= slow_at:
                slow_at = time.monotonic() + SLOW_S
            ended = [one for one in now if (slow or one.quick) and not _goes_on(one, slow)]
            with self._new:
                self._all = [one for one in self._all if one not in ended]
                self._new.wait(QUICK_S if any(one.quick for one in self._all) else SLOW_S)


def _goes_on(one: WatchedCommand, slow: bool) -> bool:
    """One that cannot be looked at takes the watch from no other."""
    try:
        return one.look(slow)
    except OSError as error:
        one.lose(error)
        return False


WATCH = UsageWatch()


def below(pid: int) -> list[int]:
    """A process and all below it."""
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        with contextlib.suppress(OSError):  # it ended as we looked
            for children in Path("/proc", str(found[-1])).glob("task/*/children"):
                with contextlib.suppress(OSError):  # this thread did
                    todo += map(int, children.read_text().split())
    return found


@contextmanager
def stopped(pids: Callable[[], list[int]]) -> Iterator[bool]:
    """These processes stand still meanwhile. What one of them starts before it stands is found in
    the next round. The context gives whether all of them stand: a round found no new one."""
    held: set[int] = set()
    try:
        for _ in range(STOP_ROUNDS):
            if not (new := set(pids()) - held):
                yield True
                return
            _send(new, signal.SIGSTOP)
            held |= new
        yield False
    finally:
        _send(held, signal.SIGCONT)


def _send(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
