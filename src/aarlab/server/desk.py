"""What can be asked of the lab, and by whom. REST and MCP are two doors to this one desk."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, get_args

from aarlab.core.errors import InvalidSubmission, Misconfigured, Unauthorised
from aarlab.core.records import EntryKind, Family, Finding, Receipt, Ticket, validated
from aarlab.core.snapshot import Files
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.follow import Receipts
from aarlab.evaluation.leaderboard import Board
from aarlab.evaluation.requests import Requests
from aarlab.evaluation.snapshots import read_archive
from aarlab.forum.forum import Forum
from aarlab.forum.similar import Similars
from aarlab.server import identity, wire
from aarlab.server.identity import Identity, Role
from aarlab.server.pace import on_grid

THREADS = 32  # in which all work is done; the event loop only waits
T = TypeVar("T")

RESEARCHERS: tuple[Role, ...] = ("researcher",)
ALL: tuple[Role, ...] = ("researcher", "reader", "operator")
WITNESSES: tuple[Role, ...] = ("reader", "operator")  # how many flags there are is no researcher's to know
CODE: tuple[Role, ...] = ("researcher", "operator")


class Desk:
    """The operations, each for certain roles. All wait for a thread, never in one."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator, self._card = evaluator, read_card(evaluator.problem)
        self._forum, self.told = Forum(evaluator), Board(evaluator.ledger)
        self._receipts, self.requests = Receipts(evaluator.ledger), Requests(evaluator)
        self._similars = Similars(evaluator)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="desk")
        self._pool.submit(self._similars.warm)

    def close(self) -> None:
        """Let what is in work end, then close the evaluator."""
        self._similars.close()
        self._pool.shutdown()
        self.evaluator.close()

    async def do(self, roles: tuple[Role, ...], act: Callable[[Identity], T]) -> T:
        """What `act` answers to the caller, in a thread.

        Raises:
            Unauthorised: the caller has none of these roles.
        """
        me = identity.CALLER.get()
        if me.role not in roles:
            words = f"This is for the role {' or '.join(roles)}; your token is a {me.role}'s. Ask the operator for another."
            raise Unauthorised(words, forbidden=True)
        return await asyncio.get_running_loop().run_in_executor(self._pool, act, me)

    # --- researchers ------------------------------------------------------------------------------------------------------

    async def commit_code(self, new: wire.NewCode) -> wire.Committed:
        """Store a snapshot; seeds are issued once the code is fixed. Beside them stands what is like it."""
        return await self.do(RESEARCHERS, lambda me: self._commit(me, new.files, new.family))

    async def commit_archive(self, data: bytes, family: Family) -> wire.Committed:
        """The same from an archive."""
        return await self.do(RESEARCHERS, lambda me: self._commit(me, read_archive(data), family))

    def _commit(self, me: Identity, files: Files, family: Family) -> wire.Committed:
        similar = self._similars.like_code(files, me.name)  # before it is one of them
        return wire.Committed(**self.evaluator.commit_code(me.name, files, family), similar=similar)

    async def code(self, snapshot: str) -> wire.Code:
        """The files of a snapshot, anybody's."""
        return await self.do(CODE, lambda _: wire.Code(files=_found(lambda: self.evaluator.code(snapshot))))

    async def submit(self, new: wire.Submission) -> Receipt:
        """Grade a bundle. The reply leaves on the grid of `pace`."""
        async with on_grid():
            return await self.do(RESEARCHERS, lambda me: self._submit(me, new))

    def _submit(self, me: Identity, new: wire.Submission) -> Receipt:
        self.requests.refuse_predictions()
        return self.evaluator.submit(me.name, new.snapshot, new.predictions, new.family)

    async def submit_code(self, new: wire.NewRequest) -> Ticket:
        """Code mode: hand in code to be run."""
        return await self.do(RESEARCHERS, lambda me: self.requests.submit(me.name, new.snapshot, new.family))

    async def ticket(self, ticket: str) -> Ticket:
        """What became of one's own ticket."""
        return await self.do(RESEARCHERS, lambda me: _found(lambda: self.requests.read(me.name, ticket)))

    async def budget(self) -> wire.Budget:
        """What is left and what was done."""
        return await self.do(RESEARCHERS, self._budget)

    def _budget(self, me: Identity) -> wire.Budget:
        mine, left = self.told.activity(me.name), seconds_left(self.evaluator.folder / "budget.json")
        return wire.Budget(seconds_left=left, submissions=mine.submissions, improvements=mine.improvements)

    async def share(self, new: wire.NewFinding) -> Finding:
        """Post to the forum."""
        fields = {name: getattr(new, name) for name in wire.NewFinding.model_fields}
        return await self.do(RESEARCHERS, lambda me: self._forum.share(me.name, **fields))

    # --- anyone -----------------------------------------------------------------------------------------------------------

    async def receipt(self, receipt: str) -> Receipt:
        """A receipt as it was told."""
        return await self.do(ALL, lambda _: _found(lambda: self._receipts.get(receipt)))

    async def problem(self) -> wire.Card:
        """The problem's card."""
        return await self.do(ALL, lambda _: self._card)

    async def label_set(self) -> wire.LabelSet:
        """The bits-released ledger, live."""
        return await self.do(ALL, self._label_set)

    def _label_set(self, me: Identity) -> wire.LabelSet:
        told, evaluator = self.evaluator.meter.now(me.name), self.evaluator
        certified, price = told.certified, told.outlook.price_bits
        return wire.LabelSet(
            items=len(evaluator.ids),
            level_pgr=round(evaluator.told_ruler.pgr(told.level), 4),
            level_accuracy=round(told.level, 6),
            certified_pgr=None if certified is None else round(evaluator.told_ruler.pgr(certified), 4),
            certified_accuracy=None if certified is None else round(certified, 6),
            next_step_accuracy=round(told.outlook.next_step, 6),
            price_of_next_yes_bits=None if price is None else round(price, 2),
            tier=told.outlook.tier,
            released=evaluator.released(told),
        )

    async def board(self, page: int) -> wire.BoardPage:
        """One page of told improvements."""
        rows, count = await self.do(ALL, lambda _: self.told.page(page))
        return wire.BoardPage(rows=list(rows), page=page, count=count)

    async def findings(self, after: int, limit: int) -> wire.Findings:
        """Findings with a number above `after`, oldest first."""
        return wire.Findings(findings=await self.do(ALL, lambda _: self._forum.since(after, limit)))

    async def search(self, query: str, limit: int) -> wire.Findings:
        """The latest findings that contain every word."""
        return wire.Findings(findings=await self.do(ALL, lambda _: self._forum.search(query, limit)))

    async def similar(self, idea: wire.Idea) -> wire.SimilarIdeas:
        """Findings that are like an idea."""
        return wire.SimilarIdeas(similar=await self.do(ALL, lambda _: self._similars.like_text(idea.text)))

    async def finding(self, finding: str) -> Finding:
        """One finding."""
        return await self.do(ALL, lambda _: _found(lambda: self._forum.read(finding)))

    async def ledger(self) -> wire.LedgerSummary:
        """The ledger's size and root."""
        return await self.do(WITNESSES, self._ledger)

    def _ledger(self, me: Identity) -> wire.LedgerSummary:
        del me
        ledger = self.evaluator.ledger
        by_kind = {kind: ledger.count(kind) for kind in get_args(EntryKind)}
        size, root = ledger.head()
        return wire.LedgerSummary(entries=size, root=root.hex(), by_kind=by_kind)


def _found(read: Callable[[], T]) -> T:
    """What is read by an id of the caller's; where there is none, the reply is 404 and not 422."""
    try:
        return read()
    except InvalidSubmission as error:
        raise InvalidSubmission(str(error), **error.facts, absent=True) from error


def seconds_left(budget: Path) -> float | None:
    """Seconds until the campaign's deadline, 0 when it has passed, None where there is none."""
    if not budget.exists():
        return None
    deadline = datetime.fromisoformat(json.loads(budget.read_text())["deadline"])
    return max(0.0, round((deadline - datetime.now(UTC)).total_seconds(), 1))


def read_card(problem: Path) -> wire.Card:
    """The problem's public card; where there is none, its folder's name.

    Raises:
        Misconfigured: it is not what set-up writes.
    """
    path = problem / "public" / "problem.json"
    try:
        fields = json.loads(path.read_text()) if path.exists() else {"name": problem.name}
    except (OSError, ValueError) as error:
        raise Misconfigured(f'Cannot read the problem\'s card {path}: {error}. Write JSON: {{"name": ...}}.') from error
    return validated(wire.Card, fields, str(path))
