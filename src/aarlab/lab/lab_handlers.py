"""What each operation does in the lab's process: most are asked of the evaluator's; what needs no
label is done here.

A function here has the operation's name. The forum is read, and what is like an idea is found, in
what the evaluator releases.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any

from pydantic import BaseModel

from aarlab.core import operation_records as records
from aarlab.core.callers import Identity, require_role
from aarlab.core.errors import InvalidSubmission, Unauthorised
from aarlab.core.evaluator_socket import LOCAL
from aarlab.core.findings import FindingsView
from aarlab.core.operation import Operation
from aarlab.core.operations import OPERATOR
from aarlab.core.records import Finding
from aarlab.lab.caller_lookup import CallerLookup
from aarlab.lab.evaluator_client import EvaluatorClient, ReleasedPages, ReleasedRecord
from aarlab.lab.reading import Readings
from aarlab.lab.reply_times import ReplyTimes
from aarlab.lab.request_body import SentBody
from aarlab.lab.similar_ideas import Similars

THREADS = 32  # in which all work is done; the event loop only waits
PAGES = 200  # of findings, kept as they are sent
FINDINGS = LOCAL - {"similar_ideas"}  # what is read of findings must know the latest
CALLER: ContextVar[Identity] = ContextVar("caller")  # whose request this is; set by the guard
TOKEN: ContextVar[str] = ContextVar("token")  # the hash of its token


class LabHandlers:
    """The functions of the operations that are done here; `do` does any."""

    def __init__(self, client: EvaluatorClient) -> None:
        self._client, self._record = client, ReleasedRecord(client, "finding")
        self._findings, self._similars = FindingsView(self._record), Similars(ReleasedPages(client))
        self._local: dict[str, Callable[..., BaseModel]] = {
            name: getattr(self, name) for name in LOCAL
        }
        self._readings = Readings(client)
        self._callers, self._grid = CallerLookup(client, self._record, self._hide), ReplyTimes()
        # of findings, by the first, the last and how many: one that is hidden meanwhile is missing
        self._pages: dict[tuple[str, str, int], bytes] = {}
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="lab")

    def _hide(self, findings: list[str]) -> None:
        """Those are shown no more; all others are."""
        if self._findings.hidden != set(findings):
            self._findings.hidden = self._similars.hidden = set(findings)
            self._pages.clear()

    async def start(self) -> None:
        """Read what is recorded, beside all other work."""
        await self._record.refresh()
        await self._in_thread(self._findings.since, 0, 1)  # else whoever lists first waits for all
        self._pool.submit(self._similars.warm)

    async def close(self) -> None:
        """Let what is in work end."""
        self._similars.close()
        self._grid.close()
        await asyncio.to_thread(self._pool.shutdown)
        await self._client.close()

    async def who(self, token: str) -> Identity:
        """Whom the token of that hash stands for.

        Raises:
            Unauthorised: it is not valid.
            Transient: the evaluator does not run.
        """
        return await self._callers.who(token)

    async def whose(self, token: str) -> Identity:
        """As `who`, as it was when that was last asked: for what the evaluator answers itself."""
        return await self._callers.whose(token)

    async def direct(
        self, operation: Operation, body: bytes, query: tuple[int, int] | None
    ) -> bytes:
        """The JSON of an operation's answer to the caller: of a page of findings (`query`: after,
        limit), or the evaluator's as it came.

        Raises:
            As `do`.
        """
        if query is not None:
            require_role(CALLER.get(), operation.roles)
            return await self._page(*query)
        try:
            async with self._grid.on_it() if operation.on_grid else nullcontext():
                return await self._client.content(operation.name, TOKEN.get(), {}, body)
        except Unauthorised:
            self._callers.forget(TOKEN.get())
            raise

    async def _page(self, after: int, limit: int) -> bytes:
        if self._record.behind:
            await self._record.refresh()
        found = self._findings.since(after, limit)
        await self._readings.record(CALLER.get(), TOKEN.get(), found, listed=True)
        key = (found[0].id, found[-1].id, len(found)) if found else ("", "", 0)
        if key not in self._pages:
            page = records.Findings(findings=found)
            if len(self._pages) >= PAGES:
                self._pages.clear()
            self._pages[key] = await self._in_thread(lambda: page.model_dump_json().encode())
        return self._pages[key]

    async def do(self, operation: Operation, sent: SentBody[Any] | None, **ids: str) -> BaseModel:
        """The operation's answer to the caller.

        Raises:
            Unauthorised: the caller has none of the operation's roles.
            InvalidSubmission: what was sent is not what the operation takes, or there is nothing
                with that id.
            Transient: the evaluator does not run.
        """
        async with self._grid.on_it() if operation.on_grid else nullcontext():
            require_role(me := CALLER.get(), operation.roles)
            if operation.name in FINDINGS and self._record.behind:
                await self._record.refresh()
            if operation.name == "commit_code":
                return await self._commit(operation, me, sent)
            if operation.name in LOCAL:
                answer = await self._in_thread(self._done, operation, sent, ids)
                await self._record_reading(me, answer)
                return answer
            return await self._asked(operation, sent, ids)

    def _asked(
        self, operation: Operation, sent: SentBody[Any] | None, ids: dict[str, str]
    ) -> Awaitable[BaseModel]:
        """The evaluator's answer."""
        body = b"" if sent is None else sent.body
        return self._client.operation(operation.name, TOKEN.get(), ids, body, operation.gives)

    async def _commit(
        self, operation: Operation, me: Identity, sent: SentBody[Any] | None
    ) -> BaseModel:
        """What is like the code is looked up before the code is one of them."""
        assert sent is not None
        similar = await self._in_thread(
            lambda: self._similars.like_code(sent.read().files, me.name)
        )
        answer = await self._asked(operation, sent, {})
        return answer.model_copy(update={"similar": similar})

    async def _record_reading(self, me: Identity, answer: BaseModel) -> None:
        """Have it recorded that the caller is sent these findings, before it is."""
        if isinstance(answer, records.Findings):
            await self._readings.record(me, TOKEN.get(), answer.findings, listed=True)
        elif isinstance(answer, Finding):
            await self._readings.record(me, TOKEN.get(), [answer], listed=False)

    def _in_thread(self, act: Callable[..., Any], *given: Any) -> Awaitable[Any]:
        return asyncio.get_running_loop().run_in_executor(self._pool, act, *given)

    def _done(
        self, operation: Operation, sent: SentBody[Any] | None, ids: dict[str, str]
    ) -> BaseModel:
        taken = [] if sent is None else [sent.read()]
        try:
            return self._local[operation.name](*taken, **ids)
        except InvalidSubmission as error:
            if operation.method != "GET" or not ids:
                raise
            # 404 and not 422
            raise InvalidSubmission(str(error), **error.facts, absent=True) from error

    def require_operator(self) -> None:
        """Raises Unauthorised where the caller is somebody else."""
        require_role(CALLER.get(), OPERATOR)

    # --- done here --------------------------------------------------------------------------------

    def list_findings(self, query: records.FindingsQuery) -> records.Findings:
        return records.Findings(findings=self._findings.since(query.after, query.limit))

    def search_findings(self, query: records.SearchQuery) -> records.Findings:
        return records.Findings(findings=self._findings.search(query.query, query.limit))

    def similar_ideas(self, idea: records.Idea) -> records.SimilarIdeas:
        return records.SimilarIdeas(similar=self._similars.like_text(idea.text))

    def read_finding(self, *, finding: str) -> Finding:
        return self._findings.read(finding)
