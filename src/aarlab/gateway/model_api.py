"""From a sandbox to a model API and back: the key put in on our side, bytes passed on as they come,
the meter beside them.

Whatever the provider answers is passed on unchanged (429, 529, 5xx with their retry-after, hangs,
cut streams), so that the client's own retries work; but for a refusal of our key or account, which
is the operator's to fix and looks to a client like any other failure. A client that hangs up pays
its whole turn: the answer is read to its end, since the provider bills that.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from aarlab.core.errors import InvalidSubmission
from aarlab.core.http_errors import error_of
from aarlab.core.printable import one_line
from aarlab.gateway.allowed_requests import allowed_betas, read_ask
from aarlab.gateway.async_journal import AsyncJournal
from aarlab.gateway.body_reader import BodyReader
from aarlab.gateway.client import Client, RequestMemory
from aarlab.gateway.config import Provider, ProviderName
from aarlab.gateway.pricing import Price
from aarlab.gateway.provider_answer import (
    AnswerTooLarge,
    Silence,
    compressed,
    decodable,
    decoded,
    key_headers,
    pool,
    whole,
)
from aarlab.gateway.request_checks import CheckedRequest
from aarlab.gateway.usage import UsageMeter

MAX_BODY = 32 << 20  # bytes
# bytes that are read in the event loop, in a thread; more are read in another process
SMALL, MIDDLE = 16 << 10, 256 << 10
READERS = 2  # processes, for the large requests of all researchers
# for the rest of an answer whose client has gone: as long as providers take at most
DRAIN_S = 600.0
PROGRESS_S = 1.0  # between two notes of how far a stream has come
KEPT_REQUEST = (b"anthropic-version", b"anthropic-beta", b"accept", b"user-agent")
KEPT_ANSWER = (
    *(b"content-type", b"retry-after", b"retry-after-ms", b"x-should-retry"),
    *(b"request-id", b"x-request-id", b"cache-control"),
)
SILENT_S = 120.0  # a stream says something more often, if only that it goes on
WHOLE_S = 600.0  # for an answer that comes at once
MOST_SAID = 200  # characters of a provider's words that an alarm has
# characters of a real one; what is shorter stands for none, and may be any word of an answer
SHORTEST_KEY = 16
KEPT_LIMITS = (b"anthropic-ratelimit-", b"x-ratelimit-")
OURS = {401, 402, 403}  # the provider refuses our key or account
NO_MONEY = "Your credit balance"  # begins such an answer (400); what was asked may be quoted later
FAILURES = OURS | {408, 409, 429}  # and all from 500
log = logging.getLogger("aarlab.gateway")


@dataclass
class _Exchange:
    """One call under way."""

    who: str
    call: int
    meter: UsageMeter
    interrupted: bool = True  # until the answer is known to be complete
    failed: bool = False
    settled: bool = False


class ModelApi:
    """All configured providers, each with its key and its pool of connections."""

    def __init__(
        self,
        providers: tuple[Provider, ...],
        keys: Mapping[str, str],
        prices: Mapping[tuple[ProviderName, str], Price],
        journal: AsyncJournal,
    ) -> None:
        self._keys, self._prices, self._journal = dict(keys), prices, journal
        self._lanes: dict[str, asyncio.Lock] = {}
        self._readers: asyncio.LifoQueue[BodyReader] = asyncio.LifoQueue()
        for _ in range(READERS):
            self._readers.put_nowait(BodyReader())
        self._http = {provider.name: pool(provider) for provider in providers}
        self._own = {provider.name for provider in providers if provider.prices is not None}

    async def close(self) -> None:
        """Let go of all connections, and end the readers."""
        for http in self._http.values():
            await http.aclose()
        while not self._readers.empty():
            await self._readers.get_nowait().close()

    async def serve(self, who: str, client: Client, room: RequestMemory) -> bool:
        """Answer a request if its path is a model API's; whether it was.

        Raises:
            InvalidSubmission: it asks for what is not allowed, or a budget is spent.
            Transient: what is left of a budget was held by calls in flight for too long.
        """
        if not client.path.startswith(("/v1/", "/v1beta/")) or client.method != "POST":
            return False
        body = await client.body(MAX_BODY, room)
        try:
            ask = await self._read(who, client, body)
            price = self._price(ask)
        except InvalidSubmission as error:
            await self._journal.trouble(who, "refused", f"the gateway refuses them: {error}")
            raise
        if ask is None or price is None:
            words = f"the gateway serves no {client.path[:100]!r}"
            await self._journal.trouble(who, "refused", words)
            return False
        if ask.free:
            await self._journal.refuse_if_spent(who)
            await self._exchange(who, ask, client, None)
        else:
            await self._metered(who, ask, price, client)
        return True

    def _price(self, ask: CheckedRequest | None) -> Price | None:
        """None where no provider serves such a request.

        Raises:
            InvalidSubmission: one does, and the model is not listed.
        """
        if ask is None or ask.provider not in self._http:
            return None
        price = self._prices.get((ask.provider, ask.model))
        if price is None:
            listed = ", ".join(name for provider, name in self._prices if provider == ask.provider)
            raise InvalidSubmission(
                f"The model {ask.model[:200]!r} is not listed here. Use {listed}.", status=403
            )
        return price

    async def _read(self, who: str, client: Client, body: bytes) -> CheckedRequest | None:
        """See `read_ask`: what is large is read elsewhere, one at a time of one researcher's."""
        if len(body) <= SMALL:
            return read_ask(client.path, client.query, body)
        async with self._lanes.setdefault(who, asyncio.Lock()):
            if len(body) <= MIDDLE:
                return await asyncio.to_thread(read_ask, client.path, client.query, body)
            reader = await self._readers.get()
            try:
                return await reader.read(client.path, client.query, body)
            finally:
                self._readers.put_nowait(reader)

    async def _metered(self, who: str, ask: CheckedRequest, price: Price, client: Client) -> None:
        meter = UsageMeter(ask, price)
        call = await self._journal.open(who, ask.model, meter.most, client.gone)
        if call is None:
            return
        exchange = _Exchange(who, call, meter)
        try:
            await self._exchange(who, ask, client, exchange)
        # the gateway ends: what is not known now is left to `Journal.recover`
        except asyncio.CancelledError:
            exchange.settled = exchange.settled or exchange.meter.known() is None
            raise
        finally:
            await self._settle(exchange)

    async def _settle(self, exchange: _Exchange | None) -> None:
        """Once, with what is known by now."""
        if exchange is None or exchange.settled:
            return
        known, unread = exchange.meter.known(), exchange.meter.unread
        failed = exchange.failed or exchange.meter.failed
        if unread:
            log.error(
                "An answer of a model API is charged as the most that it can have been: %s", unread
            )
        if known is not None:
            cut = exchange.interrupted
            await self._journal.settle(
                exchange.call, known, interrupted=cut, failed=failed, unread=unread
            )
        elif failed:
            await self._journal.fail(exchange.call)
        else:
            await self._journal.drop(exchange.call)
        exchange.settled = True

    async def _exchange(
        self, who: str, ask: CheckedRequest, client: Client, exchange: _Exchange | None
    ) -> None:
        """Send it on and bring the answer back. `exchange` is None for what costs nothing."""
        beside: list[asyncio.Task[None]] = []
        silence = Silence()
        try:
            async with asyncio.timeout(None) as patience:
                beside.append(asyncio.create_task(_shorten(patience, client.gone)))
                beside.append(asyncio.create_task(self._note_silence(who, ask, silence)))
                await self._relay(who, ask, client, exchange, silence)
        except TimeoutError:
            _mark_failed(exchange)
            log.warning(
                "%s gave no whole answer in %.0f s after its client had gone", ask.provider, DRAIN_S
            )
        except httpx.HTTPError as error:
            # it did answer, and bills it
            if isinstance(error, httpx.DecodingError) and exchange is not None:
                odd = "the answer cannot be decompressed"
                exchange.meter.misread(str(error) if isinstance(error, AnswerTooLarge) else odd)
            else:
                _mark_failed(exchange)
            log.warning("%s did not answer: %s", ask.provider, type(error).__name__)
            await self._settle(exchange)
            words = f"{ask.provider} did not answer ({type(error).__name__})"
            await self._journal.trouble(who, "failed", words)
            if client.started:
                await client.cut()
            else:
                await client.answer_json(
                    503, error_body("api_error", "The model API does not answer. Try again.")
                )
        finally:
            for task in beside:
                task.cancel()

    async def _note_silence(self, who: str, ask: CheckedRequest, silence: "Silence") -> None:
        """A model API that sends nothing for long is seen as failing until it answers: its time is
        charged to nobody."""
        limit_s = SILENT_S if ask.stream else WHOLE_S
        while True:
            await asyncio.sleep(limit_s / 4)
            if (silent_s := silence.seconds) >= limit_s:
                words = f"{ask.provider} takes calls and has sent nothing for {silent_s:.0f} s"
                await self._journal.trouble(who, "failed", words, failing=True)

    async def _relay(
        self,
        who: str,
        ask: CheckedRequest,
        client: Client,
        exchange: _Exchange | None,
        silence: "Silence",
    ) -> None:
        http = self._http[ask.provider]
        request = http.build_request(
            "POST", ask.target, content=ask.body, headers=self._headers(ask, client)
        )
        answer = await http.send(request, stream=True)
        try:
            if not answer.is_success:
                await self._pass_refusal(who, ask, answer, client, exchange)
            elif (
                exchange is not None
                and decodable(answer)
                and "text/event-stream" in answer.headers.get("content-type", "")
            ):
                await self._pass_stream(answer, client, exchange, silence)
            else:
                body = await whole(answer)
                silence.ends()
                if exchange is not None and decodable(answer):
                    exchange.meter.whole(body)
                elif exchange is not None:
                    exchange.meter.misread(compressed(answer))
                if exchange is not None:
                    exchange.interrupted = False
                    await self._settle(exchange)
                await client.answer(
                    answer.status_code, self._kept(answer), self._without_key(ask, body)
                )
        finally:
            await answer.aclose()

    async def _pass_stream(
        self, answer: httpx.Response, client: Client, exchange: _Exchange, silence: "Silence"
    ) -> None:
        await client.start(answer.status_code, self._kept(answer))
        meter, noted = exchange.meter, -PROGRESS_S
        clock = asyncio.get_running_loop().time
        async for chunk in decoded(answer):
            silence.ends()
            meter.feed(chunk)
            if clock() - noted >= PROGRESS_S and (known := meter.known()) is not None:
                await self._journal.progress(exchange.call, known)
                noted = clock()
            await client.write(chunk)
            silence.begins()
        silence.ends()
        meter.end()
        exchange.interrupted = meter.failed and not meter.finished
        await self._settle(exchange)
        await client.end()

    async def _pass_refusal(
        self,
        who: str,
        ask: CheckedRequest,
        answer: httpx.Response,
        client: Client,
        exchange: _Exchange | None,
    ) -> None:
        """Not a 2xx: it cost nothing, unless it counts a usage. What cannot be decompressed, or is
        too large, is left out."""
        status, body = answer.status_code, b""
        with contextlib.suppress(httpx.DecodingError):
            body = await whole(answer)
        if exchange is not None:
            exchange.meter.refused(body)
            exchange.interrupted = False
        said = _said(self._without_key(ask, body))
        broke = status == 400 and said.startswith(NO_MONEY)
        if status >= 500 or status in FAILURES or broke:
            _mark_failed(exchange)
        await self._settle(exchange)
        ours = status in OURS or broke
        if ours or (status < 500 and status not in FAILURES):
            what = "the lab's key or account" if ours else "what was asked"
            refusal = f"{ask.provider} refuses {what} ({status}): {said}"
            await self._journal.trouble(who, "refused", refusal)
        else:
            words = f"{ask.provider} cannot answer ({status}): {said}"
            await self._journal.trouble(who, "failed", words)
        if ours:
            log.error("%s refuses the gateway's key or account: %d", ask.provider, status)
            words = (
                f"The provider refuses the lab's key or account ({status}). The operator must fix "
                "it."
            )
            await client.answer_json(503, error_body("api_error", words))
        else:
            await client.answer(status, self._kept(answer), self._without_key(ask, body))

    def _without_key(self, ask: CheckedRequest, body: bytes) -> bytes:
        key = self._keys.get(ask.provider, "").encode()
        return body.replace(key, b"***") if len(key) >= SHORTEST_KEY else body

    def _headers(self, ask: CheckedRequest, client: Client) -> dict[str, str]:
        kept = {name: value for name in KEPT_REQUEST if (value := client.header(name)) is not None}
        if betas := allowed_betas(kept.pop(b"anthropic-beta", b"")):
            kept[b"anthropic-beta"] = betas
        key = self._keys.get(ask.provider, "")
        own = key_headers(ask.provider, key, own_server=ask.provider in self._own)
        own |= {"content-type": "application/json", "accept-encoding": "identity"}
        return {name.decode(): value.decode("latin-1") for name, value in kept.items()} | own

    def _kept(self, answer: httpx.Response) -> list[tuple[bytes, bytes]]:
        """Headers for the client, by an allow-list; none that has a key in it."""
        kept = (*KEPT_ANSWER, *([] if decodable(answer) else [b"content-encoding"]))
        return [
            (name.lower(), value)
            for name, value in answer.headers.raw  # as they came: their text may be of any encoding
            if (name.lower() in kept or name.lower().startswith(KEPT_LIMITS))
            and not any(
                len(key) >= SHORTEST_KEY and key.encode() in value for key in self._keys.values()
            )
        ]


def error_body(kind: str, words: str) -> dict[str, object]:
    """A refusal in the form that clients of all three providers read."""
    return {"type": "error", "error": {"type": kind, "message": words}}


def _said(body: bytes) -> str:
    """The provider's words in the body of a refusal."""
    return one_line(str(error_of(400, body)), MOST_SAID) or "without a word"


def _mark_failed(exchange: _Exchange | None) -> None:
    if exchange is not None:
        exchange.failed = True


async def _shorten(patience: asyncio.Timeout, gone: asyncio.Event) -> None:
    """Once the client has gone, the answer has DRAIN_S left."""
    await gone.wait()
    patience.reschedule(asyncio.get_running_loop().time() + DRAIN_S)
