"""What all model APIs' requests are read with: what a request will be (`CheckedRequest`), and
checks of its fields that raise InvalidSubmission."""

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Any

from aarlab.core.errors import InvalidSubmission
from aarlab.gateway.config import ProviderName

# tokens; where a request does not say how many it wants, it may get as many as models give
MAX_OUTPUT = 128_000
MOST_SAID = 300  # characters of what was sent that a refusal repeats
OVERHEAD = 2_000  # tokens that a provider adds to a prompt (tools' instructions and the like)
# most tokens of a picture, however few bytes it has; of a PDF, a film or a sound
IMAGE, DOCUMENT = 5_000, 1_000_000


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


@dataclass(frozen=True)
class CheckedRequest:
    """A request as it will be sent on. `flavor` names its wire format in genai-prices' words."""

    provider: ProviderName
    flavor: str
    model: str
    target: str  # path and query
    body: bytes
    stream: bool
    most_input: int  # tokens
    most_output: int
    free: bool = False  # it only counts tokens
    # the model may write what it does not send, and what is billed all the same
    thinks: bool = False


def refusal(what: str, remedy: str = "Leave it out.") -> InvalidSubmission:
    """The error for what is not allowed."""
    said = what if len(what) <= MOST_SAID else f"{what[:MOST_SAID]}..."
    return InvalidSubmission(f"{said} is not allowed here. {remedy}")


def one_of(value: Any, allowed: Collection[Any]) -> bool:
    """Whether a value is one of those; a list or an object is none."""
    return isinstance(value, Hashable) and value in allowed


def only(body: dict[str, Any], allowed: frozenset[str]) -> None:
    """Raises InvalidSubmission for a field that is not allowed."""
    if unknown := sorted(body.keys() - allowed):
        raise refusal(f"The field {unknown[0][:100]!r}")


def model_name(name: Any) -> str:
    """The name that a body gives. Raises InvalidSubmission where it gives none that can be one."""
    if not isinstance(name, str) or not 0 < len(name) <= MOST_SAID:
        raise InvalidSubmission("The body names no model. Name one.")
    return name


def whole_number(value: Any, name: str) -> int:
    """The count. Raises InvalidSubmission where it is none above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 10_000_000:
        raise InvalidSubmission(f"{name} must be a whole number above 0. Give one.")
    return value


def an_object(value: Any, name: str) -> dict[str, Any]:
    """The object, empty for none."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidSubmission(f"{name} must be an object. Send one.")
    return value


def objects(value: Any, name: str) -> list[dict[str, Any]]:
    """The list of objects, empty for none."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise InvalidSubmission(f"{name} must be a list of objects. Send one.")
    return value
