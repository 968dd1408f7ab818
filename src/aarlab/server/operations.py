"""What the operator alone may ask: tokens, entries about researchers and spend, counts."""

from typing import Any

from aarlab.core.records import Ticket
from aarlab.evaluation.follow import Rows
from aarlab.evaluation.leaderboard import campaign_state
from aarlab.server import wire
from aarlab.server.desk import Desk
from aarlab.server.identity import Role, Tokens

OPERATOR: tuple[Role, ...] = ("operator",)


class OperatorDesk:
    """The operator's side of a desk."""

    def __init__(self, desk: Desk, tokens: Tokens) -> None:
        self._desk, self._tokens = desk, tokens
        self._rows = Rows(desk.evaluator.ledger)

    async def issue(self, new: wire.NewToken) -> wire.Token:
        """A new token for a name; the old one ends."""
        token = await self._desk.do(OPERATOR, lambda _: self._tokens.issue(new.name, new.role, seconds=new.seconds))
        return wire.Token(name=new.name, role=new.role, token=token)

    async def tokens(self) -> wire.Tokens:
        """Whose tokens there are."""
        return wire.Tokens(tokens=await self._desk.do(OPERATOR, lambda _: self._tokens.all()))

    async def revoke(self, name: str) -> wire.Revoked:
        """End a name's token at once."""
        await self._desk.do(OPERATOR, lambda _: self._tokens.revoke(name))
        return wire.Revoked(name=name)

    async def record(self, new: wire.NewEvent | wire.NewSpend) -> wire.Recorded:
        """An entry in the ledger; the earlier one where its id is known already."""
        body: dict[str, Any] = new.body.model_dump(mode="json", exclude_unset=True)
        entry = await self._desk.do(OPERATOR, lambda _: self._rows.append(new.kind, new.who, body, new.id))
        return wire.Recorded(seq=entry.seq, hash=entry.hash)

    async def requests(self) -> wire.Requests:
        """The code that waits to be run, in the order in which to run it."""
        rows = await self._desk.do(OPERATOR, lambda _: self._desk.requests.waiting())
        return wire.Requests(requests=[wire.Waiting(**row) for row in rows])

    async def settle(self, ticket: str, outcome: wire.Ran | wire.Failed) -> Ticket:
        """What became of a request; where it was run, graded like any submission."""
        requests = self._desk.requests
        if isinstance(outcome, wire.Failed):
            return await self._desk.do(OPERATOR, lambda _: requests.fail(ticket, outcome.failure, outcome.log))
        return await self._desk.do(OPERATOR, lambda _: requests.deliver(ticket, dict(outcome.predictions)))

    async def board(self) -> wire.OperatorBoard:
        """Counts by submitter."""
        return await self._desk.do(OPERATOR, self._board)

    def _board(self, _: object) -> wire.OperatorBoard:
        evaluator, by = self._desk.evaluator, self._desk.told.by_submitter()
        level = round(evaluator.told_ruler.pgr(evaluator.level), 4)
        submissions = sum(activity.submissions for activity in by.values())
        released = evaluator.released(evaluator.meter.now("operator"))
        return wire.OperatorBoard(submissions=submissions, level_pgr=level, released=released, by_submitter=by)

    async def campaign(self) -> wire.CampaignState:
        """What has happened so far."""
        return await self._desk.do(OPERATOR, lambda _: wire.CampaignState(**campaign_state(self._desk.evaluator)))

    async def description(self, openapi: dict[str, Any]) -> dict[str, Any]:
        """The OpenAPI description."""
        return await self._desk.do(OPERATOR, lambda _: openapi)
