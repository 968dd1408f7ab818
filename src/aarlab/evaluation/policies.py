"""What a submitter is told about a score: the contract, and the alternatives that are here to be compared with.

A policy sees the exact score; what it answers is the only thing about the hidden labels that leaves the evaluator. What it
knows is the `Channel`: everything it has said so far about one label set, to anybody. The default is in metered.py.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, Protocol

from aarlab.core.registry import Registry

Tier = Literal["open", "sealed"]


@dataclass(frozen=True)
class Answer:
    """One answer as the meter keeps it. The channel is the sum of its answers."""

    improved: bool
    level: float  # what is told (accuracy); the level afterwards, where there is one
    bits: float = 0.0  # what this answer releases by itself
    mass: float = 0.0  # the share of the code that a "no" gives up


@dataclass
class Channel:
    """All that has been said about one label set of n items: a function of the answers given, so public in principle."""

    n: int
    level: float  # accuracy
    bits: float = 0.0  # of all answers so far, the current run of "no" left out
    passed: float = 0.0  # the share of the code given up by the current run of "no"
    level_bits: float | None = None  # `bits` when the level was reached; None at the public start
    yes: Counter[str] = field(default_factory=Counter)  # by identity
    asked: Counter[str] = field(default_factory=Counter)  # by identity, since the last "yes"
    spent: Counter[str] = field(default_factory=Counter)  # bits by identity
    order: dict[str, int] = field(default_factory=dict)  # identity -> 1, 2, ... as they came

    def record(self, who: str, answer: Answer) -> None:
        """Take up an answer that was given to `who`."""
        self.order.setdefault(who, len(self.order) + 1)
        self.bits += answer.bits
        self.spent[who] += answer.bits
        if not answer.improved:
            self.asked[who] += 1
            self.passed += answer.mass
            return
        self.level = max(self.level, answer.level)
        self.level_bits = self.bits
        self.yes[who] += 1
        self.asked.clear()
        self.passed = 0.0

    @property
    def released(self) -> float:
        """An upper bound on the bits about the labels that have left."""
        return self.bits - math.log2(1 - self.passed)


@dataclass(frozen=True)
class Outlook:
    """What the next answer can be, for one submitter."""

    next_step: float  # accuracy from which an improvement is told
    price_bits: float | None  # of the next improvement; None when nothing more will be told
    tier: Tier
    cap_bits: float | None  # None: no cap
    slack_bits: float = 0.0  # what the bound on inflation adds to the bits


class Policy(Protocol):
    """Two methods, and no state of its own."""

    def tell(self, channel: Channel, who: str, accuracy: float) -> Answer:
        """The answer to a submission by `who` with this exact accuracy. The channel is not changed."""

    def outlook(self, channel: Channel, who: str) -> Outlook:
        """What `who` can expect next; a function of the channel alone."""


POLICIES: Registry[Policy] = Registry("policy")
DEFAULT_POLICY = "default"  # see metered.py


def standard_error(n: int) -> float:
    """Of an accuracy of one half over n items."""
    return 0.5 / math.sqrt(n)


def on_grid(accuracy: float, step: float) -> float:
    """Rounded down to a multiple of the step."""
    return math.floor(accuracy / step + 1e-9) * step


def grid_bits(n: int) -> float:
    """What one accuracy on the grid of standard errors can tell: log2 of the number of its values, 2 sqrt(n) + 1."""
    return math.log2(1 / standard_error(n) + 1)


def set_up_bits(n: int) -> float:
    """What set-up tells once of these labels: the level at the start and both ends of the PGR scale, each on that grid."""
    return 3 * grid_bits(n)


def start(baseline: float, n: int) -> Channel:
    """The channel before any submission: the level is the public baseline's accuracy, on the grid of standard errors."""
    return Channel(n, on_grid(baseline, standard_error(n)))


class Exact:
    """Tells the exact score of every submission: what the published release did. It leaks every label in n queries;
    for comparison only. An answer is one of 5n + 1 values, and is charged as such."""

    def tell(self, channel: Channel, who: str, accuracy: float) -> Answer:
        del who
        return Answer(accuracy > channel.level, accuracy, bits=math.log2(5 * channel.n + 1))

    def outlook(self, channel: Channel, who: str) -> Outlook:
        del who
        return Outlook(channel.level, math.log2(5 * channel.n + 1), "open", None)


class Rounded:
    """Tells every score to the nearest standard error. It leaks every label, too: a group of answers that crosses the edge of a
    step is read bit by bit. For comparison only."""

    def tell(self, channel: Channel, who: str, accuracy: float) -> Answer:
        del who
        step = standard_error(channel.n)
        told = round(accuracy / step) * step
        return Answer(told > channel.level + 1e-12, told, bits=math.log2(1 / step + 1))

    def outlook(self, channel: Channel, who: str) -> Outlook:
        del who
        step = standard_error(channel.n)
        return Outlook(channel.level + step, math.log2(1 / step + 1), "open", None)


POLICIES.add("exact")(Exact())
POLICIES.add("rounded")(Rounded())
