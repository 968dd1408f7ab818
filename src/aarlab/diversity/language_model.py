"""One question to a pinned language model over the Messages API, at temperature 0. For the
operator; never inside a sandbox."""

import re
from typing import Any

import httpx

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.settings import anthropic_url, model_keys

# pinned: what it answered is comparable as long as this and the prompt stand
MODEL = "claude-opus-4-6"
VERSION = "2023-06-01"
TIMEOUT_S, MAX_TOKENS = 120.0, 4_000
MOVES_ON = {408, 409, 429}  # and 5xx: nothing is wrong with the request


class LanguageModel:
    """The model of one name behind one key. Whoever keeps an answer keeps `name` with it."""

    def __init__(self, *, key: str, url: str, name: str = MODEL) -> None:
        self.name, self._key, self._url = name, key, url

    def ask(self, prompt: str) -> str:
        """The text that it answers.

        Raises:
            Misconfigured: the API refuses the key, the model or the request.
            Transient: the API did not answer, is overloaded, or sent an incomplete answer.
        """
        body = {"model": self.name, "max_tokens": MAX_TOKENS, "temperature": 0}
        body |= {"messages": [{"role": "user", "content": prompt}]}
        headers = {"x-api-key": self._key, "anthropic-version": VERSION}
        try:
            reply = httpx.post(
                f"{self._url}/v1/messages", json=body, headers=headers, timeout=TIMEOUT_S
            )
        except httpx.HTTPError as error:
            raise Transient(
                f"The model API at {self._url} did not answer ({type(error).__name__}). Try again."
            ) from error
        if reply.status_code in MOVES_ON or reply.status_code >= 500:
            raise Transient(
                f"The model API answered {reply.status_code}. Try again later.",
                status=reply.status_code,
            )
        if reply.status_code != 200:
            words = (
                f"The model API refused '{self.name}' with {reply.status_code}: "
                f"{reply.text[:300]}. Check key, URL and model."
            )
            raise Misconfigured(words, status=reply.status_code)
        return _text_of(reply)


def _text_of(reply: httpx.Response) -> str:
    try:
        message: dict[str, Any] = reply.json()
        text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
        stopped = message["stop_reason"]
    except (ValueError, KeyError, TypeError) as error:
        raise Transient(
            f"The model API's answer is not a message ({error!r}). Check its URL, or try again."
        ) from error
    if stopped == "max_tokens":
        raise Transient(f"The answer was cut off after {MAX_TOKENS} tokens. Try again.")
    return text


def configured(name: str = MODEL) -> LanguageModel | None:
    """The operator's model, or None where no key is set."""
    key = model_keys().get("anthropic")
    return None if key is None else LanguageModel(key=key, url=anthropic_url(), name=name)


def unfenced(text: str) -> str:
    """An answer without the fence of a code block, where it has one."""
    found = re.search(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    return (found[1] if found else text).strip()
