"""Submissions in one queue and one thread: what waits at the same moment is read, graded and
recorded together, and the replies leave before the detectors look.

Many threads, each with its submission, would hand the interpreter from one to the next at every
step.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from aarlab.core.records import Receipt
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.handlers import Handlers
from aarlab.evaluation.receipts import Pending

MOST = 64  # submissions in one commit
LARGEST = 64 << 10  # bytes of a body: larger ones are read in a thread of their own
log = logging.getLogger("aarlab.evaluation")


class _Call(NamedTuple):
    token: str
    body: bytes
    answer: asyncio.Future[bytes]


class SubmissionQueue:
    """The submissions of one campaign, asked for in one event loop."""

    def __init__(self, evaluator: Evaluator, handlers: Handlers) -> None:
        self._evaluator, self._handlers = evaluator, handlers
        self._waiting: deque[_Call] = deque()
        self._due, self._closed = False, False  # due: a round will take up whatever waits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="submissions")

    def submit(self, token: str, body: bytes) -> asyncio.Future[bytes]:
        """The JSON of the receipt for whoever has the token of that hash; or an error, as
        `Handlers.do` raises."""
        loop = asyncio.get_running_loop()
        call = _Call(token, body, loop.create_future())
        self._waiting.append(call)
        self._begin(loop)
        return call.answer

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._due:
            self._due = True
            self._thread.submit(self._round, loop).add_done_callback(_logged)

    def close(self) -> None:
        """Let what is in work end."""
        self._closed = True
        self._thread.shutdown()

    def _round(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what waits. Nobody waits for ever, whatever fails."""
        self._due = False  # before a look at what waits: whoever comes later begins another round
        calls: list[_Call] = []
        while self._waiting and len(calls) < MOST:
            calls.append(self._waiting.popleft())
        try:
            if calls:
                self._answer(calls, loop)
                self._evaluator.state_keeper.keep_if_due()
        except BaseException as error:
            loop.call_soon_threadsafe(_resolve, [], [(call, error) for call in calls])
            raise
        finally:
            if self._waiting and not self._closed:
                self._begin(loop)

    def _answer(self, calls: Sequence[_Call], loop: asyncio.AbstractEventLoop) -> None:
        read: list[tuple[_Call, Pending]] = []
        failed: list[tuple[_Call, BaseException]] = []
        for call in calls:
            try:
                read.append((call, self._handlers.pending(call.token, call.body)))
            except BaseException as error:  # each is reported to whoever it is about
                failed.append((call, error))
                if not isinstance(error, Exception):
                    raise  # to all
        if failed:
            loop.call_soon_threadsafe(_resolve, [], failed)

        def report(receipts: Sequence[Future[Receipt]]) -> None:
            pairs = [(call, one) for (call, _), one in zip(read, receipts, strict=True)]
            good = [
                (c, r.result().model_dump_json().encode()) for c, r in pairs if not r.exception()
            ]
            bad = [(call, error) for call, one in pairs if (error := one.exception())]
            loop.call_soon_threadsafe(_resolve, good, bad)

        self._evaluator.submit_all([pending for _, pending in read], report)


def _resolve(good: list[tuple[_Call, bytes]], bad: list[tuple[_Call, BaseException]]) -> None:
    for call, content in good:
        if not call.answer.done():
            call.answer.set_result(content)
    for call, error in bad:
        if not call.answer.done():
            call.answer.set_exception(error)


def _logged(ended: Future[None]) -> None:
    if error := ended.exception():
        log.error("bug after submissions were answered", exc_info=error)
