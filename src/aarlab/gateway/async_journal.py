"""The journal as the gateway uses it: from its event loop, and with patience where only calls in
flight stand in the way."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from aarlab.core.budget import Spent
from aarlab.core.errors import InvalidSubmission, Transient
from aarlab.gateway.admission import BudgetSpent, CallOpened, InFlight, Reserve
from aarlab.gateway.call_health import Trouble
from aarlab.gateway.config import Budgets, GatewayConfig
from aarlab.gateway.journal import Journal
from aarlab.gateway.journal_rows import Taken

WAIT_S = 500.0  # for calls in flight to settle: less than clients wait for an answer
T = TypeVar("T")
log = logging.getLogger("aarlab.gateway")


class AsyncJournal:
    """One thread writes the journal, so that a slow disk delays money and nothing else."""

    def __init__(self, journal: Journal, config: GatewayConfig) -> None:
        self._journal, self.config = journal, config
        self._thread = ThreadPoolExecutor(1, "journal")
        self._settled = asyncio.Event()  # set when a call is, and then replaced

    async def _do(self, act: Callable[[], T]) -> T:
        """Run to its end even if who asked is cancelled: what was begun is known to be done."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, act))

    def close(self) -> None:
        """Once all that was begun is written."""
        self._thread.shutdown()

    async def open(self, who: str, model: str, reserve: Reserve, gone: asyncio.Event) -> int | None:
        """The number of a call that may be sent now; None if the client did not wait for it.

        Raises:
            InvalidSubmission: a budget is spent.
            Transient: for WAIT_S, calls in flight held all that is left.
        """
        until = asyncio.get_running_loop().time() + WAIT_S
        while True:
            budgets = {
                "researcher": self.config.researcher_budget,
                "campaign": self.config.campaign_budget,
            }
            settled = self._settled  # before asking, so that no settlement is missed
            answer = await self._do(partial(self._journal.open, who, model, reserve, **budgets))
            if isinstance(answer, BudgetSpent):
                raise InvalidSubmission(answer.words, status=402)
            if isinstance(answer, CallOpened):
                if not gone.is_set():
                    return answer.call
                await self.drop(answer.call)
            if gone.is_set():
                return None
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                raise Transient(
                    "Other calls in flight hold what is left of the budget. Try again.", status=429
                )
            await _first(settled, gone, left)

    def limit(self, budgets: Budgets) -> None:
        """From now on these hold; who waits for the old ones asks again."""
        self.config = self.config.model_copy(update=dict(budgets))
        self._wake()

    async def refuse_if_spent(self, who: str) -> None:
        """For calls that cost nothing.

        Raises:
            InvalidSubmission: a budget is spent.
        """
        for whose, budget, name in (
            (who, self.config.researcher_budget, who),
            ("the campaign", self.config.campaign_budget, None),
        ):
            if limit := budget.reached(await self.spent(name)):
                raise InvalidSubmission(f"{whose}: {limit} is spent", status=402)

    async def spent(self, who: str | None) -> Spent:
        """See `Journal.spent`."""
        return await self._do(lambda: self._journal.spent(who))

    async def in_flight(self, who: str | None) -> InFlight:
        """See `Journal.in_flight`."""
        return await self._do(lambda: self._journal.in_flight(who))

    async def progress(self, call: int, taken: Taken) -> None:
        """See `Journal.progress`."""
        await self._do(lambda: self._journal.progress(call, taken))

    async def settle(
        self, call: int, taken: Taken, *, interrupted: bool, failed: bool, unread: str | None
    ) -> None:
        """See `Journal.settle`."""
        settle = self._journal.settle
        await self._close(
            lambda: settle(call, taken, interrupted=interrupted, failed=failed, unread=unread)
        )

    async def fail(self, call: int) -> None:
        """See `Journal.fail`."""
        await self._close(lambda: self._journal.fail(call))

    async def drop(self, call: int) -> None:
        """See `Journal.drop`."""
        await self._close(lambda: self._journal.drop(call))

    async def trouble(self, who: str, kind: Trouble, words: str, *, failing: bool = False) -> None:
        """See `Journal.trouble`. It is in the log as well."""
        log.warning("Model calls of %s were %s: %s", who, kind, words)
        await self._do(lambda: self._journal.trouble(who, kind, words, failing=failing))

    async def _close(self, act: Callable[[], None]) -> None:
        await self._do(act)
        self._wake()

    def _wake(self) -> None:
        self._settled.set()
        self._settled = asyncio.Event()


async def _first(one: asyncio.Event, other: asyncio.Event, within_s: float) -> None:
    """Until either is set, or time is up."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (one, other)]
    try:
        await asyncio.wait(waiting, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
