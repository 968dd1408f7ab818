"""Who calls, and which findings there are, as of now: the evaluator says it again for each request.

Requests that come while it is being asked share the next question, which is asked after all of them
came.
"""

import asyncio
from collections.abc import Callable

from aarlab.core.callers import REFUSED, Identity
from aarlab.core.errors import Unauthorised
from aarlab.core.evaluator_socket import Asked, Now
from aarlab.lab.evaluator_client import EvaluatorClient, ReleasedRecord

MOST = 200  # requests that share a question
KNOWN = 4096  # tokens that are remembered


class CallerLookup:
    """For one event loop."""

    def __init__(
        self,
        client: EvaluatorClient,
        findings: ReleasedRecord,
        hide: Callable[[list[str]], None] = lambda _: None,
    ) -> None:
        """`hide` is given the ids of the findings that an operator hid."""
        self._client, self._findings, self._hide = client, findings, hide
        self._waiting: list[tuple[str, asyncio.Future[Identity]]] = []
        self._asking: asyncio.Task[None] | None = None
        self._known: dict[str, Identity] = {}

    async def who(self, token: str) -> Identity:
        """Whom the token of that hash stands for; the findings are up to date after it.

        Raises:
            Unauthorised: it is not valid.
            Transient: the evaluator does not run.
        """
        self._waiting.append((token, future := asyncio.get_running_loop().create_future()))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await future

    async def whose(self, token: str) -> Identity:
        """Whom it stood for when that was last asked: for requests of which the evaluator itself
        finds out who calls."""
        return self._known.get(token) or await self.who(token)

    def forget(self, token: str) -> None:
        """The evaluator refused it."""
        self._known.pop(token, None)

    async def _ask(self) -> None:
        try:
            while self._waiting:
                some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                tokens = list({token for token, _ in some})
                asked = Asked(tokens=tokens, after=self._findings.upto)
                (now,) = await asyncio.gather(
                    self._client.ask("now", asked), return_exceptions=True
                )
                for token, future in some:
                    if not future.done():
                        self._answer(token, future, now)
        finally:
            self._asking = None

    def _answer(self, token: str, future: asyncio.Future[Identity], now: object) -> None:
        if isinstance(now, BaseException):
            future.set_exception(now)
            return
        assert isinstance(now, Now)
        self._findings.take(now)
        self._hide(now.hidden)
        caller = now.callers.get(token)
        if caller is None:
            self.forget(token)
            future.set_exception(Unauthorised(REFUSED))
            return
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[token] = me = Identity(caller.name, caller.role)
        future.set_result(me)
