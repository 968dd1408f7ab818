"""The card of a problem in a folder: what its admission measured and why it was refused; as a
record, and for a terminal."""

from typing import Literal

from pydantic import Field, ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aarlab.core.errors import Misconfigured
from aarlab.core.objectives import Direction, Role
from aarlab.core.plain_text import read_text
from aarlab.core.printable import one_line
from aarlab.core.records import Measure, Record
from aarlab.problems.folder.folder_problem import Contract, FolderProblem

Split = Literal["feedback", "final"]
WIDE = 2000  # characters of a reason


class Level(Record):
    """What a baseline scores in one objective on one split. All but `normalised` is in the
    objective's own unit. `unit_error`: standard error that the units bring; `seed_sd`, `trial_sd`:
    standard deviations over seeds and over trials (None of one trial)."""

    baseline: str
    level: Measure
    normalised: Measure | None
    unit_error: float
    seed_sd: float
    trial_sd: float | None


class ObjectiveRow(Record):
    """One objective on one split. `noise`: the largest standard deviation of one submission's mean
    among the baselines; `headroom`: ceiling - floor, in these. `floor_from`, `ceiling_from`: the
    baseline, or the source."""

    name: str
    split: Split
    unit: str
    direction: Direction
    role: Role
    floor: float
    ceiling: float
    floor_from: str
    ceiling_from: str
    noise: float
    headroom: float | None
    margin: float | None
    levels: tuple[Level, ...]


class Tried(Record):
    """A submission that the problem was examined with. `score`: combined; `allowed`: the highest
    one that still counts as the floor."""

    kind: Literal["constant", "hostile"]
    name: str
    split: Split
    outcome: Literal["refused", "scored", "fault of the author", "no result"]
    words: str
    score: float | None
    allowed: float | None
    good: bool


class Examined(Record):
    """One comparison of what is public with what is secret. `found`: "" where nothing is."""

    what: str
    found: str


class AdmissionCard(Record):
    """What `aar problem check` found. `digest`: SHA-256 of the folder's files that it was found
    of; `refusals`: why the problem is not admitted, none where it is."""

    problem: str
    version: str
    digest: str
    build: str
    data_seeds: tuple[int, int]
    seeds: tuple[int, ...]
    objectives: tuple[ObjectiveRow, ...] = ()
    combined: dict[str, dict[Split, Measure]] = Field(default_factory=dict)  # by baseline
    correlation: float | None = None  # of feedback with final over the baselines' normalised scores
    tried: tuple[Tried, ...] = ()
    examined: tuple[Examined, ...] = ()
    notes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    wall_s: float

    @property
    def admitted(self) -> bool:
        """Whether nothing speaks against the problem."""
        return not self.refusals


def read_card(problem: FolderProblem) -> AdmissionCard | None:
    """The card in a problem's folder, None where there is none or the folder has changed since.

    Raises:
        Misconfigured: it is no card.
    """
    path = problem.folder.card
    if not path.is_file():
        return None
    try:
        found = AdmissionCard.model_validate_json(read_text(path))
    except ValidationError as error:
        raise Misconfigured(
            f"{path} is no card that this version of aarlab reads. Run `aar problem check "
            f"{problem.folder.root}` again."
        ) from error
    return found if found.digest == problem.digest else None


def print_contract(contract: Contract, console: Console) -> None:
    """The task as text, what may be submitted, and the objectives as the contract states them."""
    what = contract.submission
    values = f" ({what.values})" if what.values else ""
    _say(console, f"{contract.name}, version {contract.version}: {what.kind}{values}", "bold")
    _say(console, contract.card.strip())
    table = Table("objective", "unit", "better", "role", "floor (0)", "ceiling (1)", box=None)
    for o in contract.objectives:
        margin = "" if o.margin is None else f", margin {o.margin:g}"
        ends = (
            f"baseline {end.baseline}" if end.baseline else f"{end.value:g}: {end.source}"
            for end in (o.floor, o.ceiling)
        )
        cells = (o.name, o.unit, o.direction, f"{o.role}{margin}", *ends)
        table.add_row(*(Text(one_line(c, WIDE)) for c in cells))
    console.print(table)


def print_card(card: AdmissionCard, console: Console) -> None:
    """What was measured, what was tried, and the verdict with all its reasons."""
    if card.objectives:
        console.print(_objectives(card))
        console.print(_levels(card))
    if card.correlation is not None:
        words = f"Feedback and final correlate with {card.correlation:.2f} over the baselines"
        _say(console, f"{words} ({len(card.combined)})." + _few(len(card.combined)))
    for kind in ("constant", "hostile"):
        _print_tried([t for t in card.tried if t.kind == kind], kind, console)
    clean = sum(not e.found for e in card.examined)
    if card.examined:
        _say(console, f"Leaks: {clean} of {len(card.examined)} comparisons found nothing.")
    for note in card.notes:
        _say(console, f"Note: {note}")
    for reason in card.refusals:
        _say(console, f"- {reason}", "red")
    n = len(card.refusals)
    verdict = "admitted" if card.admitted else f"refused for {n} reason{'s' if n > 1 else ''}"
    _say(console, f"{card.problem} is {verdict} ({card.wall_s:.0f} s).", "bold")


def _few(count: int) -> str:
    return " Of two, it only says whether their order is the same." if count == 2 else ""


def _objectives(card: AdmissionCard) -> Table:
    table = Table("objective", "split", "role", "floor", "ceiling", "noise", "headroom", box=None)
    for row in card.objectives:
        headroom = "-" if row.headroom is None else f"{row.headroom:.1f} sd"
        ends = (f"{row.floor:.4g}", f"{row.ceiling:.4g}", f"{row.noise:.2g}")
        table.add_row(row.name, row.split, row.role, *ends, headroom)
    return table


def _levels(card: AdmissionCard) -> Table:
    some = [(row, found) for row in card.objectives for found in row.levels]
    trials = any(found.trial_sd is not None for _, found in some)
    table = Table(box=None, pad_edge=False)
    for name in ("baseline", "objective", "split"):
        table.add_column(name, overflow="fold")
    for name in ("mean [95 %]", "score", "units", "seeds", *(["trials"] if trials else [])):
        table.add_column(name, no_wrap=True)
    for row, found in some:
        spreads = [found.unit_error, found.seed_sd, *([found.trial_sd] if trials else [])]
        scale = "-" if found.normalised is None else f"{found.normalised.estimate:.2f}"
        cells = (found.baseline, row.name, row.split, measure_words(found.level), scale)
        table.add_row(*cells, *("-" if s is None else f"{s:.2g}" for s in spreads))
    return table


def measure_words(found: Measure) -> str:
    """`0.253 [0.241, 0.265]`, with four digits that count."""
    return f"{found.estimate:.4g} [{found.lower:.4g}, {found.upper:.4g}]"


def _print_tried(tried: list[Tried], kind: str, console: Console) -> None:
    if not tried:
        return
    refused = sum(t.outcome == "refused" for t in tried)
    floor = sum(t.outcome == "scored" and t.good for t in tried)
    bad = len(tried) - sum(t.good for t in tried)
    words = f"{refused} refused, {floor} at the floor or below, {bad} not as they should be"
    _say(console, f"{len(tried)} {kind} submissions: {words}.")


def _say(console: Console, words: str, style: str = "") -> None:
    console.print(Text(words, style=style), soft_wrap=True)


def as_split(name: str) -> Split:
    """The name of a split, for a record."""
    return "final" if name == "final" else "feedback"
