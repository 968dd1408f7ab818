"""What is asked of a model server of the operator's own before anybody is started, and what is said
of one that would not do."""

import os

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.records import validated
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.model_access import access_of, formats_of
from aarlab.fleet.model_server import examine
from aarlab.fleet.preflight import require
from aarlab.gateway.config import ModelServer
from tests.gateway.upstream import Reply, Request, Upstream, events, finish, start, whole

MODEL = "qwen3:8b"
LISTED = whole({"object": "list", "data": [{"id": MODEL}, {"id": "llama3.2:latest"}]})
CHUNK = {"object": "chat.completion.chunk", "choices": [{"delta": {"content": "Yes."}}]}
COUNTED = {
    "object": "chat.completion.chunk",
    "choices": [],
    "usage": {"prompt_tokens": 30, "completion_tokens": 2, "total_tokens": 32},
}


def serving(answer: Reply, listed: Reply = LISTED) -> Upstream:
    return Upstream(lambda request: listed if request.method == "GET" else answer)


def ask(url: str, model: str = MODEL, form: str = "chat", **fields: object) -> None:
    prices = {"input": 0, "output": 0}
    server = validated(ModelServer, {"base_url": url, "prices": prices, **fields}, "model_api")
    examine(server, "sk-of-mine" if server.key_variable else "", (model,), (form,))


def fault(upstream: Upstream, model: str = MODEL, **fields: object) -> str:
    with upstream, pytest.raises(Misconfigured) as caught:
        ask(upstream.url, model, **fields)
    return str(caught.value)


def test_one_that_serves_counts_and_takes_tools_passes() -> None:
    for form, answer in {
        "chat": events(CHUNK, COUNTED),
        "messages": events(start(plain=30), *finish(2)),
        "responses": events(
            {
                "type": "response.completed",
                "response": {"usage": {"input_tokens": 30, "output_tokens": 2}},
            }
        ),
    }.items():
        with serving(answer) as upstream:
            ask(upstream.url, form=form)
            ask(upstream.url, "llama3.2", form)
        called: list[Request] = [r for r in upstream.requests if r.method == "POST"]
        assert len(called) == 2
        assert all(r.json["stream"] is True and len(r.json["tools"]) == 1 for r in called)
        assert not any({"authorization", "x-api-key"} & r.headers.keys() for r in called)


def test_a_key_is_sent_in_both_headers() -> None:
    with serving(events(CHUNK, COUNTED)) as upstream:
        ask(upstream.url, key_variable="MINE")
    assert {request.method for request in upstream.requests} == {"GET", "POST"}
    for request in upstream.requests:
        assert request.headers["authorization"] == "Bearer sk-of-mine"
        assert request.headers["x-api-key"] == "sk-of-mine"


def test_one_without_a_list_is_asked_by_calls() -> None:
    with serving(events(CHUNK, COUNTED), listed=whole({"error": "no"}, 404)) as upstream:
        ask(upstream.url)
    assert [request.method for request in upstream.requests] == ["GET", "POST"]


def test_a_model_that_is_not_served_is_named_with_those_that_are() -> None:
    said = fault(serving(events(CHUNK, COUNTED)), model="gpt-9")
    assert "does not serve 'gpt-9'. It serves: qwen3:8b, llama3.2:latest." in said


def test_one_that_is_down_is_named() -> None:
    with serving(LISTED) as upstream:
        url = upstream.url
    with pytest.raises(Misconfigured, match=r"does not answer .*Start the server"):
        ask(url)


@pytest.mark.long
def test_tls_where_there_is_none_is_named() -> None:
    with serving(LISTED) as upstream, pytest.raises(Misconfigured, match="http://"):
        ask(upstream.url.replace("http:", "https:"))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (events(CHUNK), "does not count the tokens of 'qwen3:8b' (the answer has no usage)"),
        (
            whole({"error": {"message": '"auto" tool choice requires --enable-auto'}}, 400),
            "start the server with them (vLLM: --enable-auto-tool-choice",
        ),
        (whole({"error": {"message": "Loading model"}}, 503), "is not ready (503: Loading model)"),
        (whole({"error": "no"}, 404), "with another wire format"),
        (whole({"error": {"message": "bad key"}}, 401), "Set model_api.key_variable to the name"),
        (whole({"error": {"message": "it broke"}}, 500), "(500: it broke)"),
        (Reply([b"<html>"], headers={"content-type": "text/html"}), "does not count"),
    ],
)
def test_what_stands_in_the_way_is_said_with_its_remedy(answer: Reply, words: str) -> None:
    assert words in fault(serving(answer))


def test_a_wrong_key_names_its_variable() -> None:
    said = fault(serving(LISTED, listed=whole({"error": "no"}, 401)), key_variable="MINE")
    assert "Correct the key in MINE" in said


def test_control_characters_of_a_server_do_not_reach_the_terminal() -> None:
    said = fault(serving(whole({"error": {"message": "a\x1b[2Jb\nc"}}, 500)))
    assert "\x1b" not in said
    assert "\n" not in said


# --- a campaign with one --------------------------------------------------------------------------


def campaign(**fields: object) -> Campaign:
    made = {"problem": "generated-chat", "student": "double", "kind": "claude_code"}
    made |= {"model": MODEL, "model_api": {"base_url": "http://h:1", "prices": {"input": 0.5}}}
    made["model_api"]["prices"]["output"] = 0.5  # type: ignore[index]
    return validated(Campaign, made | fields, "test")


def test_it_takes_the_place_of_the_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-not-for-it")
    access = access_of(campaign())
    assert access.keys == {}, "no provider's key goes to it"
    assert [(p.name, p.url) for p in access.providers] == [("anthropic", "http://h:1")]


def test_the_wire_formats_are_those_of_the_agents() -> None:
    assert formats_of(campaign()) == (("messages",), False)
    of = {
        name: formats_of(campaign(kind="command", command=name)) for name in ("codex", "opencode")
    }
    assert of == {"codex": (("responses",), False), "opencode": (("chat",), False)}
    own = campaign(kind="command", command={"argv": ["ls"]})
    assert formats_of(own) == (("chat", "responses", "messages"), True)


@pytest.mark.process
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"model_api": {"base_url": "http://h:1", "prices": {"input": 0, "output": 0}}}
            | {"budget": {"usd": 5.0}},
            "A budget in usd ends nothing here: model_api.prices are 0",
        ),
        (
            {
                "model_api": {
                    "base_url": "http://h:1",
                    "prices": {"input": 1, "output": 1},
                    "key_variable": "AAR_TEST_UNSET",
                }
            },
            "AAR_TEST_UNSET is not set",
        ),
        ({"kind": "search"}, "call no model server"),
        ({"kind": "command", "command": "gemini"}, "speak google's wire format"),
    ],
)
def test_what_does_not_suit_the_campaign_is_named(
    fields: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AAR_TEST_UNSET", raising=False)
    with pytest.raises(Misconfigured) as caught:
        require(campaign(**fields))
    assert words in str(caught.value)
    assert os.environ.get("AAR_TEST_UNSET") is None


@pytest.mark.process
def test_one_that_does_not_count_is_taken_where_the_operator_insists() -> None:
    with serving(events(CHUNK)) as upstream:
        made = {
            "model_api": {"base_url": upstream.url, "prices": {"input": 1, "output": 1}},
            "kind": "command",
            "command": {"argv": ["ls"], "provider": "openai", "api": "chat"},
        }
        with pytest.raises(Misconfigured, match="start_anyway"):
            require(campaign(**made))
        require(campaign(**made, start_anyway=True))
