"""How every HTTP server of aarlab serves: uvicorn, on loopback and unix sockets, with limits on
heads, bodies and time.

An idle connection costs a file and no thread, but it may not stay for ever.
"""

import asyncio
import resource
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.types import Receive
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.parent_pipe import when_parent_ends
from aarlab.core.unix_sockets import listening

# for the whole head of a request, from its first byte or from the connection's beginning
HEAD_S = 10.0
# bytes; also of what comes between two parts of a body: extensions of chunks, trailers
MAX_HEAD = 64 << 10
MOST_HEADERS = 200  # of one request, trailers included
MOST_AHEAD = 16  # requests that a client may send before the one in work is answered
BACKLOG = 1024
UNIX_KEEP_ALIVE_S = 75
JOINED = 64 << 10  # bytes of a write that waits for no other
SWITCH_S = 0.001
MOST_CONNECTIONS = 256  # of a `UnixServer`: an open one costs a file


class JoinedWrites:
    """A transport whose writes of one moment leave as one: uvicorn writes a reply's head and body
    one after the other, and each write wakes the client."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._loop = transport, asyncio.get_running_loop()
        self._ready: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write soon, or now where it is much."""
        if not self._ready:
            self._loop.call_soon(self._flush)
        self._ready.append(data)
        if len(data) > JOINED:
            self._flush()

    def _flush(self) -> None:
        ready, self._ready = self._ready, []
        if ready:
            self._transport.write(b"".join(ready))

    def close(self) -> None:
        """Close after what was written."""
        self._flush()
        self._transport.close()


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits in time and size for heads that do not come to an end, and in
    number for what comes with one piece of data, since all of it is read before anybody else is
    served."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0  # since the head began, or since the last part of the body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", JoinedWrites(transport)))
        self._timer = self.loop.call_later(HEAD_S, self.hang_up)

    def data_received(self, data: bytes) -> None:
        before, had = self.cycle, len(self.cycle.body) if self.cycle is not None else 0
        super().data_received(data)
        in_work = self.cycle is not None and not self.cycle.response_complete
        if in_work:
            self._rest()
        has_body = in_work and len(self.cycle.body) > (had if self.cycle is before else 0)
        self._head_bytes = 0 if has_body else self._head_bytes + len(data)
        if self._head_bytes > MAX_HEAD:
            self.hang_up()
        elif self._timer is None and not in_work:
            self._timer = self.loop.call_later(HEAD_S, self.hang_up)

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_AHEAD:
            # uvicorn answers 400 and hangs up
            raise ValueError(f"more than {MOST_AHEAD} requests ahead")
        super().on_message_begin()
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= MOST_HEADERS:
            raise ValueError(f"more than {MOST_HEADERS} headers")
        super().on_header(name, value)

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def hang_up(self, at_once: bool = False) -> None:
        """After what was written, or at once."""
        self._rest()
        if at_once:
            self.transport.abort()
        else:
            self.transport.close()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


# --- bodies ---------------------------------------------------------------------------------------


def stated_size(headers: Iterable[tuple[bytes, bytes]], most: int) -> int | None:
    """The bytes that a request's head promises; None where it does not say.

    Raises:
        InvalidSubmission: it is more than `most`.
    """
    stated = next((value for name, value in headers if name == b"content-length"), None)
    if stated is not None and (not stated.isdigit() or int(stated) > most):
        raise _too_large(most)
    return None if stated is None else int(stated)


async def read_body(receive: Receive, most: int, within_s: float) -> bytes:
    """The whole body, counted as it comes.

    Raises:
        InvalidSubmission: it has more than `most` bytes (413), is too slow (408), or was broken off
            (400).
    """
    chunks, size = [], 0
    try:
        async with asyncio.timeout(within_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise InvalidSubmission("The body was broken off. Send it whole.", status=400)
                size += len(message.get("body", b""))
                if size > most:
                    raise _too_large(most)
                chunks.append(message.get("body", b""))
                if not message.get("more_body"):
                    return b"".join(chunks)
    except TimeoutError as error:
        raise InvalidSubmission(
            f"The body did not come within {within_s:.0f} s. Send it faster.", status=408
        ) from error


def _too_large(most: int) -> InvalidSubmission:
    return InvalidSubmission(f"A body may have {most:,} bytes here. Send fewer.", status=413)


# --- serving --------------------------------------------------------------------------------------


def configured(
    app: Any, *, keep_alive_s: int, lifespan: bool = False, stop_s: int | None = None, **more: Any
) -> uvicorn.Config:
    """uvicorn for one application. `keep_alive_s`: for a connection between two requests; `stop_s`:
    for requests in work at the end."""
    return uvicorn.Config(
        app,
        **{"http": LimitedProtocol, "log_level": "warning", **more},
        ws="none",
        lifespan="on" if lifespan else "off",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=stop_s,
    )


def listen(port: int, paths: Iterable[Path] = ()) -> list[socket.socket]:
    """Bound sockets: loopback TCP (port 0 picks a free one) first, then the unix sockets, open to
    every local uid: who may reach one is decided by the folder they lie in, and who one is by the
    token.

    The protocol is named because asyncio switches Nagle's delay (40 ms a reply) off only where it
    is.

    Raises:
        Misconfigured: the port is taken, or there can be no socket at a path.
    """
    with ExitStack() as made:
        tcp = made.enter_context(
            socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        )
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind(("127.0.0.1", port))
        except OSError as error:
            words = (
                f"Port {port} cannot be used ({error.strerror}). Choose another, or 0 for a free "
                "one."
            )
            raise Misconfigured(words) from error
        tcp.listen(BACKLOG)
        sockets = [tcp, *(made.enter_context(listening(path, 0o666, BACKLOG)) for path in paths)]
        made.pop_all()
    return sockets


async def serve(
    app_server: uvicorn.Server,
    sockets: list[socket.socket],
    announce: Callable[[str], Awaitable[object]],
    parent_pipe: int | None = None,
) -> None:
    """Run until asked to stop, or until our starter has ended; `announce` is awaited with the URL
    once requests are taken."""
    if parent_pipe is not None:
        when_parent_ends(parent_pipe, lambda: setattr(app_server, "should_exit", True))
    task = asyncio.create_task(app_server.serve(sockets=sockets))
    while not app_server.started and not task.done():
        await asyncio.sleep(0.02)
    host, port = sockets[0].getsockname()
    if app_server.started:
        await announce(f"http://{host}:{port}")
    await task


def prefer_event_loop() -> None:
    """A thread that computes gives the interpreter up after 1 ms, not 5, to an event loop that
    has something to do: a request wakes the loop several times."""
    sys.setswitchinterval(SWITCH_S)


def allow_connections() -> None:
    """As many open connections as the system lets us have: an idle one costs a file and no
    thread."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _State(ServerState):
    """What all connections of one server share."""

    shut = False


class _Connection(LimitedProtocol):
    """With a limit in number as well, and a way for the application to hang up."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {"hang_up": self.hang_up}
        if self.server_state.shut or len(self.connections) > MOST_CONNECTIONS:  # type: ignore
            self.hang_up(True)  # one may have been let in just before the server was shut


class UnixServer:
    """One unix socket that belongs to one caller, and all its connections. It runs in the present
    event loop."""

    def __init__(self, app: Any, path: Path) -> None:
        self.path = path
        self._state = _State()
        self._server: asyncio.Server | None = None
        self._config = configured(
            app, keep_alive_s=UNIX_KEEP_ALIVE_S, http=_Connection, log_config=None, log_level=None
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
            Misconfigured: see `listening`.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connection, sock=listening(self.path, mode, BACKLOG)
        )

    def _connection(self) -> asyncio.Protocol:
        return _Connection(self._config, self._state, {})

    def shut(self) -> None:
        """Nobody gets in, and who is in is put out at once. What is under way on behalf of them
        goes on to its end."""
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
