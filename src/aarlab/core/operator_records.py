"""What the operator's operations take and give; strict, as `operation_records`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aarlab.core.operation_records import (
    Activity,
    FindingId,
    Name,
    Predictions,
    Role,
    Seconds,
    SnapshotId,
    TicketId,
    Whole,
)
from aarlab.core.records import Failure, Record, Released


class NewToken(Record):
    """Whom the token is for; it ends after `seconds`, or never."""

    name: Name
    role: Role = "researcher"
    seconds: Seconds | None = None


class Token(Record):
    """A token, shown once."""

    name: str
    role: Role
    token: str


class IssuedToken(Record):
    """What is kept about a token beside its hash."""

    name: str
    role: Role
    expires: float | None = None  # seconds since 1970, UTC; None: never


class Tokens(Record):
    tokens: list[IssuedToken]


class Revoked(Record):
    name: str


Act = Literal["pause", "continue", "extend", "message", "hide", "show", "confirm"]
NEEDS: dict[Act, str] = {  # the field without which an act says nothing
    "extend": "limits",
    "message": "text",
    "hide": "finding",
    "show": "finding",
    "confirm": "snapshot",
}


class Order(Record):
    """What an operator asks of a campaign that runs."""

    act: Act
    researcher: Name | None = None  # whom a message is to; None: all
    text: Annotated[str, Field(min_length=1, max_length=4_000)] | None = None
    finding: FindingId | None = None
    snapshot: SnapshotId | None = None
    # the new limits in all, by the name of the campaign's field ("minutes", "budget.usd")
    limits: dict[str, Annotated[float, Field(gt=0, le=1e9)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _says_what(self) -> "Order":
        needed = NEEDS.get(self.act)
        if needed is not None and not getattr(self, needed):
            raise ValueError(f"an order to {self.act} names its {needed}")
        return self


class Event(Record):
    """What happened to a researcher or to the campaign."""

    event: Annotated[str, Field(min_length=1, max_length=200)]
    # seconds since 1970 of what is reported; the entry has its own time
    at: Annotated[float, Field(ge=0, le=1e11)] | None = None
    returncode: int | None = None
    direction: Annotated[str, Field(max_length=20_000)] | None = None
    incarnation: Whole | None = None  # of a researcher: which of its incarnations
    # a prompt's text, the words of an error
    detail: Annotated[str, Field(max_length=200_000)] | None = None
    # s in which what is not its own was broken: not charged
    lost_s: Annotated[float, Field(ge=0, le=1e9)] | None = None
    order: Order | None = None  # of the campaign: what the operator asks it to do


class ModelCall(Record):
    """One answer of a model API, as it was metered."""

    model: Annotated[str, Field(max_length=200)]
    input_tokens: Whole  # neither written to nor read from a cache
    cache_write_tokens: Whole
    cache_read_tokens: Whole
    output_tokens: Whole
    interrupted: bool = False  # cut off: the tokens are what was known until then
    # its usage could not be read: the tokens are the most that it can have taken
    assumed: bool = False


class Spend(Record):
    """What was spent, in seconds of wall clock, processor and device, and, where the price is
    known, in dollars."""

    # seconds since 1970 of what is reported; the entry has its own time
    at: Annotated[float, Field(ge=0, le=1e11)] | None = None
    wall_s: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    cpu_s: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    usd: Annotated[float, Field(ge=0, le=1e9)] | None = None
    # seconds of devices, each counted: such a spend has nothing else but its dollars
    device_s: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    call: ModelCall | None = None  # None: the machine, or a device

    @model_validator(mode="after")
    def _says_something(self) -> "Spend":
        said = self.model_fields_set & {"wall_s", "cpu_s", "usd", "device_s"}
        if self.call is None and not said:
            raise ValueError("a spend says seconds, dollars or a call")
        return self


RowId = Annotated[str, Field(pattern=r"^[0-9a-zA-Z._-]{1,80}$")]


class NewEvent(Record):
    """An event; one with the id of an earlier entry is that entry, and nothing is added."""

    kind: Literal["researcher", "campaign"]
    who: Name
    id: RowId | None = None
    body: Event


class NewSpend(Record):
    """A spend; one with the id of an earlier entry is that entry, and nothing is added."""

    kind: Literal["spend"]
    who: Name
    id: RowId | None = None
    body: Spend


NewEntry = Annotated[NewEvent | NewSpend, Field(discriminator="kind")]


class Recorded(Record):
    """The entry's number and hash in the ledger."""

    seq: int
    hash: str


class Waiting(Record):
    """Code that waits to be run on its issued seeds."""

    ticket: TicketId
    who: Name  # asked for it
    snapshot: SnapshotId
    seeds: list[int]


class Requests(Record):
    requests: list[Waiting]


class Ran(Record):
    """What the code answered."""

    predictions: Predictions


class Graded(Record):
    """That what the code submitted was graded: SHA-256 of the file in which the unit scores lie for
    the evaluator alone (`GradingsFolder`)."""

    graded: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Failed(Record):
    """How the code failed; `log` is of a run that saw no feedback item."""

    failure: Failure
    log: Annotated[str, Field(max_length=20_000)] | None = None


class OperatorBoard(Record):
    """Counts by submitter, the reported level, and what has been released of the label set."""

    submissions: int
    combined: bool = False  # `level_pgr` is a combined score
    level_pgr: float
    released: Released
    by_submitter: dict[str, Activity]


class CampaignState(Record):
    """Events so far, seconds spent by all researchers, number of submissions."""

    events: list[str | None]
    wall_s: float
    submissions: int
