"""A provider's connections, when it was last heard, and its answer without compression."""

import asyncio
from collections.abc import AsyncIterator

import httpx

from aarlab.gateway.config import Provider

CONNECT_S = 10.0
IDLE_S = 60.0  # a connection to the provider is kept so long for the next call


class Heard:
    """When a provider was last heard."""

    def __init__(self) -> None:
        self.now()

    def now(self) -> None:
        """It is heard."""
        self._at = asyncio.get_running_loop().time()

    @property
    def silent_s(self) -> float:
        """Seconds since then."""
        return asyncio.get_running_loop().time() - self._at


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


def pool(provider: Provider) -> httpx.AsyncClient:
    """Connections to one provider: kept between calls, as many as there are calls, and patient with
    answers."""
    return httpx.AsyncClient(
        base_url=provider.url,
        timeout=httpx.Timeout(None, connect=CONNECT_S),
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=100, keepalive_expiry=IDLE_S
        ),
        proxy=provider.proxy,
        trust_env=False,
    )
