"""Listening on unix sockets of which each belongs to one caller, with uvicorn's HTTP protocol on each connection."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from aarlab.core.connection import Patient
from aarlab.core.errors import Misconfigured

BACKLOG = 256
MOST_CONNECTIONS = 256  # at one door: an open one costs a file
KEEP_ALIVE_S = 75
LONGEST_PATH = 107  # bytes of a unix socket's path


class _State(ServerState):
    """What all connections of a door share."""

    shut = False


class _Connection(Patient):
    """With a limit in number as well, and a way for the application to hang up."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {"hang_up": self.hang_up}
        if self.server_state.shut or len(self.connections) > MOST_CONNECTIONS:  # type: ignore[attr-defined]
            self.hang_up(True)  # one may have been let in just before the door was shut


class Door:
    """One socket and all connections that came through it."""

    def __init__(self, app: Any, path: Path) -> None:
        self.path = path
        self._state = _State()
        self._server: asyncio.Server | None = None
        self._config = uvicorn.Config(
            app,
            http=_Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self._config.load()

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._state.connections)

    @property
    def busy(self) -> bool:
        """Whether something is under way on behalf of who came in."""
        return bool(self._state.tasks)

    async def open(self, mode: int) -> None:
        """Listen; who may connect is `mode` of the socket, and who can reach its folder.

        Raises:
            Misconfigured: the path is too long for a socket.
        """
        if len(os.fsencode(self.path)) > LONGEST_PATH:
            raise Misconfigured(f"{self.path} is too long for a socket ({LONGEST_PATH} bytes). Choose a shorter folder.")
        self.path.unlink(missing_ok=True)
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)  # nobody else's until it is said whose it is
        try:
            unix.bind(str(self.path))
        finally:
            os.umask(before)
        self.path.chmod(mode)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, sock=unix, backlog=BACKLOG)

    def _connection(self) -> asyncio.Protocol:
        return _Connection(self._config, self._state, {})

    def shut(self) -> None:
        """Nobody gets in, and who is in is put out at once. What is under way on behalf of them goes on to its end."""
        self._state.shut = True
        if self._server is not None:
            self._server.close()
            self.path.unlink(missing_ok=True)
        for connection in list(self._state.connections):
            connection.hang_up(True)  # type: ignore[union-attr]

    async def finish(self, within_s: float) -> None:
        """Once shut: wait for what is under way, and cancel what is not done by then."""
        for cancel in (False, True):
            tasks = list(self._state.tasks)
            if tasks:
                if cancel:
                    for task in tasks:
                        task.cancel()
                await asyncio.wait(tasks, timeout=None if cancel else within_s)
