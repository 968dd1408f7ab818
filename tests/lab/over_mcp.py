"""The lab's tools over MCP, called as an agent would call them: at a unix socket, with a token."""

import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from aarlab.core.errors import InvalidSubmission, Transient

TIMEOUT_S = 60.0


class Lab:
    """An open connection to the lab's tools. Use as an async context manager."""

    def __init__(self, socket: Path, token: str) -> None:
        self._socket, self._token = socket, token
        self._stack = AsyncExitStack()
        self._client: Client | None = None

    async def __aenter__(self) -> "Lab":
        http = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(uds=str(self._socket)),
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=TIMEOUT_S,
        )
        await self._stack.enter_async_context(http)
        transport = streamable_http_client("http://127.0.0.1/mcp", http_client=http)
        self._client = await self._stack.enter_async_context(Client(transport))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def call(self, tool: str, **arguments: Any) -> Any:
        """The tool's answer, read back: JSON where it is, else the words. Of what is framed, what
        stands in the frame.

        Raises:
            InvalidSubmission: the lab refused what was sent; its message says what to change.
            Transient: the lab could not take it now.
        """
        assert self._client is not None
        result = await self._client.call_tool(tool, arguments)
        if result.is_error:
            words = " ".join(getattr(block, "text", "") for block in result.content)
            raise (Transient if "try again" in words.lower() else InvalidSubmission)(words)
        assert result.structured_content is None  # nothing is sent twice
        return read_back(result.content[0].text)


def read_back(text: str) -> Any:
    """See `Lab.call`."""
    framed = re.match(r"UNTRUSTED DATA.*?\nBEGIN (\w+)\n(.*)\nEND \1", text, re.DOTALL)
    inside = framed[2] if framed else text.partition("\n")[0] if text.startswith("{") else text
    try:
        return json.loads(inside)
    except ValueError:
        return inside
