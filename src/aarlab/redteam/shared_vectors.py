"""Attacks that know the policy: which vector, by which identity, makes the next improvement likely
and cheap.

Let s be the expected excess of the base over chance and T that of the next step (answers). Among
vectors that agree with the base on all but k of m coin flips, s of one of them is about Gaussian
with mean s (1 - 2 k / m) and variance k (1 - k / m); the likeliest to reach T has 1 - 2 k / m = s /
T. After an improvement, s is the mean of that Gaussian between the reported step and the next.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from aarlab.evaluation.scoring.policies import Answer
from aarlab.redteam.attacks import ATTACKS, IDENTITIES, Attack
from aarlab.redteam.channel import AnswerVector

NAMES = tuple(f"eve-{number}" for number in range(IDENTITIES))
UNIT = NormalDist()


class Cheapest:
    """The identity whose next improvement costs the fewest bits. Between two improvements only
    the asker's price changes."""

    def __init__(self, line: AnswerVector, names: Sequence[str]) -> None:
        self._line, self._names = line, names
        self._prices = {name: line.price(name) for name in names}

    def name(self) -> str | None:
        """The cheapest identity; None when all are sealed."""
        name = min(self._prices, key=self._prices.__getitem__)
        return None if math.isinf(self._prices[name]) else name

    def asked(self, name: str, *, improved: bool) -> None:
        """Update the state with an answer."""
        for changed in self._names if improved else (name,):
            self._prices[changed] = self._line.price(changed)


class Climber:
    """What is believed of the base: its excess over chance (answers), and the expected gain of
    flipping each of m coins."""

    def __init__(self, line: AnswerVector) -> None:
        self.line, self.coins, self.excess, self.best = (
            line,
            line.world.coins,
            0.0,
            line.channel.level,
        )
        self.gain_m = np.zeros(len(self.coins))

    def target(self, steps: int = 1) -> float:
        """Excess, in answers, at which this many further steps are reported."""
        step = self.line.step()
        return (self.best + steps * step - self.line.world.start) * self.line.world.n

    def share(self, steps: int) -> int:
        """How many coins to flip."""
        target = self.target(steps)
        overlap = min(max(self.excess / target, 0.0), 1.0) if target > 0 else 0.0
        return max(1, round(len(self.coins) * (1 - overlap) / 2))

    def ask(self, flips_k: NDArray[np.intp], name: str) -> Answer:
        """Ask about the base with these of the m coins flipped, and believe the answer."""
        k, m = len(flips_k), len(self.coins)
        mean, sd = (
            self.excess + float(self.gain_m[flips_k].sum()),
            math.sqrt(k * (1 - k / m)) or 1.0,
        )
        low, high = ((self.target(steps) - mean) / sd for steps in (1, 2))
        answer = self.line.ask(self.coins[flips_k], name)
        improved = answer.level > self.best if self.line.tells_scores else answer.improved
        if improved:
            reported = (answer.level - self.line.world.start) * self.line.world.n
            low, high = (reported - mean) / sd, (reported - mean) / sd + (high - low)
        shift = sd * (_truncated(low, high) if improved else _truncated(-math.inf, low))
        rest_m = np.ones(m, np.bool_)
        rest_m[flips_k] = False
        self.gain_m[flips_k] += shift / k
        self.gain_m[rest_m] -= shift / (m - k) if k < m else 0.0
        if improved:
            self._adopt(flips_k, mean + shift, answer.level)
        return answer

    def _adopt(self, flips_k: NDArray[np.intp], excess: float, level: float) -> None:
        self.excess, self.best = excess, level
        self.gain_m[flips_k] *= -1
        items = self.coins[flips_k]
        self.line.adopt(items)
        self.line.belief_n[items] += np.where(self.line.flipped_n[items], -1, 1)

    def likeliest(self, rng: np.random.Generator, noise: float) -> NDArray[np.intp]:
        """The flips that most likely reach the next step, by the expected gains with Gaussian noise
        on top."""
        m = len(self.coins)
        order_m = np.argsort(-(self.gain_m + noise * rng.standard_normal(m)))
        k_k = np.arange(1, m)
        mean_k = self.excess + np.cumsum(self.gain_m[order_m])[:-1]
        return order_m[
            : 1 + int(np.argmin((self.target() - mean_k) / np.sqrt(k_k * (1 - k_k / m))))
        ]


def _truncated(low: float, high: float) -> float:
    """Mean of a standard Gaussian between two values."""
    mass = _above(low) - _above(high) if low > 0 else _above(-high) - _above(-low)
    if mass < 1e-200:
        return low if low > 0 else high
    return (_density(low) - _density(high)) / mass


def _above(z: float) -> float:
    """P(a standard Gaussian exceeds z), exact in the far tail."""
    return math.erfc(z / math.sqrt(2)) / 2


def _density(z: float) -> float:
    return 0.0 if math.isinf(z) else UNIT.pdf(z)


def _climb(steps: int, names: Sequence[str], *, noise: float | None = None) -> Attack:
    """Random flips of the best number, or (with noise) those that the answers so far speak for;
    cheapest identity first."""

    def climb(line: AnswerVector, rng: np.random.Generator) -> None:
        climber, cheapest = Climber(line), Cheapest(line, names)
        while (name := cheapest.name()) is not None:
            if noise is None:
                flips_k = rng.permutation(len(climber.coins))[: climber.share(steps)]
            else:
                flips_k = climber.likeliest(rng, noise)
            answer = climber.ask(flips_k, name)
            cheapest.asked(name, improved=answer.improved)

    return climb


ATTACKS.add("best overlap, cheapest of nine")(_climb(1, NAMES))
ATTACKS.add("best overlap, two steps at once")(_climb(2, NAMES))
ATTACKS.add("best overlap, 99 identities")(
    _climb(1, tuple(f"eve-{number}" for number in range(99)))
)
ATTACKS.add("posterior, cheapest of nine")(_climb(1, NAMES, noise=0.1))


@ATTACKS.add("half the cap each, in turn")
def halves(line: AnswerVector, rng: np.random.Generator) -> None:
    """One identity until its part of the cap is spent, then the next: each inherits what the last
    has learned."""
    climber = Climber(line)
    for name in NAMES:
        while not line.sealed(name):
            climber.ask(rng.permutation(len(climber.coins))[: climber.share(1)], name)


@ATTACKS.add("edge walk, then groups")
def edge_groups(line: AnswerVector, rng: np.random.Generator) -> None:
    """Walks with growing steps until an improvement (the accuracy is then just above it), then
    tries groups in addition, small ones first: a group is reported only if it gains a whole
    step."""
    climber, cheapest = Climber(line), Cheapest(line, NAMES)
    size = 1
    while (name := cheapest.name()) is not None:
        walk = rng.permutation(len(climber.coins))
        for last in range(size, len(walk) // 2, size):
            answer = climber.ask(walk[:last], name)
            cheapest.asked(name, improved=answer.improved)
            if answer.improved or (name := cheapest.name()) is None:
                break
        size = min(2 * size, len(walk) // 4) or 1
