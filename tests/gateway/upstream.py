"""A small HTTP server that answers as it is reported, byte by byte: what a model API or the lab's
server would send, and worse."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

CUT, HANG = "cut", "hang"
Step = (
    bytes | float | threading.Event | str
)  # send; wait so many seconds; wait until it is set; end the connection; say no more


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What goes out: in chunks, as they are listed."""

    steps: Sequence[Step] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def whole(body: object, status: int = 200, **headers: str) -> Reply:
    """JSON at once."""
    return Reply(
        [json.dumps(body).encode()], status, {"content-type": "application/json", **headers}
    )


def events(*steps: dict | Step) -> Reply:
    """A stream of server-sent events, an event a chunk."""
    sent: list[Step] = []
    for step in steps:
        if isinstance(step, dict):
            name = f"event: {step['type']}\n" if "type" in step else ""
            sent.append(f"{name}data: {json.dumps(step)}\n\n".encode())
        else:
            sent.append(step)
    return Reply(sent, headers={"content-type": "text/event-stream"})


def usage(plain: int = 0, write: int = 0, read: int = 0, output: int = 0) -> dict:
    """As Anthropic writes it."""
    names = (
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
    )
    return dict(zip(names, (plain, write, read, output), strict=True))


def message(**tokens: int) -> Reply:
    """A whole answer of Anthropic's."""
    return whole(
        {"type": "message", "model": "claude-opus-4-6", "content": [], "usage": usage(**tokens)}
    )


def start(**tokens: int) -> dict:
    """The first event of a stream of Anthropic's."""
    return {
        "type": "message_start",
        "message": {"model": "claude-opus-4-6", "usage": usage(**tokens)},
    }


def text(words: str) -> dict:
    return {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": words},
    }


def finish(output: int) -> tuple[dict, dict]:
    """The last two."""
    last = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": output},
    }
    return last, {"type": "message_stop"}


class Upstream:
    """Runs in a thread of its own, on loopback. `play` makes the reply to each request."""

    def __init__(
        self, play: Callable[[Request], Reply] = lambda request: message(plain=10, output=5)
    ) -> None:
        self.play = play
        self.requests: list[Request] = []
        self.connections = 0
        self._replying = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def __enter__(self) -> "Upstream":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open_replies(self) -> int:
        """Replies whose end neither was sent nor cut off by who asked."""
        return self._replying

    def wait_for(self, requests: int, within_s: float = 20.0) -> None:
        """Until so many have come in."""
        until = time.monotonic() + within_s
        while len(self.requests) < requests:
            assert time.monotonic() < until, f"{len(self.requests)} of {requests} requests came"
            time.sleep(0.005)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._open: set[asyncio.Task] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=1 << 26)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        try:
            while (request := await _request(reader)) is not None:
                self.requests.append(request)
                if not await self._until_left(self._send(self.play(request), writer), reader):
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _until_left(
        self, sending: Coroutine[Any, Any, bool], reader: asyncio.StreamReader
    ) -> bool:
        """What `sending` says; False once who asked has gone, which is seen at the end of what it
        sends."""
        self._replying += 1
        reply = asyncio.ensure_future(sending)
        try:
            while not reply.done() and not reader.at_eof():
                await asyncio.wait([reply], timeout=0.01)
            return reply.done() and reply.result()
        finally:
            reply.cancel()
            self._replying -= 1

    async def _send(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        head = f"HTTP/1.1 {reply.status} Whatever\r\ntransfer-encoding: chunked\r\n"
        started = False
        for step in reply.steps:
            if isinstance(step, bytes):
                if not started:
                    head += "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
                    writer.write(head.encode("latin-1") + b"\r\n")
                    started = True
                writer.write(b"%x\r\n%s\r\n" % (len(step), step))
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, threading.Event):
                while not step.is_set():
                    await asyncio.sleep(0.005)
            elif step == HANG:
                await asyncio.Event().wait()
            else:
                return False
        writer.write((b"" if started else head.encode() + b"\r\n") + b"0\r\n\r\n")
        await writer.drain()
        return True


async def _request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)
