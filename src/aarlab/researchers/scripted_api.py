"""`python -m aarlab.researchers.scripted_api --script FILE --address FILE`: a model API on loopback that plays a script.

It speaks Anthropic's wire format, streaming and not, so a real agent can be driven through real tools without a model: for
tests, for demonstrations without a key, and as the adversary in tests of budgets. What it says next follows from the
conversation that it is sent (see `script`), so any number of agents play at once, and one that is killed and resumed goes on
where it was. It alone remembers how often a fault has been played to whom.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from aarlab.core.lifeline import when_cut
from aarlab.researchers.script import Fault, Script, Spoken, default_script, load_script, tokens_in

KINDS = {429: "rate_limit_error", 500: "api_error", 529: "overloaded_error", 402: "billing_error"}
PIECE = 400  # characters of one streamed delta
STOP_S = 1


class Api:
    """One script, played to whoever asks."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._played: Counter[tuple[str, int]] = Counter()  # (who, number of the fault)

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/messages", self.messages, methods=["POST"]),
                Route("/v1/messages/count_tokens", self.count_tokens, methods=["POST"]),
            ]
        )

    async def count_tokens(self, request: Request) -> Response:
        """How many tokens a request would have."""
        body = await _body(request)
        return _error(400, "This is no JSON object.") if body is None else JSONResponse({"input_tokens": tokens_in(body)})

    async def messages(self, request: Request) -> Response:
        """The next turn of this conversation, or a fault."""
        body = await _body(request)
        if body is None or not isinstance(body.get("messages"), list):
            return _error(400, "messages: give a list.")
        who = request.headers.get("x-claude-code-session-id") or _digest(body["messages"][:1])
        spoken = self._script.next(body, who)
        fault = self._fault(who, spoken.turn)
        if fault and fault.kind == "status":
            return _error(fault.status, fault.words, fault.retry_after_s)
        if fault and fault.kind == "hang":
            await asyncio.sleep(fault.seconds)
            return _error(529, "It took too long.")
        await asyncio.sleep(spoken.pause_s)
        if body.get("stream") is not True:
            return JSONResponse(spoken.message(str(body.get("model"))))
        cut = fault is not None and fault.kind == "cut"
        return StreamingResponse(_stream(spoken, str(body.get("model")), cut=cut), media_type="text/event-stream")

    def _fault(self, who: str, turn: int) -> Fault | None:
        """The fault that is due for this one's turn, which is thereby played once more."""
        for number, fault in enumerate(self._script.faults):
            if fault.turn == turn and self._played[who, number] < fault.times:
                self._played[who, number] += 1
                return fault
        return None


async def _stream(spoken: Spoken, model: str, *, cut: bool) -> AsyncIterator[str]:
    """The events of one answer. One that is cut ends in the middle of its first block, without a word."""
    whole = spoken.message(model)
    blocks = whole["content"]
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 1}}
    yield _event("message_start", message=begun)
    for index, block in enumerate(blocks):
        tool = block["type"] == "tool_use"
        empty = {**block, "input": {}} if tool else {"type": "text", "text": ""}
        yield _event("content_block_start", index=index, content_block=empty)
        text = json.dumps(block["input"]) if tool else block["text"]
        for at in range(0, len(text), PIECE):
            piece = text[at : at + PIECE]
            delta = {"type": "input_json_delta", "partial_json": piece} if tool else {"type": "text_delta", "text": piece}
            yield _event("content_block_delta", index=index, delta=delta)
            if cut:
                raise ConnectionAbortedError("the script cuts this stream")
        yield _event("content_block_stop", index=index)
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=ended, usage={"output_tokens": whole["usage"]["output_tokens"]})
    yield _event("message_stop")


def _event(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


def _error(status: int, words: str, retry_after_s: int | None = None) -> Response:
    body = {"type": "error", "error": {"type": KINDS.get(status, "invalid_request_error"), "message": words}}
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    return JSONResponse(body, status_code=status, headers=headers)


async def _body(request: Request) -> dict[str, Any] | None:
    try:
        body = json.loads(await request.body())
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _digest(thing: Any) -> str:
    return hashlib.sha256(json.dumps(thing, sort_keys=True).encode()).hexdigest()


async def serve(script: Script, address: Path, lifeline: int | None) -> None:
    """Answer on a free port of 127.0.0.1 until told to stop, or until our starter has ended; `address` says where."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    config = uvicorn.Config(
        Api(script).app(), log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=STOP_S
    )
    server = uvicorn.Server(config)
    if lifeline is not None:
        when_cut(lifeline, lambda: setattr(server, "should_exit", True))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not task.done():
        await asyncio.sleep(0.02)
    partial = address.with_suffix(".partial")
    host, port = listener.getsockname()
    partial.write_text(json.dumps({"url": f"http://{host}:{port}", "pid": os.getpid()}))
    partial.replace(address)
    await task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--script", type=Path, default=default_script(), help="what is played (YAML or JSON)")
    parser.add_argument("--address", type=Path, required=True, help="a file: {url, pid}, written once requests are taken")
    parser.add_argument("--lifeline", type=int, help="a file descriptor: end when it does")
    a = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(load_script(a.script), a.address, a.lifeline))


if __name__ == "__main__":
    main()
