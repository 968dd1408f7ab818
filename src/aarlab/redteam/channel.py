"""The attackers' only way to the labels: questions, through a policy. Counts are kept
incrementally, so that a question about a few changed answers costs a few look-ups.

Legend: n items; right_n: is the answer right now; fresh_n: the probability that it is right on
fresh data.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aarlab.evaluation.scoring.bounds import inflation_bound
from aarlab.evaluation.scoring.default_policy import MeteredLadder
from aarlab.evaluation.scoring.policies import Answer, Policy, start
from aarlab.evaluation.scoring.units import Units

ACCURACY = 0.57  # of the start vector, if nobody says more: that of naive in the study's chat set
Items = NDArray[np.intp]


def _known(start: float) -> float:
    return 2 * start - 0.5


class OutOfQuestions(Exception):
    """The attack has no questions left. Control flow of `AnswerVector`, never seen by a user."""


@dataclass(frozen=True)
class World:
    """Hidden labels and an attacker's start vector of accuracy `start`: half coin flips, half right
    with probability `known`, and it knows which. Each label may be that of several items (`each`),
    of which the attacker knows, too: it answers all of them alike. `gap`: from the weak accuracy to
    the ceiling, by which the ladder's step goes; None where there is no such scale.

    The shares are exact (the start vector's accuracy on the hidden labels is that on fresh data),
    so that luck at the start is not counted as an attack.
    """

    labels_n: NDArray[np.bool_]
    right_n: NDArray[np.bool_]  # is the start vector's answer right
    coins: Items
    informed: Items
    each: int = 1
    start: float = ACCURACY
    gap: float | None = None

    @classmethod
    def draw(
        cls,
        n: int,
        rng: np.random.Generator,
        each: int = 1,
        start: float = ACCURACY,
        gap: float | None = None,
    ) -> "World":
        """n balanced labels and a start vector."""
        order = rng.permutation(n)
        coins, informed = order[: n // 2], order[n // 2 :]
        right_n = np.zeros(n, np.bool_)
        right_n[coins[: round(len(coins) / 2)]] = True
        right_n[informed[: round(len(informed) * _known(start))]] = True
        labels_n = rng.permutation(np.arange(n) % 2 == 1)
        return cls(labels_n, right_n, np.sort(coins), np.sort(informed), each, start, gap)

    @property
    def n(self) -> int:
        """Labels."""
        return len(self.labels_n)

    @property
    def known(self) -> float:
        """The probability that an answer of the informed half is right."""
        return _known(self.start)

    @property
    def units(self) -> Units:
        """What the items look like to who knows which of them share a label."""
        return Units((self.each,) * self.n, (self.n * self.each**2,))

    def recovered(self, wrong_n: NDArray[np.bool_]) -> float:
        """Share of the coin-flip items' labels that are named right beyond half: 0 by chance, 1
        when all are known. `wrong_n`: where the attacker believes that the start vector is
        wrong."""
        named = self.right_n[self.coins] != wrong_n[self.coins]
        return 2 * float(named.mean()) - 1


@dataclass(frozen=True)
class Point:
    """Where an attack stands after so many questions."""

    queries: int
    # largest reported level minus accuracy on fresh data of the vector that reached it
    inflation: float
    recovered: float
    bits: float  # by the ledger
    bound: float  # proven, on inflation


@dataclass
class AnswerVector:
    """A base vector, and questions about it with some answers flipped."""

    world: World
    policy: Policy
    stops: tuple[int, ...]  # numbers of questions after which a Point is taken, ascending
    seed: int = 0
    counted: bool = True  # does the evaluator know which items share a label?
    points: list[Point] = field(default_factory=list)
    asked: int = 0
    inflation: float = 0.0

    def __post_init__(self) -> None:
        n = self.world.n
        items = self.world.units if self.counted else n * self.world.each
        self.channel = start(self.world.start, items)
        self.channel.gap = self.world.gap
        # evidence that the start vector's answer is right; the attacker writes it
        self.belief_n = np.zeros(n)
        self.flipped_n = np.zeros(n, np.bool_)  # base against start vector
        self._gain_n = np.where(self.world.right_n, -1, 1)
        p_n = np.full(n, self.world.known)
        p_n[self.world.coins] = 0.5
        self._fresh_gain_n = 1 - 2 * p_n
        self._right, self._fresh = int(self.world.right_n.sum()), float(p_n.sum())
        rng = np.random.default_rng(self.seed)
        # Zobrist: the code of a vector is the XOR of its flipped items' codes
        self._codes_n = rng.integers(0, 2**63, n)
        self._code = 0
        self._memory: dict[int, Answer] = {}

    @property
    def tells_scores(self) -> bool:
        """Does every answer carry a score (what an attacker would see at once)? The ladders'
        refusals do not."""
        return not isinstance(self.policy, MeteredLadder)

    def ask(self, flips: Items, who: str = "eve") -> Answer:
        """The answer to the base vector with `flips` (distinct items) flipped. Repeats come from
        memory, but count.

        Raises:
            Spent: no questions are left.
        """
        if self.asked >= self.stops[-1]:
            raise OutOfQuestions
        code = self._code ^ int(np.bitwise_xor.reduce(self._codes_n[flips]))
        answer = self._memory.get(code)
        if answer is None:
            answer = self._memory[code] = self._new(flips, who)
        self.asked += 1
        if self.asked in self.stops:
            self.mark(self.asked)
        return answer

    def _new(self, flips: Items, who: str) -> Answer:
        n = self.world.n
        answer = self.policy.answer(
            self.channel, who, (self._right + int(self._gain_n[flips].sum())) / n
        )
        self.channel.record(who, answer)
        if answer.improved:
            fresh = (self._fresh + float(self._fresh_gain_n[flips].sum())) / n
            self.inflation = max(self.inflation, answer.level - fresh)
        return answer

    def adopt(self, flips: Items) -> None:
        """Flip these answers of the base. Not a question."""
        self._right += int(self._gain_n[flips].sum())
        self._fresh += float(self._fresh_gain_n[flips].sum())
        self._gain_n[flips] *= -1
        self._fresh_gain_n[flips] *= -1
        self.flipped_n[flips] ^= True
        self._code ^= int(np.bitwise_xor.reduce(self._codes_n[flips]))

    def price(self, who: str) -> float:
        """Bits of the next improvement of `who`; infinite when sealed."""
        bits = self.policy.outlook(self.channel, who).price_bits
        return math.inf if bits is None else bits

    def step(self) -> float:
        """Smallest accuracy gain that is reported."""
        return self.policy.outlook(self.channel, "anyone").next_step - self.channel.level

    def sealed(self, who: str = "eve") -> bool:
        """True if no further improvement of `who` will be reported."""
        return self.policy.outlook(self.channel, who).price_bits is None

    def mark(self, queries: int) -> None:
        """Take a Point."""
        slack = self.policy.outlook(self.channel, "anyone").slack_bits
        bound = inflation_bound(self.channel.bits, self.channel.n, slack_bits=slack)
        recovered = self.world.recovered(self.belief_n < 0)
        self.points.append(Point(queries, self.inflation, recovered, self.channel.released, bound))

    def finish(self) -> list[Point]:
        """Points at all stops; an attack that ended early stays where it was."""
        for queries in self.stops[len(self.points) :]:
            self.mark(queries)
        return self.points
