"""Timing: the reply to a submission leaves on a grid that is common to all, so that how long the
work took cannot carry a label.

What depends on labels differs by microseconds; whoever averages many replies would see it. On the
grid only the work that ends within such a difference of a point could be distinguished, that is one
reply in a thousand for a difference of a microsecond; and each question is timed once, since
whoever asks it again is answered from memory.

A thread waits for the points. An event loop's own timers end up to a millisecond late, counted from
when they were set, which is when the work ended.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

GRID_S = 0.001


def wait_s(now_s: float, grid_s: float = GRID_S) -> float:
    """Seconds from `now_s` to the next multiple of the grid, 0 at one."""
    return max(0.0, math.ceil(now_s / grid_s) * grid_s - now_s)


class ReplyTimes:
    """The points at which replies leave, all that wait for one together. For one event loop."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """`sleep` holds a thread, not the loop."""
        self._clock, self._sleep = clock, sleep
        self._waiting: list[asyncio.Future[None]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grid")

    @asynccontextmanager
    async def on_it(self) -> AsyncIterator[None]:
        """What is done inside ends, well or with an error, at a point of the grid."""
        try:
            yield
        finally:
            await self._point()

    async def _point(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting.append(point := loop.create_future())
        if len(self._waiting) == 1:
            self._thread.submit(self._wait, loop)
        await point

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sleep(wait_s(self._clock()))
        loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for point in waiting:
            if not point.done():
                point.set_result(None)

    def close(self) -> None:
        """Let what waits leave."""
        self._thread.shutdown(wait=False)
