"""HTTP for the operator: tokens, entries, boards, confirmations; and what anyone with a token may read."""

from typing import Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict

from aarlab.core.errors import InvalidSubmission, Unauthorised
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.leaderboard import campaign_state, operator_board, told_board
from aarlab.forum.forum import Forum
from aarlab.server.identity import Identity, Tokens


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class NewToken(_Body):
    name: str
    token: str


class NewEntry(_Body):
    kind: Literal["researcher", "spend", "campaign"]
    who: str
    body: dict[str, Any]


class Begin(_Body):
    count: int


class Outcome(_Body):
    predictions: dict[str, dict[str, Any]] | None = None
    error: str | None = None


def make_router(  # noqa: C901 - one short function a route
    evaluator: Evaluator, forum: Forum, tokens: Tokens
) -> APIRouter:
    """All routes under /api/v1."""

    def anyone(request: Request) -> Identity:
        return tokens.who(request.headers.get("Authorization"))

    def operator(request: Request) -> Identity:
        identity = anyone(request)
        if identity.role != "operator":
            raise Unauthorised("This is the operator's. Researchers' tools are at /mcp.", forbidden=True)
        return identity

    router = APIRouter(prefix="/api/v1")
    for_operator = [Depends(operator)]

    @router.get("/leaderboard", dependencies=[Depends(anyone)])
    def leaderboard(page: int = 0) -> list[dict[str, Any]]:
        return told_board(evaluator, max(0, page))

    @router.get("/findings", dependencies=[Depends(anyone)])
    def findings(after: int = 0, limit: int = 20) -> list[dict[str, Any]]:
        return [f.model_dump(mode="json") for f in forum.since(after, limit)]

    @router.post("/tokens", dependencies=for_operator)
    def add_token(new: NewToken) -> dict[str, str]:
        tokens.add(new.name, new.token, "researcher")
        return {"name": new.name}

    @router.post("/entries", dependencies=for_operator)
    def add_entry(new: NewEntry) -> dict[str, Any]:
        return evaluator.ledger.append(new.kind, new.who, new.body).model_dump(mode="json")

    @router.get("/operator/board", dependencies=for_operator)
    def board() -> dict[str, Any]:
        return operator_board(evaluator)

    @router.get("/operator/campaign", dependencies=for_operator)
    def campaign() -> dict[str, Any]:
        return campaign_state(evaluator)

    @router.post("/confirmations", dependencies=for_operator)
    def begin(body: Begin) -> list[dict[str, Any]]:
        return evaluator.begin_confirmations(body.count)

    @router.post("/confirmations/{token}", dependencies=for_operator)
    def finish(token: str, body: Outcome) -> dict[str, Any]:
        if body.error is not None:
            return evaluator.confirmation_failed(token, body.error)
        if body.predictions is None:
            raise InvalidSubmission("Send either predictions or an error.")
        return evaluator.confirm(token, body.predictions)

    return router
