"""The numbers of the live chart: what was reported when, to whom, and at what price. Each point has
its place on the chart's axis; times are seconds since the campaign's first entry."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from aarlab.diversity.entropy import grassberger_bits, most_bits
from aarlab.web.campaign_book import BookSubmission, CampaignBook, Steps
from aarlab.web.chart_axis import NAMES, ChartAxis, trouble
from aarlab.web.shown_score import ShownScore

LANES = 24  # researchers with a lane of dots; more share the last
DOTS = 600  # submissions that have a dot each; of more, those of one moment share a dot
MOMENTS = 200  # of a lane, where dots are shared
WINDOW, POINTS = 40, 60  # experiments of one entropy, and how many are drawn
STEPS = 400  # most points of a line


def chart(book: CampaignBook, axis: ChartAxis, baselines: Sequence[ShownScore], k: int) -> dict:
    """All that the chart shows along that axis, as plain JSON; the problem has k families."""
    last = book.handed_in[-1] if book.handed_in else None
    names = [name for name, mine in book.researchers.items() if mine.submissions]
    return {
        "began_s": round(book.began_s or 0.0, 3),
        "axis": axis.name,
        "axis_name": NAMES[axis.name],
        "trouble": trouble(book, axis),
        "length": round(axis.length, 6),
        "kind": "reported",
        "researchers": names[:LANES],
        "more_researchers": max(0, len(names) - LANES),
        "dots": _dots(book, names[:LANES], axis),
        "staircases": [_line(book.researchers[name].stairs, axis) for name in names[:LANES]],
        "envelope": _line(book.levels, axis),
        "certified": _line(book.certified, axis),
        "lines": _lines(baselines),
        "bits": _line(book.bits, axis, last.at_s if last else None),
        "cap_bits": book.released.cap_bits if book.released else None,
        "entropy": _entropy(book, axis, k),
        "most_entropy": round(most_bits(k), 3),
        "improvements": _improvements(book, axis),
    }


def _place(axis: ChartAxis, at_s: float) -> float:
    return round(axis(at_s), 1 if axis.name == "time" else 6)


def _point(axis: ChartAxis, at_s: float, value: float) -> list[float]:
    return [_place(axis, at_s), round(value, 3)]


def _line(steps: Steps, axis: ChartAxis, until_s: float | None = None) -> list[list[float]]:
    """At most STEPS points of a line; the last one at `until_s`."""
    every = -(-len(steps) // STEPS) or 1
    kept = steps if every == 1 else [*steps[:-1:every], steps[-1]]
    points = [_point(axis, at_s, value) for at_s, value in kept]
    return [*points, _point(axis, until_s, steps[-1][1])] if steps and until_s else points


def _improvements(book: CampaignBook, axis: ChartAxis) -> list[dict[str, Any]]:
    """Each reported improvement, the latest STEPS."""
    found = [book.handed_in[place] for place in book.improved[-STEPS:]]
    return [
        {
            "at_s": round(m.at_s - (book.began_s or 0.0), 1),
            "x": _place(axis, m.at_s),
            "researcher": m.who,
            "receipt": m.receipt.id,
            "family": m.receipt.family,
            "kind": "reported",
            "pgr": round(m.receipt.level_pgr, 4),
        }
        for m in found
    ]


def _dots(book: CampaignBook, names: Sequence[str], axis: ChartAxis) -> list[dict[str, Any]]:
    """A dot for each submission, in its researcher's lane; or, of many, for those of one moment."""
    lanes = [[book.handed_in[n] for n in book.researchers[name].submissions] for name in names]
    if sum(map(len, lanes)) <= DOTS:
        return [_dot(axis, row, [m]) for row, lane in enumerate(lanes) for m in lane]
    moments = MOMENTS / (axis.length or 1.0)
    return [
        _dot(axis, row, list(made))
        for row, lane in enumerate(lanes)
        for _, made in groupby(lane, lambda m: int(axis.place(m.at_s) * moments))
    ]


def _dot(axis: ChartAxis, row: int, made: Sequence[BookSubmission]) -> dict[str, Any]:
    improved = [m.receipt.id for m in made if m.receipt.improved]
    return {
        "x": _place(axis, made[0].at_s),
        "lane": row,
        "submissions": len(made),
        "improvements": len(improved),
        "receipt": improved[0] if improved else made[0].receipt.id,
    }


def _lines(baselines: Sequence[ShownScore]) -> list[dict[str, Any]]:
    """Naive, tuned naive and the best of all, where the report has them; and the ceiling."""
    known = {found.name: found.value for found in baselines}
    named = {n: known[n] for n in ("naive", "naive-tuned") if n in known}
    best = max(known, key=lambda name: known[name], default=None)
    if best is not None and best not in named:
        named[f"best baseline: {best}"] = known[best]
    lines = [{"name": n, "kind": "baseline", "pgr": value} for n, value in named.items()]
    return [*lines, {"name": "ceiling", "kind": "ceiling", "pgr": 1.0}]


def _entropy(book: CampaignBook, axis: ChartAxis, k: int) -> list[list[float]]:
    """Bits over the families of the latest WINDOW experiments, at some moments."""
    count = len(book.families)
    if count < WINDOW:
        return []
    every = max(1, (count - WINDOW) // POINTS)
    points = []
    for end in range(WINDOW, count + 1, every):
        counts = tuple(Counter(book.families[end - WINDOW : end]).values())
        points.append(_point(axis, book.handed_in[end - 1].at_s, grassberger_bits(counts, k)))
    return points
