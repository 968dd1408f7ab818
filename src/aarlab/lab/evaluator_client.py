"""The lab's side of the socket to the evaluator's process (`core.evaluator_socket`): one connection
for all that is asked."""

import asyncio
import contextlib
from bisect import bisect_right
from itertools import count
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from aarlab.core.errors import Transient
from aarlab.core.evaluator_socket import (
    BUG,
    CALLS,
    MAX_LINE,
    PAGE,
    After,
    Code,
    Nothing,
    Outcome,
    ReleasedEntries,
    ReleasedKind,
    Request,
    Snapshot,
    error_in,
    packed,
    read,
)
from aarlab.core.records import Entry, Record

R = TypeVar("R", bound=BaseModel)
PAUSE_S = 0.2  # between two tries, while the evaluator starts


class EvaluatorBug(Exception):
    """A bug in the evaluator's process; the words say where its log says more."""


class EvaluatorClient:
    """Asks the evaluator's process from one event loop; `ask_from_thread` is for threads beside it.
    The connection is made at the first call, and made again at the next where it was lost."""

    def __init__(self, socket: Path) -> None:
        self._socket, self._numbers, self._opening = socket, count(1), asyncio.Lock()
        self._waiting: dict[int, asyncio.Future[tuple[Outcome, bytes]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, call: str, given: Record | None = None) -> BaseModel:
        """The answer to one of the lab's own calls (`CALLS`).

        Raises:
            As `operation`.
        """
        body = (given or Nothing()).model_dump_json().encode()
        return CALLS[call].gives.model_validate_json(await self._answer(call, None, {}, body))

    async def operation(
        self, name: str, token: str, ids: dict[str, str], body: bytes, gives: type[R]
    ) -> R:
        """What an operation answers to the owner of the token with that hash; `body` is JSON, empty
        where nothing is taken.

        Raises:
            One of our errors, as the evaluator named it; Transient where it does not run.
            EvaluatorBug: it has a bug.
        """
        return gives.model_validate_json(await self.content(name, token, ids, body))

    async def content(self, name: str, token: str, ids: dict[str, str], body: bytes) -> bytes:
        """As `operation`, the JSON as it came."""
        return await self._answer(name, token, ids, body)

    def ask_from_thread(self, call: str, given: Record | None = None) -> BaseModel:
        """As `ask`, from a thread that is not the event loop's, once the loop has asked for
        something."""
        if self._loop is None:
            raise Transient("The lab is being started. Try again.")
        return asyncio.run_coroutine_threadsafe(self.ask(call, given), self._loop).result()

    async def first(self, call: str, given: Record | None = None) -> BaseModel:
        """As `ask`, waiting until the evaluator takes calls, however much it has to read before:
        whoever started both looks after it."""
        while True:
            try:
                return await self.ask(call, given)
            except Transient:
                await asyncio.sleep(PAUSE_S)

    async def close(self) -> None:
        """Close the connection; what is asked is answered no more."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    async def _answer(
        self, call: str, token: str | None, ids: dict[str, str], body: bytes
    ) -> bytes:
        number = next(self._numbers)
        line = Request(number=number, size=len(body), call=call, token=token, ids=ids)
        writer = await self._connected()
        self._waiting[number] = future = asyncio.get_running_loop().create_future()
        try:
            writer.write(packed(line, body))
            await writer.drain()
            outcome, content = await future
        except ConnectionError as error:
            raise _lost() from error
        finally:
            self._waiting.pop(number, None)
        if outcome.error == BUG:
            raise EvaluatorBug(content.decode(errors="replace"))
        if outcome.error is not None:
            raise error_in(outcome, content)
        return content

    async def _connected(self) -> asyncio.StreamWriter:
        if self._writer is not None and not self._writer.is_closing():
            return self._writer
        async with self._opening:
            if self._writer is None or self._writer.is_closing():
                try:
                    reader, self._writer = await asyncio.open_unix_connection(
                        self._socket, limit=MAX_LINE
                    )
                except OSError as error:
                    raise Transient(
                        f"The evaluator is being started ({error.strerror}). Try again."
                    ) from error
                self._loop = asyncio.get_running_loop()
                self._reading = asyncio.create_task(self._read(reader, self._writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand each answer to who waits for it; at the end, inform all who still wait."""
        try:
            while True:
                outcome, content = await read(reader, Outcome)
                if (waiting := self._waiting.get(outcome.number)) and not waiting.done():
                    waiting.set_result((outcome, content))
        except (EOFError, ConnectionError):
            pass
        finally:
            writer.close()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(_lost())


def _lost() -> Transient:
    return Transient(
        "The evaluator ended before it answered. Send the same again: it is recorded once and "
        "charged once."
    )


class ReleasedRecord:
    """The entries of one kind as the evaluator releases them, kept, so that each is asked for
    once."""

    def __init__(self, client: EvaluatorClient, kind: ReleasedKind) -> None:
        self._client, self._kind = client, kind
        self.upto, self.behind = 0, True  # what is read; whether there may be more
        self._entries: list[Entry] = []

    async def refresh(self) -> None:
        """Read what was recorded until now.

        Raises:
            Transient: the evaluator does not run.
        """
        self.behind = True
        while self.behind:
            page = await self._client.ask(
                "released", After(after=self.upto, kind=self._kind, limit=PAGE)
            )
            assert isinstance(page, ReleasedEntries)
            self.take(page)

    def take(self, page: ReleasedEntries) -> None:
        """Keep a page that the evaluator released of this kind."""
        # another request may have been faster
        self._entries += [e for e in page.entries if e.seq > self.upto]
        self.upto = max(self.upto, page.upto)
        self.behind = len(page.entries) == PAGE

    def entries(self, *, after: int = 0, limit: int = -1) -> list[Entry]:
        """Up to `limit` (-1: all) of those that were read with a number above `after`, in
        order."""
        first = bisect_right(self._entries, after, key=lambda e: e.seq)
        return self._entries[first : None if limit < 0 else first + limit]


class ReleasedPages:
    """What the evaluator releases of code, submissions and findings, page by page and not kept. For
    a thread beside the event loop."""

    def __init__(self, client: EvaluatorClient) -> None:
        self._client = client

    def after(self, seq: int, limit: int) -> ReleasedEntries:
        """Up to `limit` entries, of which some are not released, with a number above `seq`.

        Raises:
            Transient: the evaluator does not run.
        """
        page = self._client.ask_from_thread("released", After(after=seq, limit=limit))
        assert isinstance(page, ReleasedEntries)
        return page

    def code(self, snapshot: str) -> dict[str, str]:
        """The files of a snapshot.

        Raises:
            InvalidSubmission: nobody committed it.
            Transient: the evaluator does not run.
        """
        answer = self._client.ask_from_thread("code", Snapshot(snapshot=snapshot))
        assert isinstance(answer, Code)
        return answer.files
