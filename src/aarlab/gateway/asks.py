"""What a request to a model API may ask for. Allow-lists throughout: what is unknown here could cost money that the meter does
not see, or reach something outside the sandbox (the provider's own tools, files, fetched URLs, other conversations).

The body is sent on as it was read here, written anew: a body that two parsers would read differently is read once.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from aarlab.core.errors import InvalidSubmission
from aarlab.gateway.config import ProviderName

MAX_OUTPUT = 128_000  # tokens; where a request does not say how many it wants, it may get as many as models give
MOST_PARTS = 1_000_000  # of a body: each can take a hundred bytes of memory once it is read
OVERHEAD = 2_000  # tokens that a provider adds to a prompt (tools' instructions and the like)
IMAGE, DOCUMENT = 5_000, 1_000_000  # most tokens of a picture, however few bytes it has; of a PDF, a film or a sound


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ANTHROPIC = _names(
    "model messages system max_tokens metadata stop_sequences stream temperature top_k top_p tools tool_choice thinking"
    " output_config output_format context_management cache_control service_tier"
)
_CHAT = _names(
    "model messages max_tokens max_completion_tokens stream stream_options temperature top_p stop seed tools tool_choice"
    " parallel_tool_calls response_format reasoning_effort verbosity frequency_penalty presence_penalty logit_bias logprobs"
    " top_logprobs user metadata store prompt_cache_key safety_identifier service_tier"
)
_RESPONSES = _names(
    "model input instructions max_output_tokens stream stream_options temperature top_p tools tool_choice parallel_tool_calls"
    " reasoning text truncation include metadata store user prompt_cache_key safety_identifier client_metadata"
    " service_tier"
)
_GOOGLE = _names(
    "model contents systemInstruction system_instruction generationConfig generation_config tools toolConfig tool_config"
    " safetySettings safety_settings"
)
_GOOGLE_MODEL = re.compile(r"^/v1beta/models/([A-Za-z0-9._-]{1,200}):(generateContent|streamGenerateContent|countTokens)$")
_GOOGLE_TOOLS = {"functionDeclarations", "function_declarations"}
_CLIENTS_TOOLS = re.compile(r"^(custom|(bash|text_editor|computer|memory)_[0-9]{8})$")  # of Anthropic: run by the client
_ITEMS = {"message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"} | {
    f"{tool}_call{side}" for tool in ("local_shell", "apply_patch") for side in ("", "_output")
}
_DEFAULT_TIERS = {None, "auto", "default", "standard_only"}


@dataclass(frozen=True)
class Ask:
    """A request as it will be sent on. `flavor` names its wire format in genai-prices' words."""

    provider: ProviderName
    flavor: str
    model: str
    target: str  # path and query
    body: bytes
    stream: bool
    most_input: int  # tokens
    most_output: int
    free: bool = False  # it only counts tokens


def read_ask(path: str, query: bytes, body: bytes) -> Ask | None:
    """The request, checked; None if no model API has this path.

    Raises:
        InvalidSubmission: it asks for what is not allowed here; the words say for what.
    """
    if path in _PATHS:
        return _PATHS[path](path, query, _parsed(body))
    if match := _GOOGLE_MODEL.match(path):
        return _google(path, match[1], match[2], _parsed(body))
    return None


def _parsed(body: bytes) -> dict[str, Any]:
    if sum(body.count(mark) for mark in (b"{", b"[", b",")) > MOST_PARTS:
        raise InvalidSubmission(f"The body has more than {MOST_PARTS:,} parts. Send fewer.", status=413)
    try:
        read = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidSubmission(f"The body is no JSON: {str(error)[:200]}. Send JSON.") from error
    if not isinstance(read, dict):
        raise InvalidSubmission("The body is no JSON object. Send one.")
    return read


def _refuse(what: str, remedy: str = "Leave it out.") -> InvalidSubmission:
    return InvalidSubmission(f"{what} is not allowed here. {remedy}")


# --- Anthropic ---------------------------------------------------------------------------------------------------------------


def _anthropic(path: str, query: bytes, body: dict[str, Any]) -> Ask:
    _only(body, _ANTHROPIC)
    _tier(body)
    for tool in _dicts(body.get("tools"), "tools"):
        if not _CLIENTS_TOOLS.match(str(tool.get("type") or "custom")):
            raise _refuse(f"The tool type {tool['type']!r}", "Only tools that run on your side can be used.")
    for edit in _dicts(_dict(body.get("context_management"), "context_management").get("edits"), "edits"):
        if not str(edit.get("type")).startswith("clear_"):
            raise _refuse(f"context_management edit {edit.get('type')!r}", "Clear, do not summarise, on the provider's side.")
    extra = OVERHEAD
    for content in (body.get("system"), *(m.get("content") for m in _dicts(body.get("messages"), "messages"))):
        extra += sum(_anthropic_block(block) for block in _blocks(content))
    free = path.endswith("/count_tokens")
    return Ask(
        "anthropic",
        "default",
        _model(body.get("model")),
        path + ("?beta=true" if query == b"beta=true" else ""),
        packed := to_json(body),
        body.get("stream") is True and not free,
        len(packed) + extra,
        0 if free else _whole(body.get("max_tokens"), "max_tokens"),
        free,
    )


def _blocks(content: Any) -> Iterator[dict[str, Any]]:
    """The blocks of a content, and those inside tool results and documents."""
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            yield block
            yield from _blocks(block.get("content"))
            yield from _blocks(_source(block).get("content"))


def _source(block: dict[str, Any]) -> dict[str, Any]:
    """Where a picture or a document comes from; other blocks (a tool's input) may have a `source` of their own meaning."""
    source = block.get("source") if block.get("type") in ("image", "document") else None
    return source if isinstance(source, dict) else {}


def _anthropic_block(block: dict[str, Any]) -> int:
    """Tokens that a block can have beyond its bytes."""
    kind = block.get("type")
    if kind == "container_upload":
        raise _refuse("A file on the provider's side")
    if kind not in ("image", "document"):
        return 0
    source = _source(block).get("type")
    if source not in ("base64", "text", "content"):
        raise _refuse(f"A {kind} by {source}", "Send its bytes (base64) or its text.")
    return IMAGE if kind == "image" else DOCUMENT if source == "base64" else 0


# --- OpenAI ------------------------------------------------------------------------------------------------------------------


def _chat(path: str, query: bytes, body: dict[str, Any]) -> Ask:
    del query
    _only(body, _CHAT)
    _tier(body)
    _openai_tools(body)
    extra = OVERHEAD
    for message in _dicts(body.get("messages"), "messages"):
        extra += sum(_openai_part(part) for part in _blocks(message.get("content")))
    if body.get("stream") is True:
        body["stream_options"] = _dict(body.get("stream_options"), "stream_options") | {"include_usage": True}
    most = [body[name] for name in ("max_completion_tokens", "max_tokens") if body.get(name) is not None]
    return _openai_ask(path, "chat", body, extra, max((_whole(n, "max_tokens") for n in most), default=MAX_OUTPUT))


def _responses(path: str, query: bytes, body: dict[str, Any]) -> Ask:
    del query
    _only(body, _RESPONSES)
    _tier(body)
    _openai_tools(body)
    extra = OVERHEAD
    if not isinstance(body.get("input"), str):
        for item in _dicts(body.get("input"), "input"):
            _openai_item(item)
            for content in (item.get("content"), item.get("output")):
                extra += sum(_openai_part(part) for part in _blocks(content))
    most = body.get("max_output_tokens")
    return _openai_ask(path, "responses", body, extra, MAX_OUTPUT if most is None else _whole(most, "max_output_tokens"))


def _openai_ask(path: str, flavor: str, body: dict[str, Any], extra: int, most_output: int) -> Ask:
    packed = to_json(body)
    stream = body.get("stream") is True
    return Ask("openai", flavor, _model(body.get("model")), path, packed, stream, len(packed) + extra, most_output)


def _openai_tools(body: dict[str, Any]) -> None:
    for tool in _dicts(body.get("tools"), "tools"):
        if tool.get("type") not in ("function", "custom", "local_shell", "apply_patch"):
            raise _refuse(f"The tool type {tool.get('type')!r}", "Only tools that run on your side can be used.")


def _openai_item(item: dict[str, Any]) -> None:
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    if kind not in _ITEMS or (kind == "reasoning" and not item.get("encrypted_content")):
        raise _refuse(f"An input item of type {kind!r} (stored on the provider's side, or unknown)", "Send the item itself.")


def _openai_part(part: dict[str, Any]) -> int:
    kind = part.get("type")
    if kind in ("image_url", "input_image", "computer_screenshot"):
        url = part.get("image_url")
        url = url.get("url") if isinstance(url, dict) else url
        if part.get("file_id") is not None or not str(url).startswith("data:"):
            raise _refuse("A picture by URL or file id", "Send its bytes (a data: URL).")
        return IMAGE
    if kind in ("file", "input_file"):
        file = part if kind == "input_file" else _dict(part.get("file"), "file")
        if not file.keys() <= {"type", "filename", "file_data"}:
            raise _refuse("A file by URL or file id", "Send its bytes (file_data).")
        return DOCUMENT
    return DOCUMENT if kind == "input_audio" else 0


# --- Google ------------------------------------------------------------------------------------------------------------------


def _google(path: str, model: str, act: str, body: dict[str, Any]) -> Ask:
    _only(body, _GOOGLE)
    if body.pop("model", f"models/{model}") not in (model, f"models/{model}"):
        raise _refuse("A model in the body that is not the path's")
    for tool in _dicts(body.get("tools"), "tools"):
        if not tool.keys() <= _GOOGLE_TOOLS:
            raise _refuse(f"The tool {', '.join(tool.keys() - _GOOGLE_TOOLS)}", "Only functions can be declared.")
    setting: dict[str, Any] = {}
    for name in ("generationConfig", "generation_config"):
        setting |= _dict(body.get(name), name)
    if (setting.get("candidateCount") or setting.get("candidate_count") or 1) != 1:
        raise _refuse("More than one candidate")
    extra = OVERHEAD + sum(_google_part(part) for part in _google_parts(body))
    stream = act == "streamGenerateContent"
    most = [setting[n] for n in ("maxOutputTokens", "max_output_tokens") if setting.get(n) is not None]
    packed = to_json(body)
    output = max((_whole(n, "maxOutputTokens") for n in most), default=MAX_OUTPUT)
    target = path + ("?alt=sse" if stream else "")
    return Ask("google", "default", model, target, packed, stream, len(packed) + extra, output, act == "countTokens")


def _google_parts(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for content in [*_dicts(body.get("contents"), "contents"), body.get("systemInstruction"), body.get("system_instruction")]:
        for part in _parts(content):
            yield part
            yield from _parts(part.get("functionResponse") or part.get("function_response"))


def _parts(content: Any) -> list[dict[str, Any]]:
    parts = content.get("parts") if isinstance(content, dict) else None
    return _dicts([parts] if isinstance(parts, dict) else parts, "parts")


def _google_part(part: dict[str, Any]) -> int:
    if not part.keys().isdisjoint({"fileData", "file_data"}):
        raise _refuse("A file by URI", "Send its bytes (inlineData).")
    data = part.get("inlineData") or part.get("inline_data")
    if not isinstance(data, dict):
        return 0
    kind = str(data.get("mimeType") or data.get("mime_type"))
    return IMAGE if kind.startswith("image/") else DOCUMENT


# --- all of them -------------------------------------------------------------------------------------------------------------


def _only(body: dict[str, Any], allowed: frozenset[str]) -> None:
    if unknown := sorted(body.keys() - allowed):
        raise _refuse(f"The field {unknown[0][:100]!r}")


def _tier(body: dict[str, Any]) -> None:
    if body.get("service_tier") not in _DEFAULT_TIERS:
        raise _refuse(f"service_tier {body['service_tier']!r}")


def _model(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise InvalidSubmission("The body names no model. Name one.")
    return name


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 10_000_000:
        raise InvalidSubmission(f"{name} must be a whole number above 0. Give one.")
    return value


def _dict(value: Any, name: str) -> dict[str, Any]:
    """The object, empty for none."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidSubmission(f"{name} must be an object. Send one.")
    return value


def _dicts(value: Any, name: str) -> list[dict[str, Any]]:
    """The list of objects, empty for none."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise InvalidSubmission(f"{name} must be a list of objects. Send one.")
    return value


_PATHS: Mapping[str, Callable[[str, bytes, dict[str, Any]], Ask]] = {
    "/v1/messages": _anthropic,
    "/v1/messages/count_tokens": _anthropic,
    "/v1/chat/completions": _chat,
    "/v1/responses": _responses,
}
