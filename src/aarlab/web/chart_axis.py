"""The horizontal axis of the live chart: time, hours of researchers, or known dollars."""

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from aarlab.web.campaign_book import CampaignBook, Steps

AXES = ("time", "hours", "dollars")
NAMES = {"time": "time", "hours": "hours of researchers", "dollars": "dollars"}


class ChartAxis(NamedTuple):
    """An axis: from a moment (seconds since 1970) to a place on it, and its length."""

    name: str
    place: Callable[[float], float]
    length: float

    def __call__(self, at_s: float) -> float:
        return self.place(at_s)


def along(book: CampaignBook, name: str, ends_s: float) -> ChartAxis:
    """The axis of that name of a campaign that is shown until `ends_s`."""
    began_s = book.began_s or 0.0
    if name == "time":
        return ChartAxis(name, lambda at_s: at_s - began_s, max(ends_s - began_s, 1.0))
    steps = added_up(book, 1 if name == "hours" else 2)
    return ChartAxis(name, lambda at_s: spent_at(steps, at_s), steps[-1][1])


def added_up(book: CampaignBook, field: int) -> Steps:
    """What was spent until each moment at which a spend begins or ends: each spend evenly over its
    own seconds, up to the time that it reports; a model call, at that time."""
    began_s = book.began_s or 0.0
    changes: list[tuple[float, float, float]] = []  # when, of the rate a second, at once
    for spend in book.spends:
        start, end = (max(began_s, at) for at in (spend[0] - 3600 * spend[1], spend[0]))
        if start == end:
            changes.append((end, 0.0, spend[field]))
        else:
            rate = spend[field] / (end - start)
            changes += [(start, rate, 0.0), (end, -rate, 0.0)]
    steps, total, rate = [(began_s, 0.0)], 0.0, 0.0
    for at_s, change, at_once in sorted(changes):
        total += rate * (at_s - steps[-1][0])
        steps += [(at_s, total), *([(at_s, total + at_once)] if at_once else [])]
        total, rate = total + at_once, rate + change
    return steps


def spent_at(steps: Steps, at_s: float) -> float:
    """What was spent until a moment; what lies between two steps is spread evenly."""
    place = bisect_right(steps, at_s, key=lambda step: step[0])
    if place in (0, len(steps)):
        return steps[place - 1][1] if place else 0.0
    (before_s, before), (after_s, after) = steps[place - 1 : place + 1]
    return before + (after - before) * (at_s - before_s) / (after_s - before_s)


def trouble(book: CampaignBook, axis: ChartAxis) -> str:
    """What the axis leaves out, or why nothing can be drawn along it; "" where all is there."""
    if not axis.length:
        what = "dollar is known" if axis.name == "dollars" else "hour is recorded"
        return f"No {what} yet, so nothing is drawn along this axis: choose time."
    if axis.name == "dollars" and (left_out := book.tally.unknown):
        return f"These are the known dollars: {' and '.join(left_out)} have no known price."
    return ""
