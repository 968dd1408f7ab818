"""What the operator alone may ask, a function an operation: tokens, entries about researchers and
spend, counts."""

from typing import Any

from aarlab.core import operator_records
from aarlab.core.callers import Identity
from aarlab.core.records import Ticket
from aarlab.evaluation.code_requests import CodeRequests
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.identity import TokenStore
from aarlab.evaluation.leaderboard import Board, campaign_state
from aarlab.evaluation.ledger.views import Rows
from aarlab.evaluation.receipts import released_of


class OperatorHandlers:
    """The functions of the operator's operations, by the operations' names."""

    def __init__(
        self, evaluator: Evaluator, board: Board, requests: CodeRequests, tokens: TokenStore
    ) -> None:
        self._evaluator, self._board, self._requests, self._tokens = (
            evaluator,
            board,
            requests,
            tokens,
        )
        self._rows = evaluator.view("rows", Rows(evaluator.ledger))

    def issue_token(self, _: Identity, new: operator_records.NewToken) -> operator_records.Token:
        token = self._tokens.issue(new.name, new.role, seconds=new.seconds)
        return operator_records.Token(name=new.name, role=new.role, token=token)

    def list_tokens(self, _: Identity) -> operator_records.Tokens:
        return operator_records.Tokens(tokens=self._tokens.all())

    def revoke_token(self, _: Identity, *, name: str) -> operator_records.Revoked:
        self._tokens.revoke(name)
        return operator_records.Revoked(name=name)

    def add_entry(
        self, _: Identity, new: operator_records.NewEvent | operator_records.NewSpend
    ) -> operator_records.Recorded:
        """An entry in the ledger; the earlier one where its id is known already."""
        body: dict[str, Any] = new.body.model_dump(mode="json", exclude_unset=True)
        entry = self._rows.append(new.kind, new.who, body, new.id)
        return operator_records.Recorded(seq=entry.seq, hash=entry.hash)

    def waiting_requests(self, _: Identity) -> operator_records.Requests:
        return operator_records.Requests(
            requests=[operator_records.Waiting(**row) for row in self._requests.waiting()]
        )

    def settle_request(
        self,
        _: Identity,
        outcome: operator_records.Ran | operator_records.Graded | operator_records.Failed,
        *,
        ticket: str,
    ) -> Ticket:
        """What became of a request; where it was run, graded like any submission."""
        if isinstance(outcome, operator_records.Failed):
            return self._requests.fail(ticket, outcome.failure, outcome.log)
        if isinstance(outcome, operator_records.Graded):
            return self._requests.deliver_graded(ticket, outcome.graded)
        return self._requests.deliver(ticket, dict(outcome.predictions))

    def operator_board(self, _: Identity) -> operator_records.OperatorBoard:
        evaluator, by = self._evaluator, self._board.by_submitter()
        now = evaluator.meter.now("operator")
        level = round(evaluator.pgr_scale.pgr(now.level), 4)
        submissions = sum(activity.submissions for activity in by.values())
        return operator_records.OperatorBoard(
            submissions=submissions,
            combined=evaluator.pgr_scale.combined,
            level_pgr=level,
            released=released_of(now, evaluator.pgr_scale, evaluator.units.independent),
            by_submitter=by,
        )

    def operator_campaign(self, _: Identity) -> operator_records.CampaignState:
        return operator_records.CampaignState(**campaign_state(self._evaluator.ledger, self._board))
