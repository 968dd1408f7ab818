"""The scripted model API: what it says follows from the conversation; its wire format; its
faults."""

import json
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.errors import Misconfigured
from aarlab.researchers.script import Script, default_script, load_script
from aarlab.researchers.scripted_api import Anthropic
from tests.researchers.world import ScriptedApi

TOOLS = [{"name": "Bash"}]
TURNS = [
    {
        "say": "First.",
        "calls": [
            {"tool": "Bash", "input": {"command": "one"}},
            {"tool": "Bash", "input": {"command": "two"}},
        ],
    },
    {
        "calls": [
            {
                "tool": "Bash",
                "input": {
                    "command": "use <<id>> of <<who>>",
                    "deep": [{"x": "<<turn>>/<<round>>"}],
                },
            }
        ]
    },
    {"say": "Done with <<id>>."},
]
SCRIPT = {"turns": TURNS, "find": {"id": "id=(\\w+)"}, "choose": {"who": ["a", "b", "c"]}}


def script(**more) -> Script:
    return Script.model_validate(SCRIPT | more)


def said(spoken) -> dict:
    return Anthropic().whole(spoken, "m", [])


def played(made: Script, answers, who="me", messages=None):
    """The conversation of an agent whose tools answer `answers(call)`; until the agent's turn
    ends."""
    messages = messages if messages is not None else [{"role": "user", "content": "go"}]
    while True:
        answer = said(made.next({"messages": messages, "tools": TOOLS}, who))
        messages.append({"role": "assistant", "content": answer["content"]})
        calls = [b for b in answer["content"] if b["type"] == "tool_use"]
        if not calls:
            return messages
        results = [
            {"type": "tool_result", "tool_use_id": c["id"], "content": answers(c)} for c in calls
        ]
        messages.append({"role": "user", "content": results})


def test_turns_follow_each_other_and_use_what_was_found():
    messages = played(
        script(), lambda call: [{"type": "text", "text": f"id={call['input']['command']} id=last"}]
    )
    assert messages[-1]["content"] == [{"type": "text", "text": "Done with last."}]
    used = messages[3]["content"][0]["input"]
    assert used["command"].startswith("use last of ")
    assert used["deep"] == [{"x": "1/0"}]


def test_what_is_not_found_stays_to_be_seen():
    assert "<<id>>" in played(script(), lambda call: "nothing")[-1]["content"][0]["text"]


def test_after_the_end_there_is_nothing_or_a_loop():
    messages = played(script(), lambda call: "id=x")
    assert played(script(), str, messages=[*messages, {"role": "user", "content": "more"}])[-1][
        "content"
    ][0]["text"] == ("The script has ended.")
    more = played(
        script(loop=1),
        lambda call: "id=y",
        messages=[*messages, {"role": "user", "content": "more"}],
    )
    assert more[-1]["content"][0]["text"] == "Done with y."
    assert [b["input"]["deep"] for b in more[-3]["content"]] == [[{"x": "3/1"}]]


@pytest.mark.parametrize(
    "broken",
    [
        "[Tool call interrupted: unknown]",
        "[Request interrupted by user for tool use]",
        "The user doesn't want to proceed with this tool use. The tool use was rejected (eg.",
        None,
    ],
)
def test_a_call_that_was_broken_off_is_made_again_under_another_id(broken):
    messages = [{"role": "user", "content": "go"}]
    first = said(script().next({"messages": messages, "tools": TOOLS}, "me"))
    messages.append({"role": "assistant", "content": first["content"]})
    ids = [b["id"] for b in first["content"] if b["type"] == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": ids[0], "content": "id=x"}]
    results += [{"type": "tool_result", "tool_use_id": ids[1], "content": broken}] if broken else []
    messages.append({"role": "user", "content": results})
    messages.append(
        {"role": "assistant", "content": [{"type": "text", "text": "No response requested."}]}
    )
    messages.append({"role": "user", "content": "go on"})
    again = script().next({"messages": messages, "tools": TOOLS}, "me")
    assert again.turn == 0
    assert not {b.get("id") for b in said(again)["content"]} & set(ids)


def test_words_about_an_interruption_are_no_interruption():
    messages = played(script(), lambda call: "my sleep was interrupted [interrupted]")
    assert len(messages) == 6


@pytest.mark.slow
@given(st.lists(st.text(max_size=5), min_size=9, max_size=9, unique=True))
def test_an_agents_choice_stays_and_agents_differ(names):
    made = script(choose={"who": [str(n) for n in range(97)]})

    def chosen(who):
        return played(made, lambda call: "id=x", who)[3]["content"][0]["input"]["command"]

    assert [chosen(n) for n in names] == [chosen(n) for n in names]
    assert len({chosen(n) for n in names}) > 1


def test_a_question_without_tools_is_no_turn():
    said = script().next({"messages": [{"role": "user", "content": "a title?"}]}, "me")
    assert (said.turn, said.calls) == (-1, ())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("turns: []", "turns"),
        ("turns: [{say: x}]\nloop: 1", "loop 1"),
        ("turns: [{say: x}]\nfind: {a: '('}", "regular expression"),
        ("turns: [{say: x}]\nfind: {a: 'b'}", "one group"),
        ("turns: [{says: x}]", "says"),
        ("turns: [", "is not valid YAML"),
        ("turns: [{say: x}]\nturns: []", "the key .turns. stands twice"),
        ("turns: [{say: x}]\nfaults: [{turn: 0, kind: bite}]", "kind"),
    ],
)
def test_a_script_is_strict(tmp_path, fields, words):
    (tmp_path / "s.yaml").write_text(fields)
    with pytest.raises(Misconfigured, match=words):
        load_script(tmp_path / "s.yaml")


def test_the_script_that_ships_can_be_played():
    assert load_script(default_script()).loop == 0
    with pytest.raises(Misconfigured, match="Cannot read"):
        load_script(Path("/no/such/script.yaml"))


# --- over the wire --------------------------------------------------------------------------------

ASK = {
    "model": "m",
    "max_tokens": 9,
    "tools": TOOLS,
    "messages": [{"role": "user", "content": "go"}],
}
FAULTS = [
    {"turn": 0, "status": 429, "retry_after_s": 3, "times": 2},
    {"turn": 0, "status": 529, "words": "too many"},
    {"turn": 0, "kind": "cut"},
    {"turn": 0, "kind": "hang", "seconds": 0.2},
]


@pytest.fixture(scope="module")
def api(starts_processes, tmp_path_factory):
    with (
        ScriptedApi(tmp_path_factory.mktemp("api"), SCRIPT | {"faults": FAULTS}) as made,
        httpx.Client(base_url=made.url, trust_env=False, timeout=20) as client,
    ):
        yield client


def say(api, who, **more) -> httpx.Response:
    return api.post("/v1/messages", json=ASK | more, headers={"x-claude-code-session-id": who})


def assembled(text: str) -> dict:
    """A message put together from its events, as a client does."""
    message: dict = {}
    for block in text.strip().split("\n\n"):
        event = json.loads(block.split("data: ", 1)[1])
        assert block.startswith(f"event: {event['type']}\n")
        if event["type"] == "message_start":
            message = event["message"]
        elif event["type"] == "content_block_start":
            message["content"].append(event["content_block"] | {"json": ""})
        elif event["type"] == "content_block_delta":
            part, delta = message["content"][event["index"]], event["delta"]
            key = "json" if delta["type"] == "input_json_delta" else "text"
            part[key] += delta.get("partial_json", delta.get("text"))
        elif event["type"] == "message_delta":
            message |= event["delta"]
            message["usage"] |= event["usage"]
    for part in message["content"]:
        rest = part.pop("json")
        if part["type"] == "tool_use":
            part["input"] = json.loads(rest)
    return message


def test_faults_are_played_in_order_to_each_agent_and_then_it_answers(api):
    for who in ("one", "two"):
        first = [say(api, who) for _ in range(3)]
        assert [a.status_code for a in first] == [429, 429, 529]
        assert first[0].headers["retry-after"] == "3"
        assert first[2].json()["error"] == {"type": "overloaded_error", "message": "too many"}
        with pytest.raises(httpx.RemoteProtocolError):
            say(api, who, stream=True)
        assert say(api, who).json()["error"]["message"] == "It took too long."
        whole = say(api, who, stream=None).json()
        streamed = assembled(say(api, who, stream=True).text)
        assert streamed == whole
        assert whole["stop_reason"] == "tool_use"
        assert whole["usage"]["output_tokens"] > 1


def test_tokens_are_counted_and_nonsense_is_refused(api):
    counted = api.post("/v1/messages/count_tokens", json=ASK).json()["input_tokens"]
    assert counted == len(json.dumps(ASK)) // 4
    assert api.post("/v1/messages", content=b"{").status_code == 400
    assert api.post("/v1/messages", json={"messages": 7}).status_code == 400
    assert api.post("/v1/messages/count_tokens", content=b"[]").status_code == 400
    assert api.get("/v1/models").status_code == 404
