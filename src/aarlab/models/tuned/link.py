"""The worker's end of one connection: a request comes in, progress and steps go out, and hanging up
ends the job.

It belongs to the event loop; `check`, `progress` and `loss` are for the thread in which the job
runs. Legend: b items of a step.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

import numpy as np

from aarlab.core.errors import InvalidSubmission
from aarlab.models.head_training import Array
from aarlab.models.wire import ANSWER_S, Message, decode, encode, packed, unpacked

HEAD_S, SEND_S = 10.0, 30.0  # for a request to come in; for a line to be taken
ANSWERS = 5  # the caller's loss may take so many times as long in all steps of a job as in one
UNREAD_BYTES = 1 << 16  # of lines that the caller has not taken: progress is left out meanwhile
T = TypeVar("T")


class CallerGone(Exception):
    """Who asked has hung up: nobody wants the answer."""


class Link:
    """See the module's docstring."""

    answer_s = ANSWER_S
    """For the caller's own loss of one step."""
    keeps = False
    """Whether it is the operator's: of a job that they leave, the checkpoint is kept for their next
    call."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self._loop = reader, writer, asyncio.get_running_loop()
        self._over = threading.Event()
        self._fault: InvalidSubmission | None = None
        self._answer: asyncio.Future[Message] | None = None
        self._waited_s = 0.0

    async def request(self) -> Message:
        """The first line.

        Raises:
            InvalidSubmission: it is too long, too late or no JSON object.
            CallerGone: there is none.
        """
        try:
            return decode(await asyncio.wait_for(self._line(), HEAD_S))
        except TimeoutError as error:
            raise InvalidSubmission(
                f"The request did not end within {HEAD_S:g} s.", field="line"
            ) from error

    async def _line(self) -> bytes:
        try:
            return await self._reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise CallerGone from error
        except asyncio.LimitOverrunError as error:
            raise InvalidSubmission("The line is too long.", field="line") from error

    async def listen(self) -> None:
        """Until the caller hangs up or says what it was not asked: then the job is over."""
        try:
            while True:
                line = await self._line()
                if self._answer is None or self._answer.done():
                    raise InvalidSubmission(
                        "A second line was sent. Send one request over each connection.",
                        field="line",
                    )
                self._answer.set_result(decode(line))
        except InvalidSubmission as error:
            self._fault = error
        except CallerGone:
            pass
        finally:
            self._over.set()
            if self._answer is not None and not self._answer.done():
                self._answer.cancel()

    @property
    def over(self) -> bool:
        """Whether nobody waits for the answer."""
        return self._over.is_set()

    def refuse(self, error: InvalidSubmission) -> None:
        """End the job: it may not go on."""
        self._fault = error
        self._over.set()
        if self._answer is not None and not self._answer.done():
            self._answer.cancel()

    async def send(self, message: Message) -> None:
        """Send a line; a caller that does not take it is hung up on."""
        try:
            self._writer.write(encode(message))
            await asyncio.wait_for(self._writer.drain(), SEND_S)
        except (TimeoutError, ConnectionError):
            self._writer.transport.abort()

    async def close(self) -> None:
        """Hang up, after what was sent."""
        self._over.set()
        self._writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 1)
        self._writer.transport.abort()

    def abort(self) -> None:
        """Hang up at once."""
        self._writer.transport.abort()

    # --- in the job's thread ----------------------------------------------------------------------

    def check(self) -> None:
        """Raise where nobody waits for the answer.

        Raises:
            CallerGone: who asked has hung up.
            InvalidSubmission: who asked has said what it was not asked.
        """
        if self.over:
            raise self._fault or CallerGone

    def progress(self, step: int, of: int, tokens_per_s: float, pack_tokens: int) -> None:
        """Report how far the job is, and of how many tokens packs are now; raises as `check`
        does."""
        self.check()
        progress = {
            "step": step,
            "of": of,
            "tokens_per_s": round(tokens_per_s),
            "pack_tokens": pack_tokens,
        }
        self._loop.call_soon_threadsafe(self._send, {"is": "progress", **progress})

    def _send(self, message: Message) -> None:
        if (
            not self._writer.transport.is_closing()
            and self._writer.transport.get_write_buffer_size() < UNREAD_BYTES
        ):
            self._writer.write(encode(message))

    def loss(self, logits_b: Array, targets_b: Array, progress: float) -> tuple[Array, Array]:
        """The caller's loss (b,) and its slope in the logits (b,).

        Raises:
            CallerGone: who asked has hung up.
            InvalidSubmission: the answer does not fit, is not finite, or does not come.
        """
        self.check()
        if not np.isfinite(logits_b).all():
            raise InvalidSubmission(
                "This loss made the model's logits infinite. Let it have smaller gradients.",
                field="grad",
            )
        step = {
            "is": "step",
            "progress": progress,
            "logits": packed(logits_b),
            "targets": packed(targets_b),
        }
        answer = self._wait(self._step(step))
        return tuple(
            _fitting(answer.get(field), len(logits_b), field) for field in ("loss", "grad")
        )  # type: ignore[return-value]

    async def _step(self, step: Message) -> Message:
        self._answer = self._loop.create_future()
        began = time.monotonic()
        most_s = min(self.answer_s, ANSWERS * self.answer_s - self._waited_s)
        try:
            await self.send(step)
            if self.over:  # hung up before there was a future to cancel
                self._answer.cancel()
            return await asyncio.wait_for(self._answer, most_s)
        except TimeoutError as error:
            most = f"at most {self.answer_s:g} s a step and {ANSWERS * self.answer_s:g} s in all"
            raise InvalidSubmission(
                f"The loss was not answered in time: {most}.", field="loss"
            ) from error
        except asyncio.CancelledError:
            raise self._fault or CallerGone from None
        finally:
            self._waited_s += time.monotonic() - began

    def _wait(self, coroutine: Awaitable[T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()  # type: ignore


def _fitting(value: Any, b: int, field: str) -> Array:
    """What a loss returned of a step: b numbers that float32 holds."""
    numbers_b = unpacked(value, field).astype(np.float64)
    if numbers_b.shape != (b,) or not (np.abs(numbers_b) < np.finfo(np.float32).max).all():
        raise InvalidSubmission(
            f"{field} must be {b} finite numbers, got shape {numbers_b.shape}.", field=field
        )
    return numbers_b
