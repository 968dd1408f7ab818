"""The connections of asyncio's servers."""

import asyncio
from collections.abc import Awaitable, Callable

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def cancelled_in_silence(serve: Serve) -> Serve:
    """Serves a connection, also one that is cancelled as the process ends. That is no error, though
    the StreamReaderProtocol of Python 3.11 prints a traceback of it."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except asyncio.CancelledError:
            return

    return connected
