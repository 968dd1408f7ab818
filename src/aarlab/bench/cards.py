"""A data card a problem and a card a method, generated from the code and the results: what cannot
drift from them."""

import inspect
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aarlab.bench.bench_record import BenchReport, ControlRow, MethodRow, TaskTable
from aarlab.bench.render import made_by, two
from aarlab.core.markdown import escaped
from aarlab.core.markdown import table as table_lines
from aarlab.core.pgr import pgr_words
from aarlab.core.records import SPLITS, AnyItem
from aarlab.methods.library import METHODS
from aarlab.problems.length_control import length_control
from aarlab.problems.publish import read_private_items
from aarlab.problems.registered import PROBLEMS
from aarlab.testbeds.testbed import Testbed


def write_cards(report: BenchReport, beds: dict[str, list[Testbed]], folder: Path) -> None:
    """cards/data-<problem>.md and cards/method-<name>.md."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in report.tables:
        items = read_private_items(beds[table.task][0].folder)
        rows = [c for c in report.controls if c.task == table.task]
        card = data_card(table, items, rows) + f"\n{escaped(made_by(report))}\n"
        (folder / f"data-{PROBLEMS[table.task].name}.md").write_text(card)
    for name in sorted(
        {row.method for table in report.tables for row in table.rows if row.method in METHODS}
    ):
        (folder / f"method-{name}.md").write_text(method_card(name, report))


def data_card(table: TaskTable, items: Sequence[AnyItem], controls: Sequence[ControlRow]) -> str:
    """What the items are, where they come from, how they are split and balanced, and how far they
    can be trusted."""
    problem = PROBLEMS[table.task]
    words = sum(len(f"{i.question} {' '.join(i.choices)}".split()) for i in items) / len(items)
    shown = "never (transfer only)" if problem.transfer_only else "student and feedback, unlabelled"
    lines = [
        f"# Data: {escaped(problem.name)}, version {escaped(problem.version)}",
        "",
        escaped(problem.card),
        "",
        inspect.getdoc(inspect.getmodule(problem.build)) or "",
        "",
        f"- In distribution: {escaped(problem.id_source)}",
        f"- Out of distribution: {escaped(problem.ood_source)}",
        f"- Shown to researchers: {shown}",
        f"- Fields that may leave the evaluator's side: {', '.join(items[0].PUBLISHED)}",
        f"- Words an item, mean: {words:.0f}",
        f"- Weak accuracy {table.weak}, ceiling {table.ceiling}, gap {table.gap}",
        "",
        *table_lines(("split", "part", "items", "of label 1", "by level"), _split_rows(items)),
        "",
        "Length alone (0.5: it predicts nothing):",
        "",
        *(f"- {escaped(str(row))}" for row in length_control(items)),
        "",
        *(
            [
                "## Controls",
                "",
                *(f"- {c.control}: {c.accuracy} (expected: {c.expected})" for c in controls),
                "",
            ]
        ),
    ]
    return "\n".join(lines)


def _split_rows(items: Sequence[AnyItem]) -> list[tuple[str, ...]]:
    rows = []
    for split in SPLITS:
        for part in ("id", "ood"):
            some = [i for i in items if (i.split, i.part) == (split, part)]
            if some:
                levels = ", ".join(
                    f"{level}: {n}" for level, n in sorted(Counter(i.level for i in some).items())
                )
                ones = sum(i.label for i in some)
                rows.append((split, part, f"{len(some)}", f"{ones}", levels))
    return rows


def method_card(name: str, report: BenchReport) -> str:
    """What the method does, its source, and what it reached where."""
    method = METHODS[name]
    source = inspect.getsource(method.run)
    found = [(t, r) for t in report.tables for r in t.rows if r.method == name]
    return "\n".join(
        [
            f"# Method: {name}",
            "",
            escaped(f"Family: {method.family.value}. Source: {method.cites}."),
            "",
            inspect.getdoc(method.run) or "",
            "",
            *table_lines(RESULT_HEAD, [_result_cells(table, row) for table, row in found]),
            "",
            "```python",
            source.rstrip(),
            "```",
            "",
            escaped(made_by(report)),
            "",
        ]
    )


RESULT_HEAD = ("task", "PGR", "accuracy", "rank", "against naive", "s a run")


def _result_cells(table: TaskTable, row: MethodRow) -> tuple[str, ...]:
    rank = f"{table.rows.index(row) + 1} of {len(table.rows)}"
    against = (
        "-"
        if row.against_naive is None
        else f"{two(row.against_naive.difference)} {row.against_naive.of}"
    )
    return (
        table.task,
        pgr_words(row.pgr, table.gap),
        str(row.accuracy),
        rank,
        against,
        f"{row.seconds.estimate:.2f}",
    )
