"""The unix socket between the lab's process and the evaluator's: which calls there are, how they
and their answers are written.

The lab may ask for an operation of `core.operations` (except those of LOCAL) with the hash of the
caller's token, from which the evaluator finds out by itself who calls; and for one of CALLS, which
are the lab's own. Nothing else is answered.

A message is a line of JSON (a `Request` or an `Outcome`), then as many bytes of JSON as it says.
Messages of one connection carry numbers, so that many calls are in work at a time and each is
answered when it is done.
"""

import asyncio
import json
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured, Transient, Unauthorised
from aarlab.core.operation_records import Code, FindingId, Role, SnapshotId
from aarlab.core.records import Entry, Record

MAX_LINE, MAX_BYTES = 16 << 10, 64 << 20  # bytes of the line and of what follows it
# read in the lab's process
LOCAL = frozenset({"list_findings", "search_findings", "read_finding", "similar_ideas"})
PAGE = 500  # entries in one answer
ERRORS: dict[str, type[AarError]] = {
    e.__name__: e for e in (InvalidSubmission, Unauthorised, Misconfigured, Transient)
}
# what the lab needs of an error's facts: they choose the HTTP status
FACTS = frozenset({"absent", "forbidden", "status"})
BUG = "bug"
BUG_WORDS = (
    "A bug of aarlab, not your mistake. Report it to the operator: its number in the {log}'s log "
    "is {number}."
)


class Nothing(Record):
    """Of a call that takes or gives nothing."""


class ServingLimits(Record):
    """What the lab's process must know before it serves."""

    answers: int  # values in the largest submission: seeds times items


TokenHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # SHA-256


class Asked(Record):
    """SHA-256 of tokens, and the number after which findings are released."""

    tokens: list[TokenHash] = Field(max_length=500)
    after: int = Field(ge=0)


class Caller(Record):
    """Whom a token stands for."""

    name: str
    role: Role


ReleasedKind = Literal["code", "submission", "finding"]


class After(Record):
    """Which entries: those with a number above `after`, of one kind or of all that are released, up
    to `limit`."""

    after: int = Field(ge=0)
    kind: ReleasedKind | None = None
    limit: int = Field(default=PAGE, ge=1, le=PAGE)


class ReleasedEntries(Record):
    """Entries without what was not released; all up to `upto` are known."""

    entries: list[Entry]
    upto: int


class Now(ReleasedEntries):
    """Whom each token stands for, those that are valid; the next findings, and the ids of those
    that an operator hid."""

    callers: dict[str, Caller]
    hidden: list[str] = Field(default_factory=list)


class Snapshot(Record):
    """Whose files."""

    snapshot: SnapshotId


class Reading(Record):
    """Findings that the owner of a token is sent whole; `listed`: many at once, in a list."""

    token: TokenHash
    findings: list[FindingId] = Field(max_length=100)
    listed: bool


class Address(Record):
    """Where the lab takes requests, on loopback."""

    url: str = Field(pattern=r"^http://127\.0\.0\.1:[0-9]{1,5}$")


class Call(NamedTuple):
    """One call of the lab's own: what it takes and gives."""

    takes: type[Record]
    gives: type[Record]


CALLS: dict[str, Call] = {
    "limits": Call(Nothing, ServingLimits),
    "now": Call(Asked, Now),
    "released": Call(After, ReleasedEntries),
    "code": Call(Snapshot, Code),
    "reading": Call(Reading, Nothing),
    "serving": Call(Address, Nothing),
}


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    number: int
    size: int = Field(ge=0, le=MAX_BYTES)


class Request(_Line):
    """The line of a call. `token`: the hash of the caller's, of an operation; `ids` stand in its
    path."""

    call: str = Field(max_length=80)
    token: str | None = Field(default=None, max_length=64)
    ids: dict[str, str] = Field(default_factory=dict, max_length=4)


class Outcome(_Line):
    """The line of an answer; `error` is one of ERRORS, or BUG: then the bytes are the error's
    words."""

    error: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict)


def refused(number: int, error: AarError) -> tuple[Outcome, bytes]:
    """One of our errors as an answer."""
    kind = next(name for name, known in ERRORS.items() if isinstance(error, known))
    facts = {name: value for name, value in error.facts.items() if name in FACTS}
    words = str(error).encode(errors="replace")
    return Outcome(number=number, size=len(words), error=kind, facts=facts), words


def error_in(outcome: Outcome, words: bytes) -> AarError:
    """The error that an answer names; an unknown one is the evaluator's bug."""
    kind = ERRORS.get(outcome.error or "", Misconfigured)
    return kind(
        words.decode(errors="replace"), **{n: v for n, v in outcome.facts.items() if n in FACTS}
    )


def packed(line: _Line, content: bytes) -> bytes:
    """A whole message."""
    return line.model_dump_json(exclude_defaults=True).encode() + b"\n" + content


class Outbox:
    """The messages of one connection that are to be sent. Those that are ready at the same moment
    leave in one write: at each write a thread at work may take the interpreter, and keep it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._ready: list[bytes] = []

    def send(self, line: _Line, content: bytes) -> None:
        """Send a message, soon. Where the other side has ended, nobody waits for it."""
        if not self._ready:
            asyncio.get_running_loop().call_soon(self._flush)
        self._ready.append(packed(line, content))

    def _flush(self) -> None:
        ready, self._ready = self._ready, []
        if not self._writer.is_closing():
            self._writer.write(b"".join(ready))


async def read(reader: asyncio.StreamReader, kind: type[_Line]) -> tuple[Any, bytes]:
    """The next message: its line, which is of that kind, and its content.

    Raises:
        EOFError, ValueError: the other side has ended, or sent something else.
    """
    line = kind.model_validate(json.loads(await reader.readuntil(b"\n")))
    return line, await reader.readexactly(line.size)
