"""The records that every layer shares. Frozen, strict, one field one meaning.

Legend: N items, C classes, S seeds.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aarlab.core.errors import Misconfigured

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Record(BaseModel):
    """Base of all records: frozen, strict, unknown fields refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


R = TypeVar("R", bound=Record)


def validated(kind: type[R], fields: object, where: str) -> R:
    """A record of that kind from plain fields.

    Raises:
        Misconfigured: a field is unknown or out of range; the message names each.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise Misconfigured(f"{where}: {'; '.join(_said(kind, e) for e in error.errors())}.") from error


def _said(kind: type[BaseModel], error: "ErrorDetails") -> str:
    """One fault of a field in words; of a name that is no field, those that are."""
    *path, name = error["loc"] or ("all",)
    dotted = ".".join(map(str, (*path, name)))
    if error["type"] != "extra_forbidden":
        return f"{dotted}: {error['msg']}"
    fields = _fields_at(kind, path)
    like = get_close_matches(str(name), fields, n=1)
    hint = f"did you mean {like[0]}?" if like else f"there are {', '.join(fields)}" if fields else "it is not a field"
    return f"{dotted}: unknown field, {hint}"


def _fields_at(kind: type[BaseModel], path: Sequence[object]) -> tuple[str, ...]:
    """The fields of the record that lies at that path inside a record; () where a path leads through anything else."""
    for name in path:
        inner = kind.model_fields[str(name)].annotation if str(name) in kind.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ()
        kind = inner
    return tuple(kind.model_fields)


class Family(StrEnum):
    """The eleven method families of the study, over which diversity is measured."""

    SELF_TRAINING = "self-training"
    ENSEMBLE = "ensemble"
    DISTILLATION = "distillation"
    DATA_FILTERING = "data filtering"
    CONFIDENCE_WEIGHTING = "confidence weighting"
    LOSS_FUNCTION = "loss function"
    UNSUPERVISED_ELICITATION = "unsupervised elicitation"
    CURRICULUM = "curriculum"
    MODEL_INTERNALS = "model internals"
    EVOLUTIONARY = "evolutionary"
    OTHER = "other"


SplitName = Literal["teacher", "student", "feedback", "final"]
SPLITS: tuple[SplitName, ...] = ("teacher", "student", "feedback", "final")
PartName = Literal["id", "ood"]


class Item(Record):
    """One example with its hidden truth. `PUBLISHED` is the allow-list of fields that may leave the evaluator's side."""

    PUBLISHED: ClassVar[tuple[str, ...]] = ()

    id: str
    label: Literal[0, 1]
    split: SplitName
    part: PartName
    level: int = Field(ge=1)  # 1 is the easiest


class Pair(Item):
    """Which of two texts is the better answer to the prompt? Label 1 when `second` is."""

    PUBLISHED: ClassVar[tuple[str, ...]] = ("id", "prompt", "first", "second")

    prompt: str
    first: str
    second: str

    @property
    def question(self) -> str:
        return self.prompt

    @property
    def choices(self) -> tuple[str, ...]:
        return self.first, self.second


class Choice(Item):
    """Is this worked answer to the question right? Label 1 when it is."""

    PUBLISHED: ClassVar[tuple[str, ...]] = ("id", "question", "choice")

    question: str
    choice: str

    @property
    def choices(self) -> tuple[str, ...]:
        return (self.choice,)


AnyItem = Pair | Choice


class Measure(Record):
    """A measured number: estimate with an interval, how many units it rests on, and what was resampled.

    `lower` and `upper` bound a 95 % interval. An unknown number is `None` where a Measure is expected, never 0.0.
    """

    estimate: float
    lower: float
    upper: float
    n: int = Field(ge=1)
    resampled: str  # e.g. "items, seeds and anchors"

    @model_validator(mode="after")
    def _ordered(self) -> "Measure":
        if not self.lower <= self.upper:
            raise ValueError(f"lower {self.lower} must not exceed upper {self.upper}")
        return self

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.lower:.3f}, {self.upper:.3f}]"


class Diagnostics(Record):
    """What a submitter may know about its own predictions at no cost: nothing here depends on a hidden label."""

    class_share: float  # share of answers that are 1
    seed_disagreement: float  # mean share of items on which a seed differs from the majority of seeds
    nearest_earlier: float | None  # share of answers that differ from the nearest of the latest submissions, None if first
    weak_agreement: float | None  # share of items on which the majority of seeds answers as the weak teacher, to a percent
    noise_accuracy: float  # a difference from the incumbent smaller than this is noise at this sample size (95 %, paired)
    warnings: tuple[str, ...] = ()


class Released(Record):
    """The bits-released ledger of a label set: what all answers so far, to anybody, can have told about its labels."""

    bits: float  # upper bound on the information that has left
    cap_bits: float | None  # after which every answer is the same; None: no cap
    share_of_labels: float  # bits / items
    inflation_bound: float  # with 95 % confidence no told level is further above the true accuracy (accuracy)


class Receipt(Record):
    """What the evaluator answers. `level_*` is the label set's told level on the policy's grid, never an exact score."""

    id: str  # "r-000017"
    snapshot: str  # SHA-256 of the code that made the predictions
    family: Family
    improved: bool
    provisional: Literal[True] = True  # figures on `feedback`; only a confirmation counts
    level_pgr: float
    level_accuracy: float
    certified_pgr: float | None  # with 95 % confidence, what reached the level is truly at least this good; None at the start
    certified_accuracy: float | None
    next_step_accuracy: float  # an improvement is told only from this accuracy
    price_of_next_yes_bits: float | None  # None: nothing more will be told (sealed)
    tier: Literal["open", "sealed"]
    released: Released
    repeated: bool = False  # answered from memory: the same predictions were submitted before
    diagnostics: Diagnostics


FindingKind = Literal["result", "hypothesis", "insight", "error"]


class Finding(Record):
    """A forum post. A figure in it is a receipt id, never a number typed in."""

    id: str  # "f-000003"
    at: str  # ISO 8601, UTC
    author: str
    kind: FindingKind
    title: str = Field(min_length=1, max_length=200)
    text: str = Field(max_length=20_000)
    family: Family
    receipts: tuple[str, ...] = ()
    snapshot: str | None = None
    parent: str | None = None  # the finding that this one answers


Failure = Literal["timed out", "ended with an error", "wrote no answers", "answers of the wrong shape"]


class Ticket(Record):
    """What became of code that was handed in to be run (code mode)."""

    id: str  # "q-000017"
    state: Literal["waiting", "done", "failed"]
    receipt: Receipt | None = None
    failure: Failure | None = None  # the kind alone: what the code printed there could hold items
    log: str | None = None  # the end of what it printed where it failed in the same way on the student split


EntryKind = Literal[
    "campaign", "researcher", "code", "submission", "finding", "spend", "flag", "confirmation", "request", "outcome"
]


class Entry(Record):
    """One line of the ledger. `hash` = SHA-256 over the canonical JSON of all other fields, `prev` included."""

    seq: int
    at: str
    who: str
    kind: EntryKind
    body: dict  # the record of that kind, as JSON
    prev: str
    hash: str
