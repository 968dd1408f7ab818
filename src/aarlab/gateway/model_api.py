"""From a sandbox to a model API and back: the key put in on our side, bytes passed on as they come, the meter beside them.

Whatever the provider answers is passed on unchanged (429, 529, 5xx with their retry-after, hangs, cut streams), so that the
client's own retries work; but for a refusal of our key or account, which is the operator's to mend and looks to a client like
any other failure. A client that hangs up pays its whole turn: the answer is read to its end, since the provider bills that.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from aarlab.core.errors import InvalidSubmission
from aarlab.gateway.answers import Meter
from aarlab.gateway.asks import Ask, read_ask
from aarlab.gateway.client import Client, Room
from aarlab.gateway.config import Provider, ProviderName
from aarlab.gateway.pricing import Price
from aarlab.gateway.till import Till

MAX_BODY = 32 << 20  # bytes
CONNECT_S = 10.0
DRAIN_S = 600.0  # for the rest of an answer whose client has gone: as long as providers take at most
PROGRESS_S = 1.0  # between two notes of how far a stream has come
IDLE_S = 60.0  # a connection to the provider is kept so long for the next call
KEPT_REQUEST = (b"anthropic-version", b"anthropic-beta", b"accept", b"user-agent")
KEPT_ANSWER = ("content-type", "retry-after", "retry-after-ms", "x-should-retry", "request-id", "x-request-id", "cache-control")
KEPT_LIMITS = ("anthropic-ratelimit-", "x-ratelimit-")
OURS = {401, 402, 403}  # the provider refuses our key or account
FAILURES = OURS | {408, 409, 429}  # and all from 500
log = logging.getLogger("aarlab.gateway")


@dataclass
class _Exchange:
    """One call under way."""

    call: int
    meter: Meter
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
        till: Till,
    ) -> None:
        self._keys, self._prices, self._till = dict(keys), prices, till
        self._http = {provider.name: _pool(provider) for provider in providers}

    async def close(self) -> None:
        """Let go of all connections."""
        for http in self._http.values():
            await http.aclose()

    async def serve(self, who: str, client: Client, room: Room) -> bool:
        """Answer a request if its path is a model API's; whether it was.

        Raises:
            InvalidSubmission: it asks for what is not allowed, or a budget is spent.
            Transient: what is left of a budget was held by calls in flight for too long.
        """
        if not client.path.startswith(("/v1/", "/v1beta/")) or client.method != "POST":
            return False
        ask = read_ask(client.path, client.query, await client.body(MAX_BODY, room))
        if ask is None or ask.provider not in self._http:
            return False
        price = self._prices.get((ask.provider, ask.model))
        if price is None:
            listed = ", ".join(name for provider, name in self._prices if provider == ask.provider)
            raise InvalidSubmission(f"The model {ask.model[:200]!r} is not listed here. Use {listed}.", status=403)
        if ask.free:
            await self._till.refuse_if_spent(who)
            await self._exchange(ask, client, None)
        else:
            await self._metered(who, ask, price, client)
        return True

    async def _metered(self, who: str, ask: Ask, price: Price, client: Client) -> None:
        call = await self._till.open(who, ask.model, price.most(ask.most_input, ask.most_output), client.gone)
        if call is None:
            return
        exchange = _Exchange(call, Meter(ask, price))
        try:
            await self._exchange(ask, client, exchange)
        except asyncio.CancelledError:  # the gateway ends: what is not known now is left to `Journal.recover`
            exchange.settled = exchange.settled or exchange.meter.known() is None
            raise
        finally:
            await self._settle(exchange)

    async def _settle(self, exchange: _Exchange | None) -> None:
        """Once, with what is known by now."""
        if exchange is None or exchange.settled:
            return
        known = exchange.meter.known()
        failed = exchange.failed or exchange.meter.failed
        if known is not None:
            await self._till.settle(exchange.call, known, interrupted=exchange.interrupted, failed=failed)
        elif failed:
            await self._till.fail(exchange.call)
        else:
            await self._till.drop(exchange.call)
        exchange.settled = True

    async def _exchange(self, ask: Ask, client: Client, exchange: _Exchange | None) -> None:
        """Send it on and bring the answer back. `exchange` is None for what costs nothing."""
        leaving: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(None) as patience:
                leaving = asyncio.create_task(_shorten(patience, client.gone))
                await self._relay(ask, client, exchange)
        except TimeoutError:
            _mark_failed(exchange)
            log.warning("%s gave no whole answer in %.0f s after its client had gone", ask.provider, DRAIN_S)
        except httpx.HTTPError as error:
            _mark_failed(exchange)
            log.warning("%s did not answer: %s", ask.provider, type(error).__name__)
            await self._settle(exchange)
            if client.started:
                await client.cut()
            else:
                await client.answer_json(503, error_body("api_error", "The model API does not answer. Try again."))
        finally:
            if leaving is not None:
                leaving.cancel()

    async def _relay(self, ask: Ask, client: Client, exchange: _Exchange | None) -> None:
        http = self._http[ask.provider]
        request = http.build_request("POST", ask.target, content=ask.body, headers=self._headers(ask, client))
        answer = await http.send(request, stream=True)
        try:
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise httpx.DecodingError("The answer is compressed, though that was not asked for.", request=request)
            if not answer.is_success:
                await self._pass_refusal(ask, answer, client, exchange)
            elif exchange is not None and "text/event-stream" in answer.headers.get("content-type", ""):
                await self._pass_stream(answer, client, exchange)
            else:
                body = await answer.aread()
                if exchange is not None:
                    exchange.meter.whole(body)
                    exchange.interrupted = not exchange.meter.finished
                    exchange.failed = exchange.interrupted
                    await self._settle(exchange)
                await client.answer(answer.status_code, self._kept(answer), self._without_key(ask, body))
        finally:
            await answer.aclose()

    async def _pass_stream(self, answer: httpx.Response, client: Client, exchange: _Exchange) -> None:
        await client.start(answer.status_code, self._kept(answer))
        meter, noted = exchange.meter, -PROGRESS_S
        clock = asyncio.get_running_loop().time
        async for chunk in answer.aiter_raw():
            meter.feed(chunk)
            if clock() - noted >= PROGRESS_S and (known := meter.known()) is not None:
                await self._till.progress(exchange.call, known)
                noted = clock()
            await client.write(chunk)
        exchange.interrupted = not meter.finished
        exchange.failed = exchange.interrupted
        await self._settle(exchange)
        await client.end()

    async def _pass_refusal(self, ask: Ask, answer: httpx.Response, client: Client, exchange: _Exchange | None) -> None:
        """Not a 2xx: it cost nothing."""
        body, status = await answer.aread(), answer.status_code
        broke = status == 400 and b"credit balance" in body
        if status >= 500 or status in FAILURES or broke:
            _mark_failed(exchange)
        await self._settle(exchange)
        if status in OURS or broke:
            log.error("%s refuses the gateway's key or account: %d", ask.provider, status)
            words = f"The provider refuses the lab's key or account ({status}). The operator must mend it."
            await client.answer_json(503, error_body("api_error", words))
        else:
            await client.answer(status, self._kept(answer), self._without_key(ask, body))

    def _without_key(self, ask: Ask, body: bytes) -> bytes:
        return body.replace(self._keys[ask.provider].encode(), b"***")

    def _headers(self, ask: Ask, client: Client) -> dict[str, str]:
        kept = {name: value for name in KEPT_REQUEST if (value := client.header(name)) is not None}
        key = self._keys[ask.provider]
        given = {
            "anthropic": ("x-api-key", key),
            "openai": ("authorization", f"Bearer {key}"),
            "google": ("x-goog-api-key", key),
        }
        own = dict([given[ask.provider], ("content-type", "application/json"), ("accept-encoding", "identity")])
        return {name.decode(): value.decode("latin-1") for name, value in kept.items()} | own

    def _kept(self, answer: httpx.Response) -> list[tuple[bytes, bytes]]:
        """Headers for the client, by an allow-list; none that has a key in it."""
        return [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in answer.headers.items()
            if (name in KEPT_ANSWER or name.startswith(KEPT_LIMITS)) and not any(key in value for key in self._keys.values())
        ]


def error_body(kind: str, words: str) -> dict[str, object]:
    """A refusal in the form that clients of all three providers read."""
    return {"type": "error", "error": {"type": kind, "message": words}}


def _mark_failed(exchange: _Exchange | None) -> None:
    if exchange is not None:
        exchange.failed = True


async def _shorten(patience: asyncio.Timeout, gone: asyncio.Event) -> None:
    """Once the client has gone, the answer has DRAIN_S left."""
    await gone.wait()
    patience.reschedule(asyncio.get_running_loop().time() + DRAIN_S)


def _pool(provider: Provider) -> httpx.AsyncClient:
    """Connections to one provider: kept between calls, as many as there are calls, and patient with answers."""
    return httpx.AsyncClient(
        base_url=provider.url,
        timeout=httpx.Timeout(None, connect=CONNECT_S),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=IDLE_S),
        proxy=provider.proxy,
        trust_env=False,
    )
