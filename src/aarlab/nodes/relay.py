"""On a node: a researcher's socket, whose connections go to the lab's gateway through the hub.
While that cannot be reached they are answered 503."""

import asyncio
import contextlib
import json
import secrets
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from aarlab.core.connections import cancelled_in_silence
from aarlab.core.errors import AarError, Transient
from aarlab.core.http import BACKLOG
from aarlab.core.http_errors import problem_of
from aarlab.core.unix_sockets import listening
from aarlab.gateway.model_api import error_body
from aarlab.nodes.framing import OPENING_S, Wire, pump
from aarlab.nodes.joining import asked
from aarlab.nodes.messages import MOST_LINE, Incarnation, OpenRelay
from aarlab.researchers.researcher import SOCKET_NAME

MOST_CONNECTIONS = 256
LAST_S = 1.0  # for a client that is answered 503 to read it
UNREACHED = "The lab does not answer now. Try again."


class Relay:
    """The socket of one incarnation, in a folder of its own below `sockets`. `reach` connects to
    the hub."""

    def __init__(
        self, who: Incarnation, sockets: Path, reach: Callable[[], Awaitable[Wire]]
    ) -> None:
        self.folder = sockets / secrets.token_hex(8)
        self._who, self._reach = who, reach
        self._server: asyncio.Server | None = None
        self._open: set[Wire] = set()

    async def open(self) -> None:
        """Listen. Raises Misconfigured: there can be no socket."""
        self.folder.mkdir()
        # the sandbox has a uid of its own; the folder's name is a secret to everybody else
        self.folder.chmod(0o711)
        sock = listening(self.folder / SOCKET_NAME, 0o666, BACKLOG)
        self._server = await asyncio.start_unix_server(
            cancelled_in_silence(self._serve), sock=sock, limit=MOST_LINE
        )

    def close(self) -> None:
        """Nobody gets in, and who is in is put out."""
        if self._server is not None:
            self._server.close()
        self.cut()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cut(self) -> None:
        """Put out who is in."""
        for wire in list(self._open):
            wire.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near = Wire(reader, writer)
        if len(self._open) >= MOST_CONNECTIONS:
            near.cut()
            return
        self._open.add(near)
        try:
            far = await self._reached()
            if far is None:
                await _not_now(near)
            else:
                await pump(near, far)
        except OSError:
            near.cut()
        finally:
            self._open.discard(near)

    async def _reached(self) -> Wire | None:
        """A connection to the gateway; None where there is none now, or it is refused."""
        try:
            far = await self._reach()
        except AarError:
            return None
        try:
            await asked(far, OpenRelay(who=self._who), OPENING_S)
        except AarError:
            await far.close()
            return None
        return far


async def _not_now(near: Wire) -> None:
    """Answer one request with 503, in the form that its client reads."""
    try:
        first = await near.line(OPENING_S)
    except Transient:
        near.cut()
        return
    path = first.split(b" ")[1] if first.count(b" ") >= 2 else b""
    of_lab = path.startswith(b"/api/") or path == b"/mcp"
    problem = problem_of(Transient(UNREACHED)) if of_lab else error_body("api_error", UNREACHED)
    body = json.dumps(problem).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
        f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with contextlib.suppress(Transient, OSError, TimeoutError):
        await near.put(head.encode() + body)
        near.writer.write_eof()
        async with asyncio.timeout(LAST_S):  # else what it still sends would reset the connection
            while await near.reader.read(1 << 16):
                pass
    await near.close()
