"""Checks every request first: its token, a free slot for that token, the size and the nesting of
its body.

The order matters. Without a token nothing is read, and a body is read only once its owner has a
place in work, so that one token can fill the queues' WIDTH times MAX_BODY bytes and no more. Of one
token's large bodies one is worked on at a time: who reads JSON holds the interpreter, and
several at once would keep the event loop from it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aarlab.core.bodies import parsed
from aarlab.core.callers import Identity, hash_in
from aarlab.core.errors import AarError, InvalidSubmission
from aarlab.core.http import read_body, stated_size
from aarlab.core.json_size import refuse_many_values
from aarlab.core.operation import Operation
from aarlab.lab.caller_queues import CallerQueues
from aarlab.lab.direct import LIST, direct, page_of, send_json
from aarlab.lab.evaluator_client import EvaluatorBug
from aarlab.lab.lab_handlers import CALLER, TOKEN, LabHandlers
from aarlab.lab.refusals import OURS, answer, refusal

MAX_BODY = 4 << 20  # bytes
MAX_QUERY = 8 << 10  # bytes: the longest is 200 characters to look for
FLAT = 100  # lists and objects that cannot nest too deep for anybody
MCP = "/mcp"  # read by the SDK, in the event loop
# values in lists and objects: of all bodies but answers; of answers
PARTS, MOST_PARTS = 300, 100_000
MCP_PARTS = 20_000  # beyond them, answers over MCP are strings
SMALL = 16 << 10  # bytes that are looked at in the event loop
BODY_S = 30.0  # how long a client may take to send a body

Who = Callable[[str], Awaitable[Identity]]  # whom the token of that hash stands for


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        who: Who,
        queues: CallerQueues,
        answers: int = MOST_PARTS,
        handlers: LabHandlers | None = None,
    ) -> None:
        """`handlers`: those to whom plain requests go past the framework; None: none do."""
        self._app, self._known, self._queues, self._large = app, who, queues, CallerQueues(1)
        self._handlers = handlers
        self._answers = min(MOST_PARTS, answers + PARTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        earlier = None  # the token of a request whose owner is not asked for again here
        try:
            plain = None if self._handlers is None else direct(scope)
            token = _token_in(scope)
            if plain is None or plain is LIST or self._handlers is None:
                me = await self._known(token)
            else:
                me, earlier = await self._handlers.whose(token), token
            CALLER.set(me)
            TOKEN.set(token)
            # by token: one that has ended fills no place of its successor's
            async with self._queues.of(token):
                if len(scope.get("query_string", b"")) > MAX_QUERY:
                    raise InvalidSubmission(f"A query may have {MAX_QUERY} bytes. Send fewer.")
                stated_size(scope["headers"], MAX_BODY)
                body = await read_body(receive, MAX_BODY, BODY_S)
                async with self._large.of(token) if len(body) > SMALL else contextlib.nullcontext():
                    if len(body) > SMALL:
                        await asyncio.to_thread(self._check, scope["path"], body)
                    else:
                        self._check(scope["path"], body)
                    if plain is not None and (body or plain is LIST):
                        earlier = None  # the evaluator finds out who calls
                        await self._plain(plain, scope, body, send)
                        return
                    if earlier is not None:
                        CALLER.set(await self._known(earlier))
                    await self._app(scope, _replay(body, receive), send)
        except EvaluatorBug as error:
            await answer(500, str(error), OURS)(scope, receive, send)
        except AarError as error:
            await refusal(await self._latest(error, earlier))(scope, receive, send)

    async def _latest(self, error: AarError, token: str | None) -> AarError:
        """Why a request is refused, now that its owner is asked for: a token that has ended is
        refused as such, whatever else is wrong, and is known no more."""
        if token is None:
            return error
        try:
            await self._known(token)
        except AarError as refused:
            return refused
        return error

    def _check(self, path: str, body: bytes) -> None:
        """Raise where a body has more in it than anybody needs at that path, or is not for the
        event loop."""
        answers = path == MCP or path.endswith("/submissions") or "/operator/requests/" in path
        values = (
            PARTS
            if not answers
            else min(self._answers, MCP_PARTS)
            if path == MCP
            else self._answers
        )
        refuse_many_values(
            body, values, PARTS, "Send what is described, and long answers as strings of 0s and 1s."
        )
        if path == MCP:
            check_json(body)

    async def _plain(self, operation: Operation, scope: Scope, body: bytes, send: Send) -> None:
        assert self._handlers is not None
        query = page_of(scope) if operation is LIST else None
        content = await self._handlers.direct(operation, body, query)
        await send_json(send, operation.status, content)


def _token_in(scope: Scope) -> str:
    """The hash of the request's token.

    Raises:
        Unauthorised: it has none, or more than one.
    """
    given = [
        value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"
    ]
    return hash_in(given[0] if len(given) == 1 else None)


def check_json(body: bytes) -> None:
    """Raise where a body nests too deep or has a number that JSON does not know. A flat body is
    left to whoever parses it.

    Raises:
        InvalidSubmission: it does, or is no JSON.
    """
    if (
        body.count(b"[") + body.count(b"{") <= FLAT
        and b"NaN" not in body
        and b"Infinity" not in body
    ):
        return
    parsed(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read already, and then what comes after it."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
