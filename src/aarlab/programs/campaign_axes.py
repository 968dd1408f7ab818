"""Figures of a campaign as matplotlib axes. A legend names the kind of every score."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from matplotlib.axes import Axes

from aarlab.core.printable import one_line
from aarlab.report.pages import forest_rows
from aarlab.report.report_record import Report

Row = dict[str, Any]
# of the palette of Okabe and Ito, which colour-blind readers tell apart
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
INK, BAND, CONFIRMED, DOUBTED = "#222222", "#c9d6df", "#009e73", "#d55e00"
KINDS = {
    "baseline": ("o", INK, "baseline, final"),
    "claimed": ("D", "#888888", "claimed, feedback"),
    "confirmed": ("o", CONFIRMED, "confirmed, final"),
    "claim": ("o", DOUBTED, "not confirmed, final"),
}
MOST_NAMES = 9  # researchers that a legend names


def level(submissions: Sequence[Row], ax: Axes | None = None) -> Axes:
    """The label set's reported level over time, the certified band below it, and a
    dot for each reported improvement."""
    ax = _axes(ax)
    began = _seconds(submissions[0]["at"]) if submissions else 0.0
    passed_s = [_seconds(row["at"]) - began for row in submissions]
    unit, length_s = ("hours", 3600) if max(passed_s, default=0) >= 3600 else ("minutes", 60)
    at = [passed / length_s for passed in passed_s]
    levels = [row["reported_level_pgr"] for row in submissions]
    ax.step(at, levels, where="post", color=INK, linewidth=2, label="reported level")
    known = [(x, r) for x, r in zip(at, submissions, strict=True) if r["certified_pgr"] is not None]
    if known:
        ax.fill_between(
            [x for x, _ in known],
            [r["certified_pgr"] for _, r in known],
            [r["reported_level_pgr"] for _, r in known],
            step="post",
            color=BAND,
            label="down to what is certified (95 %)",
        )
    for number, name in enumerate(dict.fromkeys(row["researcher"] for row in submissions)):
        mine = [
            (x, row["reported_level_pgr"])
            for x, row in zip(at, submissions, strict=True)
            if row["researcher"] == name and row["improved"]
        ]
        if mine:
            colour = COLOURS[number % len(COLOURS)]
            (dots,) = ax.plot(*zip(*mine, strict=True), "o", color=colour)
            dots.set_label(f"improvement by {_plain(name)}" if number < MOST_NAMES else "")
    ax.axhline(1.0, color=INK, linewidth=0.8, linestyle=":", label="ceiling")
    ax.set(xlabel=f"{unit} since the first submission", ylabel="PGR on feedback")
    ax.legend(fontsize="small", frameon=False)
    return ax


def claims(
    submissions: Sequence[Row], confirmations: Sequence[Row], ax: Axes | None = None
) -> Axes:
    """Of each snapshot that was put to confirmation, the accuracy that was reported for its claim
    on feedback, beside the accuracy on final as it was released."""
    ax = _axes(ax)
    reported = {
        row["receipt"]: row["reported_level_accuracy"] for row in submissions if row["improved"]
    }
    latest = {(row["researcher"], row["snapshot"]): row for row in confirmations}
    shown = [row for row in latest.values() if row["confirmed_accuracy"] is not None]
    for y, row in enumerate(shown):
        if (claimed := reported.get(row["receipt"])) is not None:
            _point(ax, y, (claimed, claimed, claimed), "claimed", below=-0.15)
        kind = "confirmed" if row["verdict"] == "confirmed" else "claim"
        value = row["confirmed_accuracy"]
        ends = [row[f"confirmed_accuracy_{end}"] for end in ("lower", "upper")]
        lower, upper = (value if end is None else end for end in ends)
        _point(ax, y, (value, lower, upper), kind, below=0.15)
    names = [_plain(f"{row['receipt']}, {row['researcher']}: {row['verdict']}") for row in shown]
    return _listed(ax, names, "accuracy, as it was released")


def report(found: Report, ax: Axes | None = None) -> Axes:
    """PGR with 95 % intervals of baselines and claims, as the report's first table has them."""
    ax = _axes(ax)
    rows = forest_rows(found)
    for y, (_, pgr, _, kind) in enumerate(rows):
        _point(ax, y, (pgr.estimate, pgr.lower, pgr.upper), kind)
    for anchor in (0, 1):
        ax.axvline(anchor, color="#888888", linewidth=0.8, linestyle=":")
    return _listed(ax, [_plain(name) for name, _, _, _ in rows], "PGR")


def _axes(ax: Axes | None) -> Axes:
    """The axes that were given, or new ones of pyplot's, which a notebook shows."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # half a second

    return plt.subplots(figsize=(8, 4), layout="constrained")[1]


def _point(
    ax: Axes, y: float, at: tuple[float, float, float], kind: str, below: float = 0.0
) -> None:
    marker, colour, label = KINDS[kind]
    value, lower, upper = at
    known = {str(line.get_label()) for line in ax.get_lines()}
    ax.plot([lower, upper], [y + below] * 2, color=colour, linewidth=1.6)
    (dot,) = ax.plot(value, y + below, marker, color=colour, markersize=5, linestyle="none")
    dot.set_label("" if label in known else label)


def _listed(ax: Axes, names: Sequence[str], of: str) -> Axes:
    """Names from top to bottom."""
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel(of)
    if names:
        ax.legend(fontsize="small", frameon=False)
    return ax


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _plain(name: str) -> str:
    """One line that matplotlib reads as text, not as a formula."""
    return one_line(name, 60).replace("$", r"\$")
