"""A script for a model API: turns (text and tool calls) and faults. The conversation alone decides
the next turn.

Each tool call has the number of its turn in its id. Agents send the ids back with every request, so
the API finds the last turn that was answered and plays the next. An interrupted call is played
again.

In all texts `<<name>>` is replaced by the last match of the pattern `find[name]` in the results of
earlier calls, or by one of `choose[name]` (always the same for one agent and round). `<<turn>>` is
the turn's number, and `<<round>>` is how often the loop has started again.
"""

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from aarlab.core.records import Record
from aarlab.core.strict_yaml import read_record

Seconds = Annotated[float, Field(ge=0, le=86_400, strict=False)]
Count = Annotated[int, Field(ge=0)]
_ID = re.compile(r"^toolu_(\d+)_\d+_\d+$")  # turn, number of the request's messages, place
_PLACE = re.compile(r"<<(\w+)>>")
# the results that an agent sends for a call that was interrupted: after a kill, and after a stop
_INTERRUPTED = re.compile(
    r"^(\[[^\]]*interrupted|The user doesn't want to proceed with this tool use)"
)
# Claude Code sends it between an interrupted request and the next one
_FILLER = "No response requested."
CHARACTERS_PER_TOKEN = 4


class ScriptedCall(Record):
    """One tool call."""

    tool: str
    input: dict[str, Any] = Field(default_factory=dict)


class ScriptedUsage(Record):
    """Token counts that the API reports for a turn; where they are not given, they are counted
    from the texts."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_creation_input_tokens: Count = 0
    cache_read_input_tokens: Count = 0


class Turn(Record):
    """Text and tool calls of one answer. An answer without calls ends the agent's turn."""

    say: str = ""
    calls: Annotated[tuple[ScriptedCall, ...], Field(strict=False)] = ()
    usage: ScriptedUsage = ScriptedUsage()
    pause_s: Seconds = 0.0  # before the answer is sent


class ScriptedFault(Record):
    """A fault that is played `times` times for each agent when a turn (counted from 0, loops
    included) is due."""

    turn: Count
    kind: Literal["status", "cut", "hang"] = "status"
    status: Annotated[int, Field(ge=400, le=599)] = 500
    words: str = "The script plays a fault."
    retry_after_s: Count | None = None
    seconds: Seconds = 3600.0  # of a hang
    times: Count = 1


class Script(Record):
    """See the module's docstring. After the last turn, turn `loop` follows; without `loop` the
    script ends."""

    turns: Annotated[tuple[Turn, ...], Field(min_length=1, strict=False)]
    find: dict[str, str] = Field(default_factory=dict)
    choose: dict[str, Annotated[tuple[str, ...], Field(min_length=1, strict=False)]] = Field(
        default_factory=dict
    )
    loop: Count | None = None
    faults: Annotated[tuple[ScriptedFault, ...], Field(strict=False)] = ()

    @field_validator("find")
    @classmethod
    def _patterns(cls, find: dict[str, str]) -> dict[str, str]:
        for name, pattern in find.items():
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"{name} is no regular expression: {error}") from error
            if groups != 1:
                raise ValueError(f"{name} must have one group, the text that is found")
        return find

    @model_validator(mode="after")
    def _loop_in_turns(self) -> "Script":
        if self.loop is not None and self.loop >= len(self.turns):
            raise ValueError(
                f"loop {self.loop} must be one of the {len(self.turns)} turns, counted from 0"
            )
        return self

    def next(self, body: Mapping[str, Any], who: str, tokens: int | None = None) -> "Spoken":
        """The answer to a request's `messages` and `tools`, which took so many tokens (None: they
        are counted). A request without tools is not part of the script; its answer is empty."""
        tokens = tokens_in(body) if tokens is None else tokens
        if not body.get("tools"):
            return Spoken(-1, "Nothing.", (), ScriptedUsage(), 0.0, tokens)
        number = self._due(body["messages"])
        at, begun = self._place(number)
        if at is None:
            return Spoken(number, "The script has ended.", (), ScriptedUsage(), 0.0, tokens)
        turn = self.turns[at]
        values = {
            "turn": str(number),
            "round": str(begun),
            **self._chosen(who, begun),
            **self._found(body["messages"]),
        }
        calls = tuple(ScriptedCall(tool=c.tool, input=_filled(c.input, values)) for c in turn.calls)
        counts = tokens, len(body["messages"])
        return Spoken(number, _filled(turn.say, values), calls, turn.usage, turn.pause_s, *counts)

    def _place(self, number: int) -> tuple[int | None, int]:
        """(index of the turn, how often the loop has started again)."""
        if number < len(self.turns):
            return number, 0
        if self.loop is None:
            return None, 0
        begun, at = divmod(number - self.loop, len(self.turns) - self.loop)
        return self.loop + at, begun

    def _due(self, messages: list[Any]) -> int:
        results, due = dict(_results(messages)), 0
        for message in messages:
            if not isinstance(message, dict) or message.get("role") != "assistant":
                continue
            ids = [
                b["id"]
                for b in _blocks(message)
                if b.get("type") == "tool_use" and _ID.match(str(b.get("id")))
            ]
            if ids:
                numbers = [int(_ID.match(i)[1]) for i in ids]  # type: ignore[index]
                done = all(i in results and not _INTERRUPTED.match(results[i]) for i in ids)
                due = max(numbers) + done
            elif _said(message) != _FILLER:
                at = self._place(due)[0]
                due += at is not None and not self.turns[at].calls
        return due

    def _chosen(self, who: str, begun: int) -> dict[str, str]:
        return {
            name: options[(zlib.crc32(f"{who}/{name}".encode()) + begun) % len(options)]
            for name, options in self.choose.items()
        }

    def _found(self, messages: list[Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for _, text in _results(messages):
            for name, pattern in self.find.items():
                for match in re.finditer(pattern, text):
                    found[name] = match[1]
        return found


class Spoken(NamedTuple):
    """One turn with its texts filled in. `turn` is its number, loops included; -1 if it is not a
    turn."""

    turn: int
    say: str
    calls: tuple[ScriptedCall, ...]
    usage: ScriptedUsage
    pause_s: float
    input_tokens: int
    messages: int = 0  # of the request

    @property
    def id(self) -> str:
        """Of the answer."""
        return f"msg_{self.turn}_{self.messages}_{self.input_tokens}"

    def call_id(self, number: int) -> str:
        """Of one of its calls, from which the turn is found again."""
        return f"toolu_{self.turn}_{self.messages}_{number}"

    def counted(self, content: object) -> dict[str, int]:
        """Its tokens: as the script says, or counted from the texts."""
        counted = {"input_tokens": self.input_tokens, "output_tokens": tokens_in(content)}
        return counted | self.usage.model_dump(exclude_none=True)


def tokens_in(thing: Any) -> int:
    """Approximate number of tokens: the characters as JSON divided by CHARACTERS_PER_TOKEN, at
    least 1."""
    return max(1, len(json.dumps(thing)) // CHARACTERS_PER_TOKEN)


def default_script(*, in_folder: bool = False) -> Path:
    """The built-in script: one experiment, from reading the forum to sharing a finding, in each
    incarnation; on a weak-to-strong problem, or on one in a folder."""
    scripts = Path(__file__).parent / "scripts"
    return scripts / "folder-experiment.yaml" if in_folder else scripts / "experiment.yaml"


def load_script(path: Path) -> Script:
    """Read a script from its file.

    Raises:
        Misconfigured: the file cannot be read, or a field is unknown or out of range.
    """
    return read_record(
        Script, path, remedy="Name a YAML file with a list `turns`.", what="the script"
    )


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []


def _said(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    return (
        content
        if isinstance(content, str)
        else "".join(str(b.get("text") or "") for b in _blocks(message)).strip()
    )


def _results(messages: list[Any]) -> Iterator[tuple[str, str]]:
    """(id of the call, text) of every tool result."""
    for message in messages:
        for block in _blocks(message) if isinstance(message, dict) else []:
            if block.get("type") == "tool_result":
                content = block.get("content")
                parts = content if isinstance(content, list) else [{"text": content}]
                yield (
                    str(block.get("tool_use_id")),
                    "\n".join(str(p.get("text") or "") for p in parts if isinstance(p, dict)),
                )


def _filled(thing: Any, values: Mapping[str, str]) -> Any:
    """`thing` with its placeholders replaced; a placeholder without a value stays."""
    if isinstance(thing, str):
        return _PLACE.sub(lambda m: values.get(m[1], m[0]), thing)
    if isinstance(thing, dict):
        return {k: _filled(v, values) for k, v in thing.items()}
    return [_filled(v, values) for v in thing] if isinstance(thing, list) else thing
