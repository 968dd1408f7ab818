"""FastAPI and the MCP server in one application, behind one guard."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from aarlab.core.bodies import words_of
from aarlab.core.errors import AarError
from aarlab.core.evaluator_socket import ServingLimits
from aarlab.lab.caller_queues import CallerQueues
from aarlab.lab.evaluator_client import EvaluatorBug, EvaluatorClient
from aarlab.lab.guard import MAX_BODY, Guard
from aarlab.lab.lab_handlers import LabHandlers
from aarlab.lab.refusals import OURS, answer, bug, refusal
from aarlab.lab.rest import make_router


def create_app(client: EvaluatorClient, limits: ServingLimits) -> FastAPI:
    """The lab of one campaign, which asks the evaluator through `client`."""
    # the SDK takes longer to import than all else together
    from aarlab.lab.mcp_tools import mcp_endpoint

    handlers = LabHandlers(client)
    mcp, session = mcp_endpoint(handlers, MAX_BODY)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        await handlers.start()
        async with session():
            yield
        await handlers.close()

    app = FastAPI(
        title="AAR Lab", version="1", lifespan=lifespan, openapi_url=None, redirect_slashes=False
    )
    app.include_router(make_router(handlers, app))
    app.router.routes.append(Route("/mcp", endpoint=mcp, methods=["POST"]))
    app.add_middleware(
        Guard, who=handlers.who, queues=CallerQueues(), answers=limits.answers, handlers=handlers
    )
    for kind, handler in HANDLED.items():
        app.add_exception_handler(kind, handler)
    described = app.openapi
    app.openapi = lambda: _with_bearer(described())
    return app


def _with_bearer(openapi: dict[str, Any]) -> dict[str, Any]:
    """Every operation needs a token."""
    openapi.setdefault("components", {})["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"}
    }
    return openapi | {"security": [{"token": []}]}


async def _ours(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, AarError)
    return refusal(error)


async def _invalid(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError)
    return answer(422, words_of(error.errors()))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "There is no such path", 405: "This path does not take that method"}.get(
        error.status_code, error.detail
    )
    made = answer(error.status_code, f"{words}: {request.method} {request.url.path[:200]}.")
    made.headers.update(error.headers or {})
    if error.status_code == 405:
        made.headers["Allow"] = ", ".join(sorted(_methods(request)))
    return made


def _methods(request: Request) -> set[str]:
    """The methods that any route takes at this path."""
    return {
        method
        for method in ("DELETE", "GET", "POST")
        for route in request.app.router.routes
        if route.matches(dict(request.scope) | {"method": method})[0] is Match.FULL
    }


async def _evaluators_bug(request: Request, error: Exception) -> Response:
    del request
    return answer(500, str(error), OURS)


async def _bug(request: Request, error: Exception) -> Response:
    return answer(500, bug(error, f"{request.method} {request.url.path[:200]}"), OURS)


HANDLED: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    AarError: _ours,
    RequestValidationError: _invalid,
    HTTPException: _http,
    EvaluatorBug: _evaluators_bug,
    Exception: _bug,
}
