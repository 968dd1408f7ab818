"""Two figures of a bench: a forest plot of PGR by method, a panel a task; and a heat map of method
x task for transfer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from aarlab.bench.bench_record import BenchReport, TaskTable
from aarlab.core.pgr import NOTHING, says_nothing

BEST, REST, FAINT = "#0b6e4f", "#4a5568", "#cbd5e0"


def draw(report: BenchReport, folder: Path) -> None:
    """Write forest.svg, forest.png, transfer.svg and transfer.png."""
    methods = sorted(
        {row.method for table in report.tables for row in table.rows},
        key=lambda m: _mean_rank(m, report),
    )
    for name, figure in (
        ("forest", forest(report.tables, methods)),
        ("transfer", heat_map(report.tables, methods)),
    ):
        figure.supxlabel(str(report.build or "an older aarlab"), fontsize=6, color=REST)
        for kind in ("svg", "png"):
            figure.savefig(
                folder / f"{name}.{kind}",
                dpi=110,
                metadata={"Date": None} if kind == "svg" else None,
            )


def _mean_rank(method: str, report: BenchReport) -> float:
    ranks = [
        [r.method for r in t.rows].index(method)
        for t in report.tables
        if method in {r.method for r in t.rows}
    ]
    return float(np.mean(ranks))


def forest(tables: Sequence[TaskTable], methods: Sequence[str]) -> Figure:
    """PGR with 95 % intervals; the weak teacher is at 0, the ceiling at 1; the winner and its
    equals are green, figures that say nothing are faint."""
    figure = Figure(
        figsize=(3.2 + 3.4 * len(tables), 1.2 + 0.27 * max(len(methods), 3)), layout="constrained"
    )
    axes = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
    for axis, table in zip(axes, tables, strict=True):
        first = {table.winner, *table.with_winner}
        for row in table.rows:
            y, colour = methods.index(row.method), BEST if row.method in first else REST
            if row.pgr is None:
                continue
            faint = says_nothing(row.pgr, table.gap)
            axis.plot(
                [row.pgr.lower, row.pgr.upper],
                [y, y],
                color=FAINT if faint else colour,
                linewidth=1.6,
            )
            axis.plot(row.pgr.estimate, y, "o", color=FAINT if faint else colour, markersize=4)
        for anchor in (0, 1):
            axis.axvline(anchor, color="#a0aec0", linewidth=0.8, linestyle=":")
        gap = f"; gap {table.gap}: PGR {NOTHING}" if table.trouble else ""
        anchors = f"weak {table.weak.estimate:.3f}, ceiling {table.ceiling.estimate:.3f}"
        axis.set_title(f"{_name(table.task)}\n({anchors}{gap})", fontsize=9)
        axis.set_xlabel("PGR", fontsize=9)
        axis.tick_params(labelsize=8)
    axes[0].set_yticks(range(len(methods)), methods)
    axes[0].invert_yaxis()
    return figure


def heat_map(tables: Sequence[TaskTable], methods: Sequence[str]) -> Figure:
    """PGR of every method on every task, the rank on that task in brackets."""
    values = np.full((len(methods), len(tables)), np.nan)
    figure = Figure(
        figsize=(2.6 + 1.5 * len(tables), 1.2 + 0.27 * max(len(methods), 3)), layout="constrained"
    )
    axis = figure.subplots()
    for column, table in enumerate(tables):
        for rank, row in enumerate(table.rows, start=1):
            y, label = methods.index(row.method), NOTHING
            if row.pgr is not None and not says_nothing(row.pgr, table.gap):
                values[y, column], label = row.pgr.estimate, f"{row.pgr.estimate:.2f}"
            axis.text(column, y, f"{label} ({rank})", ha="center", va="center", fontsize=8)
    axis.imshow(values, aspect="auto", cmap="RdYlGn", vmin=-0.5, vmax=1.5, alpha=0.75)
    axis.set_xticks(range(len(tables)), [_name(t.task) for t in tables], fontsize=9)
    axis.set_yticks(range(len(methods)), methods, fontsize=8)
    return figure


def _name(task: str) -> str:
    """A task's name; of items of a file, the file's without its folder: a long path leaves no room
    for the axes."""
    return Path(task).name
