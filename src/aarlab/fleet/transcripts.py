"""What researchers printed, read as steps: CAMPAIGN/transcripts/NAME/NNN.jsonl, one file for each
incarnation; of a long one the latest part, and earlier parts in NNN.1.jsonl, NNN.2.jsonl, ...

A line is an event of Claude Code's `--output-format stream-json`, of another agent's
(`transcript_formats`), or any other text. Nothing here trusts a line: it may be cut, binary or made
to harm a terminal.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from aarlab.core.printable import one_line, printable
from aarlab.core.strict_json import dicts
from aarlab.fleet.transcript_formats import (
    Event,
    Kind,
    at_of,
    call_words,
    fields,
    read,
    result_text,
)
from aarlab.sandbox.output import aside, put_aside

LINE_BYTES = 8 << 20  # a longer line is read to its end and left out
STEP_CHARACTERS = 20_000  # of one step's text
WORDS = 120  # characters of a step in one line
MESSAGES, BLOCKS = 64, 256  # the latest messages whose blocks are remembered, and how many of each
# where the last action is looked for, once a second by the supervisor
_TAIL_BYTES, _TAIL_LINES = (1 << 16, 1 << 20), 500
_PART = b'{"type":"stream_event"'  # most lines are; they need not be parsed


class Step(NamedTuple):
    """One thing that a researcher did or that happened to it. `text` is printable."""

    kind: Kind
    text: str
    at: str = ""  # ISO 8601, where the line says it

    @property
    def words(self) -> str:
        """In one line: "Bash: python method.py", "says: It works."."""
        line = one_line(self.text, WORDS)
        return (
            line
            if self.kind in {"calls", "prints", "waits"}
            else f"{self.kind}: {line}"
            if line
            else self.kind
        )


def step(kind: Kind, text: str) -> Step:
    """A step of any text, shortened and made printable."""
    left_out = len(text) - STEP_CHARACTERS
    end = f"\n… {left_out:,} more characters" if left_out > 0 else ""
    return Step(kind, printable(text[:STEP_CHARACTERS]).strip("\n") + end)


def comes_whole_later(line: bytes) -> bool:
    """Whether a line is a part of a message that is printed whole after its parts."""
    return line.startswith(_PART)


class Parser:
    """Lines of one incarnation -> steps. Blocks that an agent prints again (whole after parts, or
    once more) are steps once."""

    def __init__(self, seen: Mapping[str, list[str]] | None = None) -> None:
        # message -> digests of its blocks
        self.seen: OrderedDict[str, list[str]] = OrderedDict(seen or {})

    def steps(self, line: bytes) -> list[Step]:
        """What one line says; nothing for an empty one and for parts of a message that comes whole
        later."""
        if comes_whole_later(line):
            return []
        text = line.decode(errors="replace").strip()
        if not text:
            return []
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            return [step("prints", text)]
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            return [step("prints", text)]
        at = at_of(event)
        return [
            one if at is None else one._replace(at=one_line(at, 32)) for one in self._event(event)
        ]

    def _event(self, event: Event) -> list[Step]:
        if (others := read(event)) is not None:
            return [step(kind, text) for kind, text in others if text]
        kind = event["type"]
        if kind in {"assistant", "user"}:
            return self._message(kind, fields(event, "message"))
        if kind == "result":
            return [_ended(event)]
        return _system(event) if kind == "system" else []

    def _message(self, role: str, message: Event) -> list[Step]:
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found = []
        for block in dicts(blocks):
            if self._is_new(message.get("id"), block):
                found += _block(role, block)
        return found

    def _is_new(self, message: Any, block: Event) -> bool:
        if not isinstance(message, str):
            return True
        digest = hashlib.blake2b(
            json.dumps(block, sort_keys=True).encode(errors="replace"), digest_size=8
        ).hexdigest()
        mine = self.seen.setdefault(message[:100], [])
        self.seen.move_to_end(message[:100])
        while len(self.seen) > MESSAGES:
            self.seen.popitem(last=False)
        if digest in mine:
            return False
        mine.append(digest)
        del mine[:-BLOCKS]
        return True


def _block(role: str, block: Event) -> list[Step]:
    kind = block.get("type")
    if kind == "text":
        return [step("says" if role == "assistant" else "begins", str(block.get("text", "")))]
    if kind == "thinking":
        return [step("thinks", str(block.get("thinking", "")))]
    if kind == "tool_use":
        return [step("calls", call_words(str(block.get("name", "?")), fields(block, "input")))]
    if kind == "tool_result":
        return [
            step(
                "fails" if block.get("is_error") is True else "gets",
                result_text(block.get("content")),
            )
        ]
    return []


def _ended(event: Event) -> Step:
    reason = str(event.get("terminal_reason") or event.get("subtype") or "?")
    words = event.get("result") if isinstance(event.get("result"), str) else ""
    stopped = reason.startswith("aborted")  # it was asked to stop, and did
    bad = not stopped and (event.get("is_error") is True or event.get("subtype") != "success")
    return step("fails" if bad else "ends", f"{reason}: {words}" if words else reason)


def _system(event: Event) -> list[Step]:
    kind = event.get("subtype")
    if kind == "init":
        servers = dicts(event.get("mcp_servers"))
        tools = ", ".join(f"{s.get('name')} {s.get('status')}" for s in servers) or "none"
        return [
            step(
                "begins",
                f"{event.get('model')}, session {event.get('session_id')}, tools of: {tools}",
            )
        ]
    if kind == "api_retry":
        words = f"waits for the model: {event.get('error_status')}, attempt {event.get('attempt')}"
        return [step("waits", f"{words}, again in {event.get('retry_delay_ms')} ms")]
    return (
        [step("waits", f"{kind}: {event.get('content') or ''}")] if kind == "model_fallback" else []
    )


# --- files ----------------------------------------------------------------------------------------


def transcript_paths(folder: Path) -> dict[int, Path]:
    """The transcripts in one researcher's folder, by the number of its incarnation, in order."""
    found = {
        int(p.stem): p for p in folder.glob("*.jsonl") if p.stem.isascii() and p.stem.isdigit()
    }
    return dict(sorted(found.items()))


def lines(file: BinaryIO, *, partial: bool) -> Iterator[tuple[bytes, int]]:
    """Lines from where the file stands, with the number of bytes up to the end of each; one that is
    too long is said to be. `partial`: a last line without its end counts as well. In bounded
    memory."""
    taken = 0
    while line := file.readline(LINE_BYTES):
        whole, length = line, len(line)
        while len(line) >= LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(LINE_BYTES)
            length += len(line)
            whole = b"[a line of %d bytes is left out]" % length
        if not line.endswith(b"\n") and not partial:
            return
        taken += length
        yield whole, taken


class TranscriptReader:
    """One incarnation, read as it is written. `part`: how many of its parts, that were put aside,
    were read."""

    def __init__(
        self,
        path: Path,
        *,
        offset: int = 0,
        part: int = 0,
        seen: Mapping[str, list[str]] | None = None,
    ) -> None:
        self.path, self.offset, self.part, self.parser = path, offset, part, Parser(seen)

    @property
    def at(self) -> tuple[int, int]:
        """How far it has come."""
        return self.part, self.offset

    def new(self, *, whole: bool, limit: int | None = None) -> Iterator[Step]:
        """Steps of the lines (at most `limit`) that were written since. `whole`: nothing more will
        be, so that a last line without its end counts.

        Raises:
            FileNotFoundError: there is no such file.
        """
        while True:
            with self.path.open("rb") as latest:  # stays what it is, if it is put aside now
                before = [number for number in put_aside(self.path) if number > self.part]
                if not before:
                    yield from self._read(latest, whole, limit)
                    return
            if before[0] > self.part + 1:  # what was between is not kept
                self.part, self.offset = before[0] - 1, 0
            with aside(self.path, before[0]).open("rb") as file:
                start = self.at
                yield from self._read(file, True, limit)
            if limit is not None and self.at != start:
                return
            self.part, self.offset = before[0], 0

    def _read(self, file: BinaryIO, whole: bool, limit: int | None) -> Iterator[Step]:
        start = self.offset
        file.seek(start)
        for line, taken in islice(lines(file, partial=whole), limit):
            self.offset = start + taken
            yield from self.parser.steps(line)


def steps_of(path: Path) -> Iterator[Step]:
    """Every step of one incarnation, as far as it is written.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return TranscriptReader(path).new(whole=True)


def last_action(path: Path) -> tuple[float, str] | None:
    """When a researcher last printed something (seconds since 1970), and the last thing it did, in
    words: "Bash: python method.py". Reads the end of the file alone, and only if it has changed.
    None where nothing was printed."""
    try:
        found = path.stat()
        return (
            (found.st_mtime, _last_output(path, found.st_size, found.st_mtime_ns))
            if found.st_size
            else None
        )
    except FileNotFoundError:
        return None


@lru_cache(maxsize=1024)
def _last_output(path: Path, size: int, mtime_ns: int) -> str:
    del mtime_ns  # of the key only
    with path.open("rb") as file:
        for tail in _TAIL_BYTES:
            file.seek(max(0, size - tail))
            rows = file.read(tail).split(b"\n")
            if (words := _last(rows if tail >= size else rows[1:])) or tail >= size:
                return words or "prints"
    return "prints a long line"


def _last(rows: Sequence[bytes]) -> str | None:
    parser = Parser()
    read = (row for row in reversed(rows) if row and not comes_whole_later(row))
    for row in islice(read, _TAIL_LINES):
        for one in reversed(parser.steps(row)):
            if one.kind not in {"gets", "begins", "thinks"} and one.text:
                return one.words
    return None
