"""The meter: reads what a model API answers, beside its way to the client, and knows at any moment what the call has taken.

A complete answer is charged by its own usage. One that is cut off is charged by what was known: the input as it was reported,
or, where nothing was, the most it can have been; the output as it was reported, or one token for every byte that came, which
no tokeniser exceeds.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import from_json

from aarlab.gateway.asks import Ask
from aarlab.gateway.journal import Taken
from aarlab.gateway.pricing import Price

_OUTPUT = {
    ("anthropic", "default"): "output_tokens",
    ("openai", "chat"): "completion_tokens",
    ("openai", "responses"): "output_tokens",
    ("google", "default"): "candidatesTokenCount",
}
_NOT_WRITTEN = {"type", "signature", "id", "role"}  # of a delta: strings that are no output


class Meter:
    """One answer's. `feed` it a stream of events, or `whole` the one body."""

    def __init__(self, ask: Ask, price: Price) -> None:
        self._ask, self._price = ask, price
        self._rest = b""  # of a line that has not ended
        self._usage: dict[str, Any] = {}
        self._written = 0  # bytes
        self.finished = False  # the usage is final
        self.failed = False  # the provider says that it could not go on

    def whole(self, body: bytes) -> None:
        """A body that came at once."""
        self._event(body)
        self.finished = bool(self._usage)

    def feed(self, chunk: bytes) -> None:
        """Some bytes of a stream of server-sent events."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip())

    def known(self) -> Taken | None:
        """What was taken so far; None: no answer has begun."""
        if not self._usage and not self._written:
            return None
        field = _OUTPUT[self._ask.provider, self._ask.flavor]
        if self._usage:
            usage = dict(self._usage)
            if not self.finished:
                usage[field] = max(usage.get(field) or 0, min(self._written, self._ask.most_output))
            try:
                return self._price.taken(
                    {"usageMetadata" if self._ask.provider == "google" else "usage": usage}, self._ask.flavor
                )
            except ValueError:
                self.finished, self.failed = False, True  # a usage that contradicts itself: as if there were none
        written = min(self._written, self._ask.most_output)
        return Taken(self._ask.most_input, 0, 0, written, self._price.most(self._ask.most_input, written).usd)

    def _event(self, data: bytes) -> None:
        try:
            event = from_json(data)
        except ValueError:  # [DONE], or half an answer
            return
        if isinstance(event, dict):
            self._read(event)

    def _read(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        self.failed |= kind in ("error", "response.failed") or (kind is None and "error" in event)
        for usage in _usages(event):
            self._usage |= {name: value for name, value in usage.items() if value is not None}
        candidates = _dicts(event.get("candidates"))
        self._written += sum(map(_bytes, (event.get("delta"), *(c.get("content") for c in candidates))))
        self._written += sum(_bytes(choice.get("delta")) for choice in _dicts(event.get("choices")))
        self.finished |= _final(event, candidates)


def _final(event: dict[str, Any], candidates: list[dict[str, Any]]) -> bool:
    """Whether the usage known with this event is the answer's last."""
    kind, delta = event.get("type"), event.get("delta")
    if kind == "message_delta":
        return isinstance(delta, dict) and delta.get("stop_reason") is not None
    if event.get("object") == "chat.completion.chunk":
        return event.get("usage") is not None
    return kind in ("message_stop", "response.completed", "response.incomplete") or any(
        c.get("finishReason") for c in candidates
    )


def _usages(event: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Wherever the three providers put it."""
    for place in (event, event.get("message"), event.get("response")):
        for name in ("usage", "usageMetadata"):
            usage = place.get(name) if isinstance(place, dict) else None
            if isinstance(usage, dict):
                yield usage


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _bytes(value: Any) -> int:
    """Of all text in it."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, dict):
        return sum(_bytes(part) for name, part in value.items() if name not in _NOT_WRITTEN)
    return sum(map(_bytes, value)) if isinstance(value, list) else 0
