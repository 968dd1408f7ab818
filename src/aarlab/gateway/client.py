"""One request of a client inside a sandbox, and the answer to it."""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence

from starlette.types import Message, Receive, Scope, Send

from aarlab.core.http import read_body, stated_size

SEND_S = 60.0  # a client that takes nothing for so long has gone
BODY_S = 60.0  # how long a client may take to send a body
ROOM = 64 << 20  # bytes of bodies that one researcher may have in work at once

Headers = Sequence[tuple[bytes, bytes]]


class RequestMemory:
    """Bytes of memory that one researcher's requests share; who finds it full waits."""

    def __init__(self, size: int = ROOM) -> None:
        self._free = size
        self._changed = asyncio.Condition()

    async def take(self, size: int) -> None:
        """Wait for so many."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= size)
            self._free -= size

    async def give(self, size: int) -> None:
        """They are not needed any longer."""
        async with self._changed:
            self._free += size
            self._changed.notify_all()


class Client:
    """Reads the request, writes the answer, and knows when the other end has gone."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        # as it came: nothing is decoded, so nothing is read two ways
        self.path: str = scope["raw_path"].decode("latin-1")
        self.query: bytes = scope["query_string"]
        self.headers: Headers = scope["headers"]
        self.gone = asyncio.Event()
        self._receive, self._send = receive, send
        self._hang_up: Callable[[bool], None] = scope["state"]["hang_up"]
        self._watch: asyncio.Task[None] | None = None
        self._held: tuple[RequestMemory, int] | None = None
        self.started = False

    def header(self, name: bytes) -> bytes | None:
        """Its value; None if it is absent or given more than once."""
        values = [value for given, value in self.headers if given == name]
        return values[0] if len(values) == 1 else None

    async def body(self, most: int, room: RequestMemory) -> bytes:
        """The whole body. From then on `gone` is watched.

        Raises:
            InvalidSubmission: it has more than `most` bytes, is too slow, or was broken off.
        """
        size = stated_size(self.headers, most)
        size = most if size is None else size
        await room.take(size)
        self._held = (room, size)
        body = await read_body(self._received, most, BODY_S)
        self._watch = asyncio.create_task(self._watched())
        return body

    async def _received(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone.set()
        return message

    async def _watched(self) -> None:
        while not self.gone.is_set():
            await self._received()

    async def close(self) -> None:
        """Give back what the request held."""
        if self._watch is not None:
            self._watch.cancel()
        if self._held is not None:
            room, size = self._held
            self._held = None
            await room.give(size)

    async def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin an answer whose body follows by `write`, and ends by `end`."""
        self.started = True
        await self._put({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def write(self, chunk: bytes) -> None:
        """Some of the body, at once. Nothing happens if the client has gone."""
        await self._put({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        """The body is complete."""
        await self._put({"type": "http.response.body", "body": b"", "more_body": False})

    async def answer(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> None:
        """A whole answer."""
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self._put({"type": "http.response.body", "body": body, "more_body": False})

    async def answer_json(self, status: int, body: object, headers: Headers = ()) -> None:
        """A whole answer of the gateway."""
        await self.answer(
            status, [(b"content-type", b"application/json"), *headers], json.dumps(body).encode()
        )

    async def cut(self) -> None:
        """End the connection after what was written, so that the client sees that more should have
        come."""
        self._hang_up(False)
        try:
            async with asyncio.timeout(SEND_S):
                await self.gone.wait()
        except TimeoutError:
            self._hang_up(True)

    async def _put(self, message: Message) -> None:
        if self.gone.is_set():
            return
        try:
            async with asyncio.timeout(SEND_S):
                await self._send(message)
        except TimeoutError:
            self._hang_up(True)
            self.gone.set()
