"""A bench as words: Markdown for a file, a table for the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from aarlab.bench.record import BenchReport, Comparison, ControlRow, LoraRow, MethodRow, TaskTable, Transfer
from aarlab.core.records import Measure

HEAD = ("method", "family", "PGR", "accuracy", "PGR in distr.", "PGR out of distr.", "against naive", "s a run")

SHORT = ("method", "PGR", "accuracy", "against naive", "s a run")  # of them, those that fit a terminal


def two(measure: Measure | None) -> str:
    """`0.62 [0.55, 0.69]`."""
    return "no gap" if measure is None else f"{measure.estimate:.2f} [{measure.lower:.2f}, {measure.upper:.2f}]"


def three(measure: Measure) -> str:
    """`0.812 [0.801, 0.823]`: accuracies need a third decimal."""
    return f"{measure.estimate:.3f} [{measure.lower:.3f}, {measure.upper:.3f}]"


def _against(comparison: Comparison | None) -> str:
    if comparison is None:
        return "-"
    if not comparison.distinguishable:
        return f"{comparison.difference.estimate:+.2f}, n.d."
    return f"{comparison.difference.estimate:+.2f} (p {comparison.p_holm:.2g})"


def _cells(row: MethodRow) -> tuple[str, ...]:
    return (
        row.method,
        row.family.value,
        two(row.pgr),
        three(row.accuracy),
        two(row.pgr_id),
        two(row.pgr_ood),
        _against(row.against_naive),
        f"{row.seconds.estimate:.2f}",
    )


def _facts(table: TaskTable) -> list[str]:
    worst = max(row.item_error for row in table.rows)
    first = ", ".join(table.with_winner) or "none"
    return [
        f"Weak {three(table.weak)}, ceiling {three(table.ceiling)}, gap {three(table.gap)}, "
        f"{table.weak.n} test items (split `{table.split}`).",
        f"The standard error of a PGR that the sample of items brings is at most {worst:.3f}.",
        f"Best: {table.winner}. Not distinguishable from it: {first}.",
    ]


def _transfer_line(t: Transfer) -> str:
    return (
        f"{t.source} -> {t.target}: rank correlation {two(t.tau)} over {t.tau.n} methods; the winner on {t.source}, "
        f"{t.winner}, has PGR {two(t.winner_pgr)} and rank {t.winner_rank} on {t.target}."
    )


def markdown(report: BenchReport) -> str:
    """The whole report."""
    spec = report.spec
    kind = "SELECTION DATA: not a result" if spec["selection"] else "report data"
    lines = [
        f"# Bench `{spec['name']}` ({kind})",
        "",
        f"`{report.command}`",
        "",
        f"Student {spec['student']}: {report.student}.",
        f"Hyper-parameters were chosen on data seed {report.selection_seed}; figures are on data "
        f"seed {', '.join(map(str, spec['data_seeds']))}, with {spec['seeds']} seeds a method and {report.anchor_seeds} an "
        "anchor. "
        "In brackets: 95 % bootstrap intervals over items, seeds and anchors, paired. "
        "P-values are adjusted by Holm over the methods of a task; n.d.: not distinguishable at 5 %.",
        "",
        "![forest](forest.svg)",
        "",
    ]
    for table in report.tables:
        lines += [f"## {table.task}", "", *_facts(table), ""]
        lines += [*_table(HEAD, [_cells(row) for row in table.rows]), ""]
    if report.transfer:
        lines += ["## Transfer", "", "![transfer](transfer.svg)", "", *(f"- {_transfer_line(t)}" for t in report.transfer), ""]
    if report.controls:
        lines += ["## Controls", "", *_table(CONTROL_HEAD, [control_cells(c) for c in report.controls]), ""]
    if report.lora:
        lines += ["## Fine-tuned (LoRA)", "", *_table(LORA_HEAD, [lora_cells(row) for row in report.lora]), ""]
    if report.failures:
        lines += ["## Failures", "", *(f"- {f}" for f in report.failures), ""]
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    return "\n".join([*lines, f"Versions: {versions}. Code of the methods: `{report.code[:16]}`.", ""])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


CONTROL_HEAD = ("task", "control", "a sound testbed shows", "accuracy", "as expected")


def control_cells(row: ControlRow) -> tuple[str, ...]:
    """The cells of CONTROL_HEAD."""
    return row.task, row.control, row.expected, three(row.accuracy), "yes" if row.as_expected else "NO"


LORA_HEAD = ("task", "labels", "items", "accuracy", "PGR (frozen ruler)", "s a run")


def lora_cells(row: LoraRow) -> tuple[str, ...]:
    """The cells of LORA_HEAD."""
    return row.task, row.labels, str(row.items), three(row.accuracy), two(row.pgr), f"{row.seconds.estimate:.0f}"


def print_controls(rows: list[ControlRow], console: Console) -> None:
    """The controls' table on a terminal."""
    shown = Table(*CONTROL_HEAD, box=None, pad_edge=False)
    for row in rows:
        shown.add_row(*control_cells(row))
    console.print(shown)


def print_lora(rows: list[LoraRow], console: Console) -> None:
    """The fine-tuned rows on a terminal."""
    shown = Table(*LORA_HEAD, box=None, pad_edge=False)
    for row in rows:
        shown.add_row(*lora_cells(row))
    console.print(shown)


def print_bench(report: BenchReport, console: Console) -> None:
    """The tables on a terminal."""
    for table in report.tables:
        shown = Table(*SHORT, title=table.task, title_justify="left", box=None, pad_edge=False)
        for row in table.rows:
            shown.add_row(*(cell for head, cell in zip(HEAD, _cells(row), strict=True) if head in SHORT))
        console.print(shown)
        for fact in _facts(table):
            console.print(f"  {fact}")
    for t in report.transfer:
        console.print(f"  {_transfer_line(t)}")
    for failure in report.failures:
        console.print(f"  failed: {failure}")
