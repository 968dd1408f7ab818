"""Bodies as they came. Whoever works on one reads it, in a worker: the event loop, which serves
everybody, does not.

The guard has counted the values of a body before, so that none takes much time or memory.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Generic, TypeVar, get_args

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema, to_json
from starlette.responses import Response

from aarlab.core.bodies import read_as

T = TypeVar("T")


class SentBody(Generic[T]):
    """The body of a T: bytes of JSON, or fields that were read already. A route's parameter of this
    type is described as T."""

    def __init__(self, kind: Any, given: bytes | Mapping[str, Any]) -> None:
        self._kind, self._given = kind, given

    def read(self) -> T:
        """What was sent.

        Raises:
            InvalidSubmission: it is no JSON, or no T; the words name some of the mistakes.
        """
        return read_as(self._kind, self._given)

    @property
    def body(self) -> bytes:
        """The body as it came, or the JSON of the fields that were read; who works on it reads
        it."""
        if isinstance(self._given, bytes):
            return self._given
        return to_json(self._given)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        (kind,) = get_args(source)
        return core_schema.no_info_wrap_validator_function(
            lambda given, _: cls(kind, given), handler(kind)
        )


class UnreadBodyRoute(APIRoute):
    """A route whose body is handed on as bytes."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def unread(request: Request) -> Response:
            return await handle(_Bytes(request.scope, request.receive))

        return unread


class _Bytes(Request):
    async def json(self) -> bytes:
        return await self.body()
