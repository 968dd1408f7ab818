"""Who is next at the model: jobs of several sources take turns, and a source that asks a lot waits
for itself."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from aarlab.core.errors import Transient

T = TypeVar("T")
MOST_WAITING = 4  # jobs of one sandbox; the operator's are as many as the operator likes


class Turns(Generic[T]):
    """Jobs that wait, by source. Used in one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}  # in the order of their next turn
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

    async def next(self) -> T:
        """The next job; its source goes to the end of the row."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        source, mine = next(iter(self._waiting.items()))
        job = mine.popleft()
        del self._waiting[source]
        if mine:
            self._waiting[source] = mine
        return job
