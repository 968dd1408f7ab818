"""OpenAI's and Google's wire formats for the scripted model API, so that the agent CLIs that speak
them can be driven without a model: `python -m tests.researchers.other_formats`, with the flags of
`aarlab.researchers.scripted_api`.

A script is written in the words of Anthropic's API and of Claude Code's tools. A request of another
format is read as a conversation of that form, and a turn is written in the format that was asked
for; its calls go to the tools that the request declares (`_fitted`), so that one script drives
every agent.
"""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aarlab.core.strict_json import dicts
from aarlab.researchers.script import ScriptedCall, Spoken, tokens_in
from aarlab.researchers.scripted_api import (
    Api,
    Body,
    Messages,
    data,
    event,
    json_of,
    listed,
    main,
    pieces,
)

LAB = "mcp__lab__"  # of the lab's tools in scripts
Tool = dict[str, Any]  # a name; OpenAI's may have a namespace


class EveryFormat(Api):
    """The scripted model API in all formats."""

    def routes(self) -> list[Route]:
        posts = {
            "/v1/chat/completions": partial(self.play, Chat()),
            "/v1/responses": partial(self.play, Responses()),
            "/v1beta/models/{model}:{act}": self._google,
        }
        more = [Route(path, act, methods=["POST"]) for path, act in posts.items()]
        return [*super().routes(), *more]

    async def _google(self, request: Request) -> Response:
        model, act = request.path_params["model"], request.path_params["act"]
        if act == "countTokens":
            return JSONResponse({"totalTokens": tokens_in(await json_of(request) or {})})
        stream = act.startswith("stream")
        return await self.play(Google(), request, model=model, stream=stream)


class Fitted(NamedTuple):
    """A call as it is sent to one agent."""

    id: str
    tool: Tool
    input: dict[str, Any]


def calls_of(spoken: Spoken, tools: list[Tool]) -> list[Fitted]:
    """The turn's calls, each with an id from which the turn is found again."""
    return [Fitted(spoken.call_id(n), *_fitted(call, tools)) for n, call in enumerate(spoken.calls)]


def _fitted(call: ScriptedCall, tools: list[Tool]) -> tuple[Tool, dict[str, Any]]:
    """The declared tool that does what the script calls, and its input; the script's own where none
    does."""
    declared = {tool["name"]: tool for tool in tools}
    if call.tool in declared:
        return declared[call.tool], call.input
    if call.tool == "Bash":
        command = str(call.input.get("command", ""))
        for name, given in _shells(command).items():
            if name in declared:
                return declared[name], given
    if call.tool.startswith(LAB):
        plain = call.tool.removeprefix(LAB)
        for tool in tools:
            name, namespace = tool["name"], tool.get("namespace", "")
            if ("lab" in namespace and name == plain) or (name.endswith(plain) and "lab" in name):
                return tool, call.input
    return {"name": call.tool}, call.input


def _shells(command: str) -> dict[str, dict[str, Any]]:
    """How agents' tools for a command line are called: mini-swe-agent and OpenCode, Gemini, Codex's
    three."""
    return {
        "bash": {"command": command, "description": "Run it"},
        "run_shell_command": {"command": command, "description": "Run it"},
        "exec_command": {"cmd": command, "yield_time_ms": 30_000},
        "shell_command": {"command": command},
        "shell": {"command": ["bash", "-c", command]},
    }


def use(call: Any, name: Any) -> dict[str, Any]:
    """A call of the agent's, whose input does not matter."""
    return {"type": "tool_use", "id": str(call), "name": str(name), "input": {}}


def result_of(call: Any, text: str) -> dict[str, Any]:
    """What a call gave."""
    block = {"type": "tool_result", "tool_use_id": str(call), "content": text}
    return {"role": "user", "content": [block]}


def text_of(content: Any) -> str:
    """The text of a content: a string, a list of parts, or anything else as JSON."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in dicts(content))
    return "" if content is None else json.dumps(content)


def one_dict(value: Any) -> dict[str, Any]:
    """The object; empty for anything else."""
    return value if isinstance(value, dict) else {}


class Google:
    """generateContent and streamGenerateContent."""

    def conversation(self, body: Body) -> Messages:
        found: Messages = []
        for content in listed(body, "contents"):
            role = "assistant" if content.get("role") == "model" else "user"
            blocks = []
            for part in dicts(content.get("parts")):
                if call := one_dict(part.get("functionCall")):
                    blocks.append(use(call.get("id"), call.get("name")))
                elif done := one_dict(part.get("functionResponse")):
                    given = one_dict(done.get("response"))
                    text = text_of(given.get("output", given.get("error", given)))
                    blocks += result_of(done.get("id"), text)["content"]
                elif not part.get("thought"):
                    blocks.append({"type": "text", "text": str(part.get("text", ""))})
            found.append({"role": role, "content": blocks})
        return found

    def tools(self, body: Body) -> list[Tool]:
        declared = [
            function
            for tool in dicts(body.get("tools"))
            for function in dicts(tool.get("functionDeclarations"))
        ]
        return [{"name": str(function.get("name"))} for function in declared]

    def whole(self, spoken: Spoken, model: str, tools: list[Tool]) -> dict[str, Any]:
        parts: list[dict[str, Any]] = [{"text": spoken.say}] if spoken.say else []
        parts += [
            {"functionCall": {"id": call.id, "name": call.tool["name"], "args": call.input}}
            for call in calls_of(spoken, tools)
        ]
        counted = spoken.counted(parts)
        content = {"role": "model", "parts": parts or [{"text": ""}]}
        return {
            "candidates": [{"index": 0, "content": content, "finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": counted["input_tokens"],
                "candidatesTokenCount": counted["output_tokens"],
                "totalTokenCount": counted["input_tokens"] + counted["output_tokens"],
            },
            "modelVersion": model,
            "responseId": spoken.id,
        }

    def stream(self, spoken: Spoken, model: str, tools: list[Tool]) -> Iterator[str]:
        whole = self.whole(spoken, model, tools)
        parts = whole["candidates"][0]["content"]["parts"]
        for part in parts[:-1]:
            content = {"role": "model", "parts": [part]}
            yield data({**whole, "candidates": [{"index": 0, "content": content}]})
        last = {**whole["candidates"][0], "content": {"role": "model", "parts": parts[-1:]}}
        yield data({**whole, "candidates": [last]})


class Chat:
    """/v1/chat/completions."""

    def conversation(self, body: Body) -> Messages:
        found: Messages = []
        for message in listed(body, "messages"):
            role, content = message.get("role"), text_of(message.get("content"))
            if role == "tool":
                found.append(result_of(message.get("tool_call_id"), content))
                continue
            used = [
                use(call.get("id"), one_dict(call.get("function")).get("name"))
                for call in dicts(message.get("tool_calls"))
            ]
            text = [{"type": "text", "text": content}] if content else []
            found.append({"role": role, "content": [*text, *used]})
        return found

    def tools(self, body: Body) -> list[Tool]:
        declared = [one_dict(tool.get("function")) for tool in dicts(body.get("tools"))]
        return [{"name": str(tool.get("name"))} for tool in declared]

    def whole(self, spoken: Spoken, model: str, tools: list[Tool]) -> dict[str, Any]:
        made = calls_of(spoken, tools)
        message: dict[str, Any] = {"role": "assistant", "content": spoken.say or None}
        if made:
            message["tool_calls"] = [_chat_call(call) for call in made]
        return {
            **self._head(spoken, model, "chat.completion"),
            "choices": [{"index": 0, "message": message, "finish_reason": self._why(spoken)}],
            "usage": self._usage(spoken, message),
        }

    def stream(self, spoken: Spoken, model: str, tools: list[Tool]) -> Iterator[str]:
        message = self.whole(spoken, model, tools)["choices"][0]["message"]
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": piece} for piece in pieces(spoken.say)]
        for index, call in enumerate(message.get("tool_calls", ())):
            named = {**call, "function": {**call["function"], "arguments": ""}}
            deltas.append({"tool_calls": [{"index": index, **named}]})
            deltas += [
                {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
                for piece in pieces(call["function"]["arguments"])
            ]
        head = self._head(spoken, model, "chat.completion.chunk")
        for delta in deltas:
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            yield data({**head, "choices": [choice]})
        last = {"index": 0, "delta": {}, "finish_reason": self._why(spoken)}
        yield data({**head, "choices": [last]})
        yield data({**head, "choices": [], "usage": self._usage(spoken, message)})
        yield "data: [DONE]\n\n"

    @staticmethod
    def _head(spoken: Spoken, model: str, kind: str) -> dict[str, Any]:
        return {"id": spoken.id, "object": kind, "created": 0, "model": model}

    @staticmethod
    def _why(spoken: Spoken) -> str:
        return "tool_calls" if spoken.calls else "stop"

    @staticmethod
    def _usage(spoken: Spoken, message: object) -> dict[str, Any]:
        counted = spoken.counted(message)
        return {
            "prompt_tokens": counted["input_tokens"],
            "completion_tokens": counted["output_tokens"],
            "total_tokens": counted["input_tokens"] + counted["output_tokens"],
        }


class Responses:
    """/v1/responses."""

    def conversation(self, body: Body) -> Messages:
        if isinstance(body.get("input"), str):
            return [{"role": "user", "content": body["input"]}]
        found: Messages = []
        for item in listed(body, "input"):
            kind = str(item.get("type") or "message")
            if kind == "message":
                text = {"type": "text", "text": text_of(item.get("content"))}
                found.append({"role": item.get("role"), "content": [text]})
            elif kind.endswith("_call"):
                used = use(item.get("call_id"), item.get("name"))
                found.append({"role": "assistant", "content": [used]})
            elif kind.endswith("_output"):
                found.append(result_of(item.get("call_id"), text_of(item.get("output"))))
        return found

    def tools(self, body: Body) -> list[Tool]:
        found: list[Tool] = []
        for tool in dicts(body.get("tools")):
            if tool.get("type") == "namespace":
                inside = dicts(tool.get("tools"))
                namespace = str(tool.get("name"))
                found += [{"name": str(one.get("name")), "namespace": namespace} for one in inside]
            else:
                found.append({"name": str(tool.get("name") or tool.get("type"))})
        return found

    def whole(self, spoken: Spoken, model: str, tools: list[Tool]) -> dict[str, Any]:
        output: list[dict[str, Any]] = []
        if spoken.say:
            text = {"type": "output_text", "text": spoken.say, "annotations": []}
            named = {"id": f"item_{spoken.id}", "type": "message", "role": "assistant"}
            output.append({**named, "status": "completed", "content": [text]})
        output += [_responses_call(call) for call in calls_of(spoken, tools)]
        counted = spoken.counted(output)
        usage = {
            "input_tokens": counted["input_tokens"],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": counted["output_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": counted["input_tokens"] + counted["output_tokens"],
        }
        return {
            "id": spoken.id,
            "object": "response",
            "created_at": 0,
            "status": "completed",
            "model": model,
            "output": output,
            "usage": usage,
        }

    def stream(self, spoken: Spoken, model: str, tools: list[Tool]) -> Iterator[str]:
        whole = self.whole(spoken, model, tools)
        begun = {**whole, "status": "in_progress", "output": [], "usage": None}
        yield event("response.created", response=begun)
        for index, item in enumerate(whole["output"]):
            said = item["type"] == "message"
            empty = {**item, "status": "in_progress"} | (
                {"content": []} if said else {"arguments": ""}
            )
            place = {"item_id": item["id"], "output_index": index}
            yield event("response.output_item.added", output_index=index, item=empty)
            kind = "output_text" if said else "function_call_arguments"
            for piece in pieces(item["content"][0]["text"] if said else item["arguments"]):
                at = {**place, "content_index": 0} if said else place
                yield event(f"response.{kind}.delta", **at, delta=piece)
            yield event("response.output_item.done", output_index=index, item=item)
        yield event("response.completed", response=whole)


def _chat_call(call: Fitted) -> dict[str, Any]:
    named = {"name": call.tool["name"], "arguments": json.dumps(call.input)}
    return {"id": call.id, "type": "function", "function": named}


def _responses_call(call: Fitted) -> dict[str, Any]:
    place = {"namespace": call.tool["namespace"]} if "namespace" in call.tool else {}
    return {
        "id": f"item_{call.id}",
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.tool["name"],
        **place,
        "arguments": json.dumps(call.input),
    }


if __name__ == "__main__":
    main(EveryFormat)
