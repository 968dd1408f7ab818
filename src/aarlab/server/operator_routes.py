"""REST for the operator: tokens, entries, counts, and the description of it all."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI

from aarlab.core.records import Ticket
from aarlab.server import wire
from aarlab.server.identity import Name
from aarlab.server.operations import OperatorDesk
from aarlab.server.routes import REFUSALS


def make_operator_router(desk: OperatorDesk, app: FastAPI) -> APIRouter:
    """What the operator alone may ask."""
    router = APIRouter(prefix="/api/v1", responses=REFUSALS)

    @router.post("/tokens", status_code=201)
    async def issue_token(new: wire.NewToken) -> wire.Token:
        """A new token for a name, shown once; an earlier one of that name ends."""
        return await desk.issue(new)

    @router.get("/tokens")
    async def list_tokens() -> wire.Tokens:
        """Whose tokens there are."""
        return await desk.tokens()

    @router.delete("/tokens/{name}")
    async def revoke_token(name: Name) -> wire.Revoked:
        """End a name's token at once."""
        return await desk.revoke(name)

    @router.post("/entries", status_code=201)
    async def add_entry(new: Annotated[wire.NewEntry, Body()]) -> wire.Recorded:
        """Record an event or what was spent."""
        return await desk.record(new)

    @router.get("/operator/requests")
    async def waiting_requests() -> wire.Requests:
        """The code that waits to be run (code mode)."""
        return await desk.requests()

    @router.post("/operator/requests/{ticket}")
    async def settle_request(ticket: wire.TicketId, outcome: Annotated[wire.Ran | wire.Failed, Body()]) -> Ticket:
        """What became of a request: what it answered, or how it failed."""
        return await desk.settle(ticket, outcome)

    @router.get("/operator/board")
    async def operator_board() -> wire.OperatorBoard:
        """Counts by submitter and the told level."""
        return await desk.board()

    @router.get("/operator/campaign")
    async def operator_campaign() -> wire.CampaignState:
        """Events so far, seconds spent, number of submissions."""
        return await desk.campaign()

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        return await desk.description(app.openapi())

    return router
