"""From a sandbox to the lab's server and back, with the researcher's token put in on our side."""

import asyncio
import json
import re
from pathlib import Path

import httpx

from aarlab.core.errors import Transient
from aarlab.core.operation import PREFIX
from aarlab.core.operations import OPERATIONS
from aarlab.gateway.client import Client, RequestMemory

MAX_BODY = 4 << 20  # bytes, as the server takes
CONNECT_S = 5.0
IDLE_S = 5.0  # less than the server keeps a connection
MCP_METHODS = {"GET", "POST", "DELETE"}
RESEARCHERS = [operation for operation in OPERATIONS.values() if "researcher" in operation.roles]
METHODS = {operation.method for operation in RESEARCHERS}
_ID = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"  # no dot first, nothing encoded
_OPEN = re.compile(
    "|".join(re.sub(r"{\w+}", _ID, PREFIX + operation.path) for operation in RESEARCHERS)
)
KEPT_REQUEST = (b"content-type", b"accept", b"last-event-id")
KEPT_ANSWER = ("content-type", "retry-after", "allow", "cache-control")


def is_open(method: str, path: str) -> bool:
    """Whether a researcher may ask this of the lab: a path of one of its operations, or MCP. The
    server refuses a method that the path does not take."""
    return (
        method in MCP_METHODS
        if path == "/mcp"
        else method in METHODS and bool(_OPEN.fullmatch(path))
    )


class LabServer:
    """The lab's server, wherever it is now: its address is read again when a connection fails."""

    def __init__(self, address: Path) -> None:
        self._address = address
        self._url: httpx.URL | None = None
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=100, keepalive_expiry=IDLE_S
        )
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=CONNECT_S), limits=limits, trust_env=False
        )

    async def close(self) -> None:
        """Let go of all connections."""
        await self._http.aclose()

    async def serve(self, token: str, client: Client, room: RequestMemory) -> None:
        """Pass one request on and its answer back.

        Raises:
            InvalidSubmission: the body is too large or was broken off.
            Transient: the server cannot be reached now.
        """
        body = await client.body(MAX_BODY, room)
        relay = asyncio.create_task(self._relay(token, client, body))
        leaving = asyncio.create_task(client.gone.wait())
        try:
            await asyncio.wait([relay, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not relay.done():  # nobody waits for the answer
                relay.cancel()
                await asyncio.wait([relay])
        if not relay.cancelled():
            relay.result()

    async def _relay(self, token: str, client: Client, body: bytes) -> None:
        answer = await self._asked(token, client, body)
        try:
            kept = [
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in answer.headers.items()
                if (name in KEPT_ANSWER or name.startswith("mcp-")) and token not in value
            ]
            await client.start(answer.status_code, kept)
            async for chunk in answer.aiter_raw():
                await client.write(chunk)
            await client.end()
        except httpx.HTTPError:
            await client.cut()
        finally:
            await answer.aclose()

    async def _asked(self, token: str, client: Client, body: bytes) -> httpx.Response:
        """Sent once more, to where the server is now, if it was not sent or may be sent twice."""
        for last in (False, True):
            try:
                return await self._http.send(self._request(token, client, body), stream=True)
            except httpx.HTTPError as error:
                sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                self._url = None
                if last or (sent and client.method != "GET"):
                    raise _unreachable() from error
        raise AssertionError("the second attempt answers or raises")

    def _request(self, token: str, client: Client, body: bytes) -> httpx.Request:
        if self._url is None:
            try:
                self._url = httpx.URL(json.loads(self._address.read_text())["url"])
            except (FileNotFoundError, ValueError, KeyError) as error:
                raise _unreachable() from error
        url = self._url.copy_with(
            raw_path=client.path.encode() + (b"?" + client.query if client.query else b"")
        )
        headers = [
            (name, value)
            for name, value in client.headers
            if name in KEPT_REQUEST or name.startswith(b"mcp-")
        ]
        own = [(b"authorization", b"Bearer " + token.encode()), (b"accept-encoding", b"identity")]
        return self._http.build_request(client.method, url, content=body, headers=headers + own)


def _unreachable() -> Transient:
    return Transient("The lab's server does not answer now. Try again.")
