"""Refusals as HTTP answers: a status, what is wrong and the remedy, whose move it is. Nothing else, and never a traceback."""

import json
import logging
import secrets
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured, Transient, Unauthorised

STATUS: dict[type[AarError], int] = {InvalidSubmission: 422, Unauthorised: 401, Misconfigured: 500, Transient: 503}
MOST = 5  # mistakes that one answer names
log = logging.getLogger("aarlab.server")


def refusal(error: AarError) -> Response:
    """One of our errors as an answer."""
    return answer(_status(error), str(error), error.whose_move)


def answer(status: int, error: str, whose_move: str = "submitter") -> Response:
    """An answer with these words; whatever is quoted in them becomes plain ASCII."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {"Connection": "close"} if status in (408, 413) else None
    content = json.dumps({"error": error, "whose_move": whose_move})
    return Response(content, status_code=status, headers=headers, media_type="application/json")


def _status(error: AarError) -> int:
    """An error names its own status, or has its class's."""
    if error.facts.get("forbidden"):
        return 403
    if error.facts.get("absent"):
        return 404
    return error.facts.get("status") or STATUS.get(type(error), 500)


def words_of(mistakes: Sequence[Any]) -> str:
    """Pydantic's mistakes in one line, without what was sent."""
    shown = [f"{'.'.join(str(part)[:80] for part in m['loc']) or 'all'}: {m['msg'][:300]}" for m in mistakes[:MOST]]
    return "; ".join(shown) + (f"; and {len(mistakes) - MOST} more." if len(mistakes) > MOST else ".")


def bug(error: Exception, what: str) -> str:
    """Words for the client about an error that should not be; the log has the same number, and what it was."""
    number = secrets.token_hex(4)
    log.error("bug %s at %s", number, what, exc_info=error)
    return f"A bug of ours, not your mistake. Tell the operator: its number in the log is {number}."
