"""`aar reproduce REPORT FIGURE`: a report's figures, made again from ledger and runs."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from aarlab.cli.plain_console import PlainConsole
from aarlab.core.printable import one_line
from aarlab.core.settings import expanded, home
from aarlab.core.standard_output import only_showing
from aarlab.fleet.campaign import begun

if TYPE_CHECKING:
    from aarlab.evaluation.evaluator import Evaluator
    from aarlab.fleet.campaign import Campaign
    from aarlab.programs.reproduce import ReproducedFigure, ReproduceOutcome
    from aarlab.programs.run_again import RanAgain
    from aarlab.report.verified import AnyReport, Bed

console = PlainConsole(soft_wrap=True)
MOST = 20  # figures that agree and are shown one by one
DIGITS, ALL_DIGITS = 4, 17  # after the point, as shown, and of every number


@only_showing()
def reproduce(
    report: Annotated[str, typer.Argument(help="a campaign's name, or the path of a report.json")],
    figure: Annotated[
        str | None, typer.Argument(help="such as claims/1/final/pgr, or claims/1 [all]")
    ] = None,
    *,
    list_: Annotated[bool, typer.Option("--list", help="list the names of figures")] = False,
    run_again: Annotated[
        bool,
        typer.Option(
            "--run-again",
            help="also execute the code of these claims and baselines again, and compare answers",
        ),
    ] = False,
) -> None:
    """Make figures of a report again from ledger, stored answers and testbed, and say whether they
    agree.

    Exits with 1 if a figure differs, or if what it was made from is damaged or was changed: that
    is named.
    """
    from aarlab.programs import reproduce as again

    given, named = expanded(report, "the report"), home().campaigns / report
    found = again.read_report(named if named.is_dir() and not again.has_report(given) else given)
    if list_:
        known = again.figures(found)
        for name in again.chosen(list(known), figure):
            print(one_line(f"{name}: {_shown(known[name])}", 300))
        return
    name = again.campaign_of(found)
    campaign, folder = begun(home().campaigns, name), home().campaigns / name

    from aarlab.cli.run_command import show
    from aarlab.fleet.prepare import prepared
    from aarlab.fleet.run_folder import served

    again.chosen(list(again.figures(found)), figure)  # before seconds of work
    bed = (
        served(campaign, home(), show())
        if campaign.in_folder
        else prepared(campaign, home(), show(), again=False)
    )
    outcome = again.reproduce(found, campaign, bed, folder, figure)
    _print(outcome)
    same = not run_again or outcome.faults or _run_again(found, campaign, bed, outcome.compared)
    if not (outcome.agrees and same):
        raise typer.Exit(1)


def _run_again(
    report: "AnyReport", campaign: "Campaign", bed: "Bed", compared: Sequence["ReproducedFigure"]
) -> bool:
    """Whether each answer is the one that was recorded; says so of each piece of code."""
    from aarlab.evaluation.evaluator import Evaluator

    folder, same = home().campaigns / campaign.name, True
    names = [one.name for one in compared]
    with Evaluator(bed.folder, folder, policy=campaign.policy, read_only=True) as evaluator:
        for one in _runs(report, campaign, bed, evaluator, names):
            word = "agrees" if one.agrees else "DIFFERS"
            why = f" ({one.failure})" if one.failure else ""
            words = f"{one.differing} of {one.answers} {one.unit} differ{why}"
            _say(f"{word} {one.what}, run again: {words}")
            same = same and one.agrees
    return same


def _runs(
    report: "AnyReport",
    campaign: "Campaign",
    bed: "Bed",
    evaluator: "Evaluator",
    names: Sequence[str],
) -> "Iterator[RanAgain]":
    from aarlab.cli.run_command import show
    from aarlab.fleet.prepare import make_sandbox
    from aarlab.programs.run_again import fresh_engine, ran_again
    from aarlab.programs.run_folder_again import FolderAgain
    from aarlab.report.folder_report import FolderReport
    from aarlab.runs.served_folder import ServedFolder

    if isinstance(report, FolderReport) and isinstance(bed, ServedFolder):
        again = FolderAgain(bed, evaluator, home(), make_sandbox(campaign))
        yield from again.ran(report, names)
    elif not (isinstance(report, FolderReport) or isinstance(bed, ServedFolder)):
        with fresh_engine(campaign, bed, home(), show()) as engine:
            yield from ran_again(report, names, engine, evaluator)


def _print(outcome: "ReproduceOutcome") -> None:
    for fault in outcome.faults:
        _say(f"WRONG {fault}")
    for note in outcome.notes:
        _say(f"note: {note}")
    differing = [one for one in outcome.compared if not one.agrees]
    for one in differing:
        before, now = both_shown(one.reported, one.again)
        _say(f"DIFFERS {one.name}: {before} in the report, {now} now")
    if any(one.shared for one in differing):
        _say("note: other campaigns on the same labels change what is released, and m and p now.")
    agreeing = [one for one in outcome.compared if one.agrees]
    for one in agreeing if len(agreeing) <= MOST else ():
        _say(f"agrees {one.name}: {_shown(one.again)}")
    if outcome.compared:
        _say(f"{len(agreeing)} of {len(outcome.compared)} figures agree")
    else:
        _say("no figure was made again")


def _say(words: str) -> None:
    console.print(Text(one_line(words, 600)))


def both_shown(one: Any, other: Any) -> tuple[str, str]:
    """Two figures that differ, each in one line, with as many digits as make the lines differ."""
    for digits in range(DIGITS, ALL_DIGITS + 1):
        before, now = _shown(one, digits), _shown(other, digits)
        if before != now:
            return before, now
    return _counted(one), _counted(other)


def _counted(value: Any) -> str:
    """A figure with what no digit of it shows."""
    if not isinstance(value, dict):
        return repr(value)
    return f"{_shown(value)} (n {value['n']}, {value['resampled']})"


def _shown(value: Any, digits: int = DIGITS) -> str:
    """A figure in one line; `digits`: of an interval, after the point."""
    if not isinstance(value, dict):
        return "unknown" if value is None else str(value)
    if value["lower"] == value["upper"]:
        return f"{value['estimate']:.{digits + 2}g}"
    estimate, *ends = (f"{value[key]:.{digits}f}" for key in ("estimate", "lower", "upper"))
    return f"{estimate} [{', '.join(ends)}]"
