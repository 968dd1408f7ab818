"""A Report -> Markdown, HTML and the terminal. Words and tables only; every number comes from the record."""

import json
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aarlab.core.amounts import amount
from aarlab.core.printable import one_line, printable
from aarlab.core.records import Measure
from aarlab.report.record import AblationRow, CostRow, Costs, ElsewhereRow, Report, Score


def interval(measure: Measure | None) -> str:
    """`0.62 [0.55, 0.69]`, a bare number for an exact count, `unknown` for null."""
    if measure is None:
        return "unknown"
    if measure.lower == measure.upper:
        return f"{measure.estimate:g}"
    return f"{measure.estimate:.2f} [{measure.lower:.2f}, {measure.upper:.2f}]"


def accuracy(measure: Measure | None) -> str:
    """Accuracies need a third decimal."""
    if measure is None:
        return "unknown"
    return f"{measure.estimate:.3f} [{measure.lower:.3f}, {measure.upper:.3f}]"


def _environment(kind: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("aarlab.report"),
        autoescape=kind == "html",
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        finalize=_harmless,
    )
    cell = (lambda text: text.replace("|", "\\|").replace("\n", " ")) if kind == "md" else str
    environment.filters |= {"interval": interval, "accuracy": accuracy, "cell": cell}
    environment.filters |= {"score": score, "elsewhere": elsewhere, "p_value": p_value, "left": left}
    environment.filters |= {"usd": usd, "hours": hours, "limits": limits, "whole": whole, "rate": rate}
    return environment


def _harmless(value: object) -> object:
    """What is filled in, without control and direction characters: much of it was written by researchers."""
    if isinstance(value, Markup):
        return Markup(printable(value))  # it is escaped already, and characters are only taken away
    return printable(value) if isinstance(value, str) else value


def write(report: Report, folder: Path) -> Path:
    """Write report.json, its JSON Schema, report.md and report.html; returns the path of the HTML."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(report.model_dump_json(indent=1))
    (folder / "report.schema.json").write_text(json.dumps(Report.model_json_schema(), indent=1))
    for kind in ("md", "html"):
        text = _environment(kind).get_template(f"report.{kind}.jinja").render(r=report, bars=bars(report))
        (folder / f"report.{kind}").write_text(text)
    return folder / "report.html"


def bars(report: Report) -> list[dict[str, object]]:
    """Rows of the forest plot: PGR on `final` of baselines and confirmed claims, placed on a 0..100 scale."""
    rows = [(b.name, b.final.pgr, "baseline") for b in report.baselines]
    rows += [
        (f"#{c.rank} {c.family.value}: {c.standing}", c.final.pgr, "confirmed" if c.verdict == "confirmed" else "claim")
        for c in report.claims
        if c.final
    ]
    low = min([0.0, *(m.lower for _, m, _ in rows)])
    high = max([1.0, *(m.upper for _, m, _ in rows)])

    def at(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    return [
        {
            "name": n,
            "kind": k,
            "left": at(m.lower),
            "width": at(m.upper) - at(m.lower),
            "dot": at(m.estimate),
            "measure": m,
        }
        for n, m, k in rows
    ]


def print_report(report: Report, console: Console) -> None:
    """The report's main tables in the terminal."""
    console.print(_scores(report))
    console.print(_claims(report))
    console.print(_costs(report))
    totals, cost = report.totals, report.costs
    words = (
        f"{interval(totals.experiments)} experiments, {interval(totals.findings)} findings, "
        f"{hours(cost.campaign.hours)} researcher-hours, cost {cost.campaign.total}, "
        f"per researcher-hour {rate(cost)}; "
        f"entropy over families {interval(report.diversity.bits)} bits; {len(report.flags)} flags; {report.isolation}."
    )
    for line, style in ((words, ""), *((f"note: {note}", "dim") for note in report.notes)):
        console.print(Text(printable(line), style=style))


def usd(measure: Measure | None) -> str:
    """`$1.20`, with its interval where there is one; `unknown` for null."""
    if measure is None:
        return "unknown"
    found = f"${measure.estimate:.2f}"
    return found if measure.lower == measure.upper else f"{found} [{measure.lower:.2f}, {measure.upper:.2f}]"


def rate(costs: Costs) -> str:
    """`$1.20 [1.10, 1.40] (95 % bootstrap over 9 researchers)` of what is known, and what that leaves out."""
    known, left_out = costs.known_usd_per_researcher_hour, costs.campaign.left_out
    if known is None or (not known.estimate and left_out):
        return "unknown"
    over = f" (95 % bootstrap over {known.n} researchers)" if known.n > 1 else ""
    return f"{usd(known)}{over}{' without ' + ' and '.join(left_out) if left_out else ''}"


def hours(measure: Measure | None) -> str:
    """With three decimals: a demo takes minutes."""
    return "unknown" if measure is None else f"{measure.estimate:.3f}"


def whole(measure: Measure) -> str:
    """`1,234,567`."""
    return f"{measure.estimate:,.0f}"


def limits(row: CostRow) -> str:
    """`1.25 of 5 USD (25 %)` for each limit there is."""
    words = [f"{x.spent.estimate:.4g} of {x.limit.estimate:g} {x.what} ({_share(x.spent, x.limit)})" for x in row.limits]
    return ", ".join(words) or "no limit"


def _share(spent: Measure, limit: Measure) -> str:
    return percent(spent.estimate / limit.estimate)


def _costs(report: Report) -> Table:
    """What there is to be said in a terminal; the pages have all of it."""
    rows = (*report.costs.researchers, report.costs.campaign)
    table = Table(title="Cost: model + machine", title_justify="left")
    columns: list[tuple[str, Callable[[CostRow], str], bool]] = [
        ("", lambda row: row.name, True),
        ("hours", lambda row: hours(row.hours), True),
        ("lost", lambda row: hours(row.lost_hours), any(row.lost_hours.estimate for row in rows)),
        ("calls", lambda row: whole(row.calls), any(row.calls.estimate for row in rows)),
        ("tokens", lambda row: amount(row.tokens.estimate), any(row.calls.estimate for row in rows)),
        ("model", lambda row: usd(row.model_usd), any(row.calls.estimate for row in rows)),
        ("machine", lambda row: usd(row.machine_usd), True),
        ("of the budget", limits, any(row.limits for row in rows)),
    ]
    shown = [(title, cell) for title, cell, wanted in columns if wanted]
    for title, _ in shown:
        table.add_column(title)
    for row in rows:
        table.add_row(*_cells(*(cell(row) for _, cell in shown)))
    return table


def _cells(*words: str) -> list[Text]:
    """As they are: no markup, no control character."""
    return [Text(one_line(word, 400)) for word in words]


def _scores(report: Report) -> Table:
    title = f"{report.problem['name']}: PGR with 95 % intervals over items, seeds and anchors"
    table = Table(title=Text(one_line(title, 200)), title_justify="left")
    for column in ("", "PGR feedback", "PGR final", "accuracy final"):
        table.add_column(column)
    table.add_row("weak teacher", "0", "0", accuracy(report.anchors_final.weak))
    for row in report.baselines:
        scores = interval(row.feedback.pgr), interval(row.final.pgr), accuracy(row.final.accuracy)
        table.add_row(*_cells(row.name, *scores))
    table.add_row("ceiling", "1", "1", accuracy(report.anchors_final.ceiling))
    return table


def _claims(report: Report) -> Table:
    title = "Leaders: PGR claimed on feedback, PGR of the evaluator's re-runs, and the verdict"
    table = Table(title=title, title_justify="left")
    kinds = ("fresh draw", "other pair", "transfer")
    further = {c.rank: (elsewhere(c.fresh), elsewhere(c.pair), ", ".join(map(elsewhere, c.transfer))) for c in report.claims}
    ran = [n for n in range(len(kinds)) if any(row[n] not in {"not run", ""} for row in further.values())]
    for column in ("", "researcher", "family", "claimed", "final", *(kinds[n] for n in ran), "verdict", "p adj", "m"):
        table.add_column(column, no_wrap=column == "researcher")
    for c in report.claims:
        scores = interval(c.claimed.pgr), score(c.final), *(further[c.rank][n] or "not run" for n in ran)
        verdict = c.standing, p_value(c.p_adjusted), interval(c.m)
        table.add_row(*_cells(str(c.rank), c.researcher, c.family.value, *scores, *verdict))
    return table


def score(found: Score | None) -> str:
    """PGR, or that the run failed."""
    return interval(found.pgr) if found else "failed"


def elsewhere(row: ElsewhereRow | None) -> str:
    """PGR on a fresh draw, with another pair, or on a transfer problem (named)."""
    if row is None:
        return "not run"
    words = "failed" if row.failure else score(row.score) if row.score else "unknown"
    return f"{row.name} {words}" if row.kind == "transfer" else words


def percent(share: float) -> str:
    """`59%`, and never `-0%`."""
    return f"{round(share, 2) + 0.0:.0%}"


def left(row: AblationRow | None) -> str:
    """`0.512 (4 % of the gain)`: what an ablation leaves."""
    if row is None:
        return "not run"
    if row.accuracy is None:
        return "failed"
    share = f" ({percent(row.share.estimate)} of its gain over chance)" if row.share else ""
    return f"{accuracy(row.accuracy)}{share}, p {p_value(row.p)}"


def p_value(measure: Measure | None) -> str:
    """`0.0031`, or `unknown`."""
    return "unknown" if measure is None else f"{measure.estimate:.2g}"
