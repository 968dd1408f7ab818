"""A model server of the operator's own behind the real gateway process: stated prices, no key, and
never a call that costs nothing because nobody counted it."""

from pathlib import Path

import pytest
from running import Running
from upstream import Request, Upstream, events, finish, message, start, whole

from aarlab.core.budget import Budget
from aarlab.core.errors import Misconfigured
from aarlab.core.records import validated
from aarlab.gateway.config import ModelServer, Provider, TokenPrices
from aarlab.gateway.model_api import error_body
from aarlab.gateway.pricing import stated_price
from aarlab.gateway.provider_answer import trusted

FREE = TokenPrices(input=0.0, output=0.0)
MODEL = "Qwen/Qwen3-8B"
ASK = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello."}]}


def test_stated_prices_to_the_cent() -> None:
    stated = TokenPrices(input=1.0, output=4.0, cache_read=0.1)
    price = stated_price("openai", MODEL, stated)
    used = {"prompt_tokens": 1_000, "completion_tokens": 10, "total_tokens": 1_010}
    used |= {"prompt_tokens_details": {"cached_tokens": 400}}
    taken = price.taken({"usage": used}, "chat")
    assert (taken.input_tokens, taken.cache_read_tokens, taken.output_tokens) == (600, 400, 10)
    assert taken.usd == pytest.approx((600 * 1.0 + 400 * 0.1 + 10 * 4.0) / 1e6)
    # written to a cache: as other input, where no price of its own is stated
    used = {"input_tokens": 10, "cache_creation_input_tokens": 90, "output_tokens": 5}
    taken = stated_price("anthropic", MODEL, stated).taken({"usage": used}, "default")
    assert taken.usd == pytest.approx((100 * 1.0 + 5 * 4.0) / 1e6)
    assert price.most(1_000, 10).usd == pytest.approx((1_000 * 1.0 + 10 * 4.0) / 1e6)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"base_url": "localhost:8000"}, "'localhost:8000' is no address of a server"),
        ({"base_url": "http://u:pw@h:1"}, "without a user"),
        ({"base_url": "http://h:1/v1?key=x"}, "a key or a parameter"),
        ({"base_url": "http://h:1"}, "prices: Field required"),
        (
            {"base_url": "http://h:1", "prices": {"input": 0}},
            "prices.output: Field required",
        ),
        (
            {"base_url": "http://h:1", "prices": {"input": 0, "output": -1}},
            "greater than or equal to 0",
        ),
    ],
)
def test_what_is_no_server_is_named(fields: dict[str, object], words: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        validated(ModelServer, fields, "model_api")
    assert words in str(caught.value)


@pytest.mark.parametrize("said", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
def test_the_address_is_read_with_and_without_v1(said: str) -> None:
    prices = {"input": 0, "output": 0}
    assert ModelServer.model_validate({"base_url": said, "prices": prices}).base_url == "http://h:1"


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("none")
    with pytest.raises(Misconfigured, match=r"ca.pem holds no certificates"):
        trusted(
            Provider(
                name="openai",
                url="https://h:1",
                prices=FREE,
                certificates=str(tmp_path / "ca.pem"),
            )
        )


@pytest.mark.process
def test_it_needs_no_key_and_its_tokens_end_at_the_budget_though_they_cost_nothing(
    tmp_path: Path,
) -> None:
    def play(request: Request):
        if request.json.get("stream"):
            return events(start(plain=1_000), *finish(200))
        return message(plain=1_000, output=200)

    with (
        Upstream(play) as upstream,
        Running(
            tmp_path, upstream.url, each=Budget(tokens=2_400), prices=FREE, models=(MODEL,)
        ) as gateway,
    ):
        inside = gateway.inside("researcher-1")
        assert inside.post("/v1/messages", json=ASK).status_code == 200
        assert inside.post("/v1/messages", json=ASK | {"stream": True}).status_code == 200
        spent = inside.post("/v1/messages", json=ASK)
        assert spent.status_code == 402
        words = "researcher-1: budget of 2,400 tokens is spent"
        assert spent.json() == error_body("billing_error", words)
        assert len(upstream.requests) == 2
        for request in upstream.requests:
            assert not {"x-api-key", "authorization"} & request.headers.keys()
        rows = gateway.spends("researcher-1")
        assert [row.body["usd"] for row in rows] == [0.0, 0.0], "a stated price of 0, not unknown"


@pytest.mark.process
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_without_a_count_is_charged_as_the_most(tmp_path: Path, stream: bool) -> None:
    chunk = {"object": "chat.completion.chunk", "choices": [{"delta": {"content": "Hi."}}]}
    said = {"object": "chat.completion", "choices": [{"message": {"content": "Hi."}}]}
    with (
        Upstream(lambda request: events(chunk) if stream else whole(said)) as upstream,
        Running(
            tmp_path, upstream.url, each=Budget(tokens=1_500), prices=FREE, models=(MODEL,)
        ) as gateway,
    ):
        inside = gateway.inside("researcher-1")
        asked = {"model": MODEL, "max_tokens": 100, "messages": ASK["messages"], "stream": stream}
        codes = [inside.post("/v1/chat/completions", json=asked).status_code for _ in range(3)]
        assert codes == [200, 402, 402]
        [row] = gateway.spends("researcher-1")
        call = row.body["call"]
        assert call["assumed"] is True
        assert call["output_tokens"] == 100
        assert call["input_tokens"] > 2_000, "bytes of the body, and what servers add"
        if stream:
            assert upstream.requests[0].json["stream_options"] == {"include_usage": True}
