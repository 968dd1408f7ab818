"""The meter reads the same whatever the bytes are cut into, and never less than what was said."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from upstream import events, finish, start, text, usage

from aarlab.gateway import provider_answer
from aarlab.gateway import usage as usage_
from aarlab.gateway.config import GatewayConfig, Provider
from aarlab.gateway.journal_rows import Taken
from aarlab.gateway.model_api import ModelApi
from aarlab.gateway.pricing import prices
from aarlab.gateway.provider_answer import AnswerTooLarge, whole
from aarlab.gateway.request_checks import CheckedRequest
from aarlab.gateway.usage import UsageMeter

NAMES = {"anthropic": "claude-opus-4-6", "openai": "gpt-5.1", "google": "gemini-3.1-pro-preview"}
KNOWN = prices(
    GatewayConfig(
        models=tuple(NAMES.values()),
        providers=tuple(Provider(name=name, url="http://127.0.0.1:1") for name in NAMES),
        # type: ignore
    )
)


def meter(
    provider: Any = "anthropic",
    flavor: str = "default",
    most_output: int = 1_000,
    most_input: int = 500,
    thinks: bool = False,
) -> UsageMeter:
    ask = CheckedRequest(
        provider, flavor, NAMES[provider], "/", b"", True, most_input, most_output, thinks=thinks
    )
    return UsageMeter(ask, KNOWN[provider, NAMES[provider]])


def stream(*sent: dict) -> bytes:
    return b"".join(step for step in events(*sent).steps if isinstance(step, bytes))


WHOLE = stream(
    start(plain=3, write=100, read=2_000), text('hi \u00e9 "usage"'), {"type": "ping"}, *finish(40)
)
# as written to a cache for an hour
MOST = Taken(500, 0, 0, 1_000, pytest.approx((500 * 10 + 1_000 * 25) / 1e6, abs=1e-12))
TAKEN = Taken(
    3, 100, 2_000, 40, pytest.approx((3 * 5 + 100 * 6.25 + 2_000 * 0.5 + 40 * 25) / 1e6, abs=1e-12)
)


@given(
    st.lists(st.integers(0, len(WHOLE)), max_size=20),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.booleans(),
)
def test_a_stream_reads_the_same_however_it_is_cut(
    cuts: list[int], line_end: bytes, two_lines: bool
) -> None:
    """With each of the line ends that the standard knows, and with an event's data over two
    lines."""
    data = WHOLE.replace(b'"usage": {', b'"usage":\ndata: {') if two_lines else WHOLE
    data = data.replace(b"\n", line_end)
    it = meter(most_input=3_000)
    marks = [0, *sorted(cuts), len(data)]
    for begin, end in pairwise(marks):
        it.feed(data[begin:end])
    it.end()
    assert it.known() == TAKEN
    assert it.finished
    assert not it.failed
    assert it.unread is None


@given(st.integers(0, len(WHOLE)))
@example(WHOLE.index(b"\n") + 1)  # after the line with the event's name
def test_a_stream_that_stops_anywhere_is_never_cheaper_than_what_it_said(end: int) -> None:
    it = meter(most_input=3_000)
    it.feed(WHOLE[:end])
    known = it.known()
    assert (known is not None) == (end > 0)
    if known is None:
        return
    if WHOLE.index(b"\n\n") + 2 <= end:
        assert (known.input_tokens, known.cache_write_tokens, known.cache_read_tokens) == (
            3,
            100,
            2_000,
        )
    else:
        assert (known.input_tokens, known.cache_write_tokens, known.cache_read_tokens) == (
            3_000,
            0,
            0,
        )
    assert known == TAKEN if it.finished else 0 <= known.output_tokens <= 1_000


def test_cut_output_is_charged_a_token_a_byte_up_to_the_request() -> None:
    it = meter(most_output=20)
    it.feed(stream(start(plain=10), text("four"), text("\u00e9\u00e9")))
    known = it.known()
    assert known is not None
    assert known.output_tokens == 8
    it.feed(stream(text("x" * 100)))
    known = it.known()
    assert known is not None
    assert known.output_tokens == 20
    assert known.usd == pytest.approx((10 * 5 + 20 * 25) / 1e6, abs=1e-12)


def test_tool_input_and_thinking_count_as_output() -> None:
    it = meter()
    for delta in ({"partial_json": "12345"}, {"thinking": "123"}, {"signature": "x" * 400}):
        it.feed(
            stream(start(plain=1), {"type": "content_block_delta", "delta": {"type": "t", **delta}})
        )
    known = it.known()
    assert known is not None
    assert known.output_tokens == 8


def test_the_last_word_on_usage_counts() -> None:
    """A message_delta may correct the input as well; its nulls say nothing."""
    it = meter()
    last = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 9, "input_tokens": 12},
    }
    last["usage"]["cache_read_input_tokens"] = None
    it.feed(stream(start(plain=10, read=70), last))
    assert it.known() == Taken(
        12, 0, 70, 9, pytest.approx((12 * 5 + 70 * 0.5 + 9 * 25) / 1e6, abs=1e-12)
    )
    assert it.finished


def test_a_provider_that_gives_up_in_the_middle_says_so() -> None:
    it = meter()
    it.feed(stream(start(plain=10), {"type": "error", "error": {"type": "overloaded_error"}}))
    assert it.failed
    assert not it.finished


def test_a_whole_answer() -> None:
    it = meter()
    it.whole(json.dumps({"type": "message", "usage": usage(plain=3, output=4)}).encode())
    assert it.finished
    assert it.known() == Taken(3, 0, 0, 4, pytest.approx(115e-6, abs=1e-12))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        b'{"usage": null}',
        b'{"usage": 3}',
        b'{"choices": 3, "candidates": "x"}',
    ],
)
def test_answer_without_usage_is_charged_its_maximum(body: bytes) -> None:
    it = meter()
    it.whole(body)
    assert it.known() == MOST
    assert it.unread
    assert not it.failed, "that we cannot read it does not say that the provider failed"


def test_contradictory_usage_is_charged_its_maximum() -> None:
    it = meter()
    it.feed(stream(start(plain=-5), text("four")))
    known = it.known()
    assert known is not None
    assert (known.input_tokens, known.output_tokens, it.failed) == (500, 4, False)
    it.end()
    assert it.known() == MOST


SAID = {"content": [{"type": "text", "text": "four"}]}


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 3},
        {"output_tokens": 4},
        {"input_tokens": 3, "output_tokens": 0},
        {"input_tokens": 0, "output_tokens": 4},
        {"input_tokens": 3, "output_tokens": -4},
        {"input_tokens": 3.0, "output_tokens": 4},
        {"input_tokens": 3, "output_tokens": "4"},
        {"input_tokens": 3, "output_tokens": True},
        {"input_tokens": 3, "output_tokens": 10**12},
        {"input_tokens": 3, "output_tokens": 10**400},
        {
            "input_tokens": 3,
            "output_tokens": 4,
            "cache_creation": {"ephemeral_1h_input_tokens": 10**9},
        },
        {"input_tokens": 3, "output_tokens": 4, "service_tier": "priority"},
        {"input_tokens": 3, "output_tokens": 4, "speed": "fast"},
    ],
)
def test_missing_excessive_or_dearer_usage_is_charged_its_maximum(usage: dict) -> None:
    it = meter()
    it.whole(json.dumps({"type": "message", "usage": usage, **SAID}).encode())
    assert it.known() == MOST
    assert it.unread
    assert not it.failed


@pytest.mark.parametrize(
    "data",
    [
        b'{"type": "message", "text": "\\ud83d", %s}',
        b'\xef\xbb\xbf\r\n{"type": "message", %s}',
        b"[{%s}]",
    ],
)
def test_what_a_client_can_read_is_read(data: bytes) -> None:
    it = meter()
    it.whole(data % b'"usage": {"input_tokens": 3, "output_tokens": 4}')
    assert it.known() == Taken(3, 0, 0, 4, pytest.approx(115e-6, abs=1e-12))
    assert it.unread is None


def test_only_pure_provider_failures_are_free() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    for sent in (
        stream({"type": "ping"}, error),
        b": wait\n\n" + stream(error),
        json.dumps(error).encode(),
    ):
        it = meter()
        it.whole(sent)
        assert (it.known(), it.failed) == (None, True)
    it = meter()
    it.whole(json.dumps(error | SAID).encode())
    assert (it.known(), it.failed) == (MOST, True)


@pytest.mark.parametrize("error", [None, "", {}])
def test_an_answer_that_names_no_error_is_none(error: Any) -> None:
    """OpenAI's answers to /v1/responses all have the field."""
    it = meter("openai", "responses", thinks=True)
    said = {
        "object": "response",
        "error": error,
        "output": [],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    it.whole(json.dumps(said).encode())
    known = it.known()
    assert known is not None
    assert (known.input_tokens, known.output_tokens, it.failed) == (3, 4, False)


def test_refusal_is_charged_its_stated_usage_or_nothing() -> None:
    free, priced = meter(), meter()
    free.refused(b"<html>502</html>")
    free.refused(
        json.dumps({"type": "error", "error": {"message": "Overloaded"}, "usage": None}).encode()
    )
    assert free.known() is None
    priced.refused(
        json.dumps(
            {"type": "error", "error": {}, "usage": {"input_tokens": 3, "output_tokens": 4}}
        ).encode()
    )
    assert priced.known() == Taken(3, 0, 0, 4, pytest.approx(115e-6, abs=1e-12))


@pytest.mark.parametrize("deep", [150, 450, 900])
def test_a_tools_input_may_nest_deep(deep: int) -> None:
    data = (
        b'{"type": "message", "content": [{"input": %s"x"%s}], "usage": {"input_tokens": 3, '
        b'"output_tokens": 4}}'
    )
    it = meter()
    it.whole(data % (b'{"a": ' * deep, b"}" * deep))
    known = it.known()
    assert known is not None
    assert known.output_tokens == 4


def test_cut_answer_with_hidden_thinking_is_charged_its_maximum() -> None:
    it = meter(thinks=True)
    it.feed(stream(start(plain=3), text("four")))
    assert it.known() == MOST
    assert it.unread is None, "a cut is no news for the operator"


COUNTS = st.integers(-3, 2_000) | st.sampled_from([None, True, 1.5, "7", 10**12, 10**400, {}, [1]])
USAGES = st.fixed_dictionaries(
    {},
    optional={
        "input_tokens": COUNTS,
        "output_tokens": COUNTS,
        "cache_read_input_tokens": COUNTS,
        "cache_creation_input_tokens": COUNTS,
        "service_tier": st.sampled_from(["standard", "priority", None, 3]),
    },
)
EVENTS = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("message_start"),
            "message": st.fixed_dictionaries({"usage": USAGES | COUNTS}),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("content_block_delta"),
            "delta": st.fixed_dictionaries({"text": st.text()}),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("message_delta"),
            "delta": st.just({"stop_reason": "end_turn"}),
            "usage": USAGES | COUNTS,
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("message"), "usage": USAGES | COUNTS, "content": st.just(SAID["content"])}
    ),
)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.lists(EVENTS, max_size=4).map(lambda sent: stream(*sent)),
    st.lists(EVENTS, max_size=4).flatmap(
        lambda sent: st.integers(0, 400).map(lambda end: stream(*sent)[:end])
    ),
    EVENTS.map(lambda event: json.dumps(event).encode()),
)


@given(BODIES, st.booleans())
def test_cost_never_exceeds_the_reservation(body: bytes, complete: bool) -> None:
    it = meter()
    it.feed(body)
    if complete:
        it.end()
    known = it.known()
    if known is None:
        assert not complete
        assert not body.strip(b"\xef\xbb\xbf \t\r\n")
        return
    assert 0 <= known.usd <= it.most.usd
    assert 0 < known.tokens <= it.most.tokens
    if it.unread:
        assert known == MOST
    elif complete:
        assert it.finished
        assert known.output_tokens or not it._written
        assert known.usd >= (known.input_tokens * 5 + known.output_tokens * 25) / 1e6 - 1e-12


def chunk(**fields: Any) -> dict:
    return {
        "object": "chat.completion.chunk",
        "choices": [{"delta": {"content": "four"}}],
        "usage": None,
        **fields,
    }


def test_a_chat_stream_of_openai() -> None:
    it = meter("openai", "chat")
    it.feed(stream(chunk()))
    known = it.known()
    assert known is not None
    assert (known.input_tokens, known.output_tokens, it.finished) == (500, 4, False), (
        "until it is said, the most it can be"
    )
    it.feed(
        stream(chunk(choices=[], usage={"prompt_tokens": 8, "completion_tokens": 2}))
        + b"data: [DONE]\n\n"
    )
    assert it.known() == Taken(8, 0, 0, 2, pytest.approx((8 * 1.25 + 2 * 10) / 1e6, abs=1e-12))
    assert it.finished


def test_a_responses_stream_of_openai() -> None:
    it = meter("openai", "responses")
    it.feed(stream({"type": "response.created", "response": {"usage": None}}))
    it.feed(stream({"type": "response.output_text.delta", "delta": "four"}))
    assert it.known() is not None
    assert not it.finished
    it.feed(
        stream(
            {
                "type": "response.completed",
                "response": {"usage": {"input_tokens": 8, "output_tokens": 2}},
            }
        )
    )
    assert it.known() == Taken(8, 0, 0, 2, pytest.approx((8 * 1.25 + 2 * 10) / 1e6, abs=1e-12))
    assert it.finished
    it.feed(stream({"type": "response.failed", "response": {}}))
    assert it.failed


def test_a_stream_of_google() -> None:
    it = meter("google")
    part = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "four"}]}}],
        "usageMetadata": {"promptTokenCount": 8},
    }
    it.feed(stream(part))
    known = it.known()
    assert known is not None
    assert (known.input_tokens, known.output_tokens, it.finished) == (8, 4, False)
    meta = {"promptTokenCount": 8, "candidatesTokenCount": 2, "thoughtsTokenCount": 3}
    it.feed(stream({"candidates": [{"finishReason": "STOP"}], "usageMetadata": meta}))
    assert it.known() == Taken(8, 0, 0, 5, pytest.approx((8 * 2 + 5 * 12) / 1e6, abs=1e-12))
    assert it.finished


@pytest.mark.parametrize("key", ["x", "scripted", "sk-ant-REAL-0123456789"])
def test_a_key_is_taken_out_of_an_answer_and_a_word_that_stands_for_none_is_not(key: str) -> None:
    api = ModelApi((), {"anthropic": key}, {}, None)  # type: ignore[arg-type]
    ask = SimpleNamespace(provider="anthropic")
    answer = httpx.Response(200, headers={"request-id": f"of {key}"})
    real = len(key) > 16
    body = f'{{"text": "say {key}, exactly"}}'.encode()
    assert api._without_key(ask, body) == (body.replace(key.encode(), b"***") if real else body)
    assert bool(api._kept(answer)) == (not real)


@pytest.mark.parametrize("chunk", [b"x" * 1_000, b"data: " + b"x" * 994, b"data: {}\n" * 1_000])
def test_an_event_without_an_end_is_not_kept(chunk: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_, "MOST_HELD", 100_000)
    read = meter()
    read.feed(stream(start(plain=3)))
    for _ in range(300):
        read.feed(chunk)
    assert len(b"".join([*read._parts, *read._data])) <= 100_000
    read.end()
    assert read.known() == MOST
    assert "an event of more than 100,000 bytes" in (read.unread or "")


def test_many_events_and_comments_are_none_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_, "MOST_HELD", 5_000)
    read = meter(most_input=5_000)
    for _ in range(3_000):
        read.feed(b": still there\n\n")
    read.feed(WHOLE)
    read.end()
    assert read.known() == TAKEN


@pytest.mark.parametrize("status", [200, 500])
def test_a_body_that_came_at_once_has_an_end(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_answer, "MOST_BYTES", 10_000)
    sent = []

    async def body() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            sent.append(1_000)
            yield b"x" * 1_000

    async def read() -> None:
        answer = httpx.Response(status, content=body())
        with pytest.raises(AnswerTooLarge, match="more than 10,000 bytes"):
            await whole(answer)

    asyncio.run(read())
    assert sum(sent) <= 12_000
