"""A data card a problem and a card a method, generated from the code and the results: what cannot drift from them."""

import inspect
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aarlab.bench.record import BenchReport, ControlRow, MethodRow, TaskTable
from aarlab.bench.render import three, two
from aarlab.core.records import SPLITS, AnyItem
from aarlab.methods.library import METHODS
from aarlab.problems.problem import PROBLEMS
from aarlab.problems.publish import read_private_items
from aarlab.runs.testbed import Testbed


def write_cards(report: BenchReport, beds: dict[str, list[Testbed]], folder: Path) -> None:
    """cards/data-<problem>.md and cards/method-<name>.md."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in report.tables:
        items = read_private_items(beds[table.task][0].folder)
        rows = [c for c in report.controls if c.task == table.task]
        (folder / f"data-{PROBLEMS[table.task].name}.md").write_text(data_card(table, items, rows))
    for name in sorted({row.method for table in report.tables for row in table.rows if row.method in METHODS}):
        (folder / f"method-{name}.md").write_text(method_card(name, report))


def data_card(table: TaskTable, items: Sequence[AnyItem], controls: Sequence[ControlRow]) -> str:
    """What the items are, where they come from, how they are split and balanced, and how far they can be trusted."""
    problem = PROBLEMS[table.task]
    words = sum(len(f"{i.question} {' '.join(i.choices)}".split()) for i in items) / len(items)
    lines = [
        f"# Data: {problem.name}, version {problem.version}",
        "",
        problem.card,
        "",
        inspect.getdoc(inspect.getmodule(problem.build)) or "",
        "",
        f"- In distribution: {problem.id_source}",
        f"- Out of distribution: {problem.ood_source}",
        f"- Shown to researchers: {'never (transfer only)' if problem.transfer_only else 'student and feedback, unlabelled'}",
        f"- Fields that may leave the evaluator's side: {', '.join(items[0].PUBLISHED)}",
        f"- Words an item, mean: {words:.0f}",
        f"- Weak accuracy {three(table.weak)}, ceiling {three(table.ceiling)}, gap {three(table.gap)}",
        "",
        "| split | part | items | of label 1 | by level |",
        "|---|---|---|---|---|",
        *_split_lines(items),
        "",
        *(["## Controls", "", *(f"- {c.control}: {three(c.accuracy)} (expected: {c.expected})" for c in controls), ""]),
    ]
    return "\n".join(lines)


def _split_lines(items: Sequence[AnyItem]) -> list[str]:
    lines = []
    for split in SPLITS:
        for part in ("id", "ood"):
            some = [i for i in items if (i.split, i.part) == (split, part)]
            if some:
                levels = ", ".join(f"{level}: {n}" for level, n in sorted(Counter(i.level for i in some).items()))
                lines.append(f"| {split} | {part} | {len(some)} | {sum(i.label for i in some)} | {levels} |")
    return lines


def method_card(name: str, report: BenchReport) -> str:
    """What the method does, its source, and what it reached where."""
    method = METHODS[name]
    source = inspect.getsource(method.run)
    found = [(t, r) for t in report.tables for r in t.rows if r.method == name]
    return "\n".join(
        [
            f"# Method: {name}",
            "",
            f"Family: {method.family.value}. Source: {method.cites}.",
            "",
            inspect.getdoc(method.run) or "",
            "",
            "| task | PGR | accuracy | rank | against naive | s a run |",
            "|---|---|---|---|---|---|",
            *(_result_line(table, row) for table, row in found),
            "",
            "```python",
            source.rstrip(),
            "```",
            "",
        ]
    )


def _result_line(table: TaskTable, row: MethodRow) -> str:
    rank = f"{table.rows.index(row) + 1} of {len(table.rows)}"
    against = "-" if row.against_naive is None else two(row.against_naive.difference)
    cells = (table.task, two(row.pgr), three(row.accuracy), rank, against, f"{row.seconds.estimate:.2f}")
    return f"| {' | '.join(cells)} |"
