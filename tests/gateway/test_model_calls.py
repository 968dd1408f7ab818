"""Model calls through the real gateway process, against an API that answers as it is reported."""

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from running import ASK, KEY, Running
from upstream import CUT, HANG, Reply, Upstream, events, finish, message, start, text, usage, whole

from aarlab.gateway import model_api
from tests.waiting import waited_for

STREAM = ASK | {"stream": True}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(
    starts_processes, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("campaign"), upstream.url) as made:
        yield made


@pytest.fixture(autouse=True)
def as_new(upstream: Upstream) -> None:
    upstream.requests.clear()
    upstream.play = lambda request: message(plain=10, output=5)


def call_of(gateway: Running, who: str) -> dict:
    """The one call that is recorded of somebody."""
    (row,) = gateway.spends(who)
    return row.body["call"] | {"usd": row.body["usd"]}


def test_a_whole_answer_is_passed_on_and_metered(gateway: Running, upstream: Upstream) -> None:
    upstream.play = lambda request: message(plain=7, write=400, read=20_000, output=300)
    ask = ASK | {"max_tokens": 300, "messages": [{"role": "user", "content": "x" * 21_000}]}
    answer = gateway.inside("whole").post("/v1/messages?beta=true", json=ask)
    assert answer.status_code == 200
    assert answer.json()["usage"] == usage(7, 400, 20_000, 300)
    assert upstream.requests[0].target == "/v1/messages?beta=true"
    assert upstream.requests[0].json == ask | {"service_tier": "standard_only"}, (
        "no dearer tier than is priced here"
    )
    assert call_of(gateway, "whole") == {
        "model": "claude-opus-4-6",
        "input_tokens": 7,
        "cache_write_tokens": 400,
        "cache_read_tokens": 20_000,
        "output_tokens": 300,
        "interrupted": False,
        "usd": pytest.approx((7 * 5 + 400 * 6.25 + 20_000 * 0.5 + 300 * 25) / 1e6, abs=1e-12),
    }


def test_a_stream_is_passed_on_event_by_event_and_metered(
    gateway: Running, upstream: Upstream
) -> None:
    more = threading.Event()
    upstream.play = lambda request: events(
        start(plain=10, write=100), text("first"), more, text("second"), *finish(7)
    )
    with gateway.inside("stream").stream("POST", "/v1/messages", json=STREAM) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        came = answer.iter_raw()
        seen = b""
        while b"first" not in seen:  # although the rest was not even written
            seen += next(came)
        assert gateway.open_calls() == 1
        more.set()
        seen += b"".join(came)
    expected = b"".join(
        step for step in upstream.play(upstream.requests[0]).steps if isinstance(step, bytes)
    )
    assert seen == expected, "unchanged, to the byte"
    call = call_of(gateway, "stream")
    assert (
        call["input_tokens"],
        call["cache_write_tokens"],
        call["output_tokens"],
        call["interrupted"],
    ) == (10, 100, 7, False)
    assert gateway.open_calls() == 0


def test_usage_is_reported_to_the_researcher_and_to_nobody_else(gateway: Running) -> None:
    inside = gateway.inside("teller")
    inside.post("/v1/messages", json=ASK)
    reported = inside.get("/usage").json()
    assert reported["researcher"] == "teller"
    assert reported["spent"] == {
        "hours": 0.0,
        "tokens": 15,
        "usd": pytest.approx(175e-6, abs=1e-12),
        "cpu_hours": 0.0,
        "device_hours": 0.0,
    }
    assert (
        reported["budget"]
        == reported["left"]
        == dict.fromkeys(("hours", "tokens", "usd", "cpu_hours", "device_hours"))
    )
    assert reported["campaign"]["spent"]["tokens"] >= 15
    assert gateway.inside("other").get("/usage").json()["spent"]["tokens"] == 0


# --- keys and headers -----------------------------------------------------------------------------


def test_gateway_replaces_the_key_sent_by_the_sandbox(gateway: Running, upstream: Upstream) -> None:
    sent = {
        "x-api-key": "from-inside",
        "authorization": "Bearer from-inside",
        "cookie": "a=from-inside",
        "x-forwarded-for": "from-inside",
        "x-claude-code-session-id": "from-inside",
        "anthropic-beta": "interleaved-thinking-2025-05-14",
        "anthropic-version": "2023-06-01",
        "accept-encoding": "gzip, br",
    }
    gateway.inside("heads").post("/v1/messages", json=ASK, headers=sent)
    (request,) = upstream.requests
    assert request.headers["x-api-key"] == KEY
    assert not any("from-inside" in value for value in request.headers.values())
    assert request.headers["anthropic-beta"] == "interleaved-thinking-2025-05-14"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["host"] == upstream.url.removeprefix("http://")


ECHO = {
    "x-echo": KEY,
    "set-cookie": f"k={KEY}",
    "request-id": f"req-{KEY}",
    "anthropic-organization-id": "org-1",
}
LIMITS = {
    "anthropic-ratelimit-requests-remaining": "9",
    "retry-after": "2",
    "x-should-retry": "true",
}


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500, 529])
def test_no_answer_has_the_key_in_it(gateway: Running, upstream: Upstream, status: int) -> None:
    """Whatever the provider echoes in a header, or in a refusal."""
    body = (
        {"error": {"message": f"bad key {KEY}"}} if status != 200 else {"usage": usage(1, output=1)}
    )
    upstream.play = lambda request: whole(body, status, **ECHO, **LIMITS)
    answer = gateway.inside("keyless").post("/v1/messages", json=ASK)
    assert KEY not in answer.text
    assert not any(KEY in value for value in answer.headers.values())
    assert not answer.headers.keys() & {
        "x-echo",
        "set-cookie",
        "request-id",
        "anthropic-organization-id",
    }
    if status not in (401, 403):
        assert LIMITS.items() <= dict(answer.headers).items()


def test_neither_keys_nor_bodies_are_logged(gateway: Running, upstream: Upstream) -> None:
    upstream.play = lambda request: whole({"error": KEY}, 401)
    gateway.inside("logged").post(
        "/v1/messages", json=ASK | {"messages": [{"role": "user", "content": "my own thoughts"}]}
    )
    gateway.raw(
        "logged",
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\nsome: "
        b"thoughts\r\n\r\n{my own thoughts",
    )
    gateway.raw("logged", b"nonsense of my own thoughts\r\n\r\n")
    assert "anthropic refuses the gateway's key or account: 401" in gateway.log
    assert KEY not in gateway.log
    assert "thoughts" not in gateway.log
    assert "token-of" not in gateway.log


# --- what may be asked ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (
            "/v1/messages",
            ASK | {"model": "claude-opus-5"},
            403,
            "'claude-opus-5' is not listed here. Use claude-opus-4-6.",
        ),
        ("/v1/messages", ASK | {"model": "gpt-5.1"}, 403, "not listed here"),
        (
            "/v1/messages",
            ASK | {"tools": [{"type": "web_search_20250305", "name": "w"}]},
            400,
            "Only tools that run on your side",
        ),
        (
            "/v1/messages",
            ASK | {"mcp_servers": []},
            400,
            "'mcp_servers' is not allowed here. Leave it out.",
        ),
        (
            "/v1beta/models/gemini-9:generateContent",
            {"contents": []},
            403,
            "gemini-3.1-pro-preview.",
        ),
        ("/v1/models", {}, 404, "Nothing is here"),
        ("/v1/files", {}, 404, "Nothing is here"),
        ("/v1/messages/batches", {}, 404, "Nothing is here"),
        ("/v1/organizations/usage_report", {}, 404, "Nothing is here"),
    ],
)
def test_what_is_not_allowed_never_leaves(
    gateway: Running, upstream: Upstream, path: str, body: dict, status: int, words: str
) -> None:
    answer = gateway.inside("asker").post(path, json=body)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert upstream.requests == []
    assert gateway.spends("asker") == []
    assert not gateway.failing("asker")


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_models_are_called_by_post_only(gateway: Running, upstream: Upstream, verb: str) -> None:
    assert gateway.inside("verbs").request(verb, "/v1/messages").status_code == 404
    assert upstream.requests == []


def test_a_body_has_its_limit(gateway: Running, upstream: Upstream) -> None:
    inside = gateway.inside("big")
    long = ASK | {"messages": [{"role": "user", "content": "x" * (31 << 20)}]}
    assert inside.post("/v1/messages", json=long).status_code == 200
    too_long = ASK | {"messages": [{"role": "user", "content": "x" * (33 << 20)}]}
    answer = inside.post("/v1/messages", json=too_long)
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "request_too_large"
    chunks = (b" " * (1 << 20) for _ in range(33))  # no length stated
    try:
        status = inside.post("/v1/messages", content=chunks).status_code
    except httpx.TransportError:  # hung up on before all was sent
        status = 413
    assert status == 413
    assert len(upstream.requests) == 1


def test_a_large_body_is_read_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody else waits for it; one at a time of each researcher's."""
    seen = []
    monkeypatch.setattr(
        model_api, "read_ask", lambda *given: seen.append(threading.current_thread())
    )
    client: Any = SimpleNamespace(path="/v1/messages", query=b"")

    async def read() -> None:
        models = model_api.ModelApi((), {}, {}, None)  # type: ignore[arg-type]
        for size in (model_api.SMALL, model_api.SMALL + 1):
            await models._read("ann", client, bytes(size))

    asyncio.run(read())
    assert seen[0] is threading.main_thread()
    assert seen[1] is not threading.main_thread()


def test_counting_tokens_is_free(gateway: Running, upstream: Upstream) -> None:
    upstream.play = lambda request: whole({"input_tokens": 12})
    ask = {"model": "claude-opus-4-6", "messages": ASK["messages"]}
    answer = gateway.inside("counter").post("/v1/messages/count_tokens", json=ask)
    assert answer.json() == {"input_tokens": 12}
    assert gateway.spends("counter") == []


# --- failures are the provider's, and pass through ------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
def test_failures_pass_through_cost_nothing_and_are_known(
    gateway: Running, upstream: Upstream, status: int
) -> None:
    who = f"failing-{status}"
    said = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    upstream.play = lambda request: whole(said, status, **{"retry-after": "2"})
    answer = gateway.inside(who).post("/v1/messages", json=STREAM)
    assert (answer.status_code, answer.headers["retry-after"], answer.json()) == (status, "2", said)
    assert len(upstream.requests) == 1, "retrying is the client's"
    assert gateway.failing(who)
    assert gateway.spends(who) == []
    upstream.play = lambda request: message(plain=1, output=1)
    assert gateway.inside(who).post("/v1/messages", json=ASK).status_code == 200
    assert not gateway.failing(who)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        *((status, "prompt is too long") for status in (400, 404, 413, 422)),
        (400, "tools.0.name: 'Your credit balance is too low' is no name"),  # it quotes them
    ],
)
def test_a_mistake_of_the_client_passes_through_and_is_no_failure(
    gateway: Running, upstream: Upstream, status: int, words: str
) -> None:
    said = {"type": "error", "error": {"type": "invalid_request_error", "message": words}}
    upstream.play = lambda request: whole(said, status)
    answer = gateway.inside("mistaken").post("/v1/messages", json=ASK)
    assert (answer.status_code, answer.json()) == (status, said)
    assert not gateway.failing("mistaken")
    assert gateway.spends("mistaken") == []
    assert gateway.open_calls() == 0


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "invalid x-api-key"),
        (402, "pay"),
        (403, "forbidden"),
        (400, "Your credit balance is too low"),
    ],
)
def test_a_refusal_of_our_account_is_not_the_researchers(
    gateway: Running, upstream: Upstream, status: int, words: str
) -> None:
    """A 402 of the provider's would read as a budget that is spent."""
    upstream.play = lambda request: whole({"type": "error", "error": {"message": words}}, status)
    answer = gateway.inside("account").post("/v1/messages", json=ASK)
    assert answer.status_code == 503
    assert "The operator must fix it" in answer.json()["error"]["message"]
    assert words not in answer.text
    assert gateway.failing("account")


def test_a_provider_that_is_not_there(gateway: Running, upstream: Upstream) -> None:
    upstream.play = lambda request: Reply([CUT])
    answer = gateway.inside("nobody").post("/v1/messages", json=ASK)
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "The model API does not answer. Try again."
    assert gateway.failing("nobody")
    assert gateway.spends("nobody") == []


def test_cut_stream_is_charged_as_far_as_it_came(gateway: Running, upstream: Upstream) -> None:
    upstream.play = lambda request: events(start(plain=1_000, output=1), text("four"), 0.05, CUT)
    seen = b""
    with (
        pytest.raises(httpx.RemoteProtocolError),
        gateway.inside("cut").stream("POST", "/v1/messages", json=STREAM) as answer,
    ):
        for chunk in answer.iter_raw():
            seen += chunk
    assert seen.endswith(b'"four"}}\n\n')
    call = call_of(gateway, "cut")
    assert (call["input_tokens"], call["output_tokens"], call["interrupted"]) == (1_000, 4, True)
    assert call["usd"] == pytest.approx((1_000 * 5 + 4 * 25) / 1e6, abs=1e-12)
    assert gateway.failing("cut")
    upstream.play = lambda request: message(plain=1, output=1)
    assert gateway.inside("cut").post("/v1/messages", json=ASK).status_code == 200, (
        "what the CLI falls back to"
    )


def test_a_stream_with_an_error_in_it_passes_through(gateway: Running, upstream: Upstream) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    upstream.play = lambda request: events(start(plain=10), error)
    answer = gateway.inside("midway").post("/v1/messages", json=STREAM)
    assert "overloaded_error" in answer.text
    assert call_of(gateway, "midway")["interrupted"]
    assert gateway.failing("midway")


def test_a_hang_is_the_clients_to_wait_out(gateway: Running, upstream: Upstream) -> None:
    """Nothing is sent, nothing is ended, the call stays reserved; and others are served
    meanwhile."""
    hangs = threading.Event()
    upstream.play = lambda request: (
        Reply([hangs, HANG]) if b"Hang." in request.body else message(plain=1, output=1)
    )
    asking = ASK | {"messages": [{"role": "user", "content": "Hang."}]}
    with pytest.raises(httpx.ReadTimeout):
        gateway.inside("hung").post("/v1/messages", json=asking, timeout=0.5)
    assert gateway.open_calls() == 1
    assert gateway.inside("served").post("/v1/messages", json=ASK).status_code == 200


def test_a_client_that_hangs_up_pays_its_whole_turn(gateway: Running, upstream: Upstream) -> None:
    more = threading.Event()
    upstream.play = lambda request: events(start(plain=1_000), text("x"), more, *finish(90))
    with gateway.inside("leaver").stream("POST", "/v1/messages", json=STREAM) as answer:
        next(answer.iter_raw())
    assert gateway.spends("leaver") == []
    more.set()
    waited_for(lambda: gateway.spends("leaver"))
    call = call_of(gateway, "leaver")
    assert (call["input_tokens"], call["output_tokens"], call["interrupted"]) == (1_000, 90, False)


def test_hanging_up_before_a_whole_answer_saves_nothing(
    gateway: Running, upstream: Upstream
) -> None:
    more = threading.Event()
    upstream.play = lambda request: Reply(
        [more, json.dumps({"usage": usage(1_000, output=90)}).encode()]
    )
    with pytest.raises(httpx.ReadTimeout):
        gateway.inside("dodger").post("/v1/messages", json=ASK, timeout=0.3)
    more.set()
    waited_for(lambda: gateway.spends("dodger"))
    assert call_of(gateway, "dodger")["output_tokens"] == 90


HOTEL = b"<html>Welcome to the hotel's network</html>"


@pytest.mark.parametrize("kind", ["text/html", "text/event-stream", "application/json"])
def test_unreadable_answer_is_charged_its_reservation(
    gateway: Running, upstream: Upstream, kind: str
) -> None:
    who = f"hotel-{kind[5:9]}"
    upstream.play = lambda request: Reply([HOTEL], headers={"content-type": kind})
    assert gateway.inside(who).post("/v1/messages", json=STREAM).content == HOTEL
    call = call_of(gateway, who)
    assert (call["output_tokens"], call["assumed"], call["interrupted"]) == (
        ASK["max_tokens"],
        True,
        False,
    )
    assert call["usd"] > ASK["max_tokens"] * 25 / 1e6
    assert not gateway.failing(who), "hours are charged as well"
    assert gateway.open_calls() in (0, 1)  # the call of the hang above may still be waited for
    assert (
        "charged as the most that it can have been: the answer has a line that is no event's"
        in gateway.log
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_compressed_answer_that_nobody_asked_for_is_decoded(
    gateway: Running, upstream: Upstream, stream: bool
) -> None:
    plain = b"".join(
        s
        for s in (
            events(start(plain=7), *finish(3)) if stream else message(plain=7, output=3)
        ).steps
    )  # type: ignore[misc]
    kind = "text/event-stream" if stream else "application/json"
    upstream.play = lambda request: Reply(
        [gzip.compress(plain)], headers={"content-type": kind, "content-encoding": "gzip"}
    )
    answer = gateway.inside(f"zipped-{stream}").post("/v1/messages", json=ASK | {"stream": stream})
    assert (answer.status_code, answer.content) == (200, plain)
    assert "content-encoding" not in answer.headers
    call = call_of(gateway, f"zipped-{stream}")
    assert (call["input_tokens"], call["output_tokens"], call.get("assumed")) == (7, 3, None)


@pytest.mark.parametrize("coding", ["gzip", "compress"])
def test_what_cannot_be_decompressed_was_answered_all_the_same(
    gateway: Running, upstream: Upstream, coding: str
) -> None:
    upstream.play = lambda request: whole({}, **{"content-encoding": coding})
    with gateway.inside(f"torn-{coding}").stream("POST", "/v1/messages", json=ASK) as answer:
        assert answer.status_code == (503 if coding == "gzip" else 200)
        assert answer.headers.get("content-encoding") == (None if coding == "gzip" else coding)
    assert call_of(gateway, f"torn-{coding}")["assumed"]
    assert not gateway.failing(f"torn-{coding}")


@pytest.mark.parametrize("status", [404, 429, 500])
def test_a_refusal_is_one_though_it_cannot_be_decompressed(
    gateway: Running, upstream: Upstream, status: int
) -> None:
    upstream.play = lambda request: whole({}, status, **{"content-encoding": "gzip"})
    answer = gateway.inside(f"refused-{status}").post("/v1/messages", json=ASK)
    assert (answer.status_code, answer.content) == (status, b"")
    assert gateway.spends(f"refused-{status}") == []


@pytest.mark.parametrize("status", [302, 400, 500])
def test_a_refusal_that_counts_a_usage_is_charged_by_it(
    gateway: Running, upstream: Upstream, status: int
) -> None:
    said = {
        "type": "message",
        "content": [{"type": "text", "text": "four"}],
        "usage": usage(plain=7, output=3),
    }
    upstream.play = lambda request: whole(said, status)
    assert gateway.inside(f"counted-{status}").post("/v1/messages", json=ASK).status_code == status
    call = call_of(gateway, f"counted-{status}")
    assert (call["input_tokens"], call["output_tokens"], call["interrupted"]) == (7, 3, False)


@pytest.mark.parametrize("stream", [False, True])
def test_headers_of_any_encoding_pass(gateway: Running, upstream: Upstream, stream: bool) -> None:
    plain = events(start(plain=7), *finish(3)) if stream else message(plain=7, output=3)
    odd = {"request-id": "\u2192 \u00e9".encode().decode("latin-1")}
    upstream.play = lambda request: Reply(plain.steps, headers=plain.headers | odd)
    with gateway.inside(f"odd-{stream}").stream(
        "POST", "/v1/messages", json=ASK | {"stream": stream}
    ) as answer:
        assert answer.status_code == 200
        assert (b"request-id", "\u2192 \u00e9".encode()) in answer.headers.raw
        answer.read()
    assert call_of(gateway, f"odd-{stream}")["output_tokens"] == 3


def test_stream_with_lone_carriage_returns_is_metered(gateway: Running, upstream: Upstream) -> None:
    sent = b"".join(s for s in events(start(plain=7), text("hi"), *finish(3)).steps).replace(
        b"\n", b"\r"
    )  # type: ignore[misc]
    upstream.play = lambda request: Reply([sent], headers={"content-type": "text/plain"})
    assert gateway.inside("plain").post("/v1/messages", json=STREAM).content == sent
    call = call_of(gateway, "plain")
    assert (call["input_tokens"], call["output_tokens"], call.get("assumed")) == (7, 3, None)


def test_connections_to_the_provider_are_kept(gateway: Running, upstream: Upstream) -> None:
    inside = gateway.inside("keeper")
    inside.post("/v1/messages", json=ASK)
    before = upstream.connections
    for _ in range(5):
        inside.post("/v1/messages", json=ASK)
    assert upstream.connections == before


# --- other providers ------------------------------------------------------------------------------


def test_openais_chat(gateway: Running, upstream: Upstream) -> None:
    last = {
        "object": "chat.completion.chunk",
        "choices": [],
        "usage": {"prompt_tokens": 8, "completion_tokens": 2},
    }
    upstream.play = lambda request: events(
        {"object": "chat.completion.chunk", "choices": []}, last, b"data: [DONE]\n\n"
    )
    ask = {"model": "gpt-5.1", "messages": ASK["messages"], "stream": True}
    answer = gateway.inside("chatter").post(
        "/v1/chat/completions", json=ask, headers={"authorization": "Bearer mine"}
    )
    assert answer.text.endswith("data: [DONE]\n\n")
    (request,) = upstream.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.json == ask | {
        "stream_options": {"include_usage": True},
        "service_tier": "default",
    }
    call = call_of(gateway, "chatter")
    assert (call["input_tokens"], call["output_tokens"], call["usd"]) == (
        8,
        2,
        pytest.approx(30e-6, abs=1e-12),
    )


def test_openais_responses(gateway: Running, upstream: Upstream) -> None:
    upstream.play = lambda request: whole({"usage": {"input_tokens": 8, "output_tokens": 2}})
    gateway.inside("responder").post("/v1/responses", json={"model": "gpt-5.1", "input": "Hello."})
    assert call_of(gateway, "responder")["usd"] == pytest.approx(30e-6, abs=1e-12)


def test_google(gateway: Running, upstream: Upstream) -> None:
    meta = {"promptTokenCount": 8, "candidatesTokenCount": 2}
    upstream.play = lambda request: events(
        {"candidates": [{"finishReason": "STOP"}], "usageMetadata": meta}
    )
    path = "/v1beta/models/gemini-3.1-pro-preview:streamGenerateContent?alt=sse&key=mine"
    gateway.inside("gem").post(path, json={"contents": []}, headers={"x-goog-api-key": "mine"})
    (request,) = upstream.requests
    assert request.target == "/v1beta/models/gemini-3.1-pro-preview:streamGenerateContent?alt=sse"
    assert request.headers["x-goog-api-key"] == KEY
    call = call_of(gateway, "gem")
    assert (call["input_tokens"], call["output_tokens"], call["usd"]) == (
        8,
        2,
        pytest.approx(40e-6, abs=1e-12),
    )


@pytest.mark.long
@pytest.mark.process
def test_a_provider_through_a_proxy_and_one_that_is_down(upstream: Upstream, tmp_path) -> None:
    with Running(tmp_path / "c", "http://model.invalid", proxy=upstream.url) as gateway:
        assert gateway.inside("ann").post("/v1/messages", json=ASK).status_code == 200
        assert upstream.requests[0].target == "http://model.invalid/v1/messages"
    with Running(tmp_path / "d", "http://127.0.0.1:9") as gateway:
        began = time.time()
        assert gateway.inside("ann").post("/v1/messages", json=ASK).status_code == 503
        journal = gateway.journal()
        assert began <= (journal.failing_since("ann") or 0) <= time.time()
        journal.close()
