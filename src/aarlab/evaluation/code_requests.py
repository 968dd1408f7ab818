"""Code mode: researchers hand in code, the operator's side runs it on items that they never see,
and a ticket says how it ended.

A campaign is in this mode permanently once the ledger says so. Requests and outcomes are entries of
the ledger: whatever is killed, what waits goes on waiting, and what was delivered twice is one
submission, for equal answers are answered from memory.

It hides the items from eyes and from memories of public data. It does not stop code from telling
items apart by their order, so the meter is what bounds the leak here, too.
"""

from typing import Any

from aarlab.core.entries import EventBody, OutcomeBody, RequestBody
from aarlab.core.errors import InvalidSubmission
from aarlab.core.layout import GradingsFolder, ServerFolder
from aarlab.core.records import NO_RESULT, Entry, Failure, Receipt, Ticket
from aarlab.core.view import View
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.scoring.graded_units import read_grading

CODE_ONLY = "code only"  # the campaign's event that switches the mode on
MOST_WAITING = 8  # requests of one researcher


class CodeRequests(View):
    """The requests of one campaign."""

    LIVE = View.LIVE | {"_evaluator"}

    def __init__(self, evaluator: Evaluator) -> None:
        super().__init__(evaluator.ledger)
        self._evaluator, self._code_only = evaluator, False
        self._asked: dict[str, Entry] = {}  # by ticket
        self._tickets: dict[tuple[str, str], str] = {}  # (who, snapshot) -> ticket
        self._settled: dict[str, OutcomeBody] = {}  # by ticket

    def _take(self, entry: Entry) -> None:
        if entry.kind == "request":
            self._asked[_ticket(entry)] = entry
            self._tickets[entry.who, entry.read(RequestBody).snapshot] = _ticket(entry)
        elif entry.kind == "outcome":
            self._settled.setdefault(entry.read(OutcomeBody).ticket, entry.read(OutcomeBody))
        elif entry.kind == "campaign" and entry.read(EventBody).event == CODE_ONLY:
            self._code_only = True

    @property
    def code_only(self) -> bool:
        """Whether this campaign is in code mode."""
        with self._current():
            return self._code_only

    def refuse_predictions(self) -> None:
        """Raise where researchers may not submit predictions.

        Raises:
            InvalidSubmission: the campaign is in code mode.
        """
        if self.code_only:
            words = (
                "This campaign takes code only: call submit_code(snapshot, family), then "
                "read_receipt(ticket) until it ran."
            )
            raise InvalidSubmission(words)

    def submit(self, who: str, snapshot: str, family: str) -> Ticket:
        """Ask for a snapshot to be run on its issued seeds and graded. The same request has the
        same ticket, until the machine ended its run: that is no outcome, and the next one asks for
        it again.

        Raises:
            InvalidSubmission: the campaign is not in code mode, nobody committed the snapshot, or
                too many requests wait.
        """
        if not self.code_only:
            raise InvalidSubmission(
                "This campaign takes predictions: run the code yourself, then call "
                "submit_predictions."
            )
        self._evaluator.code(snapshot)
        with self._current():
            found = self._tickets.get((who, snapshot))
            settled = self._settled.get(found) if found else None
            if found and not (settled and settled.failure in NO_RESULT):
                return self._state(found)
            waiting = sum(e.who == who for t, e in self._asked.items() if t not in self._settled)
        if waiting >= MOST_WAITING:
            raise InvalidSubmission(
                f"{waiting} of your requests wait. Read their receipts first.", waiting=waiting
            )
        body = RequestBody(snapshot=snapshot, family=family).plain()
        entry = self._evaluator.ledger.append("request", who, body)
        return Ticket(id=_ticket(entry), state="waiting")

    def read(self, who: str, ticket: str) -> Ticket:
        """What became of one's request.

        Raises:
            InvalidSubmission: one has no such ticket.
        """
        with self._current():
            asked = self._asked.get(ticket)
            if asked is None or asked.who != who:
                raise InvalidSubmission(
                    f"You have no ticket '{ticket[:40]}'. submit_code gives one.",
                    ticket=ticket[:40],
                )
            return self._state(ticket)

    def _state(self, ticket: str) -> Ticket:
        outcome = self._settled.get(ticket)
        if outcome is None:
            return Ticket(id=ticket, state="waiting")
        return _settled(outcome)

    # --- the operator's side ----------------------------------------------------------------------

    def waiting(self) -> list[dict[str, Any]]:
        """What is to be run, [{"ticket", "who", "snapshot", "seeds"}]: everybody's first request
        before anybody's second."""
        with self._current():
            turn: dict[str, int] = {}
            rows = []
            for ticket, entry in self._asked.items():
                if ticket not in self._settled:
                    turn[entry.who] = turn.get(entry.who, 0) + 1
                    rows.append(
                        (
                            turn[entry.who],
                            entry.seq,
                            ticket,
                            entry.who,
                            entry.read(RequestBody).snapshot,
                        )
                    )
        return [
            {"ticket": t, "who": who, "snapshot": s, "seeds": self._evaluator.seeds("feedback", s)}
            for _, _, t, who, s in sorted(rows)
        ]

    def deliver(self, ticket: str, predictions: dict[str, Any]) -> Ticket:
        """Grade what the run answered, as a submission of whoever asked.

        Raises:
            InvalidSubmission: there is no such request, or these are no answers (then say that it
                failed).
            Transient: the store failed; deliver again.
        """
        asked = self._waiting(ticket)
        request = asked.read(RequestBody)
        receipt = self._evaluator.submit(asked.who, request.snapshot, predictions, request.family)
        return self._done(ticket, receipt)

    def deliver_graded(self, ticket: str, digest: str) -> Ticket:
        """As `deliver`, of a problem in a folder: the unit scores lie in a file of that SHA-256,
        where the operator's side put it for the evaluator. They do not pass through the lab.

        Raises:
            InvalidSubmission: there is no such request, no such file, or these are no unit scores
                of this problem.
            Transient: the store failed; deliver again.
        """
        asked = self._waiting(ticket)
        request = asked.read(RequestBody)
        path = GradingsFolder(ServerFolder(self._evaluator.folder).gradings).of(ticket)
        graded = read_grading(path, digest)
        receipt = self._evaluator.submit_graded(asked.who, request.snapshot, graded, request.family)
        outcome = self._done(ticket, receipt)
        path.unlink(missing_ok=True)
        return outcome

    def _done(self, ticket: str, receipt: Receipt) -> Ticket:
        return self._settle(
            OutcomeBody(ticket=ticket, state="done", receipt=receipt, failure=None, log=None)
        )

    def fail(self, ticket: str, failure: Failure, log: str | None = None) -> Ticket:
        """Record how the code failed; `log` is of a run that saw no feedback item.

        Raises:
            InvalidSubmission: there is no such request.
        """
        self._waiting(ticket)
        return self._settle(
            OutcomeBody(ticket=ticket, state="failed", receipt=None, failure=failure, log=log)
        )

    def _waiting(self, ticket: str) -> Entry:
        with self._current():
            if ticket not in self._asked or ticket in self._settled:
                words = f"No request '{ticket[:40]}' waits."
                raise InvalidSubmission(words, ticket=ticket[:40], absent=True)
            return self._asked[ticket]

    def _settle(self, outcome: OutcomeBody) -> Ticket:
        self._evaluator.ledger.append("outcome", "evaluator", outcome.plain())
        return _settled(outcome)


def _settled(outcome: OutcomeBody) -> Ticket:
    return Ticket(
        id=outcome.ticket,
        state=outcome.state,
        receipt=outcome.receipt,
        failure=outcome.failure,
        log=outcome.log,
    )


def _ticket(entry: Entry) -> str:
    """A ticket's number is its ledger entry's."""
    return f"q-{entry.seq:06d}"
