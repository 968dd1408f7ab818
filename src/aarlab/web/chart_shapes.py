"""The live chart as shapes, in the units of a picture of a given width: a template draws them, with
classes and attributes alone."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from aarlab.core.chart_lines import (
    Axis,
    band,
    known_lines,
    score_range,
    score_ticks,
    stairs,
    ticks,
)

LEFT, RIGHT, TOP = 40.0, 40.0, 10.0
LANE, STRIP, GAP = 12.0, 40.0, 24.0  # heights
SHORT = 5  # characters of a name beside its lane
WIDE, NARROW = 960.0, 380.0


def shapes(chart: dict[str, Any], width: float) -> dict[str, Any]:
    """The main picture, lanes of dots under it, and the strips of bits and entropy."""
    height = 0.34 * width if width > NARROW else 0.62 * width
    x = Axis(0.0, chart["length"], LEFT, width - RIGHT)
    y = Axis(*score_range(_scores(chart)), TOP + height, TOP)
    lanes_top = TOP + height + GAP
    lanes_end = lanes_top + LANE * max(1, len(chart["researchers"]))
    bits_top, entropy_top = lanes_end + GAP, lanes_end + 2 * GAP + STRIP
    return {
        "width": width,
        "height": round(entropy_top + STRIP + GAP, 1),
        "left": LEFT,
        "right": width - RIGHT,
        "bottom": TOP + height,
        "x_ticks": [{"x": x(at), "words": words} for at, words in _marks(chart, width)],
        "y_ticks": score_ticks(y),
        "band": band(chart["certified"], chart["envelope"], x, y, x(chart["length"])),
        "envelope": stairs(chart["envelope"], x, y, x(chart["length"])),
        "staircases": [
            {"number": n % 9, "points": stairs(s, x, y, x(chart["length"]))}
            for n, s in enumerate(chart["staircases"])
        ],
        "rises": [{"x": x(i["x"]), "y": y(i["pgr"]), "of": i} for i in chart["improvements"]],
        "lines": known_lines(chart["lines"], y),
        "lanes": _lanes(chart, x, lanes_top),
        "bits": _strip(chart["bits"], chart["cap_bits"], x, bits_top),
        "entropy": _strip(chart["entropy"], chart["most_entropy"], x, entropy_top),
    }


def _scores(chart: dict[str, Any]) -> Iterator[float]:
    """All that are drawn."""
    yield from (p[1] for p in (*chart["envelope"], *chart["certified"]))
    yield from (found["pgr"] for found in chart["lines"])


def _marks(chart: dict[str, Any], width: float) -> list[tuple[float, str]]:
    return ticks(chart["axis"], chart["length"], 9 if width > NARROW else 4)


def short_names(names: Sequence[str]) -> list[str]:
    """Names without what they share, in a few characters: `3` for researcher-3."""
    alike = len({name.rpartition("-")[0] for name in names}) == 1
    return [(name.rpartition("-")[2] if alike else name)[-SHORT:] for name in names]


def _lanes(chart: dict[str, Any], x: Axis, top: float) -> list[dict[str, Any]]:
    names = chart["researchers"]
    rows = [
        {"name": name, "short": short, "number": n % 9, "y": top + LANE * (n + 0.5), "dots": []}
        for n, (name, short) in enumerate(zip(names, short_names(names), strict=True))
    ]
    for dot in chart["dots"]:
        size = min(5.0, 2.0 + 0.6 * math.sqrt(dot["submissions"]))
        rows[dot["lane"]]["dots"].append({"x": x(dot["x"]), "r": round(size, 1), "of": dot})
    return rows


def _strip(
    points: Sequence[Sequence[float]], cap: float | None, x: Axis, top: float
) -> dict[str, Any]:
    """A small picture of one amount over time, from 0 to its cap."""
    most = max([p[1] for p in points] or [1.0])
    y = Axis(0.0, max(cap or most, most) or 1.0, top + STRIP, top)
    line = "".join(f"{'L' if n else 'M'}{x(p[0])} {y(p[1])}" for n, p in enumerate(points))
    area = f"{line}V{top + STRIP}H{x(points[0][0])}Z" if points else ""
    return {
        "top": top,
        "bottom": top + STRIP,
        "line": line,
        "area": area,
        "cap_y": None if cap is None else y(cap),
        "cap": cap,
        "last": points[-1][1] if points else None,
    }
