"""The client of the Messages API against a real HTTP server on loopback."""

import socket

import pytest

from aarlab.core.errors import Misconfigured, Transient
from aarlab.diversity.language_model import MODEL, LanguageModel, configured, unfenced
from tests.diversity.messages_api import message, messages_api


def test_it_sends_a_pinned_model_at_temperature_zero_with_the_key():
    with messages_api("ensemble") as api:
        assert LanguageModel(key="k-1", url=api.url).ask("Which?") == "ensemble"
    assert api.headers[0]["x-api-key"] == "k-1"
    assert api.headers[0]["anthropic-version"]
    assert api.asked[0]["model"] == MODEL
    assert api.asked[0]["temperature"] == 0
    assert api.asked[0]["messages"] == [{"role": "user", "content": "Which?"}]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (401, Misconfigured, "Check key"),
        (404, Misconfigured, "Check key"),
        (429, Transient, "429"),
        (529, Transient, "529"),
        ({"hello": 1}, Transient, "is not a message"),
        (message("half", "max_tokens"), Transient, "cut off"),
    ],
)
def test_whose_move_it_is_when_it_fails(answer, error, words):
    with messages_api(answer) as api, pytest.raises(error, match=words):
        LanguageModel(key="k", url=api.url).ask("?")


def test_nobody_there_is_transient_and_the_key_is_in_no_message():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Transient, match="did not answer") as caught:
            LanguageModel(key="sk-secret", url=url).ask("?")
    assert "sk-secret" not in str(caught.value)


def test_it_is_configured_by_the_key_alone(monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert configured() is None
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert configured().name == MODEL


@pytest.mark.parametrize("text", ["a: 1", "```yaml\na: 1\n```", "Here:\n```\na: 1\n```\nDone."])
def test_a_fence_is_taken_off(text):
    assert unfenced(text) == "a: 1"
