"""Our errors as HTTP answers, and back: one table for all servers and clients. Each class of
error says who must act: the submitter, the operator, or nobody but time."""

import json
from collections.abc import Mapping
from typing import Any

from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured, Transient, Unauthorised

STATUS: dict[type[AarError], int] = {
    InvalidSubmission: 422,
    Unauthorised: 401,
    Misconfigured: 500,
    Transient: 503,
}
FORBIDDEN, ABSENT = 403, 404  # of an error with the fact `forbidden` or `absent`
TRY_AGAIN = (429, 502, 503, 504)  # nothing is wrong with the request, whatever else the answer says
REFUSED = (STATUS[Unauthorised], FORBIDDEN)
BY_MOVE = {kind.whose_move: kind for kind in (InvalidSubmission, Misconfigured, Transient)}


def status_of(error: AarError) -> int:
    """The status that one of our errors names (its facts `forbidden`, `absent` or `status`), or its
    class's."""
    if error.facts.get("forbidden"):
        return FORBIDDEN
    if error.facts.get("absent"):
        return ABSENT
    own = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    return error.facts.get("status") or own


def headers_of(status: int) -> dict[str, str]:
    """Headers that an answer of this status must have. After 408 and 413 a rest of the body may
    still be on its way."""
    if status == STATUS[Unauthorised]:
        return {"WWW-Authenticate": "Bearer"}
    return {"Connection": "close"} if status in (408, 413) else {}


def problem_of(error: AarError) -> dict[str, str]:
    """The body of an answer, as `operation_records.Refusal`."""
    return {"error": str(error), "whose_move": error.whose_move}


def error_of(status: int, content: bytes) -> AarError:
    """The error that an answer which is no success stands for, with the fact `status`.

    The lab's body is a `Problem`; a model API's, and the gateway's of what is not there, is
    {"error": {"message"}}.
    """
    body = _object(content)
    error = body.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    words = message if isinstance(message, str) else content[:500].decode(errors="replace")
    if status in TRY_AGAIN:
        return Transient(words, status=status)
    if status in REFUSED:
        return Unauthorised(words, status=status)
    kind = InvalidSubmission if status < 500 else Misconfigured
    return BY_MOVE.get(str(body.get("whose_move")), kind)(words, status=status)


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
