"""The scripted model API in every wire format: a script is played to its end, tools go by the names
that the request declares, and what is metered is what was said."""

import json

import pytest

from aarlab.researchers.script import Script
from aarlab.researchers.scripted_api import Anthropic
from tests.researchers.other_formats import Chat, Google, Responses

SCRIPT = Script.model_validate(
    {
        "find": {"id": "id=(\\w+)"},
        "turns": [
            {"say": "First.", "calls": [{"tool": "Bash", "input": {"command": "one"}}]},
            {"calls": [{"tool": "mcp__lab__share_finding", "input": {"title": "<<id>>"}}]},
            {"say": "Done with <<id>>."},
        ],
    }
)


def anthropic(body, events):
    made, tools = [], []
    for event in events:
        if event["type"] == "content_block_start":
            made.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            key = "text" if "text" in event["delta"] else "partial_json"
            made[-1][key] = made[-1].get(key, "") + event["delta"][key]
    tools = [
        {**b, "input": json.loads(b.pop("partial_json"))} for b in made if b["type"] == "tool_use"
    ]
    said = [b for b in made if b["type"] == "text"]
    body["messages"].append({"role": "assistant", "content": [*said, *tools]})
    results = [{"type": "tool_result", "tool_use_id": t["id"], "content": "id=x"} for t in tools]
    body["messages"].append({"role": "user", "content": results})
    return [(t["name"], t["input"]) for t in tools], "".join(b["text"] for b in said)


def chat(body, events):
    text, calls = "", {}
    for event in events:
        for choice in event["choices"]:
            text += choice["delta"].get("content") or ""
            for part in choice["delta"].get("tool_calls", ()):
                call = calls.setdefault(part["index"], {"arguments": ""} | part)
                call["name"] = part["function"].get("name", call.get("name"))
                call["arguments"] += part["function"]["arguments"]
    used = [
        {"id": c["id"], "function": {"name": c["name"], "arguments": c["arguments"]}}
        for c in calls.values()
    ]
    body["messages"].append({"role": "assistant", "content": text, "tool_calls": used})
    body["messages"] += [{"role": "tool", "tool_call_id": c["id"], "content": "id=x"} for c in used]
    return [(c["name"], json.loads(c["arguments"])) for c in calls.values()], text


def responses(body, events):
    items = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    calls = [item for item in items if item["type"] == "function_call"]
    body["input"] += items
    body["input"] += [
        {"type": "function_call_output", "call_id": c["call_id"], "output": "id=x"} for c in calls
    ]
    text = "".join(i["content"][0]["text"] for i in items if i["type"] == "message")
    return [(c.get("namespace", "") + c["name"], json.loads(c["arguments"])) for c in calls], text


def google(body, events):
    parts = [p for e in events for p in e["candidates"][0]["content"]["parts"]]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    body["contents"].append({"role": "model", "parts": parts})
    results = [
        {"functionResponse": {"id": c["id"], "name": c["name"], "response": {"output": "id=x"}}}
        for c in calls
    ]
    body["contents"].append({"role": "user", "parts": results})
    return [(c["name"], c["args"]) for c in calls], "".join(p.get("text", "") for p in parts)


USER = [{"role": "user", "content": "go"}]
NAMESPACE = {"type": "namespace", "name": "mcp__lab", "tools": [{"name": "share_finding"}]}
FUNCTIONS = [
    {"function": {"name": "bash"}},
    {"function": {"name": "lab_share_finding"}},
]
DECLARED = [{"name": "run_shell_command"}, {"name": "mcp_lab_share_finding"}]


@pytest.mark.parametrize(
    ("form", "body", "act", "tools"),
    [
        (
            Anthropic(),
            {"messages": USER, "tools": [{"name": "Bash"}]},
            anthropic,
            ("Bash", "mcp__lab__share_finding"),
        ),
        (Chat(), {"messages": USER, "tools": FUNCTIONS}, chat, ("bash", "lab_share_finding")),
        (
            Responses(),
            {"input": USER, "tools": [{"type": "function", "name": "exec_command"}, NAMESPACE]},
            responses,
            ("exec_command", "mcp__labshare_finding"),
        ),
        (
            Google(),
            {
                "contents": [{"role": "user", "parts": [{"text": "go"}]}],
                "tools": [{"functionDeclarations": DECLARED}],
            },
            google,
            ("run_shell_command", "mcp_lab_share_finding"),
        ),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "stream") else "",
)
def test_a_script_is_played_to_its_end_in_every_format(form, body, act, tools):
    body = json.loads(json.dumps(body))
    seen = []
    for _ in range(3):
        declared = form.tools(body)
        asked = {"messages": form.conversation(body), "tools": declared}
        events = form.stream(SCRIPT.next(asked, "me"), "m", declared)
        read = [e.partition("data: ")[2] for e in events]
        seen.append(act(body, [json.loads(e) for e in read if not e.startswith("[DONE]")]))
    (shell, first), (share, _), (none, last) = seen
    assert (shell[0][0], share[0][0]) == tools
    assert "one" in shell[0][1].values()
    assert (first, share[0][1], none, last) == ("First.", {"title": "x"}, [], "Done with x.")
