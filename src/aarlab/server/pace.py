"""Timing: the reply to a submission leaves on a grid, so that how long the work took cannot carry a label.

What depends on labels differs by microseconds; whoever averages many replies would see it. On a grid of 10 ms only the work
that ends within such a difference of a grid point could be told apart, and that point moves with everybody's traffic.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

GRID_S = 0.010


def wait_s(elapsed_s: float, grid_s: float = GRID_S) -> float:
    """Seconds from `elapsed_s` to the next multiple of the grid, 0 at one."""
    return max(0.0, math.ceil(elapsed_s / grid_s) * grid_s - elapsed_s)


@asynccontextmanager
async def on_grid(
    clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[None]:
    """What is done inside ends, well or with an error, a multiple of the grid after it began."""
    started = clock()
    try:
        yield
    finally:
        await sleep(wait_s(clock() - started))
