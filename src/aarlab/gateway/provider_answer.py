"""A provider's connections, when it was last heard, and its answer without compression."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import httpx

from aarlab.core.errors import Misconfigured
from aarlab.gateway.config import Provider, ProviderName

CONNECT_S = 10.0
MOST_BYTES = 64 << 20  # of an answer that is no stream, without its compression
IDLE_S = 60.0  # a connection to the provider is kept so long for the next call


class Silence:
    """For how long a provider that is waited for has sent nothing."""

    def __init__(self) -> None:
        self.begins()

    def begins(self) -> None:
        """It is waited for from now on."""
        self._since: float | None = asyncio.get_running_loop().time()

    def ends(self) -> None:
        """It was heard; whoever is waited for now, it is not the provider."""
        self._since = None

    @property
    def seconds(self) -> float:
        """Seconds for which it has been waited for."""
        return 0.0 if self._since is None else asyncio.get_running_loop().time() - self._since


def _encodings(answer: httpx.Response) -> set[str]:
    """How the body is compressed, each way by its name."""
    named = answer.headers.get("content-encoding", "").lower().split(",")
    return {name.strip() for name in named} - {"", "identity"}


def decodable(answer: httpx.Response) -> bool:
    return _encodings(answer) <= {"gzip", "deflate"}


def compressed(answer: httpx.Response) -> str:
    return f"it is compressed in a way that is not read here ({', '.join(_encodings(answer))})"


def decoded(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The body as it comes, without the compression that nobody asked for; as it is where the
    compression is unknown."""
    return answer.aiter_bytes() if decodable(answer) else answer.aiter_raw()


class AnswerTooLarge(httpx.DecodingError):
    """An answer has more than MOST_BYTES."""


async def whole(answer: httpx.Response) -> bytes:
    """The whole body, as `decoded`.

    Raises:
        httpx.DecodingError: it cannot be decompressed, or is too large.
        httpx.HTTPError: the connection failed.
    """
    body = bytearray()
    async for chunk in decoded(answer):
        body += chunk
        if len(body) > MOST_BYTES:
            raise AnswerTooLarge(f"the answer has more than {MOST_BYTES:,} bytes")
    return bytes(body)


def key_headers(provider: ProviderName, key: str, *, own_server: bool) -> dict[str, str]:
    """What proves who asks. Servers of the operator's own differ in which of the two headers they
    read (vLLM: the first alone), and may want none."""
    bearer = {"authorization": f"Bearer {key}"}
    if own_server:
        return bearer | {"x-api-key": key} if key else {}
    given = {"anthropic": {"x-api-key": key}, "openai": bearer, "google": {"x-goog-api-key": key}}
    return given[provider]


def trusted(provider: Provider) -> ssl.SSLContext | bool:
    """By which certificates the provider's is checked.

    Raises:
        Misconfigured: the file of certificates cannot be read.
    """
    if provider.certificates is None:
        return True
    try:
        return ssl.create_default_context(cafile=provider.certificates)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"model_api.certificates: {provider.certificates} holds no certificates in PEM "
            f"({error}). Name the file of your authority's certificate."
        ) from error


def pool(provider: Provider) -> httpx.AsyncClient:
    """Connections to one provider: kept between calls, as many as there are calls, and patient with
    answers. Those to a server of the operator's own are not kept: llama.cpp closes each after a
    stream, though it says that it keeps it, and the next call on it would fail."""
    kept = 0 if provider.prices is not None else 100
    return httpx.AsyncClient(
        base_url=provider.url,
        timeout=httpx.Timeout(None, connect=CONNECT_S),
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=kept, keepalive_expiry=IDLE_S
        ),
        proxy=provider.proxy,
        verify=trusted(provider),
        trust_env=False,
    )
