"""A report in the terminal: what matters most first, and as many columns as fit its width."""

from collections.abc import Callable, Sequence
from itertools import accumulate

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aarlab.core.amounts import amount
from aarlab.core.printable import one_line, printable
from aarlab.report.figure_words import (
    accuracy,
    elsewhere,
    hours,
    interval,
    limits,
    p_value,
    rate,
    score,
    usd,
    whole,
)
from aarlab.report.headline import claim_words
from aarlab.report.report_record import CostRow, Report

WIDEST, PADDING = 22, 3  # characters of a column, beyond which it is folded; of its borders


def print_report(report: Report, console: Console) -> None:
    """The report's main tables in the terminal."""
    for fault in report.faults or ():
        console.print(Text(f"THE LEDGER DOES NOT VERIFY: {printable(fault)}", style="bold red"))
    console.print(_claims(report, console.width))
    console.print(_scores(report, console.width))
    if any(row.calls.estimate or row.machine_usd for row in report.costs.researchers):
        console.print(_costs(report, console.width))
    totals, cost = report.totals, report.costs
    words = (
        f"{interval(totals.experiments)} experiments, {interval(totals.findings)} findings, "
        f"{hours(cost.campaign.hours)} researcher-hours, cost {cost.campaign.total}, per "
        f"researcher-hour {rate(cost)}; entropy over families {interval(report.diversity.bits)} "
        f"bits; {len(report.flags)} flags; {report.isolation}."
    )
    for line, style in (
        (words, ""),
        *((f"note: {n}", "dim") for n in report.notes),
        *((f"WARNING: {t}", "bold") for t in report.troubles),
    ):
        console.print(Text(printable(line), style=style), soft_wrap=not console.is_terminal)


def print_outcome(report: Report, console: Console) -> None:
    """What a campaign came to, in a few sentences: how a demo ends. The tables are those of
    `print_report`."""
    for fault in report.faults or ():
        console.print(Text(f"THE LEDGER DOES NOT VERIFY: {printable(fault)}", style="bold red"))
    for line in (*outcome(report), *(n for n in report.notes if "NOT isolated" in n)):
        console.print(Text(printable(line)), soft_wrap=not console.is_terminal)
    for trouble in report.troubles:
        console.print(
            Text(f"WARNING: {printable(trouble)}", style="bold"),
            soft_wrap=not console.is_terminal,
        )


def outcome(report: Report) -> list[str]:
    """The baselines, and the first of the fleet's claims that was confirmed."""
    scored = [(row.name, row.final.pgr) for row in report.baselines if row.final.pgr is not None]
    scored.sort(key=lambda row: -row[1].estimate)
    listed = ", ".join(f"{name} {interval(pgr)}" for name, pgr in scored)
    baselines = [f"Baselines, PGR on final: {listed}."] if scored else []
    return [*baselines, claim_words(report)]


def _scores(report: Report, width: int) -> Table:
    rows = [("weak teacher", "0", accuracy(report.anchors_final.weak), "0")]
    for row in report.baselines:
        rows.append((row.name, score(row.final), accuracy(row.final.accuracy), score(row.feedback)))
    rows.append(("ceiling", "1", accuracy(report.anchors_final.ceiling), "1"))
    names = ("", "PGR final", "accuracy final", "PGR feedback")
    title = f"{report.problem['name']}: PGR with 95 % intervals over items, seeds and anchors"
    return fitted(title, [(n, [row[k] for row in rows]) for k, n in enumerate(names)], width)


def _claims(report: Report, width: int) -> Table:
    claims = report.claims
    elsewheres = {
        "fresh draw": [elsewhere(c.fresh) for c in claims],
        "transfer": [", ".join(map(elsewhere, c.transfer)) or "not run" for c in claims],
        "other pair": [elsewhere(c.pair) for c in claims],
    }
    columns = [
        ("", [str(c.rank) for c in claims]),
        ("verdict", [c.standing for c in claims]),
        ("final", [score(c.final) for c in claims]),
        ("claimed", [score(c.claimed) for c in claims]),
        ("family", [c.family for c in claims]),
        ("researcher", [c.researcher for c in claims]),
        *((name, cells) for name, cells in elsewheres.items() if {*cells} - {"not run"}),
        ("p adj", [p_value(c.p_adjusted) for c in claims]),
        ("m", [interval(c.m) for c in claims]),
    ]
    title = "Leaders: the verdict, PGR of the evaluator's re-runs, and PGR claimed on feedback"
    return fitted(title, columns, width)


def _costs(report: Report, width: int) -> Table:
    """The table of costs for the terminal; the pages have more columns."""
    rows = (*report.costs.researchers, report.costs.campaign)
    columns: list[tuple[str, Callable[[CostRow], str], bool]] = [
        ("", lambda row: row.name, True),
        ("hours", lambda row: hours(row.hours), True),
        ("lost", lambda row: hours(row.lost_hours), any(row.lost_hours.estimate for row in rows)),
        ("calls", lambda row: whole(row.calls), any(row.calls.estimate for row in rows)),
        (
            "tokens",
            lambda row: amount(row.tokens.estimate),
            any(row.calls.estimate for row in rows),
        ),
        ("model", lambda row: usd(row.model_usd), any(row.calls.estimate for row in rows)),
        ("machine", lambda row: usd(row.machine_usd), True),
        ("devices", lambda row: usd(row.device_usd), any(map(_used_device, rows))),
        ("of the budget", limits, any(row.limits for row in rows)),
    ]
    shown = [(name, [cell(row) for row in rows]) for name, cell, wanted in columns if wanted]
    return fitted("Cost: model + machine + devices", shown, width)


def _used_device(row: CostRow) -> bool:
    return bool(row.device_hours and row.device_hours.estimate)


def fitted(title: str, columns: Sequence[tuple[str, Sequence[str]]], width: int) -> Table:
    """A table of columns, each with a name and its cells, of which as many as fit are shown: those
    that come first. What is left out is named below."""
    needed = [
        min(WIDEST, max(map(len, (name, *cells)), default=0)) + PADDING for name, cells in columns
    ]
    fits = max(2, sum(1 for total in accumulate(needed, initial=1) if total <= width) - 1)
    table = Table(title=Text(one_line(title, 200)), title_justify="left")
    if left_out := [name for name, _ in columns[fits:]]:
        table.caption = Text(f"no room for: {', '.join(left_out)}")
    for name, _ in columns[:fits]:
        table.add_column(name, overflow="fold")
    for row in zip(*(cells for _, cells in columns[:fits]), strict=True):
        table.add_row(*_cells(*row))
    return table


def _cells(*words: str) -> list[Text]:
    """Table cells as plain text, without markup or control characters."""
    return [Text(one_line(word, 400)) for word in words]
