"""Make the figures of a report again, from the ledger, what its entries name and the testbed, and
compare: does the record still say what the report says?

A figure is named by its place in report.json: rows by their name, rank or receipt, else by their
number from 1, for example `claims/1/final/pgr` or `baselines/naive/final/accuracy`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder, ReportFolder
from aarlab.core.own_code import this_build
from aarlab.core.records import Entry
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet.campaign import Campaign
from aarlab.report.build import build
from aarlab.report.folder_report import FolderReport, build_folder
from aarlab.report.report_record import InputRow
from aarlab.report.verified import AnyReport, Bed, faults_now, read_any
from aarlab.runs.served_folder import ServedFolder

# parts of a report that hold figures, of either kind of problem
PARTS = (
    *("anchors_feedback", "anchors_final", "comparator", "baselines", "lengths", "claims"),
    *(
        "winner",
        "released",
        "told",
        "curve",
        "diversity",
        "researchers",
        "flags",
        "totals",
        "costs",
    ),
    *("costs", "finished", "ledger_root"),
)
# fields by one of which, or by two together, the rows of a table are named
KEYS = (
    *(("name",), ("rank",), ("labels",), ("receipt",), ("model",), ("family",)),
    *(("kind", "split"), ("split", "part"), ("what",), ("id",)),
)
MEASURE = {"estimate", "lower", "upper", "n", "resampled"}
# what other campaigns on the same labels change, too
SHARED = (
    *("released/", "/p_adjusted_now", "/m_now", "/stands"),
    "/evidence/discovery",
)
SAME = 1e-9  # of a figure; another processor may add in another order


class ReproducedFigure(NamedTuple):
    """A figure of the report, and as it is made again."""

    name: str
    reported: Any  # a measure as a dict, a text, a truth value or None
    again: Any

    @property
    def agrees(self) -> bool:
        return same(self.reported, self.again)

    @property
    def shared(self) -> bool:
        """Whether other campaigns on the same labels change it, too."""
        return self.name.startswith(SHARED[0]) or self.name.endswith(SHARED[1:])


class ReproduceOutcome(NamedTuple):
    """What was compared; and what is wrong with what it was made from: nothing can be said of
    figures then."""

    compared: tuple[ReproducedFigure, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        return not self.faults and all(one.agrees for one in self.compared)


# --- the report -----------------------------------------------------------------------------------


def _paths(place: Path) -> tuple[Path, ...]:
    inside = ReportFolder(place).record, ReportFolder(CampaignFolder(place).report).record
    return (*inside, place)


def has_report(place: Path) -> bool:
    """Whether a file or a folder may be read as a report."""
    return any(path.is_file() for path in _paths(place))


def read_report(place: Path) -> AnyReport:
    """The report in a file `report.json`, or in the folder that holds it, or a campaign's folder.

    Raises:
        Misconfigured: there is none, or this version cannot read it.
    """
    path = next((path for path in _paths(place) if path.is_file()), place)
    try:
        return read_any(path)
    except OSError as error:
        words = "Give a campaign's name, or the path of a report.json."
        raise Misconfigured(f"There is no report at {path}. {words}") from error
    except ValidationError as error:
        raise Misconfigured(
            f"{path} is no report that this version can read ({error.errors()[0]['msg']}, at "
            f"{error.errors()[0]['loc']}). Read it with the version of aarlab that wrote it."
        ) from error


def campaign_of(report: AnyReport) -> str:
    """The name of the campaign that a report is of.

    Raises:
        Misconfigured: it names none that a state folder can have.
    """
    name = str(report.campaign.get("name", ""))
    if name in {"", ".."} or Path(name).name != name:
        raise Misconfigured(f"The report is of a campaign '{name[:80]}', which is no name of one.")
    return name


def figures(report: AnyReport) -> dict[str, Any]:
    """Every figure by its name, in the report's order."""
    plain = report.model_dump(mode="json")
    # an older report has no curve
    parts = [p for p in PARTS if p in plain and (p != "curve" or plain[p] is not None)]
    return {name: value for part in parts for name, value in _walk(part, plain[part])}


def chosen(names: Sequence[str], wanted: str | None) -> list[str]:
    """The figures of that name, or below it; all if none is named.

    Raises:
        Misconfigured: there is no such figure; the message has names that are near.
    """
    if wanted is None:
        return list(names)
    wanted = wanted.strip("/")
    found = [name for name in names if f"{name}/".startswith(f"{wanted}/")]
    if not found:
        near = get_close_matches(wanted, names, n=3, cutoff=0.4)
        hint = f" Near are: {', '.join(near)}." if near else ""
        raise Misconfigured(
            f"The report has no figure '{wanted[:80]}'.{hint} `aar reproduce REPORT --list` lists "
            "all."
        )
    return found


def _walk(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value.keys() != MEASURE:
        for field, inner in value.items():
            yield from _walk(f"{name}/{field}", inner)
    elif isinstance(value, list):
        for key, inner in zip(_keys(value), value, strict=True):
            yield from _walk(f"{name}/{key}", inner)
    else:
        yield name, value


def _keys(rows: Sequence[Any]) -> list[str]:
    """The names of a table's rows: the first fields that all have and in which all differ."""
    for fields in KEYS:
        if all(isinstance(row, dict) and all(f in row for f in fields) for row in rows):
            found = ["-".join(_plain(row[f]) for f in fields) for row in rows]
            if len(set(found)) == len(found):
                return found
    return [str(number) for number, _ in enumerate(rows, start=1)]


def _plain(value: Any) -> str:
    """Without what stands in brackets, such as a count that grows."""
    return str(value).partition(" (")[0].replace("/", "-")


# --- made again -----------------------------------------------------------------------------------


def reproduce(
    report: AnyReport, campaign: Campaign, bed: Bed, folder: Path, wanted: str | None = None
) -> ReproduceOutcome:
    """Make figures of a report again from its campaign, as of the ledger's entry that it was made
    at.

    Raises:
        Misconfigured: the report has no such figure, or its campaign cannot be read.
    """
    names = chosen(list(figures(report)), wanted)
    faults = faults_now(folder, bed, campaign) or ()
    if faults:
        return ReproduceOutcome((), faults, ())
    with Evaluator(bed.folder, folder, policy=campaign.policy, read_only=True) as evaluator:
        size = round(report.totals.ledger_entries.estimate)
        if words := _other_ledger(report, size, evaluator.ledger.entries(after=size - 1, limit=1)):
            return ReproduceOutcome((), (words,), ())
        made = _made(report, campaign, bed, evaluator, size)
        grown = evaluator.ledger.count() - size
    before, again = figures(report), figures(made)
    compared = tuple(ReproducedFigure(n, before[n], again.get(n, "not made")) for n in names)
    return ReproduceOutcome(
        compared, tuple(_changed(report.inputs, made.inputs)), _notes(report, grown)
    )


def _made(
    report: AnyReport, campaign: Campaign, bed: Bed, evaluator: Evaluator, size: int
) -> AnyReport:
    """The report of the first `size` entries."""
    in_folder = isinstance(bed, ServedFolder)
    if isinstance(report, FolderReport) != in_folder:
        kinds = ("weak-to-strong supervision", "a problem in a folder")
        raise Misconfigured(
            f"The report is of {kinds[not in_folder]}, and the campaign '{campaign.name}' of "
            f"{kinds[in_folder]}. Give the report of that campaign."
        )
    about = {"isolation": report.isolation, "faults": (), "upto": size}
    if isinstance(bed, ServedFolder):
        return build_folder(campaign, bed, evaluator, **about)
    return build(campaign, bed, evaluator, **about)


def _other_ledger(report: AnyReport, size: int, last: Sequence[Entry]) -> str:
    """That the report was made from another ledger, or from entries that are lost; "" if not."""
    if not size:
        return ""
    if not last:
        return (
            f"The report was made from {size} entries of the ledger, which has fewer now. Restore "
            "a copy of the ledger."
        )
    if last[0].hash == report.ledger_head:
        return ""
    return (
        f"Entry {size} of the ledger has the hash {last[0].hash[:12]}, and the report was made "
        f"from one with {report.ledger_head[:12]}: it is another campaign's ledger, or it was "
        "written again. Run `aar ledger verify` with a copy of checkpoints.txt as --witness."
    )


def _changed(before: Sequence[InputRow], now: Sequence[InputRow]) -> Iterator[str]:
    """The files of the testbed that are not what the report was made from."""
    known = {row.what: row.mac for row in now}
    for row in before:
        if row.what not in known:
            yield f"{row.what} of the testbed is gone, and the report was made from it."
        elif known[row.what] != row.mac:
            yield f"{row.what} of the testbed was changed since the report was made."


def _notes(report: AnyReport, grown: int) -> tuple[str, ...]:
    """What else differs between then and now."""
    notes = []
    if grown:
        notes.append(f"The ledger has {grown} more entries now: the report's figures do not.")
    if not report.inputs:
        notes.append("An older version made the report: it did not record its testbed's files.")
    source = report.code[0].source if report.code else None
    if source != this_build().source:
        notes.append(
            f"The report was made by other code of aarlab ({(source or 'unknown')[:12]}; this is "
            f"{this_build().source[:12]})."
        )
    return tuple(notes)


def same(one: Any, other: Any) -> bool:
    """Whether two figures are equal, but for the last digits of another processor."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=SAME, abs_tol=SAME)
    return one == other
