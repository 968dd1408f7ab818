"""Dollars to the cent, by hand; a model without a price cannot be listed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.budget import Budget
from aarlab.core.errors import Misconfigured
from aarlab.gateway.admission import Reserve
from aarlab.gateway.config import GatewayConfig, Provider, read_config
from aarlab.gateway.pricing import Price, prices

ALL = (
    Provider(name="anthropic", url="http://127.0.0.1:1"),
    Provider(name="openai", url="http://127.0.0.1:1"),
    Provider(name="google", url="http://127.0.0.1:1"),
)
LISTED = ("claude-opus-4-6", "claude-sonnet-4-5", "gpt-5.1", "gemini-3.1-pro-preview")
KNOWN = prices(GatewayConfig(models=LISTED, providers=ALL))
OPUS, SONNET = KNOWN["anthropic", "claude-opus-4-6"], KNOWN["anthropic", "claude-sonnet-4-5"]


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({"input_tokens": 1_000_000, "output_tokens": 0}, 5.00),
        ({"input_tokens": 0, "cache_creation_input_tokens": 1_000_000, "output_tokens": 0}, 6.25),
        ({"input_tokens": 0, "cache_read_input_tokens": 1_000_000, "output_tokens": 0}, 0.50),
        ({"input_tokens": 0, "output_tokens": 1_000_000}, 25.00),
        (
            {
                "input_tokens": 7,
                "cache_creation_input_tokens": 400,
                "cache_read_input_tokens": 20_000,
                "output_tokens": 300,
            },
            (7 * 5 + 400 * 6.25 + 20_000 * 0.5 + 300 * 25) / 1e6,
        ),
        (  # a cache that is kept for an hour costs twice the input to write
            {
                "input_tokens": 0,
                "cache_creation_input_tokens": 1_000,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 400,
                    "ephemeral_1h_input_tokens": 600,
                },
                "output_tokens": 0,
            },
            (400 * 6.25 + 600 * 10) / 1e6,
        ),
        (  # nulls are what was not used
            {
                "input_tokens": 100,
                "cache_read_input_tokens": None,
                "cache_creation_input_tokens": None,
                "output_tokens": 1,
            },
            (100 * 5 + 25) / 1e6,
        ),
    ],
)
def test_opus_costs_what_its_price_list_says(usage: dict, usd: float) -> None:
    assert OPUS.taken({"model": "claude-opus-4-6", "usage": usage}, "default").usd == pytest.approx(
        usd, abs=1e-12
    )


def test_tokens_are_told_apart_by_kind() -> None:
    usage = {
        "input_tokens": 7,
        "cache_creation_input_tokens": 400,
        "cache_read_input_tokens": 20_000,
        "output_tokens": 300,
    }
    taken = OPUS.taken({"usage": usage}, "default")
    kinds = (
        taken.input_tokens,
        taken.cache_write_tokens,
        taken.cache_read_tokens,
        taken.output_tokens,
    )
    assert kinds == (7, 400, 20_000, 300)
    assert taken.tokens == 20_707


def test_a_price_that_rises_with_the_prompt_rises_for_all_of_it() -> None:
    """claude-sonnet-4-5: $3 and $15 up to 200,000 input tokens, $6 and $22.50 beyond."""
    below = {"usage": {"input_tokens": 200_000, "output_tokens": 1_000}}
    above = {"usage": {"input_tokens": 200_001, "output_tokens": 1_000}}
    assert SONNET.taken(below, "default").usd == pytest.approx(0.6 + 0.015, abs=1e-9)
    assert SONNET.taken(above, "default").usd == pytest.approx(200_001 * 6e-6 + 0.0225, abs=1e-9)


def test_other_providers_by_hand() -> None:
    """gpt-5.1: $1.25, $0.125 from cache, $10. gemini-3.1-pro: $2, $0.20 from cache, $12; thoughts
    are output."""
    details = {"prompt_tokens_details": {"cached_tokens": 600}}
    chat = KNOWN["openai", "gpt-5.1"].taken(
        {
            "model": "gpt-5.1",
            "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, **details},
        },
        "chat",
    )
    assert (chat.input_tokens, chat.cache_read_tokens, chat.output_tokens) == (400, 600, 100)
    assert chat.usd == pytest.approx((400 * 1.25 + 600 * 0.125 + 100 * 10) / 1e6, abs=1e-12)
    responses = {
        "usage": {
            "input_tokens": 1_000,
            "output_tokens": 100,
            "input_tokens_details": {"cached_tokens": 600},
        }
    }
    assert KNOWN["openai", "gpt-5.1"].taken(responses, "responses") == chat
    meta = {
        "promptTokenCount": 1_000,
        "cachedContentTokenCount": 600,
        "candidatesTokenCount": 80,
        "thoughtsTokenCount": 20,
    }
    google = KNOWN["google", "gemini-3.1-pro-preview"].taken({"usageMetadata": meta}, "default")
    assert (google.input_tokens, google.cache_read_tokens, google.output_tokens) == (400, 600, 100)
    assert google.usd == pytest.approx((400 * 2 + 600 * 0.2 + 100 * 12) / 1e6, abs=1e-12)


@pytest.mark.parametrize(
    "answer", [{}, {"usage": {}}, {"usage": {"output_tokens": 3}}, {"usage": {"input_tokens": -1}}]
)
def test_an_answer_without_a_usage_that_holds_together_is_said_so(answer: dict) -> None:
    with pytest.raises(ValueError, match=r"."):
        OPUS.taken(answer, "default")


def test_the_most_that_a_call_can_cost_by_hand() -> None:
    # all written to the cache of an hour
    assert OPUS.most(1_000_000, 100_000) == Reserve(1_100_000, 10.0 + 2.5)
    assert KNOWN["openai", "gpt-5.1"].most(1_000_000, 100_000) == Reserve(1_100_000, 1.25 + 1.0)


COUNT = st.integers(0, 300_000)


@given(
    plain=COUNT, write=COUNT, hour=COUNT, read=COUNT, output=COUNT, spare=st.integers(0, 200_000)
)
@pytest.mark.parametrize("price", [OPUS, SONNET], ids=["opus", "sonnet"])
def test_no_mixture_costs_more_than_the_most(
    price: Price, plain: int, write: int, hour: int, read: int, output: int, spare: int
) -> None:
    usage = {
        "input_tokens": plain,
        "cache_creation_input_tokens": write + hour,
        "cache_creation": {"ephemeral_5m_input_tokens": write, "ephemeral_1h_input_tokens": hour},
        "cache_read_input_tokens": read,
        "output_tokens": output,
    }
    taken = price.taken({"usage": usage}, "default")
    most = price.most(plain + write + hour + read + spare, output + spare)
    assert taken.usd <= most.usd + 1e-9
    assert taken.tokens <= most.tokens


def test_a_model_without_a_known_price_cannot_be_listed() -> None:
    with pytest.raises(
        Misconfigured, match=r"price of 'my-own-model' is unknown \(at anthropic, openai, google\)"
    ):
        prices(GatewayConfig(models=("claude-opus-4-6", "my-own-model"), providers=ALL))
    with pytest.raises(Misconfigured, match="no provider"):
        prices(GatewayConfig(models=("claude-opus-4-6",)))
    assert prices(GatewayConfig()) == {}


def test_a_configuration_is_read_back_as_written(tmp_path: Path) -> None:
    config = GatewayConfig(
        models=LISTED,
        providers=ALL,
        researcher_budget=Budget(usd=5.0),
        campaign_budget=Budget(tokens=9),
    )
    (tmp_path / "c.json").write_text(config.model_dump_json())
    assert read_config(tmp_path / "c.json") == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"models": ["x"], "modles": []}', "modles"),
        ('{"models": ["../x"]}', "models.0"),
        ('{"providers": [{"name": "anthropic", "url": "ftp://x"}]}', "url"),
        ('{"providers": [{"name": "anthropic", "url": "http://user:secret@x"}]}', "url"),
        ('{"providers": [{"name": "anthropic", "url": "http://x/?a"}]}', "url"),
        ('{"researcher_budget": {"usd": 0}}', "researcher_budget.usd"),
        (
            '{"providers": [{"name": "google", "url": "http://x"}, {"name": "google", "url": '
            '"http://y"}]}',
            "named twice",
        ),
        ("{", "c.json"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(Misconfigured, match=words):
        read_config(tmp_path / "c.json")


def test_no_configuration_is_the_operators_move(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="does not exist"):
        read_config(tmp_path / "none.json")


@pytest.mark.parametrize(
    "model",
    [
        *("gpt-4o-search-preview", "gpt-5-search-api", "o3-deep-research", "computer-use-preview"),
        *("gpt-audio", "gpt-realtime-mini", "gemini-2.5-flash-image", "gemini-2.5-pro-tts"),
    ],
)
def test_a_model_that_costs_what_tokens_do_not_say_is_not_listed(model: str) -> None:
    with pytest.raises(Misconfigured, match="List another"):
        prices(GatewayConfig(models=(model,), providers=ALL))
