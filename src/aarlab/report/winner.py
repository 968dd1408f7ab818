"""The first confirmed claim explained: what its code calls, how it differs from the nearest
baseline, what is left of its score without what it should need, and what its researcher wrote. All
of it is read from the record; what a researcher wrote as code is never parsed or run."""

import inspect
from collections.abc import Mapping, Sequence
from functools import cache

from aarlab.core.entries import FindingBody, read_all
from aarlab.core.printable import visible
from aarlab.core.records import Entry
from aarlab.core.snapshot import difference
from aarlab.diversity.source import joined, normalised, shingles
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet.without_component import components_of
from aarlab.methods import parts
from aarlab.methods.baselines import BASELINES
from aarlab.methods.method import METHODS
from aarlab.report.headline import first_standing
from aarlab.report.report_record import (
    ChangedLine,
    ClaimRow,
    ComponentRow,
    SaidRow,
    Winner,
    statistic,
)
from aarlab.runs.engine import METHOD_FILE

MOST_LINES, MOST_LINE = 400, 400  # of a difference; characters of a line
MOST_SAID, MOST_TEXT = 3, 1_000  # findings; characters of one
KINDS = {"+": "added", "-": "removed", "@": "place"}


def winner(
    claims: Sequence[ClaimRow], findings: Sequence[Entry], evaluator: Evaluator
) -> Winner | None:
    """Of the claim that ranked first among those that are confirmed; None where none is."""
    claim = first_standing(claims)
    return None if claim is None else explained(claim, findings, evaluator.code(claim.snapshot))


def explained(claim: ClaimRow, findings: Sequence[Entry], files: Mapping[str, str]) -> Winner:
    """Of one claim, whose code these files are."""
    nearest, share, n = nearest_baseline(files)
    return Winner(
        rank=claim.rank,
        receipt=claim.receipt,
        snapshot=claim.snapshot,
        nearest=nearest,
        alike=statistic(share, n),
        components=_components(files, baseline_code(nearest)),
        difference=_difference(baseline_code(nearest), files),
        said=_said(claim, findings),
        ablated=ablated_words(claim, files),
    )


def ablated_words(claim: ClaimRow, files: Mapping[str, str]) -> str:
    """Which components of its code were taken out, and at which cost; or why none was."""
    known, taken = len(components_of(files)), claim.components
    if taken:
        runs = round(sum(row.seeds.estimate for row in taken))
        left = f"; {known - len(taken)} more were not" if known > len(taken) else ""
        return (
            f"{len(taken)} components were taken out of its code, one at a time, and the rest was "
            f"run on final, on the seeds of the confirmation, in {runs} runs of one seed{left}. "
            "This is shown, and decided nothing: code can notice what was taken out of it."
        )
    if known:
        return (
            f"It has {known} components that can be taken out, and none was: `aar confirm` with "
            "the campaign's name does it."
        )
    return (
        "The components of its code are not known, so none was taken out: it is no recipe of the "
        "built-in search, and calls no part of the library (aarlab.methods.parts) that can be. "
        "Submit the code without one part as a submission of its own, and compare both with `aar "
        "compare`."
    )


def baseline_code(name: str) -> dict[str, str]:
    """A baseline as a method file would state it: its own function, named `run`."""
    run = METHODS[name].run
    text = inspect.getsource(run)
    return {METHOD_FILE: text[text.index("def ") :].replace(f"def {run.__name__}(", "def run(", 1)}


def nearest_baseline(files: Mapping[str, str]) -> tuple[str, float, int]:
    """The baseline that shares most runs of tokens with a claim's code, which share of both that
    is, and of how many."""
    mine = shingles(joined(files))

    def alike(name: str) -> tuple[float, int]:
        other = shingles(joined(baseline_code(name)))
        return len(mine & other) / (len(mine | other) or 1), len(mine | other)

    best = max(BASELINES, key=lambda name: alike(name)[0])
    return best, *alike(best)


@cache
def _library() -> dict[str, str]:
    """The parts that methods are made of, and the first sentence of what each says it does."""
    found = inspect.getmembers(parts, inspect.isfunction)
    public = {name: run for name, run in found if not name.startswith("_")}
    return {name: _sentence(inspect.getdoc(run) or "") for name, run in public.items()}


def _sentence(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def _components(files: Mapping[str, str], baseline: Mapping[str, str]) -> tuple[ComponentRow, ...]:
    """In the order in which the code names them."""
    library, shared = _library(), {*normalised(joined(baseline))}
    called = dict.fromkeys(t for t in normalised(joined(files)) if t in library)
    return tuple(
        ComponentRow(name=name, does=library[name], in_baseline=name in shared) for name in called
    )


def _difference(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[ChangedLine, ...]:
    found = difference(old, new)
    rows = [_line(text) for text in found[:MOST_LINES]]
    if len(found) > MOST_LINES:
        rows.append(ChangedLine(kind="note", text=f"cut: {len(found) - MOST_LINES:,} more lines"))
    return tuple(rows)


def _line(text: str) -> ChangedLine:
    kind = "file" if text.startswith(("+++ ", "--- ")) else KINDS.get(text[:1], "same")
    return ChangedLine.model_validate({"kind": kind, "text": _cut(visible(text), MOST_LINE)})


def _said(claim: ClaimRow, findings: Sequence[Entry]) -> tuple[SaidRow, ...]:
    """The latest findings of its researcher that cite the claim's receipt."""
    mine = [
        (entry, body)
        for entry, body in read_all(findings, FindingBody)
        if entry.who == claim.researcher and claim.receipt in body.receipts
    ]
    return tuple(
        SaidRow(id=f"f-{entry.seq:06d}", title=body.title, text=_cut(body.text, MOST_TEXT))
        for entry, body in mine[-MOST_SAID:]
    )


def _cut(text: str, limit: int) -> str:
    left_out = len(text) - limit
    return text if left_out <= 0 else f"{text[:limit]} … cut: {left_out:,} more characters"
