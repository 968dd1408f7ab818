"""What a `FolderReport` says as text, and in the terminal. Every number comes from the record."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aarlab.core.printable import printable
from aarlab.report.figure_words import interval, p_value
from aarlab.report.folder_report import FolderClaim, FolderReport


def folder_words(report: FolderReport) -> dict[str, Any]:
    """The sentences of its pages."""
    words = {"found": found_words(report), "beside": beside_words(report)}
    return words | {"verdict": verdict_words}


def found_words(report: FolderReport) -> str:
    """The answer in a sentence."""
    best = report.confirmed
    if best is not None:
        return (
            f"The fleet's first confirmed claim (by {best.researcher}) has the score "
            f"{interval(best.final)} on units that nobody could query (0 is the floor, 1 the "
            f"ceiling): {interval(best.gain)} above the best baseline, adjusted p "
            f"{p_value(best.p_adjusted_now)}."
        )
    if not report.claims:
        return "The fleet submitted nothing, so nothing was put to confirmation."
    first = report.claims[0]
    return (
        f"None of {len(report.claims)} leaders was confirmed. Of the first (by {first.researcher}, "
        f"claimed score {interval(first.claimed)}): {'; '.join(first.reasons)}."
    )


def beside_words(report: FolderReport) -> str:
    """The baselines on final, best first."""
    scored = [(name, of["final"].combined) for name, of in report.baselines.items()]
    scored.sort(key=lambda row: -(row[1].estimate if row[1] else -1.0))
    listed = ", ".join(f"{name} {interval(found)}" for name, found in scored)
    return f"Baselines on final: {listed}. The one to be beaten is {report.comparator}."


def verdict_words(claim: FolderClaim) -> str:
    """The verdict with its current validity and what the gates say."""
    gates = "".join(f"; {name} {gate.verdict}" for name, gate in claim.gates.items())
    verdict = claim.verdict.replace("tuned naive", "the best baseline")
    return f"{verdict}{'' if claim.stands else ', but no longer'}{gates}"


def print_folder_report(report: FolderReport, console: Console, *, whole: bool) -> None:
    """The report in the terminal: a few sentences, and if `whole` its tables."""
    for fault in report.faults or ():
        console.print(Text(f"THE LEDGER DOES NOT VERIFY: {printable(fault)}", style="bold red"))
    for line in (beside_words(report), found_words(report)):
        console.print(Text(printable(line)), soft_wrap=not console.is_terminal)
    if whole:
        table = Table("claim", "claimed", "on final", "above", "verdict", box=None)
        for c in report.claims:
            cells = (f"#{c.rank} {c.researcher}", interval(c.claimed), interval(c.final))
            table.add_row(*cells, interval(c.gain), Text(verdict_words(c)))
        console.print(table)
    for note in report.notes if whole else [n for n in report.notes if "NOT isolated" in n]:
        console.print(Text(f"note: {printable(note)}", style="dim"))
