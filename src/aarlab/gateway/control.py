"""The supervisor's socket: who is a researcher now, what may be spent, and how the gateway is. No
sandbox is given it."""

import re
import time
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError
from starlette.types import Receive, Scope, Send

from aarlab.core.errors import AarError, InvalidSubmission
from aarlab.core.http_errors import problem_of, status_of
from aarlab.core.records import Record
from aarlab.gateway.async_journal import AsyncJournal
from aarlab.gateway.client import Client, RequestMemory
from aarlab.gateway.config import Budgets
from aarlab.gateway.members import Members

R = TypeVar("R", bound=Record)
MAX_BODY = 64 << 10  # bytes
_MEMBER = re.compile(r"^/members/([A-Za-z0-9][A-Za-z0-9._-]{0,63})$")


class NewIncarnation(Record):
    """The body of `PUT /members/NAME`: an incarnation's number, and the token with which it speaks
    to the lab."""

    incarnation: Annotated[int, Field(ge=1)]
    token: Annotated[str, Field(pattern=r"^[!-~]{1,500}$")]


def control_app(members: Members, spending: AsyncJournal) -> Any:
    """The ASGI application: `PUT` and `DELETE /members/NAME`, `PUT /budgets`, `GET /status`."""
    room, started_at = RequestMemory(), time.time()

    async def route(client: Client) -> dict[str, Any]:
        match = _MEMBER.match(client.path)
        if match and client.method == "PUT":
            new = _sent(NewIncarnation, await client.body(MAX_BODY, room))
            return {"folder": str(await members.admit(match[1], new.incarnation, new.token))}
        if match and client.method == "DELETE":
            await members.dismiss(match[1])
            return {}
        if client.path == "/budgets" and client.method == "PUT":
            spending.limit(_sent(Budgets, await client.body(MAX_BODY, room)))
            return {}
        if client.path == "/status" and client.method == "GET":
            flying, spent = await spending.in_flight(None), await spending.spent(None)
            calls = {"open": flying.calls, "reserved_usd": flying.usd, "spent_usd": spent.usd}
            return {"started_at": started_at, "calls": calls, "members": members.status()}
        words = "PUT or DELETE /members/NAME, PUT /budgets, or GET /status."
        raise InvalidSubmission(words, status=404)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        client = Client(scope, receive, send)
        try:
            await client.answer_json(200, await route(client))
        except AarError as error:
            await client.answer_json(status_of(error), problem_of(error))
        finally:
            await client.close()

    return app


def _sent(kind: type[R], body: bytes) -> R:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        # not what was sent
        fields = "; ".join(
            ".".join(map(str, mistake["loc"])) or "all" for mistake in error.errors()
        )
        expected = ", ".join(kind.model_fields)
        raise InvalidSubmission(f"Send {{{expected}}}. Wrong: {fields}.") from error
