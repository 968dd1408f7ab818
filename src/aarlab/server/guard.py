"""What every request passes first: whose is it, is there a place for it, is it small and plain enough.

The order matters. Without a token nothing is read, and a body is read only once its owner has a place in work, so that one
identity can fill lanes' WIDTH times MAX_BODY bytes and no more.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_core import from_json

from aarlab.core.errors import AarError, InvalidSubmission
from aarlab.server.identity import CALLER, Identity, Tokens
from aarlab.server.lanes import Lanes
from aarlab.server.refusals import refusal

MAX_BODY = 4 << 20  # bytes
FLAT = 100  # lists and objects that cannot nest too deep for anybody
NOT_JSON = ("/api/v1/snapshots",)  # bodies are archives there
BODY_S = 30.0  # how long a client may take to send a body

Scope = Message = dict[str, Any]
Receive, Send = Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: App, tokens: Tokens, lanes: Lanes) -> None:
        self._app, self._tokens, self._lanes = app, tokens, lanes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            me = self._who(scope)
            CALLER.set(me)
            async with self._lanes.of(me.name):
                body = await _body(scope, receive)
                if scope["path"] not in NOT_JSON:
                    check_json(body)
                await self._app(scope, _replay(body, receive), send)
        except AarError as error:
            await refusal(error)(scope, receive, send)

    def _who(self, scope: Scope) -> Identity:
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
        return self._tokens.who(given[0] if len(given) == 1 else None)


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The whole body, counted as it comes.

    Raises:
        InvalidSubmission: it is too large, too slow, or was broken off.
    """
    stated = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if not stated.isdigit() or int(stated) > MAX_BODY:
        raise _too_large()
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise InvalidSubmission("The body was broken off. Send it whole.", status=400)
                size += len(message.get("body", b""))
                if size > MAX_BODY:
                    raise _too_large()
                chunks.append(message.get("body", b""))
                if not message.get("more_body"):
                    return b"".join(chunks)
    except TimeoutError as error:
        raise InvalidSubmission(f"The body did not come within {BODY_S:.0f} s. Send it faster.", status=408) from error


def _too_large() -> InvalidSubmission:
    return InvalidSubmission(f"A request may have {MAX_BODY} bytes. Send fewer.", status=413)


def check_json(body: bytes) -> None:
    """Raise where a body nests too deep or has a number that JSON does not know. A flat body is left to whoever parses it.

    Raises:
        InvalidSubmission: it does, or is no JSON.
    """
    if body.count(b"[") + body.count(b"{") <= FLAT and b"NaN" not in body and b"Infinity" not in body:
        return
    try:
        from_json(body, allow_inf_nan=False)  # one pass, and at most 200 lists and objects in each other
    except ValueError as error:
        words = f"The body is no JSON that is taken here: {str(error)[:200]}. No NaN, no Infinity, nothing deeply nested."
        raise InvalidSubmission(words) from error


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read already, and then what comes after it."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
