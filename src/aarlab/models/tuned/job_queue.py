"""Who is next at the model: jobs of several sources take turns by the time that they took, and a
source that asks a lot waits for itself."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from aarlab.core.errors import Transient

T = TypeVar("T")
MOST_WAITING = 4  # jobs of one sandbox; the operator's are as many as the operator likes


class JobQueue(Generic[T]):
    """Jobs that wait, by source: next is one of the source that took the least time, and among
    equals the one that waits longest for a turn. Who comes (again) begins where the others are,
    so that nobody gathers a right to many turns by asking nothing. Used in one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}  # among equals, in the order of their next turn
        self._took: dict[str, float] = {}  # seconds
        self._least = 0.0  # that whoever has a turn now had taken
        self._some = asyncio.Event()

    def put(self, source: str, job: T, most: int | None = MOST_WAITING) -> None:
        """Let a job wait for its turn.

        Raises:
            Transient: too many of this source wait already.
        """
        mine = self._waiting.get(source, deque())
        if most is not None and len(mine) >= most:
            raise Transient(
                f"{len(mine)} of your jobs are waiting already. Ask again when one has ended."
            )
        if not mine:
            self._took[source] = max(self._took.get(source, 0.0), self._least)
        mine.append(job)
        self._waiting.setdefault(source, mine)
        self._some.set()

    def remove(self, source: str, job: T) -> None:
        """Forget a job, if it still waits."""
        mine = self._waiting.get(source, deque())
        if job in mine:
            mine.remove(job)
            if not mine:
                del self._waiting[source]

    def took(self, source: str, seconds: float) -> None:
        """A job of that source had the model for so long."""
        self._took = {name: t for name, t in self._took.items() if t > self._least}
        self._took[source] = max(self._took.get(source, 0.0), self._least) + seconds

    async def next(self) -> T:
        """The next job; its source goes behind its equals."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        source = min(self._waiting, key=lambda name: self._took.get(name, self._least))
        self._least = max(self._least, self._took.get(source, 0.0))
        mine = self._waiting.pop(source)
        job = mine.popleft()
        if mine:
            self._waiting[source] = mine
        return job
