"""The meter reads the same whatever the bytes are cut into, and never less than what was said."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upstream import events, finish, start, text, usage

from aarlab.gateway.answers import Meter
from aarlab.gateway.asks import Ask
from aarlab.gateway.config import GatewayConfig, Provider
from aarlab.gateway.journal import Taken
from aarlab.gateway.pricing import prices

NAMES = {"anthropic": "claude-opus-4-6", "openai": "gpt-5.1", "google": "gemini-3.1-pro-preview"}
KNOWN = prices(
    GatewayConfig(
        models=tuple(NAMES.values()),
        providers=tuple(Provider(name=name, url="http://127.0.0.1:1") for name in NAMES),  # type: ignore[arg-type]
    )
)


def meter(provider: Any = "anthropic", flavor: str = "default", most_output: int = 1_000) -> Meter:
    ask = Ask(provider, flavor, NAMES[provider], "/", b"", True, 500, most_output)
    return Meter(ask, KNOWN[provider, NAMES[provider]])


def stream(*sent: dict) -> bytes:
    return b"".join(step for step in events(*sent).steps if isinstance(step, bytes))


WHOLE = stream(start(plain=3, write=100, read=2_000), text('hi \u00e9 "usage"'), {"type": "ping"}, *finish(40))
TAKEN = Taken(3, 100, 2_000, 40, pytest.approx((3 * 5 + 100 * 6.25 + 2_000 * 0.5 + 40 * 25) / 1e6, abs=1e-12))


@given(st.lists(st.integers(0, len(WHOLE)), max_size=20), st.booleans())
def test_a_stream_reads_the_same_however_it_is_cut(cuts: list[int], crlf: bool) -> None:
    data = WHOLE.replace(b"\n", b"\r\n") if crlf else WHOLE
    it = meter()
    marks = [0, *sorted(cuts), len(data)]
    for begin, end in pairwise(marks):
        it.feed(data[begin:end])
    assert it.known() == TAKEN
    assert it.finished
    assert not it.failed


@given(st.integers(0, len(WHOLE)))
def test_a_stream_that_stops_anywhere_is_never_cheaper_than_what_it_said(end: int) -> None:
    it = meter()
    it.feed(WHOLE[:end])
    known = it.known()
    begun = WHOLE.index(b"\n\n") <= end
    assert (known is not None) == begun
    if known is not None:
        assert (known.input_tokens, known.cache_write_tokens, known.cache_read_tokens) == (3, 100, 2_000)
        assert known.output_tokens <= 40
        assert it.finished == (known.output_tokens == 40)


def test_output_that_was_cut_off_is_a_token_a_byte_and_no_more_than_was_asked_for() -> None:
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


def test_a_tools_input_and_thoughts_are_output_and_a_signature_is_not() -> None:
    it = meter()
    for delta in ({"partial_json": "12345"}, {"thinking": "123"}, {"signature": "x" * 400}):
        it.feed(stream(start(plain=1), {"type": "content_block_delta", "delta": {"type": "t", **delta}}))
    known = it.known()
    assert known is not None
    assert known.output_tokens == 8


def test_the_last_word_on_usage_counts() -> None:
    """A message_delta may correct the input as well; its nulls say nothing."""
    it = meter()
    last = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9, "input_tokens": 12}}
    last["usage"]["cache_read_input_tokens"] = None
    it.feed(stream(start(plain=10, read=70), last))
    assert it.known() == Taken(12, 0, 70, 9, pytest.approx((12 * 5 + 70 * 0.5 + 9 * 25) / 1e6, abs=1e-12))
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
    "body", [b"", b"<html>", b"{}", b"[]", b'{"usage": null}', b'{"usage": 3}', b'{"choices": 3, "candidates": "x"}']
)
def test_a_whole_answer_without_usage_is_unknown(body: bytes) -> None:
    it = meter()
    it.whole(body)
    assert it.known() is None
    assert not it.finished


def test_a_usage_that_contradicts_itself_counts_as_none_and_is_charged_by_the_bound() -> None:
    it = meter()
    it.feed(stream(start(plain=-5), text("four")))
    known = it.known()
    assert known is not None
    assert (known.input_tokens, known.output_tokens, it.failed) == (500, 4, True)


def chunk(**fields: Any) -> dict:
    return {"object": "chat.completion.chunk", "choices": [{"delta": {"content": "four"}}], "usage": None, **fields}


def test_a_chat_stream_of_openai() -> None:
    it = meter("openai", "chat")
    it.feed(stream(chunk()))
    known = it.known()
    assert known is not None
    assert (known.input_tokens, known.output_tokens, it.finished) == (500, 4, False), "until it is said, the most it can be"
    it.feed(stream(chunk(choices=[], usage={"prompt_tokens": 8, "completion_tokens": 2})) + b"data: [DONE]\n\n")
    assert it.known() == Taken(8, 0, 0, 2, pytest.approx((8 * 1.25 + 2 * 10) / 1e6, abs=1e-12))
    assert it.finished


def test_a_responses_stream_of_openai() -> None:
    it = meter("openai", "responses")
    it.feed(stream({"type": "response.created", "response": {"usage": None}}))
    it.feed(stream({"type": "response.output_text.delta", "delta": "four"}))
    assert it.known() is not None
    assert not it.finished
    it.feed(stream({"type": "response.completed", "response": {"usage": {"input_tokens": 8, "output_tokens": 2}}}))
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
