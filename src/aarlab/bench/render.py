"""A bench as words: Markdown for a file, a table for the terminal."""

from rich.console import Console
from rich.table import Table

from aarlab.bench.bench_record import (
    BenchReport,
    ControlRow,
    MethodComparison,
    MethodRow,
    TaskTable,
    Transfer,
)
from aarlab.core.markdown import code, escaped
from aarlab.core.markdown import table as table_lines
from aarlab.core.pgr import NOTHING, pgr_words
from aarlab.core.records import Measure

HEAD = (
    "method",
    "family",
    "PGR",
    "accuracy",
    "PGR in distr.",
    "PGR out of distr.",
    "against naive",
    "s a seed",
)

# of them, those that fit a terminal
SHORT = ("method", "PGR", "accuracy", "against naive", "s a seed")


def two(measure: Measure) -> str:
    """`0.62 [0.55, 0.69]`."""
    return f"{measure.estimate:.2f} [{measure.lower:.2f}, {measure.upper:.2f}]"


def _against(comparison: MethodComparison | None) -> str:
    if comparison is None:
        return "-"
    found = (
        f"{comparison.difference.estimate:+.2f}"
        if comparison.of == "PGR"
        else f"{comparison.difference.estimate:+.3f} accuracy"
    )
    return (
        f"{found} (p {comparison.p_holm:.2g})" if comparison.distinguishable else f"{found}, n.d."
    )


def _cells(row: MethodRow, gap: Measure) -> tuple[str, ...]:
    parts = ((row.accuracy_id, row.pgr_id), (row.accuracy_ood, row.pgr_ood))
    return (
        row.method,
        row.family.value,
        pgr_words(row.pgr, gap),
        str(row.accuracy),
        *("no items" if accuracy is None else pgr_words(pgr) for accuracy, pgr in parts),
        _against(row.against_naive),
        f"{row.seconds.estimate:.2f}",
    )


def _facts(table: TaskTable) -> list[str]:
    errors = [row.item_error for row in table.rows if row.item_error is not None]
    first = ", ".join(table.with_winner) or "none"
    return [
        *([table.trouble] if table.trouble else []),
        f"Weak {table.weak}, ceiling {table.ceiling}, gap {table.gap}, "
        f"{table.weak.n} test items (split `{table.split}`).",
        *(
            [
                "The standard error of a PGR that the sample of items brings is at most "
                f"{max(errors):.3f}."
            ]
            if errors
            else []
        ),
        f"Best: {table.winner}. Not distinguishable from it: {first}.",
    ]


def _transfer_line(t: Transfer) -> str:
    return (
        f"{t.source} -> {t.target}: rank correlation {two(t.tau)} over {t.tau.n} methods; the "
        f"winner on {t.source}, {t.winner}, has PGR {pgr_words(t.winner_pgr)} and rank "
        f"{t.winner_rank} on {t.target}."
    )


def markdown(report: BenchReport) -> str:
    """The whole report."""
    spec = report.spec
    kind = "SELECTION DATA: not a result" if spec["selection"] else "report data"
    lines = [
        f"# Bench {code(spec['name'])} ({kind})",
        "",
        code(report.command),
        "",
        escaped(f"Student {spec['student']}: {report.student}."),
        f"Hyper-parameters were chosen on data seed {report.selection_seed}; figures are on data "
        f"seed {', '.join(map(str, spec['data_seeds']))}, with {spec['seeds']} seeds a method and "
        f"{report.anchor_seeds} an anchor. In brackets: 95 % intervals of the crossed design of "
        "items (in groups that share a label) and seeds, the anchors included; differences are "
        f"paired. A PGR that {NOTHING} has an interval wider than the whole "
        "gap, or a gap that may be chance. P-values are adjusted by Holm over the methods of a "
        "task; n.d.: not distinguishable at 5 %.",
        "",
        "![forest](forest.svg)",
        "",
    ]
    for table in report.tables:
        lines += [f"## {escaped(table.task)}", "", *map(escaped, _facts(table)), ""]
        lines += [*table_lines(HEAD, [_cells(row, table.gap) for row in table.rows]), ""]
    if report.transfer:
        lines += [
            "## Transfer",
            "",
            "![transfer](transfer.svg)",
            "",
            *(f"- {escaped(_transfer_line(t))}" for t in report.transfer),
            "",
        ]
    if report.controls:
        lines += [
            "## Controls",
            "",
            *table_lines(CONTROL_HEAD, [control_cells(c) for c in report.controls]),
            "",
        ]
    if report.failures:
        lines += ["## Failures", "", *(f"- {escaped(f)}" for f in report.failures), ""]
    lines += [escaped(f"Note: {note}") for note in report.notes]
    return "\n".join([*lines, *([""] if report.notes else []), escaped(made_by(report)), ""])


def made_by(report: BenchReport) -> str:
    """Which aarlab measured it, with which libraries."""
    versions = ", ".join(
        f"{name} {number}" for name, number in report.versions.items() if name != "aarlab"
    )
    return (
        f"Measured by {report.build or 'an older aarlab'}. Code of the methods: "
        f"{report.code[:16]}; {versions}."
    )


CONTROL_HEAD = ("task", "control", "a sound testbed shows", "accuracy", "as expected")


def control_cells(row: ControlRow) -> tuple[str, ...]:
    """The cells of CONTROL_HEAD."""
    return (
        row.task,
        row.control,
        row.expected,
        str(row.accuracy),
        "yes" if row.as_expected else "NO",
    )


def print_controls(rows: list[ControlRow], console: Console) -> None:
    """The controls' table on a terminal."""
    shown = Table(*CONTROL_HEAD, box=None, pad_edge=False)
    for row in rows:
        shown.add_row(*control_cells(row))
    console.print(shown)


def print_bench(report: BenchReport, console: Console) -> None:
    """The tables on a terminal."""
    for table in report.tables:
        shown = Table(*SHORT, title=table.task, title_justify="left", box=None, pad_edge=False)
        for row in table.rows:
            shown.add_row(
                *(
                    cell
                    for head, cell in zip(HEAD, _cells(row, table.gap), strict=True)
                    if head in SHORT
                )
            )
        console.print(shown)
        for fact in _facts(table):
            console.print(f"  {fact}")
    for t in report.transfer:
        console.print(f"  {_transfer_line(t)}")
    for failure in report.failures:
        console.print(f"  failed: {failure}")
    for note in (*report.notes, made_by(report)):
        console.print(f"  {note}")
