"""`python -m aarlab.researchers.scripted_api --script FILE --address FILE`: a model API on loopback
that plays a script.

It has the format of Anthropic's API, with and without streaming, so that a real agent uses real
tools without a model: in tests, in demonstrations without an API key, and as the adversary in tests
of budgets. The next answer follows from the conversation
in the request (see `script`), so any number of agents can use it at once, and an agent that was
killed continues where it was. The only state that it keeps is how often each fault was played to
each agent.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from aarlab.core.files import write_whole
from aarlab.core.http import configured, listen, serve
from aarlab.core.os_errors import exits_with_message
from aarlab.core.strict_json import dicts
from aarlab.researchers.script import (
    Script,
    ScriptedFault,
    Spoken,
    default_script,
    load_script,
    tokens_in,
)

KINDS = {429: "rate_limit_error", 500: "api_error", 529: "overloaded_error", 402: "billing_error"}
CUT_AFTER = 3  # events of a stream that is cut
STOP_S, KEEP_ALIVE_S = 1, 5
PIECE = 400  # characters of one streamed delta
Body = Mapping[str, Any]
Messages = list[dict[str, Any]]


class ScriptedFormat(Protocol):
    """A wire format in which a script is played. Anthropic's ships."""

    def conversation(self, body: Body) -> Messages:
        """The request's messages, in Anthropic's form.

        Raises:
            ValueError: it is no request of this format.
        """

    def tools(self, body: Body) -> Messages:
        """The tools that it declares, each with a name."""

    def whole(self, spoken: Spoken, model: str, tools: Messages) -> dict[str, Any]:
        """An answer at once."""

    def stream(self, spoken: Spoken, model: str, tools: Messages) -> Iterator[str]:
        """The same as server-sent events."""


class Api:
    """A server that plays one script to every caller."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._played: Counter[tuple[str, int]] = Counter()  # (who, number of the fault)

    def routes(self) -> list[Route]:
        """What it answers; a subclass may add paths and formats."""
        return [
            Route("/v1/messages/count_tokens", self.count_tokens, methods=["POST"]),
            Route("/v1/messages", partial(self.play, Anthropic()), methods=["POST"]),
        ]

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(routes=self.routes())

    async def count_tokens(self, request: Request) -> Response:
        """The number of tokens in a request."""
        body = await json_of(request)
        return (
            _error(400, "The body is not a JSON object.")
            if body is None
            else JSONResponse({"input_tokens": tokens_in(body)})
        )

    async def play(
        self,
        form: ScriptedFormat,
        request: Request,
        *,
        model: str | None = None,
        stream: bool | None = None,
    ) -> Response:
        """The next turn of this conversation, or a fault. `model`, `stream`: those of a format that
        has them in the path."""
        body = await json_of(request)
        try:
            messages = form.conversation(body or {})
        except ValueError as error:
            return _error(400, str(error))
        assert body is not None
        tools, first = form.tools(body), _beginning(messages)
        who = request.headers.get("x-claude-code-session-id") or _digest(first)
        asked = {"messages": messages, "tools": tools}
        spoken = self._script.next(asked, who, tokens_in(body))
        fault = self._fault(who, spoken.turn)
        if fault and fault.kind == "status":
            return _error(fault.status, fault.words, fault.retry_after_s)
        if fault and fault.kind == "hang":
            await asyncio.sleep(fault.seconds)
            return _error(529, "It took too long.")
        await asyncio.sleep(spoken.pause_s)
        model = model or str(body.get("model"))
        if not (body.get("stream") is True if stream is None else stream):
            return JSONResponse(form.whole(spoken, model, tools))
        events = form.stream(spoken, model, tools)
        return StreamingResponse(
            _cut(events) if fault is not None and fault.kind == "cut" else _sent(events),
            media_type="text/event-stream",
        )

    def _fault(self, who: str, turn: int) -> ScriptedFault | None:
        """The fault that is due for this agent's turn, if any; it is counted as played."""
        for number, fault in enumerate(self._script.faults):
            if fault.turn == turn and self._played[who, number] < fault.times:
                self._played[who, number] += 1
                return fault
        return None


class Anthropic:
    """/v1/messages."""

    def conversation(self, body: Body) -> Messages:
        return listed(body, "messages")

    def tools(self, body: Body) -> Messages:
        return dicts(body.get("tools"))

    def whole(self, spoken: Spoken, model: str, tools: Messages) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": t} for t in [spoken.say] if t]
        content += [
            {"type": "tool_use", "id": spoken.call_id(n), "name": call.tool, "input": call.input}
            for n, call in enumerate(spoken.calls)
        ]
        return {
            "id": spoken.id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": "tool_use" if spoken.calls else "end_turn",
            "stop_sequence": None,
            "usage": spoken.counted(content),
        }

    def stream(self, spoken: Spoken, model: str, tools: Messages) -> Iterator[str]:
        whole = self.whole(spoken, model, tools)
        begun = {
            **whole,
            "content": [],
            "stop_reason": None,
            "usage": {**whole["usage"], "output_tokens": 1},
        }
        yield event("message_start", message=begun)
        for index, block in enumerate(whole["content"]):
            tool = block["type"] == "tool_use"
            empty = {**block, "input": {}} if tool else {"type": "text", "text": ""}
            yield event("content_block_start", index=index, content_block=empty)
            for piece in pieces(json.dumps(block["input"]) if tool else block["text"]):
                delta = (
                    {"type": "input_json_delta", "partial_json": piece}
                    if tool
                    else {"type": "text_delta", "text": piece}
                )
                yield event("content_block_delta", index=index, delta=delta)
            yield event("content_block_stop", index=index)
        ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        output = {"output_tokens": whole["usage"]["output_tokens"]}
        yield event("message_delta", delta=ended, usage=output)
        yield event("message_stop")


def pieces(text: str) -> Iterator[str]:
    """The deltas of a text."""
    return (text[at : at + PIECE] for at in range(0, len(text), PIECE))


def event(kind: str, **fields: Any) -> str:
    """A server-sent event with its kind twice, as Anthropic and OpenAI's responses have it."""
    return f"event: {kind}\n" + data({"type": kind, **fields})


def data(thing: object) -> str:
    """A server-sent event without a name."""
    return f"data: {json.dumps(thing)}\n\n"


def listed(body: Body, name: str) -> Messages:
    """The list of objects that a body must have.

    Raises:
        ValueError: it is no list.
    """
    if not isinstance(body.get(name), list):
        raise ValueError(f"{name} must be a list.")
    return dicts(body[name])


async def _sent(events: Iterator[str]) -> AsyncIterator[str]:
    for event in events:
        yield event


async def _cut(events: Iterator[str]) -> AsyncIterator[str]:
    """Ends in the middle of what is said, without an error event."""
    for event in islice(events, CUT_AFTER):
        yield event
    raise ConnectionAbortedError("the script cuts this stream")


def _beginning(messages: Messages) -> Messages:
    """What was said before the first answer: no two agents begin alike."""
    return list(takewhile(lambda message: message.get("role") != "assistant", messages))


def _error(status: int, message: str, retry_after_s: int | None = None) -> Response:
    body = {
        "type": "error",
        "error": {"type": KINDS.get(status, "invalid_request_error"), "message": message},
    }
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    return JSONResponse(body, status_code=status, headers=headers)


async def json_of(request: Request) -> dict[str, Any] | None:
    """The object in a request's body; None where there is none."""
    try:
        body = json.loads(await request.body())
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _digest(thing: Any) -> str:
    return hashlib.sha256(json.dumps(thing, sort_keys=True).encode()).hexdigest()


async def _written(address: Path, url: str) -> None:
    write_whole(address, json.dumps({"url": url, "pid": os.getpid()}))


def main(api: type[Api] = Api) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--script", type=Path, default=default_script(), help="the script (YAML or JSON)"
    )
    parser.add_argument(
        "--address",
        type=Path,
        required=True,
        help="file to write {url, pid} to, once the server accepts requests",
    )
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 picks a free one")
    parser.add_argument(
        "--parent-pipe", type=int, help="file descriptor; the server stops when it is closed"
    )
    a = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt), exits_with_message():
        app = api(load_script(a.script)).app()
        server = uvicorn.Server(
            configured(app, keep_alive_s=KEEP_ALIVE_S, stop_s=STOP_S, log_level="critical")
        )
        asyncio.run(serve(server, listen(a.port), partial(_written, a.address), a.parent_pipe))


if __name__ == "__main__":
    main()
