"""One stream of events a page. An event says only that something is new; its id is the number of
the ledger's last entry, so that a page that lost its connection goes on where it was."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from aarlab.core.errors import AarError
from aarlab.web.open_campaigns import OpenCampaign, Stamp

LOOK_S = 1.0  # between two looks at a campaign, however many pages follow it
REST_S = 5.0  # between two announcements; the first after a rest comes at once
BEAT_S = 15.0  # after so long without an event a comment is sent: the connection is still there
RETRY_MS = 2_000


class WatchedCampaign:
    """One campaign, looked at by one task for all pages that follow it, as long as one does. What
    is new is announced to all of them at the same moment, so that they show the same page."""

    def __init__(self, campaign: OpenCampaign, ending: Callable[[], bool]) -> None:
        """`ending`: whether the server ends, and its streams with it."""
        self._campaign, self._ending = campaign, ending
        self._pages, self._looking = 0, asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._seen: Stamp = (0, 0)
        self.announced: Stamp | None = None  # None: no page follows it
        self.news = asyncio.Event()  # set at the next announcement, and at the end

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """A context of one page that follows it."""
        self._pages += 1
        try:
            async with self._looking:
                if self._task is None or self._task.done():
                    self.announced = await self._look()
                    self._task = asyncio.create_task(self._follow())
            yield
        finally:
            self._pages -= 1

    async def _follow(self) -> None:
        announced_at = float("-inf")
        try:
            while self._pages and not self._ending():
                await asyncio.sleep(LOOK_S)
                seen, now = await self._look(), time.monotonic()
                if seen != self.announced and now - announced_at >= REST_S:
                    self.announced, announced_at = seen, now
                    self._wake()
        finally:
            self.announced = None
            self._wake()

    async def _look(self) -> Stamp:
        with suppress(AarError):  # it cannot be read just now: what was seen before stands
            self._seen = await asyncio.to_thread(self._campaign.stamp)
        return self._seen

    def _wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


async def events(watched: WatchedCampaign, seen: int | None) -> AsyncIterator[bytes]:
    """The stream for one page. `seen`: the last entry that the page knows of; None: it knows what
    there is now."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    async with watched.followed():
        known = watched.announced
        if known and seen is not None and seen < known[0]:
            yield event(known[0])
        while (announced := watched.announced) is not None:
            if announced != known:
                known = announced
                yield event(announced[0])
                continue
            try:
                await asyncio.wait_for(watched.news.wait(), BEAT_S)
            except TimeoutError:
                yield b": still here\n\n"


def event(seq: int) -> bytes:
    """One event."""
    return f"id: {seq}\nevent: changed\ndata: {json.dumps({'seq': seq})}\n\n".encode()


def number_in(header: str | None) -> int | None:
    """The number in a Last-Event-ID; None where it is none."""
    plain = header is not None and header.isascii() and header.isdigit() and len(header) < 16
    return int(header) if plain and header is not None else None
