"""The collapse alarm: detects a significant drop of a fleet's entropy below its own past.

The rule is a control chart. Ideas are taken in windows of WINDOW, in order, and each window has its
entropy. After the first PAST, a window is compared with the m before it. Were entropies alike
normal, it would lie below their mean by more than t sd sqrt(1 + 1/m) in a share of ALPHA; sd is
theirs, mixed with CHANCE_SD as if that had been seen in WORTH windows more, and t is Student's
quantile for as many. The alarm fires when RUNS windows in a row lie so far below, and by LEAST_DROP
at least. It stands until one is within LEAST_DROP of that mean again; windows under an alarm are no
part of the past. A fleet that moves to other families and keeps its spread is no collapse. False
alarms and delay, by simulation: docs/diversity.md.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import scipy  # its parts take half a second to import, and load when they are first used

from aarlab.diversity.entropy import effective, grassberger_bits

WINDOW = 20  # ideas
PAST = 4  # windows before the first comparison
LEAST_DROP = 0.5  # bits: less is not worth an alarm
# bits that chance alone moves windows of a fleet, and how many windows this is worth
CHANCE_SD, WORTH = 0.3, 10
ALPHA, RUNS = 0.005, 2  # of one comparison, and how many in a row: a single low window is no alarm


class Drop(NamedTuple):
    """A fall far below the past. Entropies in bits."""

    since: int  # ideas before the window that fired
    before: float  # mean of the windows until then
    now: float
    family: str  # the most frequent now


def collapse(families: Sequence[str]) -> Drop | None:
    """The fall in which the fleet is after these ideas, in order; None if it is in none."""
    return next(iter(deque(states(families), maxlen=1)), None)


def states(families: Sequence[str]) -> Iterator[Drop | None]:
    """The same after each full window."""
    past: list[float] = []
    held: Drop | None = None
    low: list[float] = []  # entropies of the windows in a row that lie far below
    for start in range(0, len(families) - WINDOW + 1, WINDOW):
        counts = Counter(families[start : start + WINDOW])
        now, family = grassberger_bits(tuple(counts.values())), counts.most_common(1)[0][0]
        if held is not None and now < held.before - LEAST_DROP:
            held = held._replace(now=now, family=family)
        elif held is None and _far_below(now, past):
            low.append(now)
            if len(low) == RUNS:
                held = Drop(start - (RUNS - 1) * WINDOW, float(np.mean(past)), now, family)
                low = []
        else:
            past += [*low, now]  # windows that were low by chance count
            held, low = None, []
        yield held


def _far_below(now: float, past: Sequence[float]) -> bool:
    m = len(past)
    if m < PAST:
        return False
    freedom = WORTH + m - 1
    sd = ((WORTH * CHANCE_SD**2 + (m - 1) * float(np.var(past, ddof=1))) / freedom) ** 0.5
    return float(np.mean(past)) - now > max(
        LEAST_DROP, _quantile(freedom) * sd * (1 + 1 / m) ** 0.5
    )


@cache
def _quantile(freedom: int) -> float:
    return float(scipy.stats.t.ppf(1 - ALPHA, freedom))


def collapse_alarm(families_in_order: Sequence[str]) -> str | None:
    """The alarm as a sentence, or None."""
    drop = collapse(families_in_order)
    if drop is None:
        return None
    now, before = (
        f"{effective(bits):.1f} effective families ({bits:.1f} bits)"
        for bits in (drop.now, drop.before)
    )
    return (
        f"the diversity of ideas has collapsed: the last {WINDOW} ideas have {now}; before idea "
        f"{drop.since + 1} there were {before}; most ideas are now {drop.family}"
    )
