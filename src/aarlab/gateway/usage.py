"""The meter: reads what a model API answers, beside its way to the client, and knows at any moment
what the call has taken.

A complete answer is charged by its own usage. One that is cut off is charged by what was known: the
input as it was reported, or, where nothing was, the most it can have been; the output as it was
reported, or one token for every byte that came, which no tokeniser exceeds; all that was asked for
where the model may write what it does not send (`CheckedRequest.thinks`).

An answer whose usage cannot be read (none, not whole, negative, beyond what was reserved, of a
dearer tier, no JSON) is charged what was reserved for it. Nothing is free but what says, and says
nothing else, that the provider could not answer.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from aarlab.core.strict_json import dicts
from aarlab.gateway.journal_rows import Taken
from aarlab.gateway.pricing import Price
from aarlab.gateway.request_checks import CheckedRequest

_OUTPUT = {
    ("anthropic", "default"): "output_tokens",
    ("openai", "chat"): "completion_tokens",
    ("openai", "responses"): "output_tokens",
    ("google", "default"): "candidatesTokenCount",
}
_NOT_WRITTEN = {"type", "signature", "id", "role"}  # of a delta: strings that are no output
# at list price, or cheaper
_TIERS = {None, "auto", "default", "standard", "standard_only", "on_demand", "flex", "batch"}
_LINE_END = re.compile(rb"\r\n|\n|\r")
_FIELDS = (b":", b"event", b"id", b"retry")  # of server-sent events: lines without data
_BOM = b"\xef\xbb\xbf"
MOST_HELD = 64 << 20  # bytes of one event, or of a body that came at once


class UsageMeter:
    """One answer's. `feed` it the body as it comes, a stream of events or JSON, and say when it is
    complete (`end`)."""

    def __init__(self, ask: CheckedRequest, price: Price) -> None:
        self._ask, self._price = ask, price
        # what the call reserves, and the most that it is charged
        self.most = price.most(ask.most_input, ask.most_output)
        self._begun = self._ended = self._json = False
        self._parts: list[bytes] = []  # what was not read yet: of a line, or of a JSON body
        self._data: list[bytes] = []  # the lines of an event that has not ended
        self._held = 0  # bytes that were not read yet
        self._deaf = False  # they were too many: nothing is read any more
        self._usage: dict[str, Any] = {}
        self._written = 0  # bytes
        self._odd: str | None = None  # what could not be read
        self._tier: str | None = None  # that is not priced here
        self.finished = False  # the usage is final
        self.failed = False  # the provider says that it could not go on

    def whole(self, body: bytes) -> None:
        """A body that came at once."""
        self.feed(body)
        self.end()

    def feed(self, chunk: bytes) -> None:
        """Some bytes of the body."""
        self._held += len(chunk)
        if self._deaf or self._held > MOST_HELD:
            self._parts, self._data, self._deaf = [], [], True
            self._misread(f"the answer has an event of more than {MOST_HELD:,} bytes")
            return
        if not (self._begun or self._parts or self._data):
            chunk = chunk.lstrip(_BOM + b" \t\r\n")
            self._json = chunk[:1] in (b"{", b"[")
        self._parts += [chunk] if chunk else []
        if not self._json and (b"\n" in chunk or b"\r" in chunk):
            self._take_lines(b"".join(self._parts))

    def _take_lines(self, text: bytes) -> None:
        held = text.endswith(b"\r")  # its "\n" may be in the next chunk
        *lines, rest = _LINE_END.split(text[:-1] if held else text)
        rest += b"\r" if held else b""
        self._parts = [rest] if rest else []
        for line in lines:
            self._line(line)
        if not self._data:
            self._held = len(rest)

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            self._begun |= line[6:].strip() not in (b"ping", b"error", b"response.failed")
        elif not line and self._data:
            data, self._data = b"\n".join(self._data), []
            self._event(data)
        elif line and not line.startswith(_FIELDS):
            self._misread("the answer has a line that is no event's")

    def end(self) -> None:
        """The body is complete."""
        rest, self._parts, self._ended = b"".join(self._parts), [], True
        if self._json:
            self._event(rest)
        else:
            for line in (*_LINE_END.split(rest), b""):
                self._line(line)
        self.finished |= self._json and bool(self._usage)

    def refused(self, body: bytes) -> None:
        """A body that came at once, with a status that is no success: it cost nothing, unless it
        counts a usage."""
        read = _read_json(body)
        if isinstance(read, dict) and any(_usages(read)):
            self.whole(body)

    def misread(self, why: str) -> None:
        """The answer has begun, and cannot be read."""
        self._misread(why)
        self._ended = True

    def _misread(self, what: str) -> None:
        self._begun, self._odd = True, what

    @property
    def unread(self) -> str | None:
        """Why the call is charged as the most that it can have been; None: it is charged by its
        usage, or was cut off."""
        return self._account()[1]

    def known(self) -> Taken | None:
        """What was taken so far, never more than was reserved; None: no answer has begun."""
        return self._account()[0]

    def _account(self) -> tuple[Taken | None, str | None]:
        pending = sum(map(len, (*self._parts, *self._data)))
        if not (self._begun or pending or (self._ended and not self.failed)):
            return None, None
        if self._tier:
            return self._at_most(), f"the tier {self._tier!r} is not priced here"
        if self.finished:
            try:
                return self._by_usage(self._usage), None
            except ValueError as error:
                return self._at_most(), str(error)
        if self._odd or self._ended:
            return self._at_most(), self._odd or "the answer has no usage"
        return self._at_most() if self._ask.thinks else self._so_far(pending), None

    def _so_far(self, pending: int) -> Taken:
        """Of an answer that is not complete."""
        field, written = (
            _OUTPUT[self._ask.provider, self._ask.flavor],
            min(self._written + pending, self._ask.most_output),
        )
        try:
            said = self._usage.get(field) or 0
            return self._by_usage(
                self._usage | {field: max(said, written)} if isinstance(said, int) else self._usage
            )
        except ValueError:
            return self._at_most(written)

    def _by_usage(self, usage: Mapping[str, Any]) -> Taken:
        """Raises ValueError where the usage is not whole, contradicts itself, or is beyond what the
        call can take."""
        if self._written and not usage.get(_OUTPUT[self._ask.provider, self._ask.flavor]):
            raise ValueError("the answer's usage counts no output, though there is some")
        root = "usageMetadata" if self._ask.provider == "google" else "usage"
        taken = self._price.taken({root: usage}, self._ask.flavor)
        if taken.tokens == taken.output_tokens:
            raise ValueError("the answer's usage counts no input")
        if taken.tokens > self.most.tokens or taken.usd > self.most.usd * (1 + 1e-9):
            raise ValueError("the answer's usage is beyond what the call can take")
        return replace(taken, usd=min(taken.usd, self.most.usd))

    def _at_most(self, output: int | None = None) -> Taken:
        if output is None:
            return Taken(self._ask.most_input, 0, 0, self._ask.most_output, self.most.usd)
        return Taken(
            self._ask.most_input, 0, 0, output, self._price.most(self._ask.most_input, output).usd
        )

    def _event(self, data: bytes) -> None:
        if data.strip() in (b"", b"[DONE]"):
            return
        read = _read_json(data)
        events = read if isinstance(read, list) and read else [read]
        for event in events:
            if isinstance(event, dict):
                self._read(event)
            else:
                self._misread("the answer is no JSON object")

    def _read(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        self.failed |= kind in ("error", "response.failed") or (
            kind is None and bool(event.get("error"))
        )
        self._begun |= not (
            kind == "ping" or (self.failed and event.keys() <= {"type", "error", "request_id"})
        )
        for usage in _usages(event):
            self._usage |= {
                name: _later(self._usage.get(name), value)
                for name, value in usage.items()
                if value is not None
            }
        self._tier = self._tier or next((t for t in _tiers(event) if t not in _TIERS), None)
        candidates = dicts(event.get("candidates"))
        self._written += sum(
            map(_bytes, (event.get("delta"), *(c.get("content") for c in candidates)))
        )
        self._written += sum(
            _bytes(choice.get(name))
            for choice in dicts(event.get("choices"))
            for name in ("delta", "message")
        )
        self._written += (
            _bytes(event.get("content")) + _bytes(event.get("output")) if self._json else 0
        )
        self.finished |= _final(event, candidates)


def _read_json(data: bytes) -> Any:
    """None where nobody could read it. Half a character is read, as clients do."""
    try:
        return from_json(data)
    except ValueError:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            return None


def _later(before: Any, now: Any) -> Any:
    """A count that was said again: it does not fall."""
    return max(before, now) if type(before) is type(now) is int else now


def _final(event: dict[str, Any], candidates: list[dict[str, Any]]) -> bool:
    """Whether the usage known with this event is the answer's last."""
    kind, delta = event.get("type"), event.get("delta")
    if kind == "message_delta":
        return isinstance(delta, dict) and delta.get("stop_reason") is not None
    if event.get("object") == "chat.completion.chunk":  # some servers count with every chunk
        choices = dicts(event.get("choices"))
        return event.get("usage") is not None and (
            not choices or any(c.get("finish_reason") for c in choices)
        )
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


def _tiers(event: dict[str, Any]) -> Iterator[str]:
    """At which price the provider says that it served."""
    for place in (event, event.get("message"), event.get("response"), *_usages(event)):
        for name in ("service_tier", "speed"):
            tier = place.get(name) if isinstance(place, Mapping) else None
            if tier is not None:
                yield str(tier).lower()[:40]


def _bytes(value: Any) -> int:
    """Of all text in it, however deep it nests."""
    found, todo = 0, [value]
    while todo:
        part = todo.pop()
        if isinstance(part, str):
            found += len(part.encode("utf-8", "surrogatepass"))
        elif isinstance(part, dict):
            todo += [inner for name, inner in part.items() if name not in _NOT_WRITTEN]
        elif isinstance(part, list):
            todo += part
    return found
