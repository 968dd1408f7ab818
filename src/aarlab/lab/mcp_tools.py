"""The lab's tools over MCP: one for each operation of the table that is a researcher's, which does
what its REST route does."""

import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from inspect import Signature
from typing import Annotated, Any, get_origin

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations
from pydantic import BaseModel, BeforeValidator, WithJsonSchema
from pydantic.fields import FieldInfo

from aarlab.core.errors import AarError
from aarlab.core.finding_words import listed, similar_work, whole
from aarlab.core.operation import Operation, parameters
from aarlab.core.operations import TOOLS, same_tool
from aarlab.core.tool_records import INSTRUCTIONS, schema_of
from aarlab.core.untrusted import framed
from aarlab.lab.lab_handlers import LabHandlers
from aarlab.lab.request_body import SentBody

MOST_CODE = 60_000  # characters of code in one answer
Session = Callable[[], AbstractAsyncContextManager[None]]


def mcp_endpoint(handlers: LabHandlers, max_body: int) -> tuple[StreamableHTTPASGIApp, Session]:
    """The ASGI endpoint of all tools, and what must be entered while it is served. The guard has
    settled who calls."""
    server = MCPServer(
        "aarlab",
        instructions=INSTRUCTIONS,
        version=version("aarlab"),
        subscriptions=False,
        log_level="WARNING",
    )
    for operation in TOOLS:
        server.tool(
            name=operation.name,
            description=operation.words,
            annotations=ToolAnnotations(**operation.hints),
            structured_output=False,
        )(_tool(operation, handlers))
    # unix sockets carry any Host
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    server.streamable_http_app(
        stateless_http=True,
        json_response=True,
        transport_security=security,
        max_request_body_size=max_body,
    )
    return StreamableHTTPASGIApp(server.session_manager), server.session_manager.run


def _tool(operation: Operation, handlers: LabHandlers) -> Callable[..., Awaitable[str]]:
    """A function with the operation's arguments. The SDK, which runs in the event loop, checks no
    more than their plain types; a worker reads the rest."""

    async def tool(**given: Any) -> str:
        values = [given.pop(name) for name in operation.ids]
        asked = same_tool(operation, values[0]) if values else operation
        sent = SentBody(asked.takes, given) if asked.takes is not None else None
        try:
            answer = await handlers.do(asked, sent, **dict(zip(asked.ids, values, strict=True)))
        except AarError as error:
            raise ToolError(str(error)) from error  # the SDK masks any other error
        return words_for_a_model(asked.name, answer, given.get("limit"))

    tool.__name__ = operation.name
    plain = parameters(operation.arguments, _shown)
    tool.__signature__ = Signature(plain, return_annotation=str)  # type: ignore
    return tool


def _shown(field: FieldInfo) -> Any:
    """The plain type of an argument, described in full; one text where a list of texts is due is a
    list of it."""
    plain = Annotated[field.annotation, WithJsonSchema(schema_of(field))]
    listed = get_origin(field.annotation) is list
    return Annotated[plain, BeforeValidator(_listed)] if listed else plain


def _listed(given: object) -> object:
    return [given] if isinstance(given, str) else given


def words_for_a_model(operation: str, answer: BaseModel, limit: int | None) -> str:
    """An answer as a language model reads it, once and in bounds: findings as lines, others' text
    framed as data, all else as JSON."""
    content = answer.model_dump(mode="json")
    if operation == "list_findings":
        return listed(content["findings"], limit)
    if operation == "search_findings":
        return listed(content["findings"])
    if operation == "read_finding":
        return whole(content)
    if operation == "similar_ideas":
        return "\n".join(similar_work(content["similar"]) or ["No shared finding is like it."])
    if operation == "download_code":
        code = json.dumps(content["files"], ensure_ascii=False)
        beyond = len(code) - MOST_CODE
        more = f" {beyond:,} more characters: GET /api/v1/code/..." if beyond > 0 else ""
        return framed("files of the snapshot", code[:MOST_CODE]) + more
    similar = similar_work(content.pop("similar", None))
    content.pop("text", None)  # the caller's own
    return "\n".join([json.dumps(content, ensure_ascii=False), *similar])
