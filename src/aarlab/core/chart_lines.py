"""Lines of a chart as shapes, in the units of a picture: a template draws them, with classes and
attributes alone."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

Points = Sequence[Sequence[float]]  # a place along the axis, and the value from there on
WORDS = 13.0  # height of a line of words
MIDDLE = 4.0  # from the middle of words to their foot
NICE_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
# of time: from which step between ticks on, its seconds, its name
UNITS = ((86400, 86400, "d"), (1800, 3600, "h"), (60, 60, "m"))
MOST_TICKS = 200


class Axis:
    """From values to places in a picture."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(self.start + share * (self.end - self.start), 1)


# --- the axis along which it goes -----------------------------------------------------------------


def ticks(name: str, length: float, most: int) -> list[tuple[float, str]]:
    """Places of at most about `most` marks, from 0, and their words; of "time" in seconds, "hours"
    or "dollars"."""
    step = _step(name, length, most)
    places = [step * n for n in range(min(int(length / step) + 1, MOST_TICKS))]
    return [(place, _words(name, place, step)) for place in places]


def _step(name: str, length: float, most: int) -> float:
    if name == "time":
        return next((s for s in NICE_S if length / s <= most), 7 * 86400)
    size = 10.0**-6
    while True:
        for step in (size, 2 * size, 5 * size):
            if length / step <= most:
                return step
        size *= 10


def _words(name: str, place: float, step: float) -> str:
    if name == "time":
        unit_s, unit = next(((u, w) for least, u, w in UNITS if step >= least), (1, "s"))
        return f"{place / unit_s:g} {unit}"
    return f"${place:.4g}" if name == "dollars" else f"{place:.4g} h"


# --- scores ---------------------------------------------------------------------------------------


def score_range(values: Iterable[float]) -> tuple[float, float]:
    """From the lowest of the scores that are drawn to the ceiling at least."""
    found = [0.0, 1.0, *values]
    return max(math.floor(10 * min(found)) / 10, -1.0), max(1.05, math.ceil(10 * max(found)) / 10)


def score_ticks(y: Axis) -> list[dict[str, Any]]:
    """The marks of that axis and their words."""
    step = 0.25 if y.high - y.low <= 1.6 else 0.5
    marks = range(math.ceil(y.low / step), math.floor(y.high / step) + 1)
    return [{"y": y(step * n), "words": f"{step * n:g}"} for n in marks]


def stairs(points: Points, x: Axis, y: Axis, end: float) -> str:
    """A line that stays level until the next point, up to the right end."""
    if not points:
        return ""
    path = [f"M{x(points[0][0])} {y(points[0][1])}"]
    path += [f"H{x(at)}V{y(value)}" for at, value in points[1:]]
    return "".join([*path, f"H{end}"])


def band(lower: Points, upper: Points, x: Axis, y: Axis, end: float) -> str:
    """The area from what is certified up to what is reported, up to the right end."""
    if not lower:
        return ""
    above = [p for p in upper if p[0] >= lower[0][0]] or upper[-1:]
    back = [[lower[-1][0], lower[-1][1]], *reversed(lower[:-1])]
    path = [f"M{x(lower[0][0])} {y(above[0][1])}"]
    path += [f"H{x(at)}V{y(value)}" for at, value in above]
    path += [f"H{end}V{y(back[0][1])}"]
    for (at, _), (_, earlier) in zip(back, [*back[1:], back[-1]], strict=True):
        path.append(f"H{x(at)}V{y(earlier)}")
    return "".join([*path, "Z"])


def known_lines(lines: Iterable[dict[str, Any]], y: Axis) -> list[dict[str, Any]]:
    """The lines of what is known (each has its score as `pgr`), from the top; their words stand at
    their right end, WORDS apart at least."""
    rows, last = [], float("-inf")
    for found in sorted(lines, key=lambda one: -one["pgr"]):
        at = y(found["pgr"])
        last = max(at + MIDDLE, last + WORDS)
        rows.append({"y": at, "words_y": round(last, 1), "of": found})
    return rows
