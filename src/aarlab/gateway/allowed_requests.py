"""What a request to a model API may ask for. Allow-lists throughout: what is unknown here could
cost money that the meter does not see, or reach something outside the sandbox (the provider's own
tools, files, fetched URLs, other conversations).

The body is sent on as it was read here, written again: a body that two parsers would read
differently is read once.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic_core import from_json, to_json

from aarlab.core.errors import InvalidSubmission
from aarlab.core.json_size import refuse_many_values
from aarlab.gateway.google_requests import google_ask
from aarlab.gateway.request_checks import (
    DOCUMENT,
    IMAGE,
    MAX_OUTPUT,
    OVERHEAD,
    CheckedRequest,
    an_object,
    model_name,
    names,
    objects,
    one_of,
    only,
    refusal,
    whole_number,
)

# of a body, in lists and objects, and of those: a long conversation has fewer
MOST_VALUES, MOST_NESTED = 200_000, 50_000


_ANTHROPIC = names(
    "model messages system max_tokens metadata stop_sequences stream temperature top_k top_p "
    "tools tool_choice thinking output_config output_format context_management cache_control "
    "service_tier"
)
_CHAT = names(
    "model messages max_tokens max_completion_tokens stream stream_options temperature top_p "
    "stop seed tools tool_choice parallel_tool_calls response_format reasoning_effort verbosity "
    "frequency_penalty presence_penalty logit_bias logprobs top_logprobs user metadata store "
    "prompt_cache_key safety_identifier service_tier"
)
_RESPONSES = names(
    "model input instructions max_output_tokens stream stream_options temperature top_p tools "
    "tool_choice parallel_tool_calls reasoning text truncation include metadata store user "
    "prompt_cache_key safety_identifier client_metadata service_tier"
)
# of Anthropic: run by the client
_CLIENTS_TOOLS = re.compile(r"^(custom|(bash|text_editor|computer|memory)_[0-9]{8})$")
_ITEMS = {
    "message",
    "reasoning",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
} | {f"{tool}_call{side}" for tool in ("local_shell", "apply_patch") for side in ("", "_output")}
_GOOGLE_MODEL = re.compile(
    r"^/v1beta/models/([A-Za-z0-9._-]{1,200}):(generateContent|streamGenerateContent|countTokens)$"
)
_DEFAULT_TIERS = {None, "auto", "default", "standard_only"}


# of Anthropic, without their dates: what Claude Code sends, and the like. Others may keep files or
# summarise on the provider's side, or answer at another price
_BETAS = names(
    "claude-code interleaved-thinking context-management thinking-token-count effort context-1m "
    "advanced-tool-use fine-grained-tool-streaming extended-cache-ttl prompt-caching "
    "prompt-caching-scope token-counting token-efficient-tools output-128k structured-outputs "
    "redact-thinking"
)
_DATED = re.compile(r"^([a-z0-9-]+)-[0-9]{4}-?[0-9]{2}-?[0-9]{2}$")


def allowed_betas(header: bytes) -> bytes:
    """Of the values of anthropic-beta, those that cost nothing unseen and reach nothing outside."""
    given = [value.strip() for value in header.decode("latin-1").split(",")]
    known = [v for v in given if (dated := _DATED.match(v)) and dated[1] in _BETAS]
    return ",".join(known).encode()


def read_ask(path: str, query: bytes, body: bytes) -> CheckedRequest | None:
    """The request, checked; None if no model API has this path.

    Raises:
        InvalidSubmission: it asks for what is not allowed here; the words say for what.
    """
    if path in _PATHS:
        return _PATHS[path](path, query, _parsed(body))
    if match := _GOOGLE_MODEL.match(path):
        return google_ask(path, match[1], match[2], _parsed(body))
    return None


def _parsed(body: bytes) -> dict[str, Any]:
    refuse_many_values(body, MOST_VALUES, MOST_NESTED, "Send fewer.", status=413)
    try:
        read = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidSubmission(f"The body is no JSON: {str(error)[:200]}. Send JSON.") from error
    if not isinstance(read, dict):
        raise InvalidSubmission("The body is no JSON object. Send one.")
    return read


# --- Anthropic ------------------------------------------------------------------------------------


def _anthropic(path: str, query: bytes, body: dict[str, Any]) -> CheckedRequest:
    only(body, _ANTHROPIC)
    _tier(body)
    for tool in objects(body.get("tools"), "tools"):
        if not _CLIENTS_TOOLS.match(str(tool.get("type") or "custom")):
            raise refusal(
                f"The tool type {tool['type']!r}", "Only tools that run on your side can be used."
            )
    for edit in objects(
        an_object(body.get("context_management"), "context_management").get("edits"), "edits"
    ):
        if not str(edit.get("type")).startswith("clear_"):
            raise refusal(
                f"context_management edit {edit.get('type')!r}",
                "Clear, do not summarise, on the provider's side.",
            )
    extra = OVERHEAD
    for content in (
        body.get("system"),
        *(m.get("content") for m in objects(body.get("messages"), "messages")),
    ):
        extra += sum(_anthropic_block(block) for block in _blocks(content))
    free = path.endswith("/count_tokens")
    if not free:
        body["service_tier"] = "standard_only"
    return CheckedRequest(
        "anthropic",
        "default",
        model_name(body.get("model")),
        path + ("?beta=true" if query == b"beta=true" else ""),
        packed := to_json(body),
        body.get("stream") is True and not free,
        len(packed) + extra,
        0 if free else whole_number(body.get("max_tokens"), "max_tokens"),
        free,
        an_object(body.get("thinking"), "thinking").get("type", "disabled") != "disabled",
    )


def _blocks(content: Any) -> Iterator[dict[str, Any]]:
    """The blocks of a content, and those inside tool results and documents."""
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            yield block
            yield from _blocks(block.get("content"))
            yield from _blocks(_source(block).get("content"))


def _source(block: dict[str, Any]) -> dict[str, Any]:
    """Where a picture or a document comes from; other blocks (a tool's input) may have a `source`
    of their own meaning."""
    source = block.get("source") if block.get("type") in ("image", "document") else None
    return source if isinstance(source, dict) else {}


def _anthropic_block(block: dict[str, Any]) -> int:
    """Tokens that a block can have beyond its bytes."""
    kind = block.get("type")
    if kind == "container_upload":
        raise refusal("A file on the provider's side")
    if kind not in ("image", "document"):
        return 0
    source = _source(block).get("type")
    if source not in ("base64", "text", "content"):
        raise refusal(f"A {kind} by {source}", "Send its bytes (base64) or its text.")
    return IMAGE if kind == "image" else DOCUMENT if source == "base64" else 0


def _tier(body: dict[str, Any]) -> None:
    if not one_of(body.get("service_tier"), _DEFAULT_TIERS):
        raise refusal(f"service_tier {body['service_tier']!r}")


# --- OpenAI ---------------------------------------------------------------------------------------


def _chat(path: str, query: bytes, body: dict[str, Any]) -> CheckedRequest:
    del query
    only(body, _CHAT)
    _tier(body)
    _openai_tools(body.get("tools"))
    extra = OVERHEAD
    for message in objects(body.get("messages"), "messages"):
        extra += sum(_openai_part(part) for part in _blocks(message.get("content")))
    if body.get("stream") is True:
        body["stream_options"] = an_object(body.get("stream_options"), "stream_options") | {
            "include_usage": True
        }
    most = [
        body[name] for name in ("max_completion_tokens", "max_tokens") if body.get(name) is not None
    ]
    return _openai_ask(
        path,
        "chat",
        body,
        extra,
        max((whole_number(n, "max_tokens") for n in most), default=MAX_OUTPUT),
    )


def _responses(path: str, query: bytes, body: dict[str, Any]) -> CheckedRequest:
    del query
    only(body, _RESPONSES)
    _tier(body)
    _openai_tools(body.get("tools"))
    extra = OVERHEAD
    if not isinstance(body.get("input"), str):
        for item in objects(body.get("input"), "input"):
            _openai_item(item)
            for content in (item.get("content"), item.get("output")):
                extra += sum(_openai_part(part) for part in _blocks(content))
    most = body.get("max_output_tokens")
    return _openai_ask(
        path,
        "responses",
        body,
        extra,
        MAX_OUTPUT if most is None else whole_number(most, "max_output_tokens"),
    )


def _openai_ask(
    path: str, flavor: str, body: dict[str, Any], extra: int, most_output: int
) -> CheckedRequest:
    packed = to_json(body | {"service_tier": "default"})
    stream = body.get("stream") is True
    model = model_name(body.get("model"))
    return CheckedRequest(
        "openai", flavor, model, path, packed, stream, len(packed) + extra, most_output, thinks=True
    )


def _openai_tools(tools: Any) -> None:
    """Raises InvalidSubmission for a tool that is not run by the client; also of those inside a
    namespace."""
    for tool in objects(tools, "tools"):
        if tool.get("type") == "namespace":
            _openai_tools(tool.get("tools"))
        elif tool.get("type") not in ("function", "custom", "local_shell", "apply_patch"):
            raise refusal(
                f"The tool type {tool.get('type')!r}",
                "Only tools that run on your side can be used.",
            )


def _openai_item(item: dict[str, Any]) -> None:
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    if not one_of(kind, _ITEMS) or (kind == "reasoning" and not item.get("encrypted_content")):
        raise refusal(
            f"An input item of type {kind!r} (stored on the provider's side, or unknown)",
            "Send the item itself.",
        )


def _openai_part(part: dict[str, Any]) -> int:
    kind = part.get("type")
    if kind in ("image_url", "input_image", "computer_screenshot"):
        url = part.get("image_url")
        url = url.get("url") if isinstance(url, dict) else url
        if part.get("file_id") is not None or not str(url).startswith("data:"):
            raise refusal("A picture by URL or file id", "Send its bytes (a data: URL).")
        return IMAGE
    if kind in ("file", "input_file"):
        file = part if kind == "input_file" else an_object(part.get("file"), "file")
        if not file.keys() <= {"type", "filename", "file_data"}:
            raise refusal("A file by URL or file id", "Send its bytes (file_data).")
        return DOCUMENT
    return DOCUMENT if kind == "input_audio" else 0


_PATHS: Mapping[str, Callable[[str, bytes, dict[str, Any]], CheckedRequest]] = {
    "/v1/messages": _anthropic,
    "/v1/messages/count_tokens": _anthropic,
    "/v1/chat/completions": _chat,
    "/v1/responses": _responses,
}
