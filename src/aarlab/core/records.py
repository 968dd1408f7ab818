"""The records that every layer shares. Frozen, strict, one field one meaning.

Legend: N items, C classes, S seeds.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aarlab.core.errors import Misconfigured

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


Verdict = Literal["confirmed", "not distinguishable from tuned naive", "not reproducible"]
VERDICTS: tuple[Verdict, ...] = (
    "confirmed",
    "not distinguishable from tuned naive",
    "not reproducible",
)


FAULTS = 20  # so many of a record's wrong fields are named, each with its line


class Record(BaseModel):
    """Base of all records: frozen, strict, unknown fields refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


R = TypeVar("R", bound=Record)


def validated(
    kind: type[R],
    fields: object,
    where: str,
    line: Callable[[tuple[int | str, ...]], int | None] | None = None,
) -> R:
    """A record of that kind from plain fields. `line`: the line, from 1, of the field at a place.

    Raises:
        Misconfigured: a field is unknown or out of range; the message names the first FAULTS.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)[:FAULTS]
        more = error.error_count() - len(found)
        lines = [None if e["type"] == "missing" or not line else line(e["loc"]) for e in found]
        words = "; ".join(
            _said(kind, e) + (f" (line {at})" if at else "")
            for e, at in zip(found, lines, strict=True)
        )
        left = f"; and {more:,} more faults" if more else ""
        raise Misconfigured(f"{where}: {words}{left}.") from error


def _said(kind: type[BaseModel], error: "ErrorDetails") -> str:
    """One fault of a field as text; of a name that is no field, those that are."""
    *path, name = error["loc"] or ("all",)
    dotted = ".".join(map(str, (*path, name)))
    if error["type"] != "extra_forbidden":
        given = f", got {error['input']!r:.40}" if error["type"] == "literal_error" else ""
        return f"{dotted}: {error['msg']}{given}"
    fields = _fields_at(kind, path)
    like = get_close_matches(str(name), fields, n=1)
    hint = (
        f"did you mean {like[0]}?"
        if like
        else f"there are {', '.join(fields)}"
        if fields
        else "it is not a field"
    )
    return f"{dotted}: unknown field, {hint}"


def _fields_at(kind: type[BaseModel], path: Sequence[object]) -> tuple[str, ...]:
    """The fields of the record that lies at that path inside a record; () where a path leads
    through anything else."""
    for name in path:
        if isinstance(name, int):  # which entry of a sequence
            continue
        inner = kind.model_fields[str(name)].annotation if str(name) in kind.model_fields else None
        inner = next(iter(get_args(inner)), inner)  # of a tuple of records, the record
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


STUDY_FAMILIES: tuple[str, ...] = tuple(family.value for family in Family)
# of the study's eleven, or of those that a problem in a folder names; the evaluator takes no other
FamilyName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9 +/().-]{0,59}$",
        description="the family that the method belongs to: one of `families` in get_problem",
    ),
]


SplitName = Literal["teacher", "student", "feedback", "final"]
SPLITS: tuple[SplitName, ...] = ("teacher", "student", "feedback", "final")
PartName = Literal["id", "ood"]


class Item(Record):
    """One example with its hidden truth. `PUBLISHED` is the allow-list of fields that may leave the
    evaluator's side."""

    PUBLISHED: ClassVar[tuple[str, ...]] = ()

    id: str
    label: Literal[0, 1]
    split: SplitName
    part: PartName
    level: int = Field(ge=1)  # 1 is the easiest
    # items that say the same one are dependent: their labels are not independent
    group: str | None = None


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
    """A measured number: estimate with an interval, how many units it rests on, and what was
    resampled.

    `lower` and `upper` bound a 95 % interval. An unknown number is `None` where a Measure is
    expected, never 0.0.
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
    """What a submitter may know about its own predictions at no cost: nothing here depends on a
    hidden label, or on answers that are not published."""

    class_share: float | None = None  # share of answers that are 1; None: these are no such answers
    # mean share of items on which a seed differs from the majority of seeds
    seed_disagreement: float | None = None
    # share of answers that differ from the nearest of the latest submissions, None if first
    nearest_earlier: float | None = None
    # a difference from the incumbent smaller than this is noise at this sample size (95 %, paired)
    noise_accuracy: float
    noise_pgr: float | None = None  # the same in PGR; None: an older receipt
    warnings: tuple[str, ...] = ()
    # in old ledgers alone: it is not released any more
    weak_agreement: float | None = Field(default=None, exclude=True)


class Released(Record):
    """The bits-released ledger of a label set: what all answers so far, to anybody, can have
    released about its labels. Older records know the bound in accuracy alone, and none at the
    cap."""

    bits: float  # upper bound on the information that has left
    cap_bits: float | None  # after which every answer is the same; None: no cap
    share_of_labels: float  # bits / independent labels
    # with 95 % confidence no reported level is further above the true accuracy (accuracy)
    inflation_bound: float
    inflation_bound_pgr: float | None = None  # the same in PGR
    # the same once the whole cap is spent (accuracy); None: no cap
    inflation_bound_at_cap: float | None = None
    inflation_bound_at_cap_pgr: float | None = None
    # that the bound counts, assuming that items of different groups are independent
    independent_labels: int | None = None
    # what verdicts of confirmations released in addition; in the bound. Both None in old receipts
    verdict_bits: float | None = None


class Receipt(Record):
    """What the evaluator answers. `level_*` is the label set's reported level on the policy's grid,
    never an exact score.

    `improved` means: the score passed the next line above the level. It means neither better than
    one's last submission nor better, beyond chance, than the one that reached the level before.
    `meaning` says so with this receipt's figures."""

    id: str  # "r-000017"
    snapshot: str  # SHA-256 of the code that made the predictions
    family: FamilyName
    improved: bool
    # what `improved` says here, and what it does not; None: an older receipt
    meaning: str | None = None
    provisional: Literal[True] = True  # figures on `feedback`; only a confirmation counts
    # the figures called PGR are a problem's combined score, 0 at its floor and 1 at its ceiling
    combined: bool = False
    level_pgr: float
    level_accuracy: float
    # with 95 % confidence, what reached the level is truly at least this good; None at the start
    certified_pgr: float | None
    certified_accuracy: float | None
    next_step_accuracy: float  # an improvement is reported only from this accuracy
    next_step_pgr: float | None = None  # the same in PGR
    price_of_next_yes_bits: float | None  # None: nothing more is released (sealed)
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
    family: FamilyName
    receipts: tuple[str, ...] = ()
    snapshot: str | None = None
    parent: str | None = None  # the finding that this one answers


Failure = Literal[
    "timed out",
    "ended with an error",
    "wrote no answers",
    "answers of the wrong shape",
    "ended by the machine",
    "out of memory",
]
# nothing that was run says anything of the code
NO_RESULT: tuple[Failure, ...] = ("ended by the machine", "out of memory")


class Ticket(Record):
    """What became of code that was handed in to be run (code mode)."""

    id: str  # "q-000017"
    state: Literal["waiting", "done", "failed"]
    receipt: Receipt | None = None
    failure: Failure | None = None  # the kind alone: what the code printed there could hold items
    # the end of what it printed where it failed in the same way on the student split
    log: str | None = None


EntryKind = Literal[
    "campaign",
    "researcher",
    "code",
    "submission",
    "finding",
    "spend",
    "flag",
    "confirmation",
    "request",
    "outcome",
    "read",
]


class Body(Record):
    """Base of the records of what an entry says: one class for each kind, or for kinds that say the
    same."""

    KINDS: ClassVar[tuple[EntryKind, ...]] = ()

    def plain(self) -> dict[str, Any]:
        """The body as it is written: plain JSON, without the fields that were not given."""
        return self.model_dump(mode="json", exclude_unset=True)


B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Entry:
    """One line of the ledger. `hash` = SHA-256 over the canonical JSON of all other fields, `prev`
    included."""

    seq: int
    at: str
    who: str
    kind: EntryKind
    text: str  # the body as JSON, public and hidden fields together
    prev: str
    hash: str

    @property
    def body(self) -> dict[str, Any]:
        """The body as plain JSON, whatever it holds. Parsed at each call."""
        return json.loads(self.text)

    def read(self, body: type[B]) -> B:
        """The body as the record of its kind: parsed at each call (10 to 20 us), for what is kept
        of every entry costs more.

        Raises:
            Misconfigured: this version does not know what the body holds.
            TypeError: the entry is of another kind.
        """
        if self.kind not in body.KINDS:
            raise TypeError(f"entry {self.seq} is a {self.kind}, which is no {body.__name__}")
        try:
            return body.model_validate_json(self.text)
        except ValidationError as error:
            raise Misconfigured(
                f"Entry {self.seq} of the ledger, a {self.kind}, cannot be read by this version "
                f"({'; '.join(_said(body, e) for e in error.errors()[:3])}). Run `aar ledger "
                "verify`; if the ledger is whole, read it with the version of aarlab that wrote "
                "it.",
                seq=self.seq,
            ) from error
