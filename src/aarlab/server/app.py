"""FastAPI and the MCP server in one application, behind one guard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from aarlab.core.errors import AarError
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.policies import DEFAULT_POLICY
from aarlab.server.desk import Desk
from aarlab.server.guard import MAX_BODY, Guard
from aarlab.server.identity import Tokens
from aarlab.server.lanes import Lanes
from aarlab.server.operations import OperatorDesk
from aarlab.server.operator_routes import make_operator_router
from aarlab.server.refusals import answer, bug, refusal, words_of
from aarlab.server.routes import make_router


def create_app(problem: Path, campaign: Path, *, policy: str = DEFAULT_POLICY) -> FastAPI:
    """The server of one campaign. The operator gets a new token.

    Raises:
        Misconfigured: the problem is not set up, or the campaign's folder is damaged.
    """
    from aarlab.server.tools import mcp_endpoint  # the SDK takes longer to import than all else together

    desk = Desk(Evaluator(problem, campaign, policy=policy))
    tokens = Tokens(desk.evaluator.folder)
    tokens.renew_operator()
    mcp, session = mcp_endpoint(desk, MAX_BODY)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        async with session():
            yield
        desk.close()

    app = FastAPI(title="AAR Lab", version="1", lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    app.include_router(make_router(desk))
    app.include_router(make_operator_router(OperatorDesk(desk, tokens), app))
    app.router.routes.append(Route("/mcp", endpoint=mcp, methods=["POST"]))
    app.add_middleware(Guard, tokens=tokens, lanes=Lanes())
    for kind, handler in ((AarError, _ours), (RequestValidationError, _invalid), (HTTPException, _http), (Exception, _bug)):
        app.add_exception_handler(kind, handler)
    described = app.openapi
    app.openapi = lambda: _with_bearer(described())
    return app


def _with_bearer(openapi: dict[str, Any]) -> dict[str, Any]:
    """Every operation needs a token."""
    openapi.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
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
    words = {404: "There is no such path", 405: "This path does not take that method"}.get(error.status_code, error.detail)
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


async def _bug(request: Request, error: Exception) -> Response:
    return answer(500, bug(error, f"{request.method} {request.url.path[:200]}"), "a bug of ours")
