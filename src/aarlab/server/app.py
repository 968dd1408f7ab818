"""FastAPI and the MCP server in one application."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from mcp.server.transport_security import TransportSecuritySettings

from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured, Transient, Unauthorised
from aarlab.evaluation.evaluator import Evaluator
from aarlab.forum.forum import Forum
from aarlab.server.identity import Tokens
from aarlab.server.routes import make_router
from aarlab.server.tools import make_tools

MAX_BODY = 8 << 20
STATUS: dict[type[AarError], int] = {InvalidSubmission: 422, Unauthorised: 401, Misconfigured: 500, Transient: 503}


def create_app(problem: Path, campaign: Path, *, policy: str = "ladder") -> FastAPI:
    """The server of one campaign.

    Raises:
        Misconfigured: the problem is not set up, or the campaign's folder is damaged.
    """
    evaluator = Evaluator(problem, campaign, policy=policy)
    forum, tokens = Forum(evaluator), Tokens(evaluator.folder)
    tools = make_tools(evaluator, forum, tokens, problem / "public" / "problem.json")
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)  # unix sockets carry any Host
    mcp_app = tools.streamable_http_app(
        streamable_http_path="/mcp",
        stateless_http=True,
        json_response=True,
        transport_security=security,
        max_request_body_size=MAX_BODY,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        async with tools.session_manager.run():
            yield
        evaluator.ledger.close()

    app = FastAPI(title="AAR Lab", version="1", lifespan=lifespan)
    app.middleware("http")(_limit_body)
    app.add_exception_handler(AarError, _answer_error)
    app.include_router(make_router(evaluator, forum, tokens))
    app.mount("/", mcp_app)  # last: it takes every path that no route above took
    return app


async def _limit_body(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_BODY:
        words = f"A request may have {MAX_BODY} bytes. Send fewer."
        return JSONResponse({"error": words, "whose_move": "submitter"}, status_code=413)
    return await call_next(request)


async def _answer_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, AarError)
    status = 403 if error.facts.get("forbidden") else STATUS.get(type(error), 500)
    return JSONResponse({"error": str(error), "whose_move": error.whose_move}, status_code=status)
