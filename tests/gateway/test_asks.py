"""What may be asked of a model API: what the meter sees and the walls hold, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.errors import InvalidSubmission
from aarlab.gateway.allowed_requests import (
    DOCUMENT,
    IMAGE,
    MAX_OUTPUT,
    OVERHEAD,
    CheckedRequest,
    allowed_betas,
    read_ask,
)

HELLO = [{"role": "user", "content": "Hello."}]
PICTURE = {"type": "base64", "media_type": "image/png", "data": "AAAA"}


def asked(path: str, body: object, query: bytes = b"") -> CheckedRequest:
    ask = read_ask(path, query, json.dumps(body).encode())
    assert ask is not None
    return ask


def messages(**fields: Any) -> CheckedRequest:
    return asked("/v1/messages", {"model": "m", "max_tokens": 100, "messages": HELLO, **fields})


def content(*blocks: dict) -> CheckedRequest:
    return messages(messages=[{"role": "user", "content": list(blocks)}])


def google(act: str = "generateContent", **fields: Any) -> CheckedRequest:
    parts = fields.pop("parts", [{"text": "Hello."}])
    return asked(
        f"/v1beta/models/gem-1:{act}", {"contents": [{"role": "user", "parts": parts}], **fields}
    )


def test_what_the_real_cli_sends_is_allowed() -> None:
    """Claude Code 2.1.331: the fields of its requests, seen on the wire."""
    ask = messages(
        system=[{"type": "text", "text": "You are.", "cache_control": {"type": "ephemeral"}}],
        tools=[{"name": "Bash", "description": "Runs.", "input_schema": {"type": "object"}}],
        metadata={"user_id": "{}"},
        thinking={"type": "adaptive", "display": "updates"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        output_config={"effort": "high"},
        stream=True,
    )
    assert (ask.provider, ask.model, ask.target, ask.stream, ask.most_output) == (
        "anthropic",
        "m",
        "/v1/messages",
        True,
        100,
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            "tool type 'web_search_20250305'",
        ),
        ({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}, "web_fetch"),
        (
            {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
            "code_execution",
        ),
        ({"tools": [{"type": "tool_search_tool_regex_20251119", "name": "x"}]}, "tool_search"),
        ({"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]}, "mcp_toolset"),
        ({"tools": [{"type": "customary", "name": "x"}]}, "customary"),
        ({"tools": [{"type": ["custom"], "name": "x"}]}, "tool type"),
        ({"tools": {"type": "web_search_20250305"}}, "tools must be a list"),
        ({"tools": ["web_search"]}, "tools must be a list"),
        ({"mcp_servers": [{"type": "url", "url": "https://x"}]}, "'mcp_servers'"),
        ({"container": "c"}, "'container'"),
        ({"speed": "fast"}, "'speed'"),
        ({"inference_geo": "us"}, "'inference_geo'"),
        ({"service_tier": "priority"}, "service_tier 'priority'"),
        ({"service_tier": []}, "service_tier"),
        ({"tools": [{"type": "x" * 2_000_000, "name": "x"}]}, r"x\.\.\. is not allowed"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "compact_20260112"),
        ({"anything_new": 1}, "'anything_new'"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_tokens": 1e99}, "max_tokens"),
        ({"model": ""}, "names no model"),
        ({"model": ["m"]}, "names no model"),
        ({"model": "m" * 2_000_000}, "names no model"),
        ({"messages": "hello"}, "messages must be a list"),
    ],
)
def test_what_escapes_the_meter_or_the_walls_is_refused(fields: dict, words: str) -> None:
    with pytest.raises(InvalidSubmission, match=words):
        messages(**fields)


@pytest.mark.parametrize(
    "tool",
    ["custom", "bash_20250124", "text_editor_20250728", "memory_20250818", "computer_20251124"],
)
def test_tools_that_run_on_the_clients_side_are_allowed(tool: str) -> None:
    assert messages(tools=[{"type": tool, "name": "x"}]).model == "m"


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "url", "url": "http://169.254.169.254/"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "document", "source": "https://x"},
        {"type": "container_upload", "file_id": "file_1"},
    ],
)
@pytest.mark.parametrize("where", ["message", "tool result", "document", "system"])
def test_nothing_is_fetched_from_elsewhere_wherever_it_stands(block: dict, where: str) -> None:
    if where == "document":
        block = {"type": "document", "source": {"type": "content", "content": [block]}}
    elif where == "tool result":
        block = {
            "type": "tool_result",
            "tool_use_id": "t",
            "content": [{"type": "text", "text": "a"}, block],
        }
    with pytest.raises(InvalidSubmission, match="not allowed"):
        messages(system=[block]) if where == "system" else content(block)


def test_a_tools_input_may_have_a_source_of_its_own() -> None:
    assert content(
        {
            "type": "tool_use",
            "id": "t",
            "name": "x",
            "input": {"source": {"type": "url"}, "content": []},
        }
    )


def test_prompt_bound_is_bytes_plus_media_maximum() -> None:
    plain = messages()
    assert plain.most_input == len(plain.body) + OVERHEAD
    picture = content({"type": "image", "source": PICTURE})
    assert picture.most_input == len(picture.body) + OVERHEAD + IMAGE
    pdf = content({"type": "tool_result", "content": [{"type": "document", "source": PICTURE}]})
    assert pdf.most_input == len(pdf.body) + OVERHEAD + DOCUMENT
    words = content({"type": "document", "source": {"type": "text", "data": "Words."}})
    assert words.most_input == len(words.body) + OVERHEAD


def test_ambiguous_body_is_sent_as_it_was_parsed() -> None:
    twice = b'{"model": "cheap", "max_tokens": 1, "messages": [], "model": "dear"}'
    ask = read_ask("/v1/messages", b"", twice)
    assert ask is not None
    assert ask.model == "dear"
    assert (
        ask.body == b'{"model":"dear","max_tokens":1,"messages":[],"service_tier":"standard_only"}'
    )


WORDS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), WORDS, max_size=3))
def test_what_is_sent_on_means_what_came(value: dict) -> None:
    """Every JSON value survives being read and written anew, to the last digit and letter."""
    ask = messages(tools=[{"name": "x", "input_schema": value}])
    assert json.loads(ask.body)["tools"][0]["input_schema"] == value


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"a": NaN}', b"[" * 40_000, b'{"a": "\\ud800"}']
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidSubmission, match="JSON"):
        read_ask("/v1/messages", b"", body)


@pytest.mark.parametrize("part", [b"{},", b"[],", b"1,", b'"",'])
def test_a_small_body_cannot_take_much_memory(part: bytes) -> None:
    with pytest.raises(InvalidSubmission, match="200,000 in 50,000 are taken here") as refused:
        read_ask("/v1/messages", b"", b'{"messages": [' + part * 200_001 + b"1]}")
    assert refused.value.facts["status"] == 413


def test_paths_and_queries_are_ours() -> None:
    beta = asked("/v1/messages", {"model": "m", "max_tokens": 1, "messages": []}, b"beta=true")
    assert beta.target == "/v1/messages?beta=true"
    assert (
        asked("/v1/messages", {"model": "m", "max_tokens": 1}, b"beta=true&key=x").target
        == "/v1/messages"
    )
    count = asked("/v1/messages/count_tokens", {"model": "m", "messages": HELLO})
    assert (count.free, count.target) == (True, "/v1/messages/count_tokens")
    for path in (
        "/v1/files",
        "/v1/messages/batches",
        "/v1/models",
        "/v1beta/models/gem:embedContent",
        "/v1beta/models/a/b:countTokens",
    ):
        assert read_ask(path, b"", b"{}") is None


# --- OpenAI ---------------------------------------------------------------------------------------


def chat(**fields: Any) -> CheckedRequest:
    return asked("/v1/chat/completions", {"model": "g", "messages": HELLO, **fields})


def responses(**fields: Any) -> CheckedRequest:
    return asked("/v1/responses", {"model": "g", "input": "Hello.", **fields})


def test_a_chat_stream_reports_its_usage_whether_it_was_asked_to_or_not() -> None:
    for options in ({}, {"stream_options": {"include_usage": False}}, {"stream_options": None}):
        assert json.loads(chat(stream=True, **options).body)["stream_options"] == {
            "include_usage": True
        }
    assert "stream_options" not in json.loads(chat().body)


def test_where_no_length_is_given_the_longest_is_reserved() -> None:
    assert chat().most_output == responses().most_output == google().most_output == MAX_OUTPUT
    assert chat(max_tokens=7).most_output == chat(max_completion_tokens=7).most_output == 7
    assert chat(max_tokens=7, max_completion_tokens=9).most_output == 9
    assert responses(max_output_tokens=7).most_output == 7
    assert google(generationConfig={"maxOutputTokens": 7}).most_output == 7
    assert google(generation_config={"max_output_tokens": 7}).most_output == 7


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n": 2}, "'n'"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"tools": [{"type": "web_search"}]}, "web_search"),
        ({"tools": [{"name": "x"}]}, "tool type None"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "https://x"}}],
                    }
                ]
            },
            "picture by URL",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}
                ]
            },
            "file by URL or file id",
        ),
    ],
)
def test_chat_refuses_what_escapes(fields: dict, words: str) -> None:
    with pytest.raises(InvalidSubmission, match=words):
        chat(**fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"previous_response_id": "r"}, "previous_response_id"),
        ({"conversation": "c"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"tools": [{"type": "mcp", "server_url": "https://x"}]}, "'mcp'"),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
            "code_interpreter",
        ),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
        ({"input": [{"id": "x"}]}, "item_reference"),
        ({"input": [{"type": ["message"]}]}, "input item of type"),
        ({"service_tier": {"a": 1}}, "service_tier"),
        ({"input": [{"type": "reasoning", "id": "x", "summary": []}]}, "reasoning"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "web_search_call"),
        (
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_image", "image_url": "https://x"}]}
                ]
            },
            "picture by URL",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "file id",
        ),
        (
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_file", "file_url": "https://x"}]}
                ]
            },
            "file by URL",
        ),
        (
            {
                "input": [
                    {
                        "type": "function_call_output",
                        "output": [{"type": "input_file", "file_id": "f"}],
                    }
                ]
            },
            "file by URL",
        ),
    ],
)
def test_responses_refuse_what_escapes(fields: dict, words: str) -> None:
    with pytest.raises(InvalidSubmission, match=words):
        responses(**fields)


def test_a_namespace_of_codex_holds_what_runs_on_the_clients_side_alone() -> None:
    """Codex 0.171 sends every MCP server's tools so."""
    lab = {"type": "namespace", "name": "mcp__lab", "tools": [{"type": "function", "name": "f"}]}
    assert responses(tools=[lab, {"type": "namespace", "name": "n", "tools": [lab]}])
    for hidden in ("web_search", "code_interpreter", "mcp", None):
        inside = {**lab, "tools": [{"type": "namespace", "tools": [{"type": hidden}]}]}
        with pytest.raises(InvalidSubmission, match=f"tool type '?{hidden}"):
            responses(tools=[inside])


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"claude-code-20250219, effort-2025-11-24", b"claude-code-20250219,effort-2025-11-24"),
        (b"files-api-2025-04-14,context-management-2025-06-27", b"context-management-2025-06-27"),
        (b"mcp-client-2025-04-04", b""),
        (b"fast-mode-2026-02-01,compact-2026-01-12,code-execution-2025-05-22", b""),
        (b"effort", b""),
        (b"effort-2025-11-24\xff", b""),
        (b"", b""),
    ],
)
def test_of_anthropics_betas_those_pass_that_cost_nothing_unseen(sent: bytes, kept: bytes) -> None:
    assert allowed_betas(sent) == kept


def test_responses_take_what_an_agent_sends_back() -> None:
    items = [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Look."},
                {"type": "input_image", "image_url": "data:image/png;base64,AA"},
            ],
        },
        {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gAAA"},
        {"type": "function_call", "call_id": "c", "name": "shell", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "done"},
    ]
    ask = responses(
        input=items,
        tools=[{"type": "function", "name": "shell"}],
        store=False,
        stream=True,
        include=[],
    )
    assert ask.most_input == len(ask.body) + OVERHEAD + IMAGE


# --- Google ---------------------------------------------------------------------------------------


def test_googles_model_is_the_paths() -> None:
    assert google().model == "gem-1"
    assert google(model="models/gem-1").model == "gem-1"
    assert (
        google("streamGenerateContent").target
        == "/v1beta/models/gem-1:streamGenerateContent?alt=sse"
    )
    assert google("countTokens").free


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": "models/other"}, "not the path's"),
        ({"cachedContent": "cachedContents/x"}, "cachedContent"),
        ({"tools": [{"googleSearch": {}}]}, "googleSearch"),
        ({"tools": [{"functionDeclarations": [], "urlContext": {}}]}, "urlContext"),
        ({"tools": [{"code_execution": {}}]}, "code_execution"),
        ({"generationConfig": {"candidateCount": 2}}, "candidate"),
        ({"generation_config": {"candidate_count": 2}}, "candidate"),
        ({"generationConfig": {"candidateCount": 1, "candidate_count": 8}}, "two spellings"),
        ({"generationConfig": {}, "generation_config": {"candidate_count": 8}}, "two spellings"),
        ({"generationConfig": {"candidateCount": "8"}}, "candidate"),
        ({"generationConfig": {"candidateCount": True}}, "candidate"),
        ({"generationConfig": {"CandidateCount": 8}}, "'CandidateCount'"),
        ({"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}, "not text"),
        ({"generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 9}}, "two spellings"),
        ({"tool_config": {"retrievalConfig": {}}}, "retrievalConfig"),
        ({"parts": [{"executableCode": {"code": "x"}}]}, "executableCode"),
        ({"parts": [{"function_response": {"parts": [{"file_data": {}}]}}]}, "by URI"),
        ({"parts": [{"fileData": {"fileUri": "https://x"}}]}, "by URI"),
        ({"parts": [{"file_data": {"file_uri": "https://x"}}]}, "by URI"),
        ({"parts": [{"functionResponse": {"parts": [{"fileData": {}}]}}]}, "by URI"),
        ({"systemInstruction": {"parts": [{"fileData": {}}]}}, "by URI"),
    ],
)
def test_google_refuses_what_escapes(fields: dict, words: str) -> None:
    with pytest.raises(InvalidSubmission, match=words):
        google(**fields)


def test_googles_fields_are_sent_on_in_one_spelling() -> None:
    call = {"name": "f", "args": {"file_path": "snake_case stays in what is not a field"}}
    ask = google(
        generation_config={"max_output_tokens": 7, "top_p": 1},
        system_instruction={"parts": {"text": "You are."}},
        tools=[{"function_declarations": [{"name": "f", "parameters": {"my_type": 1}}]}],
        parts=[{"function_call": call, "thought_signature": "c2ln"}],
    )
    assert ask.most_output == 7
    assert json.loads(ask.body) == {
        "contents": [
            {"role": "user", "parts": [{"functionCall": call, "thoughtSignature": "c2ln"}]}
        ],
        "generationConfig": {"maxOutputTokens": 7, "topP": 1},
        "systemInstruction": {"parts": [{"text": "You are."}]},
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"my_type": 1}}]}],
    }


def test_googles_films_are_reserved_as_such() -> None:
    film = google(
        parts=[
            {"inlineData": {"mimeType": "video/mp4", "data": "AA"}},
            {"inline_data": {"mime_type": "image/png"}},
        ]
    )
    assert film.most_input == len(film.body) + OVERHEAD + DOCUMENT + IMAGE
