"""REST: a route for each operation of the table, whose handler is found by the operation's name."""

from collections.abc import Awaitable, Callable
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aarlab.core.operation import PREFIX, Operation, parameters
from aarlab.core.operation_records import Refusal
from aarlab.core.operations import OPERATIONS
from aarlab.lab.lab_handlers import LabHandlers
from aarlab.lab.request_body import SentBody, UnreadBodyRoute

REFUSALS = {
    status: {"model": Refusal} for status in (400, 401, 403, 404, 405, 408, 413, 415, 422, 500, 503)
}
BODY = "new"


def make_router(handlers: LabHandlers, app: FastAPI) -> APIRouter:
    """All operations under PREFIX, and for the operator their description at /openapi.json."""
    router = APIRouter(prefix=PREFIX, responses=REFUSALS, route_class=UnreadBodyRoute)
    for operation in OPERATIONS.values():
        router.add_api_route(
            operation.path,
            _endpoint(operation, handlers),
            methods=[operation.method],
            status_code=operation.status,
            response_model=operation.gives,
            name=operation.name,
            description=operation.words,
        )

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        handlers.require_operator()
        return app.openapi()

    return router


def _endpoint(operation: Operation, handlers: LabHandlers) -> Callable[..., Awaitable[BaseModel]]:
    async def endpoint(**given: Any) -> BaseModel:
        ids = {name: given.pop(name) for name in operation.ids}
        if operation.query:
            return await handlers.do(operation, SentBody(operation.takes, given), **ids)
        return await handlers.do(operation, given.get(BODY), **ids)

    endpoint.__name__ = operation.name
    endpoint.__signature__ = Signature(_parameters(operation))  # type: ignore[attr-defined]
    return endpoint


def _parameters(operation: Operation) -> list[Parameter]:
    """What FastAPI reads, validates and describes: ids, the fields of a query, a body that is left
    as bytes."""
    found = parameters(operation.ids, _annotation)
    if operation.method == "POST":
        return [
            *found,
            Parameter(BODY, Parameter.KEYWORD_ONLY, annotation=SentBody[operation.takes]),
        ]
    return found + parameters(operation.query, lambda field: Annotated[_annotation(field), Query()])


def _annotation(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata]  # type: ignore[name-defined]
