"""What researchers printed, read as steps: CAMPAIGN/transcripts/NAME/NNN.jsonl, one file a life.

A line is an event of Claude Code's `--output-format stream-json`, or any other text. Nothing here trusts a line: it may be cut,
binary or made to harm a terminal.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from aarlab.core.printable import one_line, printable

Kind = Literal["begins", "says", "thinks", "calls", "gets", "fails", "waits", "ends", "prints"]
LINE_BYTES = 8 << 20  # a longer line is read to its end and left out
STEP_CHARACTERS = 20_000  # of one step's text
WORDS = 120  # characters of a step in one line
MESSAGES = 64  # whose blocks are remembered
_TAIL_BYTES = (1 << 16, 1 << 20, LINE_BYTES)
_NAMED = (
    "command",
    "file_path",
    "pattern",
    "path",
    "title",
    "query",
    "description",
    "prompt",
    "url",
)  # of a call: what it is about
Event = Mapping[str, Any]


class Step(NamedTuple):
    """One thing that a researcher did or that happened to it. `text` is printable."""

    kind: Kind
    text: str

    @property
    def words(self) -> str:
        """In one line: "Bash: python method.py", "says: It works."."""
        line = one_line(self.text, WORDS)
        return line if self.kind in {"calls", "prints", "waits"} else f"{self.kind}: {line}" if line else self.kind


def step(kind: Kind, text: str) -> Step:
    """A step of any text, shortened and made printable."""
    return Step(kind, printable(text[:STEP_CHARACTERS]).strip("\n"))


class Parser:
    """Lines of one life -> steps. Blocks that an agent prints again (whole after parts, or once more) are steps once."""

    def __init__(self, seen: Mapping[str, list[str]] | None = None) -> None:
        self.seen: OrderedDict[str, list[str]] = OrderedDict(seen or {})  # message -> digests of its blocks

    def steps(self, line: bytes) -> list[Step]:
        """What one line says; nothing for an empty one and for parts of a message that comes whole later."""
        text = line.decode(errors="replace").strip()
        if not text:
            return []
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            return [step("prints", text)]
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            return [step("prints", text)]
        return self._event(event)

    def _event(self, event: Event) -> list[Step]:
        kind = event["type"]
        if kind in {"assistant", "user"}:
            return self._message(kind, _fields(event, "message"))
        if kind == "result":
            return [_ended(event)]
        return _system(event) if kind == "system" else []

    def _message(self, role: str, message: Event) -> list[Step]:
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found = []
        for block in blocks if isinstance(blocks, list) else []:
            if isinstance(block, dict) and self._is_new(message.get("id"), block):
                found += _block(role, block)
        return found

    def _is_new(self, message: Any, block: Event) -> bool:
        if not isinstance(message, str):
            return True
        digest = hashlib.blake2b(json.dumps(block, sort_keys=True).encode(errors="replace"), digest_size=8).hexdigest()
        mine = self.seen.setdefault(message[:100], [])
        self.seen.move_to_end(message[:100])
        while len(self.seen) > MESSAGES:
            self.seen.popitem(last=False)
        if digest in mine:
            return False
        mine.append(digest)
        return True


def _fields(event: Event, name: str) -> Event:
    found = event.get(name)
    return found if isinstance(found, dict) else {}


def _block(role: str, block: Event) -> list[Step]:
    kind = block.get("type")
    if kind == "text":
        return [step("says" if role == "assistant" else "begins", str(block.get("text", "")))]
    if kind == "thinking":
        return [step("thinks", str(block.get("thinking", "")))]
    if kind == "tool_use":
        return [step("calls", call_words(str(block.get("name", "?")), _fields(block, "input")))]
    if kind == "tool_result":
        return [step("fails" if block.get("is_error") is True else "gets", _result_text(block.get("content")))]
    return []


def call_words(name: str, given: Event) -> str:
    """A tool call in words: "Bash: python method.py"; of the lab's own tools without the server's name."""
    plain = name.split("__")[-1]
    for key in _NAMED:
        if isinstance(given.get(key), str):
            return f"{plain}: {given[key]}"
    return f"{plain}: {json.dumps(given)[:STEP_CHARACTERS]}" if given else plain


def _result_text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", part.get("type", ""))) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def _ended(event: Event) -> Step:
    reason = str(event.get("terminal_reason") or event.get("subtype") or "?")
    words = event.get("result") if isinstance(event.get("result"), str) else ""
    bad = event.get("is_error") is True or event.get("subtype") != "success"
    return step("fails" if bad else "ends", f"{reason}: {words}" if words else reason)


def _system(event: Event) -> list[Step]:
    kind = event.get("subtype")
    if kind == "init":
        servers = [s for s in event.get("mcp_servers") or () if isinstance(s, dict)]
        tools = ", ".join(f"{s.get('name')} {s.get('status')}" for s in servers) or "none"
        return [step("begins", f"{event.get('model')}, session {event.get('session_id')}, tools of: {tools}")]
    if kind == "api_retry":
        words = f"waits for the model: {event.get('error_status')}, attempt {event.get('attempt')}"
        return [step("waits", f"{words}, again in {event.get('retry_delay_ms')} ms")]
    return [step("waits", f"{kind}: {event.get('content') or ''}")] if kind == "model_fallback" else []


# --- files ------------------------------------------------------------------------------------------------------------


def lines(file: BinaryIO, *, partial: bool) -> Iterator[tuple[bytes, int]]:
    """Whole lines from where the file stands, with the offset after each; one that is too long is b"". `partial`: a last
    line without its end counts as well. In bounded memory."""
    while line := file.readline(LINE_BYTES):
        long = False
        while line and not line.endswith(b"\n") and len(line) >= LINE_BYTES:
            line, long = file.readline(LINE_BYTES), True
        if line and not line.endswith(b"\n") and not partial:
            return
        yield b"" if long else line, file.tell()


def last_action(path: Path) -> tuple[float, str] | None:
    """When a researcher last printed something (seconds since 1970), and the last thing it did, in words: "Bash: python
    method.py". Reads the end of the file alone. None where nothing was printed."""
    try:
        with path.open("rb") as file:
            size, at = path.stat().st_size, path.stat().st_mtime
            for tail in _TAIL_BYTES if size else ():
                file.seek(max(0, size - tail))
                found = _last(file.read(tail), whole=tail >= size)
                if found or tail >= size:
                    return at, found or "prints"
    except FileNotFoundError:
        return None
    return (at, "prints a long line") if size else None


def _last(data: bytes, *, whole: bool) -> str | None:
    parser, rows = Parser(), data.split(b"\n")
    for row in reversed(rows if whole else rows[1:]):
        for one in reversed(parser.steps(row)):
            if one.kind not in {"gets", "begins", "thinks"} and one.text:
                return one.words
    return None
