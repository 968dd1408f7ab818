"""The picture of runs over time as shapes, in the units of a picture of a given width."""

from typing import Any

from aarlab.core.chart_lines import Axis, ticks
from aarlab.web.chart_shapes import LEFT, NARROW, short_names

TOP, LANE, BAR, THIN, WORDS = 6.0, 26.0, 12.0, 6.0, 18.0  # heights
LEAST = 1.5  # width of a bar
RIGHT = 12.0  # beside the picture


def gantt_shapes(gantt: dict[str, Any], width: float) -> dict[str, Any]:
    """Lanes with bars, the one row under the other, and the marks of time."""
    x = Axis(0.0, gantt["length"], LEFT, width - RIGHT)
    shorts = short_names([lane["name"] for lane in gantt["lanes"]])
    lanes = [
        _lane(lane, short, TOP + LANE * n, n, x)
        for n, (lane, short) in enumerate(zip(gantt["lanes"], shorts, strict=True))
    ]
    bottom = TOP + LANE * max(1, len(lanes))
    marks = ticks("time", gantt["length"], 9 if width > NARROW else 4)
    return {
        "width": width,
        "height": bottom + WORDS,
        "left": LEFT,
        "right": width - RIGHT,
        "top": TOP,
        "bottom": bottom,
        "lanes": lanes,
        "x_ticks": [{"x": x(at), "words": words} for at, words in marks],
    }


def _lane(lane: dict[str, Any], short: str, top: float, number: int, x: Axis) -> dict[str, Any]:
    bars = [
        {
            "x": x(bar["from"]),
            "width": round(max(LEAST, x(bar["to"]) - x(bar["from"])), 1),
            "y": top + (0.0 if bar["row"] == 0 else BAR + 2),
            "height": BAR if bar["row"] == 0 else THIN,
            "of": bar,
        }
        for bar in lane["bars"]
    ]
    return {"name": lane["name"], "short": short, "number": number % 9, "y": top, "bars": bars}
