"""A row of a preference data set, in the forms in which they are published, as a pair.

`chosen` and `rejected` are texts, or conversations: lists of messages {"role", "content"}. The
prompt is a field (PROMPTS), or, as in TRL's data sets with an implicit prompt, what both begin
with: the messages, or the text up to the assistant's turn or the end of a line. Texts that share
less have no prompt, and are compared whole. An `instruction` may have an `input`, which follows it
(the form of Alpaca).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

CHOSEN = ("chosen", "rejected")
PROMPTS = ("prompt", "question", "instruction")
INPUT = "input"
ASSISTANT = "\n\nAssistant:"  # where an answer begins in conversations that are one text
NO_PROMPT = "Which of the two texts is the better one?"
Row = dict[str, Any]


class Preference(NamedTuple):
    """What a row says. `implicit`: the prompt was what both answers began with; None: there is
    none."""

    prompt: str
    chosen: str
    rejected: str
    implicit: bool | None


def preference_of(row: Row) -> Preference | None:
    """The preference in a row; None where it has none.

    Raises:
        ValueError: a field is neither a text nor a conversation.
    """
    if any(row.get(key) is None for key in CHOSEN):
        return None
    name = next((name for name in PROMPTS if _filled(row.get(name))), None)
    given = _given(row[name]) if name else ""
    if name == "instruction" and _filled(row.get(INPUT)):
        given = f"{given}\n\n{_text(INPUT, row[INPUT])}"
    chosen, rejected = (_conversation(key, row[key]) for key in CHOSEN)
    if chosen is None or rejected is None:
        return _of_texts(given, *(_text(key, row[key]) for key in CHOSEN))
    # an answer has a message at least
    shared = min(_shared(chosen, rejected), len(chosen) - 1, len(rejected) - 1)
    prompt = _joined(chosen[:shared]) if shared else given
    return Preference(
        prompt or NO_PROMPT,
        _joined(chosen[shared:]),
        _joined(rejected[shared:]),
        shared > 0 if prompt else None,
    )


def _of_texts(given: str, chosen: str, rejected: str) -> Preference:
    if given:
        return Preference(given, chosen, rejected, False)
    shared = chosen[: _shared(chosen, rejected)]
    turn = shared.rfind(ASSISTANT)
    at = turn + len(ASSISTANT) if turn >= 0 else shared.rfind("\n") + 1
    prompt = shared[:at].strip()
    if not prompt:
        return Preference(NO_PROMPT, chosen, rejected, None)
    return Preference(prompt, chosen[at:].strip(), rejected[at:].strip(), True)


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many elements both begin with."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _filled(value: Any) -> bool:
    return bool(value.strip() if isinstance(value, str) else value)


def _given(prompt: Any) -> str:
    """A prompt that is a field: a text, or a conversation."""
    messages = _conversation("prompt", prompt)
    return _text("prompt", prompt) if messages is None else _joined(messages)


def _conversation(name: str, value: Any) -> list[tuple[str, str]] | None:
    """(role, text) of each message; None of what is no list."""
    if not isinstance(value, list):
        return None
    for message in value:
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise ValueError(
                f'{name}: a list must hold messages {{"role", "content"}}, not {message!r:.60}'
            )
    if not value:
        raise ValueError(f"{name}: the conversation has no message")
    return [(str(m["role"]), _content(name, m["content"])) for m in value]


def _content(name: str, content: Any) -> str:
    """The text of a message; of parts, of those that are texts."""
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        if strange := {str(part.get("type")) for part in content} - {"text"}:
            raise ValueError(f"{name}: a message has a part of type {min(strange)!r}, not text")
        return "\n".join(_text(name, part.get("text")) for part in content)
    return _text(name, content)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}: {value!r:.60} is neither a text nor a list of messages")
    return value


def _joined(messages: list[tuple[str, str]]) -> str:
    """One message as its text, more with their roles."""
    if len(messages) == 1:
        return messages[0][1]
    return "\n\n".join(f"{role}: {text}" for role, text in messages)
