"""Fairness: whoever calls has so many requests in work and no more. The rest of theirs wait for
them alone, in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

WIDTH = 4  # requests of one identity in work; any number may wait


class CallerQueues:
    """One lane an identity. For one event loop."""

    def __init__(self, width: int = WIDTH) -> None:
        self._width = width
        self._queues: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def of(self, name: str) -> AsyncIterator[None]:
        """A place in that identity's lane, once one is free."""
        async with self._queues.setdefault(name, asyncio.Semaphore(self._width)):
            yield
