"""What the lines of other agents than Claude Code say: Codex (`exec --json`), Gemini
(`--output-format stream-json`) and OpenCode (`run --format json`).

An event gives (kind of step, text) pairs; None is another format's. Nothing here trusts an event.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from aarlab.core.strict_json import dicts

Kind = Literal["begins", "says", "thinks", "calls", "gets", "fails", "waits", "ends", "prints"]
Event = Mapping[str, Any]
Said = list[tuple[Kind, str]]

WORDS_OF_CALL = 20_000  # characters of a call's arguments
_SERVER = re.compile(r"^(mcp__)?(\w+?)__|^(mcp_)?lab_")  # before the name of a server's tool
_NAMED = (
    *("command", "cmd", "file_path", "filePath", "pattern", "path", "dir_path"),
    *("title", "query", "description", "prompt", "url"),
)  # of a call: what it is about


def call_words(name: str, given: Event) -> str:
    """A tool call as text: "Bash: python method.py"; of the lab's own tools without the server's
    name."""
    plain = _SERVER.sub("", name)
    for key in _NAMED:
        if isinstance(given.get(key), str):
            return f"{plain}: {given[key]}"
    return f"{plain}: {json.dumps(given)[:WORDS_OF_CALL]}" if given else plain


def result_text(content: Any) -> str:
    """The text of a tool's result: a string, or a list of parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text", part.get("type", ""))) for part in dicts(content))
    return "" if content is None else str(content)


def at_of(event: Event) -> str | None:
    """When it was, in ISO 8601, where it says so."""
    at = event.get("timestamp")
    if isinstance(at, str):
        return at
    if isinstance(at, int) and not isinstance(at, bool) and 0 <= at < 1 << 43:  # milliseconds
        return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    return None


def read(event: Event) -> Said | None:
    """What an event of one of the three says; None where it is of none of them."""
    kind = event["type"]
    reader = _OPENCODE.get(kind) if "sessionID" in event else _CODEX.get(kind) or _GEMINI.get(kind)
    return None if reader is None else reader(event)


# --- Codex ----------------------------------------------------------------------------------------


def _codex_started(event: Event) -> Said:
    item = fields(event, "item")
    if item.get("type") == "command_execution":
        return [("calls", f"shell: {item.get('command')}")]
    if item.get("type") == "mcp_tool_call":
        return [("calls", call_words(str(item.get("tool")), fields(item, "arguments")))]
    return []


def _codex_completed(event: Event) -> Said:
    item = fields(event, "item")
    kind, text = item.get("type"), str(item.get("text", ""))
    failed = item.get("status") == "failed"
    if kind == "agent_message":
        return [("says", text)]
    if kind == "reasoning":
        return [("thinks", text)]
    if kind == "error":
        return [("fails", str(item.get("message", "")))]
    if kind == "command_execution":
        return [("fails" if failed else "gets", str(item.get("aggregated_output", "")))]
    if kind == "mcp_tool_call":
        result = fields(item, "result")
        gave = result_text(result.get("content")) or str(fields(item, "error").get("message", ""))
        return [("fails" if failed else "gets", gave)]
    if kind == "file_change":
        paths = ", ".join(str(change.get("path")) for change in dicts(item.get("changes")))
        return [("calls", f"edit: {paths}")]
    return []


def _codex_failed(event: Event) -> Said:
    return [("fails", str(fields(event, "error").get("message", "")))]


def _codex_error(event: Event) -> Said:
    words = str(event.get("message", ""))
    return [("waits" if words.startswith("Reconnecting") else "fails", words)]


_CODEX: dict[str, Callable[[Event], Said]] = {
    "thread.started": lambda event: [("begins", f"Codex, session {event.get('thread_id')}")],
    "turn.started": lambda event: [],
    "item.started": _codex_started,
    "item.updated": lambda event: [],
    "item.completed": _codex_completed,
    "turn.completed": lambda event: [("ends", "completed")],
    "turn.failed": _codex_failed,
    "error": _codex_error,  # Gemini's are the same
}


# --- Gemini ---------------------------------------------------------------------------------------


def _gemini_result(event: Event) -> Said | None:
    if "subtype" in event:  # Claude Code's
        return None
    words = str(fields(event, "error").get("message", ""))
    return [("ends", "completed")] if event.get("status") == "success" else [("fails", words)]


def _gemini_got(event: Event) -> Said:
    failed = event.get("status") == "error"
    words = fields(event, "error").get("message") if failed else event.get("output")
    return [("fails" if failed else "gets", result_text(words))]


def _gemini_message(event: Event) -> Said:
    return [("says" if event.get("role") == "assistant" else "begins", str(event.get("content")))]


_GEMINI: dict[str, Callable[[Event], Said | None]] = {
    "init": lambda event: [("begins", f"{event.get('model')}, session {event.get('session_id')}")],
    "message": _gemini_message,
    "tool_use": lambda event: [
        ("calls", call_words(str(event.get("tool_name")), fields(event, "parameters")))
    ],
    "tool_result": _gemini_got,
    "result": _gemini_result,
}


# --- OpenCode -------------------------------------------------------------------------------------


def _opencode_tool(event: Event) -> Said:
    """It is a step once it has ended."""
    part = fields(event, "part")
    state = fields(part, "state")
    failed = state.get("status") == "error"
    gave = state.get("error") if failed else state.get("output")
    return [
        ("calls", call_words(str(part.get("tool")), fields(state, "input"))),
        ("fails" if failed else "gets", result_text(gave)),
    ]


def _opencode_error(event: Event) -> Said:
    error = fields(event, "error")
    return [("fails", str(fields(error, "data").get("message") or error.get("name", "")))]


def _opencode_finish(event: Event) -> Said:
    reason = fields(event, "part").get("reason")
    return [("ends", "completed")] if reason == "stop" else []


_OPENCODE: dict[str, Callable[[Event], Said]] = {
    "step_start": lambda event: [],
    "text": lambda event: [("says", str(fields(event, "part").get("text", "")))],
    "reasoning": lambda event: [("thinks", str(fields(event, "part").get("text", "")))],
    "tool_use": _opencode_tool,
    "step_finish": _opencode_finish,
    "error": _opencode_error,
}


# --- all of them ----------------------------------------------------------------------------------


def fields(event: Event, name: str) -> Event:
    """The object of that name; empty where there is none."""
    found = event.get(name)
    return found if isinstance(found, dict) else {}
