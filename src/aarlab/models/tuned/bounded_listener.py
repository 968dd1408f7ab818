"""Listening on a unix socket, a bounded number of connections at a time: who comes in too often
waits in its backlog."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from aarlab.core.errors import AarError, InvalidSubmission
from aarlab.core.unix_sockets import listening
from aarlab.models.tuned.link import CallerGone, Link
from aarlab.models.wire import SOCKET_LINE, failure

BACKLOG = 32
MOST_CONNECTIONS = 8  # of one sandbox
# between two connections; for which a refused one keeps its place
BETWEEN_S, REFUSED_S = 0.005, 0.5


class BoundedListener:
    """Open from the start, in the running event loop. `serve` handles one connection; what it
    raises is the caller's answer.

    Raises:
        Misconfigured: there can be no socket at this path.
    """

    def __init__(
        self,
        path: Path,
        mode: int,
        serve: Callable[[Link], Awaitable[None]],
        most: int = MOST_CONNECTIONS,
        line: int = SOCKET_LINE,
    ) -> None:
        self._path, self._serve, self._line = path, serve, line
        self._places = asyncio.Semaphore(most)
        self._inside: set[asyncio.Task[None]] = set()
        self._socket = listening(path, mode, BACKLOG)
        self._accepting = asyncio.create_task(self._accept())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._places.acquire()
            try:
                connection, _ = await loop.sock_accept(self._socket)
            except OSError:  # no file is left for it now
                self._places.release()
                await asyncio.sleep(REFUSED_S)
                continue
            task = asyncio.create_task(self._one(connection))
            self._inside.add(task)
            task.add_done_callback(self._left)
            await asyncio.sleep(BETWEEN_S)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._inside.discard(task)
        self._places.release()
        if not task.cancelled():
            task.result()

    async def _one(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=self._line)
        link = Link(reader, writer)
        try:
            await self._serve(link)
        except CallerGone:
            pass
        except AarError as error:
            await link.send(failure(error))
            if isinstance(error, InvalidSubmission):
                await asyncio.sleep(0 if link.keeps else REFUSED_S)
        finally:
            await link.close()

    def shut(self) -> None:
        """Nobody gets in any more, and who is in is put out."""
        self._accepting.cancel()
        self._socket.close()
        self._path.unlink(missing_ok=True)
        for task in self._inside:
            task.cancel()
