"""What a submitter learns about a score: the contract, and the alternatives that are here to be
compared with.

A policy sees the exact score; what it answers is the only thing about the hidden labels that leaves
the evaluator. What it knows is the `Channel`: everything it has said so far about one label set, to
anybody. The default is in default_policy.py.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

from aarlab.core.errors import Misconfigured
from aarlab.core.registry import Registry
from aarlab.evaluation.scoring.units import Units, units_of

Tier = Literal["open", "sealed"]


@dataclass(frozen=True)
class Answer:
    """One answer as the meter keeps it. The channel is the sum of its answers."""

    improved: bool
    level: float  # what is reported (accuracy); the level afterwards, where there is one
    bits: float = 0.0  # what this answer releases by itself
    mass: float = 0.0  # the share of the code that a "no" gives up


@dataclass
class Channel:
    """All that has been said about one label set: a function of the answers given, so public in
    principle."""

    n: int  # independent labels (`Units.independent`): items, where each stands alone
    level: float  # accuracy
    items: int | None = None  # None: n
    # bits released beside the answers: that labels were dealt in fixed numbers, verdicts of
    # confirmations
    beside: float = 0.0
    # accuracy between the two ends of the PGR scale that set-up released; None: no scale
    gap: float | None = None
    bits: float = 0.0  # of all answers so far, the current run of "no" left out
    passed: float = 0.0  # the share of the code given up by the current run of "no"
    level_bits: float | None = None  # `bits` when the level was reached; None at the public start
    yes: Counter[str] = field(default_factory=Counter)  # by identity
    asked: Counter[str] = field(default_factory=Counter)  # by identity, since the last "yes"
    spent: Counter[str] = field(default_factory=Counter)  # bits by identity
    order: dict[str, int] = field(default_factory=dict)  # identity -> 1, 2, ... as they came

    def record(self, who: str, answer: Answer) -> None:
        """Record an answer that was given to `who`."""
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

    next_step: float  # accuracy from which an improvement is reported
    price_bits: float | None  # of the next improvement; None when nothing more will be released
    tier: Tier
    cap_bits: float | None  # None: no cap
    slack_bits: float = 0.0  # what the bound on inflation adds to the bits


class Policy(Protocol):
    """Two methods, and no state of its own."""

    def answer(self, channel: Channel, who: str, accuracy: float) -> Answer:
        """The answer to a submission by `who` with this exact accuracy. The channel is not
        changed."""

    def outlook(self, channel: Channel, who: str) -> Outlook:
        """What `who` can expect next; a function of the channel alone."""


POLICIES: Registry[Policy] = Registry("policy")
DEFAULT_POLICY = "default"  # see default_policy.py
FINE = 10  # the accuracies that set-up releases are multiples of 1 / (FINE n)


def plain_answer(answer: Answer) -> Answer:
    """A policy's answer in Python's own types, whatever numbers it reckons with: numpy's bool is
    none for SQLite and JSON.

    Raises:
        Misconfigured: it is no accuracy, or it would give bits back or all of the code away.
    """
    rule = (
        "the level must be an accuracy, bits finite and not negative, and mass below 1. Fix the "
        "policy."
    )
    try:
        level, bits, mass = float(answer.level), float(answer.bits), float(answer.mass)
        improved = bool(answer.improved)
    except (TypeError, ValueError, AttributeError) as error:
        raise Misconfigured(
            f"The policy's answer cannot be released: {answer!r:.200} ({error}); {rule}"
        ) from error
    if not (0 <= level <= 1 and 0 <= bits < math.inf and 0 <= mass < 1):  # not true of NaN either
        raise Misconfigured(
            f"The policy's answer cannot be released: {level=}, {bits=}, {mass=}; {rule}"
        )
    return Answer(improved, level, bits, mass)


def plain_outlook(outlook: Outlook) -> Outlook:
    """As `plain_answer`, of what a policy says of the next answer.

    Raises:
        Misconfigured: it holds what is no number, or bits that are negative or infinite.
    """
    rule = (
        "its numbers must be finite, bits not negative, and the tier one of "
        f"{', '.join(get_args(Tier))}. Fix the policy."
    )
    try:
        step, slack = float(outlook.next_step), float(outlook.slack_bits)
        price, cap = (
            None if bits is None else float(bits) for bits in (outlook.price_bits, outlook.cap_bits)
        )
        good = all(
            0 <= bits < math.inf for bits in (price or 0.0, cap or 0.0, slack)
        ) and math.isfinite(step)
        good = good and outlook.tier in get_args(Tier)
    except (TypeError, ValueError, AttributeError) as error:
        raise Misconfigured(
            f"The policy's outlook cannot be released: {outlook!r:.200} ({error}); {rule}"
        ) from error
    if not good:
        raise Misconfigured(f"The policy's outlook cannot be released: {outlook!r:.200}; {rule}")
    return Outlook(step, price, outlook.tier, cap, slack)


def standard_error(n: int) -> float:
    """Of an accuracy of one half over n independent items."""
    return 0.5 / math.sqrt(n)


def reported_once(accuracy: float, n: int) -> float:
    """An accuracy as set-up releases it of n labels: to the next multiple of 1 / (10 n). A mean
    over 1, 2, 5 or 10 seeds is such a multiple, and is released exactly."""
    return round(accuracy * FINE * n) / (FINE * n)


def grid_bits(n: int) -> float:
    """What one such accuracy can release: log2 of the number of its values, 10 n + 1."""
    return math.log2(FINE * n + 1)


def set_up_bits(n: int) -> float:
    """What set-up releases once of these labels: the level at the start and both ends of the PGR
    scale, each on that grid."""
    return 3 * grid_bits(n)


def start(baseline: float, labels: Units | int) -> Channel:
    """The channel before any submission: the level is the public baseline's accuracy, as set-up
    releases it. `labels`: how they are dependent, or how many there are where each stands alone."""
    units = units_of(labels)
    return Channel(
        units.independent, reported_once(baseline, units.items), units.items, units.deal_bits
    )


def _exact_bits(channel: Channel) -> float:
    return math.log2(5 * (channel.items or channel.n) + 1)


def _scored(channel: Channel, next_step: float, each: float) -> Outlook:
    """Of a policy that releases a score each time, for so many bits. To the bits the bound adds
    what was released beside the answers, and that there may have been any number of them: a
    sequence of k answers has the weight 2^-(k `each`) / (k + 1)^2."""
    answers = channel.bits / each
    slack = set_up_bits(channel.items or channel.n) + channel.beside + 2 * math.log2(answers + 1)
    return Outlook(next_step, each, "open", None, slack)


class Exact:
    """Releases the exact score of every submission: what the published release did. It leaks every
    label in n queries; for comparison only. Of N items an answer is one of 5N + 1 values, and is
    charged as such."""

    def answer(self, channel: Channel, who: str, accuracy: float) -> Answer:
        del who
        return Answer(accuracy > channel.level, accuracy, bits=_exact_bits(channel))

    def outlook(self, channel: Channel, who: str) -> Outlook:
        del who
        return _scored(channel, channel.level, _exact_bits(channel))


def _rounded_bits(channel: Channel) -> float:
    return math.log2(round(1 / standard_error(channel.n)) + 1)


class Rounded:
    """Releases every score to the nearest standard error. It leaks every label, too: a group of
    answers that crosses the edge of a step is read bit by bit. For comparison only."""

    def answer(self, channel: Channel, who: str, accuracy: float) -> Answer:
        del who
        step = standard_error(channel.n)
        reported = min(1.0, round(accuracy / step) * step)  # the last multiple may be above 1
        return Answer(reported > channel.level + 1e-12, reported, bits=_rounded_bits(channel))

    def outlook(self, channel: Channel, who: str) -> Outlook:
        del who
        step = standard_error(channel.n)
        return _scored(channel, channel.level + step, _rounded_bits(channel))


POLICIES.add("exact")(Exact())
POLICIES.add("rounded")(Rounded())
