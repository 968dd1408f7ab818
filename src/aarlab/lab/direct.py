"""Requests that no framework reads: their bodies go to the evaluator as they came, and its answers
back as they came; a page of findings is written once for all who read it.

The same operations over other routes (FastAPI's, MCP) give the same answers. The evaluator finds
out by itself who calls, and refuses whoever may not.
"""

import re
from typing import Any

from starlette.types import Scope, Send

from aarlab.core.evaluator_socket import LOCAL
from aarlab.core.operation import PREFIX, Operation
from aarlab.core.operations import OPERATIONS

JSON = (b"content-type", b"application/json")
# done in the lab's process, in part
_ELSEWHERE = LOCAL | {"commit_code"}
_POSTS = {
    PREFIX + row.path: row
    for row in OPERATIONS.values()
    if row.method == "POST" and not row.ids and row.name not in _ELSEWHERE
}
LIST = OPERATIONS["list_findings"]
_PAGE = re.compile(rb"after=([0-9]{1,9})&limit=([0-9]{1,2}|100)")


def direct(scope: Scope) -> Operation | None:
    """The operation of a request that is a plain one; None where the framework must look."""
    if scope["method"] == "GET" and scope["path"] == PREFIX + LIST.path:
        return LIST if page_of(scope) is not None else None
    if scope["method"] != "POST" or scope.get("query_string"):
        return None
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    return _POSTS.get(scope["path"]) if kinds == [b"application/json"] else None


def page_of(scope: Scope) -> tuple[int, int] | None:
    """(after, limit) of a plain query for findings."""
    found = _PAGE.fullmatch(scope.get("query_string", b""))
    if found is None or found[2] in {b"0", b"00"}:
        return None
    return int(found[1]), int(found[2])


async def send_json(send: Send, status: int, content: bytes) -> None:
    """A whole answer."""
    headers: list[Any] = [(b"content-length", str(len(content)).encode()), JSON]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
