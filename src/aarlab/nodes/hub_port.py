"""The hub's port, to which anybody may connect. A connection whose TLS handshake has not ended
costs memory, so there are at most MOST_UNKNOWN of these. Where more come, the oldest is closed: a
node needs a moment for a handshake and has ended it by then."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable

from aarlab.nodes.framing import OPENING_S
from aarlab.nodes.messages import MOST_LINE

MOST_UNKNOWN = 512  # 0.2 MB each
Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class HubPort:
    """Of one server: `protocol` is for each connection that it takes."""

    def __init__(self, context: ssl.SSLContext, connected: Connected) -> None:
        self._context, self._connected = context, connected
        self._unknown: dict[asyncio.Task[None], None] = {}  # in the order in which they came

    def protocol(self) -> asyncio.Protocol:
        """For one connection, without TLS yet."""
        return _Knock(self._come)

    def _come(self, transport: asyncio.Transport) -> None:
        if len(self._unknown) >= MOST_UNKNOWN:
            oldest = next(iter(self._unknown))
            del self._unknown[oldest]
            oldest.cancel()
        task = asyncio.create_task(self._let_in(transport))
        self._unknown[task] = None

        def over(ended: asyncio.Task[None]) -> None:
            self._unknown.pop(ended, None)
            if ended.cancelled():  # perhaps before it began
                transport.abort()

        task.add_done_callback(over)

    async def _let_in(self, transport: asyncio.Transport) -> None:
        reader = asyncio.StreamReader(limit=MOST_LINE)
        protocol = asyncio.StreamReaderProtocol(reader, self._connected)
        with contextlib.suppress(OSError, ssl.SSLError):  # it hung up, or speaks no TLS
            inside = await asyncio.get_running_loop().start_tls(
                transport,
                protocol,
                self._context,
                server_side=True,
                ssl_handshake_timeout=OPENING_S,
                ssl_shutdown_timeout=2.0,
            )
            if inside is not None:
                protocol.connection_made(inside)


class _Knock(asyncio.Protocol):
    """Nothing is read before TLS reads it."""

    def __init__(self, come: Callable[[asyncio.Transport], None]) -> None:
        self._come = come

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        self._come(transport)
