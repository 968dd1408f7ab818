"""JSON bodies that others sent, read into records; what is wrong with one is said in one line."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from aarlab.core.errors import InvalidSubmission

MOST_FIELDS = 50  # of a body itself: none has more than a few
MOST = 5  # mistakes that one answer names


def read_as(kind: Any, given: bytes | Mapping[str, Any]) -> Any:
    """The record of that kind (any type that pydantic knows) that was sent: JSON, or fields that
    were read already.

    Raises:
        InvalidSubmission: it is no JSON, or no such record; the words name some of the mistakes.
    """
    fields = parsed(given) if isinstance(given, bytes) else given
    if isinstance(fields, Mapping) and len(fields) > MOST_FIELDS:
        raise InvalidSubmission(
            f"The body has {len(fields):,} fields. Send those that are described, and no other."
        )
    try:
        return _adapter(kind).validate_python(fields)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidSubmission(words_of(mistakes)) from error


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def parsed(body: bytes) -> Any:
    """The JSON of a body.

    Raises:
        InvalidSubmission: it is none, nests more than 200 deep, or has a number that JSON does not
            know.
    """
    try:
        return from_json(body, allow_inf_nan=False)  # one pass
    except ValueError as error:
        words = (
            f"The body is no JSON that is taken here: {str(error)[:200]}. No NaN, no Infinity, no "
            "half a character, nothing"
        )
        raise InvalidSubmission(f"{words} deeply nested.") from error


def words_of(mistakes: Sequence[Any]) -> str:
    """Pydantic's mistakes in one line, without what was sent."""
    shown = [
        f"{'.'.join(str(part)[:80] for part in m['loc']) or 'all'}: {m['msg'][:300]}"
        for m in mistakes[:MOST]
    ]
    return "; ".join(shown) + (
        f"; and {len(mistakes) - MOST} more." if len(mistakes) > MOST else "."
    )
