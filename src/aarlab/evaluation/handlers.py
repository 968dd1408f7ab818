"""What each operation does in the evaluator's process: a function with the operation's name.

Who calls is found here, from the hash of the caller's token, and not believed of the lab.
"""

import hashlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel

from aarlab.core import operation_records as records
from aarlab.core.bodies import read_as
from aarlab.core.boot_clock import read_left
from aarlab.core.callers import Identity, require_role
from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.evaluator_socket import LOCAL
from aarlab.core.layout import PublicFolder, ServerFolder, TestbedFolder
from aarlab.core.operations import OPERATIONS, OPERATOR
from aarlab.core.orders import Orders
from aarlab.core.quotas import finding_cost
from aarlab.core.records import EntryKind, Finding, Receipt, Ticket, validated
from aarlab.core.snapshot import canonical
from aarlab.core.strict_json import read_json
from aarlab.evaluation.code_requests import CodeRequests
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.forum import Forum
from aarlab.evaluation.identity import TokenStore
from aarlab.evaluation.leaderboard import Board
from aarlab.evaluation.ledger.reads import Reads
from aarlab.evaluation.ledger.views import Receipts
from aarlab.evaluation.operator_handlers import OperatorHandlers
from aarlab.evaluation.receipts import Pending, released_of
from aarlab.evaluation.snapshot_rules import check_files

# what looks at what its caller has recorded, and then records: one at a time of one caller's
T = TypeVar("T", bound=BaseModel)
IN_TURN = frozenset({"commit_code", "share_finding", "submit_code"})


class Handlers:
    """The functions of all operations but LOCAL. Each has the caller, what was sent, and the ids of
    the path."""

    def __init__(self, evaluator: Evaluator, tokens: TokenStore) -> None:
        self.evaluator, self._tokens, self._card = evaluator, tokens, read_card(evaluator.problem)
        self.orders = evaluator.view("orders", Orders(evaluator.ledger))
        self._forum = evaluator.view("forum", Forum(evaluator, self.orders))
        self._board = evaluator.view("board", Board(evaluator.ledger))
        self._requests = evaluator.view("requests", CodeRequests(evaluator))
        self.reads = evaluator.view("reads", Reads(evaluator.ledger))
        self._receipts = Receipts(evaluator.ledger)
        self._turns: dict[str, threading.Lock] = {}  # by caller
        operators = OperatorHandlers(evaluator, self._board, self._requests, tokens)
        self._functions: dict[str, Callable[..., BaseModel]] = {
            name: getattr(operators if row.roles == OPERATOR else self, name)
            for name, row in OPERATIONS.items()
            if name not in LOCAL
        }

    def do(self, operation: str, token: str, ids: dict[str, str], body: bytes) -> BaseModel:
        """The operation's answer to whoever has the token of that hash; `body` is JSON, empty where
        nothing is taken.

        Raises:
            Unauthorised: the token is not valid, or its role is none of the operation's.
            InvalidSubmission: there is no such operation here, what was sent is not what it takes,
                or there is nothing with that id.
        """
        if operation not in self._functions:
            raise InvalidSubmission(f"The evaluator knows no operation '{operation}'.", absent=True)
        row = OPERATIONS[operation]
        me = self._tokens.who(token)
        require_role(me, row.roles)
        if ids.keys() != row.ids.keys():
            raise InvalidSubmission(
                f"{operation} takes the ids {sorted(row.ids)}, not {sorted(ids)[:4]}."
            )
        taken = [] if row.takes is None else [self._fitting(read_as(row.takes, body))]
        try:
            with self._turn(operation, me):
                return self._functions[operation](me, *taken, **ids)
        except InvalidSubmission as error:
            if row.method != "GET" or not ids:
                raise
            # 404 and not 422
            raise InvalidSubmission(str(error), **error.facts, absent=True) from error

    def _turn(self, operation: str, me: Identity) -> AbstractContextManager[object]:
        if operation not in IN_TURN:
            return nullcontext()
        return self._turns.setdefault(me.name, threading.Lock())

    def pending(self, token: str, body: bytes) -> Pending:
        """A submission that can be graded, of whoever has the token of that hash.

        Raises:
            As `do`.
        """
        me = self._tokens.who(token)
        require_role(me, OPERATIONS["submit_predictions"].roles)
        new = self._fitting(read_as(records.Submission, body))
        self._requests.refuse_predictions()
        return self.evaluator.pending(me.name, new.snapshot, new.predictions, new.family)

    def _fitting(self, taken: T) -> T:
        """What was sent.

        Raises:
            InvalidSubmission: it declares a family that is none of the problem's.
        """
        family = getattr(taken, "family", None)
        if family is not None and family not in self._card.families:
            raise InvalidSubmission(
                f"family: '{family}' is none of this problem's. Name one of: "
                f"{', '.join(self._card.families)}."
            )
        return taken

    # --- researchers ------------------------------------------------------------------------------

    def commit_code(self, me: Identity, new: records.NewCode) -> records.Committed:
        check_files(new.files)
        packed = canonical(new.files)
        self._board.require_room_for_code(me.name, hashlib.sha256(packed).hexdigest(), len(packed))
        return records.Committed(**self.evaluator.commit_code(me.name, new.files, new.family))

    def download_code(self, me: Identity, *, snapshot: str) -> records.Code:
        files = self.evaluator.code(snapshot)
        self.reads.add(me, "downloaded", [snapshot])  # before it leaves
        return records.Code(files=files)

    def submit_predictions(self, me: Identity, new: records.Submission) -> Receipt:
        self._requests.refuse_predictions()
        return self.evaluator.submit(me.name, new.snapshot, new.predictions, new.family)

    def check_answers(self, _: Identity, new: records.AnswersToCheck) -> records.Checked:
        self._requests.refuse_predictions()
        seeds, answers_SM = self.evaluator.checked(new.snapshot, new.predictions)
        share = round(float(answers_SM.mean()), 4)
        return records.Checked(seeds=len(seeds), items=answers_SM.shape[1], class_share=share)

    def submit_code(self, me: Identity, new: records.NewRequest) -> Ticket:
        return self._requests.submit(me.name, new.snapshot, new.family)

    def read_ticket(self, me: Identity, *, ticket: str) -> Ticket:
        return self._requests.read(me.name, ticket)

    def my_budget(self, me: Identity) -> records.BudgetLeft:
        mine, left = (
            self._board.activity(me.name),
            read_left(ServerFolder(self.evaluator.folder).budget),
        )
        stored = self._board.stored(me.name)
        return records.BudgetLeft(
            seconds_left=left,
            submissions=mine.submissions,
            improvements=mine.improvements,
            code_bytes_left=stored.code_left,
            finding_bytes_left=stored.findings_left,
        )

    def read_messages(self, me: Identity, query: records.MessagesQuery) -> records.Messages:
        found = self.orders.to(me.name, query.after)[-records.MOST_MESSAGES :]
        return records.Messages(
            messages=[records.OperatorMessage(number=m.number, at=m.at, text=m.text) for m in found]
        )

    def share_finding(self, me: Identity, new: records.NewFinding) -> Finding:
        cost = finding_cost(new.title, new.text)
        self._board.stored(me.name).require_room(findings=cost)
        return self._forum.share(me.name, **dict(new))

    # --- anyone -----------------------------------------------------------------------------------

    def read_receipt(self, _: Identity, *, receipt: str) -> Receipt:
        return self._receipts.get(receipt)

    def get_problem(self, _: Identity) -> records.Card:
        return self._card

    def bits_released(self, me: Identity) -> records.LabelSet:
        reported, evaluator = self.evaluator.meter.now(me.name), self.evaluator
        certified, price, scale = (
            reported.certified,
            reported.outlook.price_bits,
            evaluator.pgr_scale,
        )
        return records.LabelSet(
            items=len(evaluator.ids),
            combined=scale.combined,
            level_pgr=round(scale.pgr(reported.level), 4),
            level_accuracy=round(reported.level, 6),
            certified_pgr=None if certified is None else round(scale.pgr(certified), 4),
            certified_accuracy=None if certified is None else round(certified, 6),
            next_step_accuracy=round(reported.outlook.next_step, 6),
            next_step_pgr=round(scale.pgr(reported.outlook.next_step), 4),
            price_of_next_yes_bits=None if price is None else round(price, 2),
            tier=reported.outlook.tier,
            released=released_of(reported, scale, evaluator.units.independent),
        )

    def leaderboard(self, _: Identity, query: records.BoardQuery) -> records.BoardPage:
        rows, count = self._board.page(query.page)
        return records.BoardPage(rows=list(rows), page=query.page, count=count)

    def ledger_summary(self, _: Identity) -> records.LedgerSummary:
        ledger = self.evaluator.ledger
        by_kind = {kind: ledger.count(kind) for kind in get_args(EntryKind)}
        size, root = ledger.head()
        return records.LedgerSummary(entries=size, root=root.hex(), by_kind=by_kind)


def read_card(problem: Path) -> records.Card:
    """The problem's public card; where there is none, its folder's name.

    Raises:
        Misconfigured: it is not what set-up writes.
    """
    path = PublicFolder(TestbedFolder(problem).public).card
    try:
        fields = read_json(path) if path.exists() else {"name": problem.name}
    except (OSError, ValueError) as error:
        raise Misconfigured(
            f'Cannot read the problem\'s card {path}: {error}. Write JSON: {{"name": ...}}.'
        ) from error
    return validated(records.Card, fields, str(path))
