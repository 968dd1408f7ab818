"""What answers on a researcher's socket: the lab, the model APIs, and what it has spent. All else
is 404."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from aarlab.core.budget import Budget, Spent
from aarlab.core.errors import AarError, Transient
from aarlab.core.http_errors import headers_of, problem_of, status_of
from aarlab.gateway import lab_proxy as lab_module
from aarlab.gateway.async_journal import AsyncJournal
from aarlab.gateway.client import Client, Headers, RequestMemory
from aarlab.gateway.lab_proxy import LabServer
from aarlab.gateway.model_api import ModelApi, error_body

KINDS = {
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}
AS_PROVIDERS = {422: 400, 500: 503}  # what a model API answers where the lab answers otherwise
log = logging.getLogger("aarlab.gateway")


@dataclass
class GatewayMember:
    """One incarnation of one researcher. What comes in on its socket is this one's."""

    name: str
    incarnation: int
    token: str
    room: RequestMemory = field(default_factory=RequestMemory)


@dataclass(frozen=True)
class MemberServices:
    """All that a member can reach."""

    models: ModelApi
    lab: LabServer
    spending: AsyncJournal

    async def close(self) -> None:
        """Let go of all connections to others."""
        await self.models.close()
        await self.lab.close()


def member_app(member: GatewayMember, services: MemberServices) -> Any:
    """The ASGI application of one socket."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        client = Client(scope, receive, send)
        try:
            await _route(member, services, client)
        except AarError as error:
            await _refuse(client, error)
        except asyncio.CancelledError:  # the gateway ends, and has hung up
            return
        finally:
            await client.close()

    return app


async def _route(member: GatewayMember, services: MemberServices, client: Client) -> None:
    if lab_module.is_open(client.method, client.path):
        await services.lab.serve(member.token, client, member.room)
    elif client.path == "/usage" and client.method == "GET":
        await client.answer_json(200, await _usage(member.name, services.spending))
    elif not await services.models.serve(member.name, client, member.room):
        await client.answer_json(
            404,
            error_body(
                "not_found_error", "Nothing is here. GET /usage, /mcp, /api/v1 and models are."
            ),
        )


async def _refuse(client: Client, error: AarError) -> None:
    """In the form that the one asked would have used; an answer that has begun is cut off."""
    if client.started:
        await client.cut()
        return
    status = status_of(error)
    headers: Headers = [
        (name.lower().encode(), value.encode()) for name, value in headers_of(status).items()
    ]
    if status == 402:
        headers = [(b"x-should-retry", b"false")]
    elif isinstance(error, Transient):
        headers = [(b"retry-after", b"1")]
    if client.path.startswith("/api/") or client.path == "/mcp":
        await client.answer_json(status, problem_of(error), headers)
    else:
        status = AS_PROVIDERS.get(status, status)
        kind = KINDS.get(status, "invalid_request_error" if status < 500 else "api_error")
        await client.answer_json(status, error_body(kind, str(error)), headers)


async def _usage(name: str, spending: AsyncJournal) -> dict[str, Any]:
    """What the researcher and the campaign have spent, may spend, and have left; null: no limit."""
    mine, everybodys = await spending.spent(name), await spending.spent(None)
    return {
        "researcher": name,
        **_account(spending.config.researcher_budget, mine),
        "campaign": _account(spending.config.campaign_budget, everybodys),
    }


def _account(budget: Budget, spent: Spent) -> dict[str, Any]:
    used = {
        "hours": spent.wall_s / 3600,
        "tokens": spent.tokens,
        "usd": spent.usd,
        "cpu_hours": spent.cpu_s / 3600,
        "device_hours": spent.device_s / 3600,
    }
    limits = budget.model_dump()
    left = {
        name: None if limits[name] is None else max(0, limits[name] - used[name]) for name in used
    }
    return {"spent": used, "budget": limits, "left": left}
