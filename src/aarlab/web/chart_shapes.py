"""The live chart as shapes, in the units of a picture of a given width: a template draws them, with
classes and attributes alone."""

import math
from collections.abc import Sequence
from typing import Any

from aarlab.web.chart_axis import ticks

LEFT, RIGHT, TOP = 40.0, 40.0, 10.0
LANE, STRIP, GAP, WORDS = 12.0, 40.0, 24.0, 13.0  # heights
SHORT = 5  # characters of a name beside its lane
MIDDLE = 4.0  # from the middle of words to their foot
WIDE, NARROW = 960.0, 380.0


class Axis:
    """From values to places in a picture."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(self.start + share * (self.end - self.start), 1)


def shapes(chart: dict[str, Any], width: float) -> dict[str, Any]:
    """The main picture, lanes of dots under it, and the strips of bits and entropy."""
    height = 0.34 * width if width > NARROW else 0.62 * width
    x = Axis(0.0, chart["length"], LEFT, width - RIGHT)
    low, high = _range(chart)
    y = Axis(low, high, TOP + height, TOP)
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
        "y_ticks": [{"y": y(v), "words": f"{v:g}"} for v in _levels(low, high)],
        "band": _band(chart, x, y),
        "envelope": _stairs(chart["envelope"], x, y, x(chart["length"])),
        "staircases": [
            {"number": n % 9, "points": _stairs(s, x, y, x(chart["length"]))}
            for n, s in enumerate(chart["staircases"])
        ],
        "rises": [{"x": x(i["x"]), "y": y(i["pgr"]), "of": i} for i in chart["improvements"]],
        "lines": _known(chart["lines"], y),
        "lanes": _lanes(chart, x, lanes_top),
        "bits": _strip(chart["bits"], chart["cap_bits"], x, bits_top),
        "entropy": _strip(chart["entropy"], chart["most_entropy"], x, entropy_top),
    }


def _range(chart: dict[str, Any]) -> tuple[float, float]:
    """Of the scores: from the lowest that is drawn to the ceiling at least."""
    values = [p[1] for p in (*chart["envelope"], *chart["certified"])]
    values += [found["pgr"] for found in chart["lines"]]
    low = math.floor(10 * min([0.0, *values])) / 10
    return max(low, -1.0), max(1.05, math.ceil(10 * max(values, default=1.0)) / 10)


def _levels(low: float, high: float) -> list[float]:
    step = 0.25 if high - low <= 1.6 else 0.5
    return [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _marks(chart: dict[str, Any], width: float) -> list[tuple[float, str]]:
    return ticks(chart["axis"], chart["length"], 9 if width > NARROW else 4)


def _stairs(points: Sequence[Sequence[float]], x: Axis, y: Axis, end: float) -> str:
    """A line that stays level until the next point, up to the right end."""
    if not points:
        return ""
    path = [f"M{x(points[0][0])} {y(points[0][1])}"]
    path += [f"H{x(at)}V{y(value)}" for at, value in points[1:]]
    return "".join([*path, f"H{end}"])


def _band(chart: dict[str, Any], x: Axis, y: Axis) -> str:
    """The area from what is certified up to what is reported."""
    lower, upper = chart["certified"], chart["envelope"]
    if not lower:
        return ""
    end = x(chart["length"])
    above = [p for p in upper if p[0] >= lower[0][0]] or upper[-1:]
    back = [[lower[-1][0], lower[-1][1]], *reversed(lower[:-1])]
    path = [f"M{x(lower[0][0])} {y(above[0][1])}"]
    path += [f"H{x(at)}V{y(value)}" for at, value in above]
    path += [f"H{end}V{y(back[0][1])}"]
    for (at, _), (_, earlier) in zip(back, [*back[1:], back[-1]], strict=True):
        path.append(f"H{x(at)}V{y(earlier)}")
    return "".join([*path, "Z"])


def _known(lines: Sequence[dict[str, Any]], y: Axis) -> list[dict[str, Any]]:
    """The lines of what is known, from the top; their words stand at their right end, WORDS apart
    at least."""
    rows, last = [], float("-inf")
    for found in sorted(lines, key=lambda one: -one["pgr"]):
        at = y(found["pgr"])
        last = max(at + MIDDLE, last + WORDS)
        rows.append({"y": at, "words_y": round(last, 1), "of": found})
    return rows


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
