"""What was claimed against what was found on final, as shapes in a square picture: where both are
the same, a point lies on the line."""

from collections.abc import Sequence
from typing import Any

from aarlab.core.chart_lines import Axis

SIZE, LEFT, BELOW, EDGE = 380.0, 44.0, 40.0, 10.0
STEPS = (0.02, 0.05, 0.1, 0.2, 0.5)  # between two ticks
MOST_TICKS = 6


def scatter_shapes(claims: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The picture of claims that have a score on final."""
    low, high = _range(claims)
    x, y = Axis(low, high, LEFT, SIZE - EDGE), Axis(low, high, SIZE - BELOW, EDGE)
    step = next((s for s in STEPS if (high - low) / s <= MOST_TICKS), STEPS[-1])
    first = round(low / step)
    places = [step * n for n in range(first, round(high / step) + 1) if low <= step * n <= high]
    return {
        "size": SIZE,
        "left": LEFT,
        "right": SIZE - EDGE,
        "top": EDGE,
        "bottom": SIZE - BELOW,
        "ticks": [{"x": x(v), "y": y(v), "words": f"{v:.2f}"} for v in places],
        "points": [_point(claim, x, y) for claim in claims],
    }


def _range(claims: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Of both axes: all values and intervals, with a margin."""
    values = [claim["claimed"]["value"] for claim in claims]
    values += [claim["final"][end] for claim in claims for end in ("value", "lower", "upper")]
    low, high = min(values), max(values)
    margin = 0.1 * (high - low) or 0.05
    return low - margin, high + margin


def _point(claim: dict[str, Any], x: Axis, y: Axis) -> dict[str, Any]:
    found = claim["final"]
    ends = {end: y(found[end]) for end in ("lower", "upper")}
    return {"x": x(claim["claimed"]["value"]), "y": y(found["value"]), "of": claim} | ends
