"""What a request to Google's generateContent may ask for.

Its JSON takes every field in two spellings (candidateCount, candidate_count), and which of the two
counts where both are given is the provider's choice. So each is sent on in one: what came in the
other is renamed, and both at once are refused.
"""

import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import to_json

from aarlab.gateway import request_checks as checks

_BODY = checks.names(
    "model contents systemInstruction generationConfig tools toolConfig safetySettings"
)
_CONFIG = checks.names(
    "candidateCount maxOutputTokens temperature topP topK stopSequences seed presencePenalty "
    "frequencyPenalty responseMimeType responseSchema responseJsonSchema responseLogprobs logprobs "
    "responseModalities thinkingConfig mediaResolution"
)
_CONTENT = checks.names("role parts")
_PART = checks.names(
    "text thought thoughtSignature functionCall functionResponse inlineData videoMetadata"
)
_TOOL = checks.names("functionDeclarations")
_TOOL_CONFIG = checks.names("functionCallingConfig")
_MODALITIES = ([], ["TEXT"])  # pictures and sound have prices of their own
_UNDERLINED = re.compile(r"_([a-z0-9])")


def google_ask(path: str, model: str, act: str, body: dict[str, Any]) -> checks.CheckedRequest:
    """The request, checked, for this model and act (generateContent, countTokens, ...).

    Raises:
        InvalidSubmission: it asks for what is not allowed; the words say for what.
    """
    body = _spelled(body, _BODY)
    if body.pop("model", f"models/{model}") not in (model, f"models/{model}"):
        raise checks.refusal("A model in the body that is not the path's")
    setting = _setting(body)
    body["generationConfig"] = setting
    body["toolConfig"] = _spelled(
        checks.an_object(body.get("toolConfig"), "toolConfig"), _TOOL_CONFIG
    )
    body["tools"] = [_tool(tool) for tool in checks.objects(body.get("tools"), "tools")]
    body["contents"] = [_content(one) for one in checks.objects(body.get("contents"), "contents")]
    if (system := body.get("systemInstruction")) is not None:
        body["systemInstruction"] = _content(checks.an_object(system, "systemInstruction"))
    for name in ("generationConfig", "toolConfig", "tools"):
        if not body[name]:
            del body[name]
    stream, free = act == "streamGenerateContent", act == "countTokens"
    most = setting.get("maxOutputTokens")
    packed = to_json(body)
    return checks.CheckedRequest(
        "google",
        "default",
        model,
        path + ("?alt=sse" if stream else ""),
        packed,
        stream,
        len(packed) + checks.OVERHEAD + sum(_beyond_bytes(part) for part in _all_parts(body)),
        checks.MAX_OUTPUT if most is None else checks.whole_number(most, "maxOutputTokens"),
        free,
        thinks=True,
    )


def _spelled(given: dict[str, Any], allowed: frozenset[str]) -> dict[str, Any]:
    """The object with its fields in the one spelling.

    Raises:
        InvalidSubmission: a field is not allowed, or is there in both.
    """
    made: dict[str, Any] = {}
    for name, value in given.items():
        one = _UNDERLINED.sub(lambda match: match[1].upper(), name)
        if one in made:
            raise checks.refusal(f"The field {one[:100]!r} in two spellings", "Give it once.")
        made[one] = value
    checks.only(made, allowed)
    return made


def _setting(body: dict[str, Any]) -> dict[str, Any]:
    setting = _spelled(checks.an_object(body.get("generationConfig"), "generationConfig"), _CONFIG)
    if setting.get("candidateCount") not in (None, 1) or setting.get("candidateCount") is True:
        raise checks.refusal("More than one candidate")
    if (setting.get("responseModalities") or []) not in _MODALITIES:
        raise checks.refusal("An answer that is not text (responseModalities)")
    return setting


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    try:
        return _spelled(tool, _TOOL)
    except ValueError as error:
        others = sorted(name for name in tool if name not in (*_TOOL, "function_declarations"))
        if not others:
            raise
        raise checks.refusal(
            f"The tool {', '.join(others)[:100]}", "Only functions can be declared."
        ) from error


def _content(content: dict[str, Any]) -> dict[str, Any]:
    made = _spelled(content, _CONTENT)
    return made | {"parts": [_part(part) for part in _listed(made.get("parts"))]}


def _listed(parts: Any) -> list[dict[str, Any]]:
    return checks.objects([parts] if isinstance(parts, dict) else parts, "parts")


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if not part.keys().isdisjoint({"fileData", "file_data"}):
        raise checks.refusal("A file by URI", "Send its bytes (inlineData).")
    made = _spelled(part, _PART)
    if "inlineData" in made:
        blob = checks.names("mimeType data displayName")
        made["inlineData"] = _spelled(checks.an_object(made["inlineData"], "inlineData"), blob)
    if "functionResponse" in made:
        answer = checks.an_object(made["functionResponse"], "functionResponse")
        gave = _spelled(answer, checks.names("id name response parts willContinue scheduling"))
        if "parts" in gave:
            gave["parts"] = [_part(inner) for inner in _listed(gave["parts"])]
        made["functionResponse"] = gave
    return made


def _all_parts(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for content in [*body["contents"], body.get("systemInstruction") or {}]:
        for part in content.get("parts", ()):
            yield part
            yield from part.get("functionResponse", {}).get("parts", ())


def _beyond_bytes(part: dict[str, Any]) -> int:
    """Tokens that a part can have beyond its bytes."""
    if "inlineData" not in part:
        return 0
    kind = str(part["inlineData"].get("mimeType"))
    return checks.IMAGE if kind.startswith("image/") else checks.DOCUMENT
