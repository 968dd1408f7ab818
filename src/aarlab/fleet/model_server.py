"""Asks a model server of the operator's own before anybody is started: is it there, does it serve
the campaign's models, does it take the calls that agents make (streams, with tools), and does it
count tokens. Without counts every call would be charged as the most that it can have taken."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
from pydantic_core import to_json

from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.http_errors import error_of
from aarlab.core.printable import one_line
from aarlab.gateway.allowed_requests import read_ask
from aarlab.gateway.config import ModelServer, Provider, ProviderName
from aarlab.gateway.pricing import stated_price
from aarlab.gateway.provider_answer import key_headers, trusted
from aarlab.gateway.usage import UsageMeter

LIST_S, CALL_S = 10.0, 180.0  # some servers load a model at its first call
MOST_BYTES = 4 << 20  # that are read of an answer
SHOWN_MODELS, SHOWN_WORDS = 20, 300
ABSENT = (404, 405, 501)
WORD, TOKENS = "Say yes.", 16  # of the call
TOOL: dict[str, Any] = {"type": "object", "properties": {}}


class Format(NamedTuple):
    """A wire format: its path, and the body of a small call that has a tool, as agents' have."""

    provider: ProviderName
    path: str
    body: dict[str, Any]


FORMATS: dict[str, Format] = {
    "messages": Format(
        "anthropic",
        "/v1/messages",
        {
            "max_tokens": TOKENS,
            "messages": [{"role": "user", "content": WORD}],
            "tools": [{"name": "look", "description": "Look.", "input_schema": TOOL}],
        },
    ),
    "chat": Format(
        "openai",
        "/v1/chat/completions",
        {
            "max_tokens": TOKENS,
            "messages": [{"role": "user", "content": WORD}],
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "look", "description": "Look.", "parameters": TOOL},
                }
            ],
        },
    ),
    "responses": Format(
        "openai",
        "/v1/responses",
        {
            "max_output_tokens": TOKENS,
            "input": [{"role": "user", "content": WORD}],
            "tools": [
                {"type": "function", "name": "look", "description": "Look.", "parameters": TOOL}
            ],
        },
    ),
}


def examine(
    server: ModelServer,
    key: str,
    models: tuple[str, ...],
    formats: tuple[str, ...],
    *,
    any_: bool = False,
    counting: bool = True,
) -> None:
    """Ask the server for its list of models, and each model for a few tokens in each of the wire
    formats. `any_`: one format that works is enough; `counting`: it must count tokens.

    Raises:
        Misconfigured: something would stand in the agents' way; the message says what, and the
            remedy.
    """
    provider = Provider(
        name="openai",
        url=server.base_url,
        prices=server.prices,
        certificates=server.certificates,
    )
    headers = key_headers("openai", key, own_server=True)
    with httpx.Client(
        base_url=server.base_url,
        verify=trusted(provider),
        trust_env=False,
        headers=headers,
        limits=httpx.Limits(max_keepalive_connections=0),  # see `provider_answer.pool`
    ) as http:
        _check_listed(http, server, models)
        for model in models:
            faults = [
                fault
                for name in formats
                if (fault := _fault(http, server, model, FORMATS[name], counting)) is not None
            ]
            if faults and (not any_ or len(faults) == len(formats)):
                raise faults[0]


def _fault(
    http: httpx.Client, server: ModelServer, model: str, form: Format, counting: bool
) -> Misconfigured | None:
    try:
        unread = _call(http, server, model, form)
    except Misconfigured as error:
        return error
    if unread is None or not counting:
        return None
    return Misconfigured(
        f"{server.base_url}{form.path} does not count the tokens of {model!r} ({unread}): each "
        "call would be charged as the most that it can have taken. Bring the server up to date, or "
        "have it report usage in streams. To start all the same, set start_anyway: true."
    )


def _check_listed(http: httpx.Client, server: ModelServer, models: tuple[str, ...]) -> None:
    """Raises Misconfigured where the server says that it has not all of them. A server without a
    list is asked by calls alone."""
    with _reached(server, LIST_S):
        answer = http.get("/v1/models", timeout=LIST_S)
    if answer.status_code in ABSENT:
        return
    _require_success(server, answer.status_code, answer.content, "its list of models")
    served = _ids(answer)
    for model in models:
        # Ollama's names have a tag, which may be left out
        if served and model not in served and f"{model}:latest" not in served:
            shown = ", ".join(one_line(name, 100) for name in served[:SHOWN_MODELS])
            more = f" and {len(served) - SHOWN_MODELS} more" if len(served) > SHOWN_MODELS else ""
            raise Misconfigured(
                f"model: {server.base_url} does not serve {model!r}. It serves: {shown}{more}. "
                "Name one of these, or have the server load it."
            )


def _ids(answer: httpx.Response) -> list[str]:
    try:
        listed = answer.json()["data"]
        return [one["id"] for one in listed if isinstance(one["id"], str)]
    except (ValueError, KeyError, TypeError):
        return []


def _call(http: httpx.Client, server: ModelServer, model: str, form: Format) -> str | None:
    """A small call, metered as in the gateway; why its tokens could not be counted."""
    body = to_json({"model": model, "stream": True, **form.body})
    ask = read_ask(form.path, b"", body)
    assert ask is not None  # a path of FORMATS
    meter = UsageMeter(ask, stated_price(form.provider, model, server.prices))
    with (
        _reached(server, CALL_S),
        http.stream(
            "POST",
            ask.target,
            content=ask.body,
            headers={"content-type": "application/json", "anthropic-version": "2023-06-01"},
            timeout=httpx.Timeout(CALL_S, connect=LIST_S),
        ) as answer,
    ):
        if not answer.is_success:
            said = b"".join(answer.iter_bytes())
            _require_success(server, answer.status_code, said, f"{form.path} of {model!r}")
        _feed(meter, answer)
    meter.end()
    return meter.unread or (None if meter.finished else "the answer ended early")


def _feed(meter: UsageMeter, answer: httpx.Response) -> None:
    read = 0
    for chunk in answer.iter_bytes():
        meter.feed(chunk)
        read += len(chunk)
        if read > MOST_BYTES:
            break


@contextmanager
def _reached(server: ModelServer, within_s: float) -> Iterator[None]:
    """Raises Misconfigured where the server cannot be reached."""
    try:
        yield
    except httpx.TimeoutException as error:
        remedy = (
            "Start the server, or correct the address; write http:// if it has no TLS"
            if within_s == LIST_S
            else "If it loads the model at the first call, ask it once yourself, then start again"
        )
        raise Misconfigured(
            f"model_api.base_url: {server.base_url} gave no answer in {within_s:.0f} s. {remedy}."
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        words = one_line(str(error), SHOWN_WORDS) or type(error).__name__
        raise Misconfigured(f"model_api.base_url: {_why(server, words)}") from error


def _why(server: ModelServer, words: str) -> str:
    url = server.base_url
    if "CERTIFICATE_VERIFY_FAILED" in words:
        remedy = "Name your authority's certificate in model_api.certificates (a PEM file)"
        return f"the certificate of {url} is not trusted ({words}). {remedy}."
    if "SSL" in words:
        return f"{url} does not speak TLS ({words}). Write http:// if it has none."
    if "Server disconnected" in words or "illegal" in words:
        return f"{url} does not speak plain HTTP ({words}). Write https:// if it has TLS."
    return f"{url} does not answer ({words}). Start the server, or correct the address."


def _require_success(server: ModelServer, status: int, body: bytes, what: str) -> None:
    if 200 <= status < 300:
        return
    said = one_line(_words(status, body), SHOWN_WORDS) or "without a word"
    url = server.base_url
    if status in (401, 403):
        remedy = (
            f"Correct the key in {server.key_variable}"
            if server.key_variable
            else "Set model_api.key_variable to the name of the environment variable that has it"
        )
        raise Misconfigured(f"{url} wants another key ({status}: {said}). {remedy}.")
    if status in ABSENT:
        raise Misconfigured(
            f"{url} refuses {what} ({status}: {said}). If it does not know the path, take a server "
            "or an agent with another wire format."
        )
    if status == 503 or status == 429:
        raise Misconfigured(f"{url} is not ready ({status}: {said}). Start again when it is.")
    tools = "tool" in said.lower()
    remedy = (
        "Agents call tools: start the server with them (vLLM: --enable-auto-tool-choice "
        "--tool-call-parser NAME; llama.cpp: --jinja)"
        if tools
        else "Correct the server, or the model's name"
    )
    raise Misconfigured(f"{url} refuses {what} ({status}: {said}). {remedy}.")


def _words(status: int, body: bytes) -> str:
    try:
        return str(error_of(status, body[:MOST_BYTES]))
    except (AarError, ValueError):
        return ""
