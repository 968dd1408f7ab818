"""Refusals as HTTP answers: a status, what is wrong and the remedy, whose move it is. Nothing else,
and never a traceback."""

import json
import logging
import secrets

from starlette.responses import Response

from aarlab.core.errors import AarError
from aarlab.core.evaluator_socket import BUG_WORDS
from aarlab.core.http_errors import headers_of, status_of

OURS = "a bug of ours"
log = logging.getLogger("aarlab.lab")


def refusal(error: AarError) -> Response:
    """One of our errors as an answer."""
    return answer(status_of(error), str(error), error.whose_move)


def answer(status: int, error: str, whose_move: str = "submitter") -> Response:
    """An answer with these words; whatever is quoted in them becomes plain ASCII."""
    content = json.dumps({"error": error, "whose_move": whose_move})
    return Response(
        content, status_code=status, headers=headers_of(status), media_type="application/json"
    )


def bug(error: Exception, what: str) -> str:
    """Words for the client about an error that should not be; the log has the same number, and what
    it was."""
    number = secrets.token_hex(4)
    log.error("bug at %s, number %s", what, number, exc_info=error)
    return BUG_WORDS.format(log="lab", number=number)
