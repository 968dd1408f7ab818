"""The reported level over time as a picture, as the live page draws it; at its right, what the
leaders' code scored on final. Scores that are drawn are those that the report prints: to two
decimals."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from aarlab.core.chart_lines import (
    Axis,
    band,
    known_lines,
    score_range,
    score_ticks,
    stairs,
    ticks,
)
from aarlab.core.pgr import says_nothing
from aarlab.core.records import Measure
from aarlab.report.curve_record import Curve
from aarlab.report.folder_report import FolderReport
from aarlab.report.report_record import Report, Score

LEFT, TOP, FOOT, GAP = 36.0, 8.0, 34.0, 14.0
LEAST, MOST = -1.0, 2.0  # scores between which something is drawn
LEADERS = 8  # more are in the table of claims
WIDE, NARROW = 960.0, 380.0


class Known(NamedTuple):
    """A score that was known before: a line across the picture."""

    kind: str  # "naive", "tuned", "best" or "ceiling"
    name: str  # as the picture names it
    feedback: float
    final: float


class Leader(NamedTuple):
    """A claim's score on final."""

    rank: int
    confirmed: bool
    estimate: float
    lower: float
    upper: float


class Picture(NamedTuple):
    """What is drawn."""

    unit: str  # "PGR" or "score"
    curve: Curve
    lines: tuple[Known, ...]
    leaders: tuple[Leader, ...]
    best: str  # the name of the best baseline; "" where there is none


def picture_of(report: Report | FolderReport) -> Picture | None:
    """Of a report; None where nothing was submitted."""
    if report.curve is None:
        return None
    unit = "score" if isinstance(report, FolderReport) else "PGR"
    known = dict(_baselines(report))
    best = _best(report, known)
    named = {"naive": ("naive", "naive"), "naive-tuned": ("tuned", "tuned naive")}
    lines = [Known(*named[name], *known[name]) for name in named if name in known and name != best]
    lines += [Known("best", "best", *known[best])] if best in known else []
    leaders = tuple(_leaders(report))[:LEADERS]
    ceiling = Known("ceiling", "ceiling", 1.0, 1.0)
    return Picture(unit, report.curve, (*lines, ceiling), leaders, best)


def _baselines(report: Report | FolderReport) -> Iterator[tuple[str, tuple[float, float]]]:
    """Each by its name, on feedback and on final, if both say something."""
    if isinstance(report, FolderReport):
        scored = [(n, (of["feedback"], of["final"])) for n, of in report.baselines.items()]
        found = [(name, [one.combined for one in both], [None, None]) for name, both in scored]
    else:
        rows = [(b.name, (b.feedback, b.final)) for b in report.baselines]
        found = [(n, [one.pgr for one in both], [one.gap for one in both]) for n, both in rows]
    for name, measures, gaps in found:
        drawn = [_drawn(m, gap) for m, gap in zip(measures, gaps, strict=True)]
        if all(drawn):
            feedback, final = (one.estimate for one in drawn if one)
            yield name, (feedback, final)


def _best(report: Report | FolderReport, known: dict[str, tuple[float, float]]) -> str:
    """The baseline that the report compares with."""
    if isinstance(report, FolderReport):
        return report.comparator
    return max(known, key=lambda name: known[name][1], default="")


def _leaders(report: Report | FolderReport) -> Iterator[Leader]:
    for claim in report.claims:
        final = claim.final
        on_final = (final.pgr, final.gap) if isinstance(final, Score) else (final, None)
        if found := _drawn(*on_final):
            confirmed = claim.verdict == "confirmed" and claim.stands
            yield Leader(claim.rank, confirmed, found.estimate, found.lower, found.upper)


def _drawn(found: Measure | None, gap: Measure | None) -> Measure | None:
    """A score to two decimals; None where it says nothing, or lies far from floor and ceiling."""
    if found is None or says_nothing(found, gap) or not LEAST <= found.estimate <= MOST:
        return None
    ends = {end: round(getattr(found, end), 2) for end in ("estimate", "lower", "upper")}
    return found.model_copy(update=ends)


# --- shapes ---------------------------------------------------------------------------------------


def shapes(found: Picture, width: float) -> dict[str, Any]:
    """In the units of a picture of that width."""
    wide = width > NARROW
    height, words = (250.0, 130.0) if wide else (210.0, 118.0)  # room for the lines' names
    right = width - words
    beside = right - (150.0 if wide else 80.0) if found.leaders else right
    end = beside - GAP if found.leaders else right
    levels = [(p.hours.estimate, p.level_pgr.estimate) for p in found.curve.points]
    certified = [
        (p.hours.estimate, max(p.certified_pgr.estimate, LEAST))
        for p in found.curve.points
        if p.certified_pgr
    ]
    y = Axis(*score_range(_scores(found, levels, certified)), TOP + height, TOP)
    x = Axis(0.0, found.curve.hours.estimate, LEFT, end)
    return {
        "width": width,
        "height": TOP + height + FOOT,
        "left": LEFT,
        "end": end,
        "beside": beside,
        "right": right,
        "bottom": TOP + height,
        "y_ticks": score_ticks(y),
        "x_ticks": [
            {"x": x(at / 3600), "words": said}
            for at, said in ticks("time", 3600 * found.curve.hours.estimate, 6 if wide else 3)
        ],
        "band": band(certified, levels, x, y, end),
        "level": stairs(levels, x, y, end),
        "lines": _lines(found, y),
        "leaders": list(_marks(found, Axis(0.0, len(found.leaders), beside, right), y)),
    }


def _scores(found: Picture, *steps: list[tuple[float, float]]) -> Iterator[float]:
    """All that are drawn."""
    for points in steps:
        yield from (value for _, value in points)
    for line in found.lines:
        yield from (line.feedback, line.final)
    for one in found.leaders:
        yield from (one.lower, min(one.upper, MOST))


def _lines(found: Picture, y: Axis) -> list[dict[str, Any]]:
    """Each where it is on feedback, and beside the leaders where it is on final. Its name stands at
    its right end."""
    at_end = "final" if found.leaders else "feedback"
    lines = [{"pgr": getattr(line, at_end), "line": line} for line in found.lines]
    return [
        {
            "name": row["of"]["line"].name,
            "kind": row["of"]["line"].kind,
            "value": row["of"]["pgr"],
            "feedback_y": y(row["of"]["line"].feedback),
            "end_y": row["y"],
            "words_y": row["words_y"],
        }
        for row in known_lines(lines, y)
    ]


def _marks(found: Picture, x: Axis, y: Axis) -> Iterator[dict[str, Any]]:
    """The leaders' intervals, cut at the picture's ends."""
    for place, one in enumerate(found.leaders):
        lower, upper = max(one.lower, y.low), min(one.upper, y.high)
        yield {
            "x": x(place + 0.5),
            "y": y(one.estimate),
            "lower_y": y(lower),
            "upper_y": y(upper),
            "of": one,
        }
