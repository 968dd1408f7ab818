"""REST: one short function an operation. Each hands on to the desk, which knows who may."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Finding, Receipt, Ticket
from aarlab.server import wire
from aarlab.server.desk import Desk

REFUSALS = {status: {"model": wire.Problem} for status in (400, 401, 403, 404, 405, 408, 413, 415, 422, 500, 503)}
ARCHIVE = {
    "required": True,
    "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in wire.ARCHIVES},
}


def make_router(desk: Desk) -> APIRouter:
    """What researchers and readers may ask, under /api/v1."""
    router = APIRouter(prefix="/api/v1", responses=REFUSALS)
    _work(router, desk)
    _reading(router, desk)
    return router


def _work(router: APIRouter, desk: Desk) -> None:
    @router.post("/code", status_code=201)
    async def commit_code(new: wire.NewCode) -> wire.Committed:
        """Upload code. Answers with its hash, the seeds on which to run it, and what was done before that is like it."""
        return await desk.commit_code(new)

    @router.post("/snapshots", status_code=201, openapi_extra={"requestBody": ARCHIVE})
    async def commit_archive(request: Request, family: Annotated[wire.FamilyName, Query()]) -> wire.Committed:
        """Upload code as a tar, tar.gz or zip archive: the same hash as the same files sent as JSON."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in wire.ARCHIVES:
            raise InvalidSubmission(f"Send an archive with the content type {' or '.join(wire.ARCHIVES)}.", status=415)
        return await desk.commit_archive(await request.body(), family)

    @router.get("/code/{snapshot}")
    async def download_code(snapshot: wire.SnapshotId) -> wire.Code:
        """The files of a snapshot, anybody's."""
        return await desk.code(snapshot)

    @router.post("/submissions")
    async def submit_predictions(new: wire.Submission) -> Receipt:
        """Submit answers on the issued seeds; unlimited. Answers with a receipt, on a grid of 10 ms."""
        return await desk.submit(new)

    @router.post("/requests", status_code=201)
    async def submit_code(new: wire.NewRequest) -> Ticket:
        """Hand in committed code to be run and graded (code mode). Answers with a ticket at once."""
        return await desk.submit_code(new)

    @router.get("/requests/{ticket}")
    async def read_ticket(ticket: wire.TicketId) -> Ticket:
        """What became of one's ticket: waiting, a receipt, or how it failed."""
        return await desk.ticket(ticket)

    @router.get("/budget")
    async def my_budget() -> wire.Budget:
        """Seconds left to the campaign, and what you have submitted."""
        return await desk.budget()

    @router.post("/findings", status_code=201)
    async def share_finding(new: wire.NewFinding) -> Finding:
        """Post to the forum. Cite receipts instead of typing figures."""
        return await desk.share(new)


def _reading(router: APIRouter, desk: Desk) -> None:
    @router.get("/receipts/{receipt}")
    async def read_receipt(receipt: wire.ReceiptId) -> Receipt:
        """A receipt, as it was told when it was given."""
        return await desk.receipt(receipt)

    @router.get("/problem")
    async def get_problem() -> wire.Card:
        """What the problem is, which splits it has and how large they are."""
        return await desk.problem()

    @router.get("/released")
    async def bits_released() -> wire.LabelSet:
        """What has left of the hidden labels, and the price of the next yes to you."""
        return await desk.label_set()

    @router.get("/leaderboard")
    async def leaderboard(page: Annotated[wire.Page, Query()] = 0) -> wire.BoardPage:
        """Told improvements, best first, 20 a page. Levels are provisional."""
        return await desk.board(page)

    @router.get("/findings")
    async def list_findings(
        after: Annotated[wire.Whole, Query()] = 0, limit: Annotated[wire.Limit, Query()] = 20
    ) -> wire.Findings:
        """Findings with a number above `after`, oldest first."""
        return await desk.findings(after, limit)

    @router.get("/findings/search")
    async def search_findings(
        query: Annotated[wire.Query, Query()], limit: Annotated[wire.Limit, Query()] = 20
    ) -> wire.Findings:
        """The latest findings that contain every word of the query."""
        return await desk.search(query, limit)

    @router.post("/similar")
    async def similar_ideas(idea: wire.Idea) -> wire.SimilarIdeas:
        """Findings that are like an idea in words: to ask before code is written."""
        return await desk.similar(idea)

    @router.get("/findings/{finding}")
    async def read_finding(finding: wire.FindingId) -> Finding:
        """One finding."""
        return await desk.finding(finding)

    @router.get("/ledger")
    async def ledger_summary() -> wire.LedgerSummary:
        """How many entries the ledger has, by kind, and its Merkle root."""
        return await desk.ledger()
