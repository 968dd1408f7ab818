"""One stream of events a page. An event says only that something is new; its id is the number of
the ledger's last entry, so that a page that lost its connection goes on where it was."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from aarlab.core.errors import AarError
from aarlab.web.open_campaigns import OpenCampaign, Stamp

LOOK_S = 1.0  # between two looks at a campaign, however many pages show it
REST_S = 5.0  # between two events of one page; the first after a rest comes at once
BEAT_S = 15.0  # after so long without an event a comment is sent: the connection is still there
RETRY_MS = 2_000


class Watched:
    """The latest stamp of one campaign, looked for once for all who wait."""

    def __init__(self, campaign: OpenCampaign) -> None:
        self._campaign, self._looking = campaign, asyncio.Lock()
        self._stamp: Stamp = (0, 0)
        self._at = float("-inf")

    async def stamp(self) -> Stamp:
        """Number of the last entry, and when the fleet's state was written."""
        async with self._looking:
            if time.monotonic() - self._at >= LOOK_S:
                with suppress(AarError):  # it cannot be read just now: what was seen before stands
                    self._stamp = await asyncio.to_thread(self._campaign.stamp)
                self._at = time.monotonic()
            return self._stamp


async def events(
    watched: Watched, seen: int | None, ending: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """The stream for one page. `seen`: the last entry that the page knows of; None: it knows what
    there is now. It ends when `ending` says so."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    seq, written = await watched.stamp()
    seen = seq if seen is None or seen > seq else seen
    sent_at, beat_at = float("-inf"), time.monotonic()
    while not ending():
        now, (seq, changed) = time.monotonic(), await watched.stamp()
        if (seq > seen or changed != written) and now - sent_at >= REST_S:
            seen, written, sent_at, beat_at = seq, changed, now, now
            yield event(seq)
        elif now - beat_at >= BEAT_S:
            beat_at = now
            yield b": still here\n\n"
        await asyncio.sleep(LOOK_S)


def event(seq: int) -> bytes:
    """One event."""
    return f"id: {seq}\nevent: changed\ndata: {json.dumps({'seq': seq})}\n\n".encode()


def number_in(header: str | None) -> int | None:
    """The number in a Last-Event-ID; None where it is none."""
    plain = header is not None and header.isascii() and header.isdigit() and len(header) < 16
    return int(header) if plain and header is not None else None
