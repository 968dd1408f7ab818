"""The attackers' only way to the labels: questions, through a policy. Counts are kept incrementally, so that a question about
a few changed answers costs a few look-ups.

Legend: n items; right_n: is the answer right now; fresh_n: the probability that it is right on fresh data.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aarlab.evaluation.bounds import inflation_bound
from aarlab.evaluation.metered import MeteredLadder
from aarlab.evaluation.policies import Answer, Policy, start

ACCURACY, KNOWN = 0.57, 0.64  # of the start vector; of its informed half
Items = NDArray[np.intp]


class Spent(Exception):
    """The attack has no questions left. Control flow of `Line`, never seen by a user."""


@dataclass(frozen=True)
class World:
    """Hidden labels and an attacker's start vector: half coin flips, half right with probability 0.64, and it knows which.

    The shares are exact (the start vector's accuracy on the hidden labels is that on fresh data), so that luck at the start is
    not counted as an attack.
    """

    labels_n: NDArray[np.bool_]
    right_n: NDArray[np.bool_]  # is the start vector's answer right
    coins: Items
    informed: Items

    @classmethod
    def draw(cls, n: int, rng: np.random.Generator) -> "World":
        """n balanced labels and a start vector."""
        order = rng.permutation(n)
        coins, informed = order[: n // 2], order[n // 2 :]
        right_n = np.zeros(n, np.bool_)
        right_n[coins[: round(len(coins) / 2)]] = True
        right_n[informed[: round(len(informed) * KNOWN)]] = True
        return cls(rng.permutation(np.arange(n) % 2 == 1), right_n, np.sort(coins), np.sort(informed))

    @property
    def n(self) -> int:
        """Items."""
        return len(self.labels_n)

    def recovered(self, wrong_n: NDArray[np.bool_]) -> float:
        """Share of the coin-flip items' labels that are named right beyond half: 0 by chance, 1 when all are known.
        `wrong_n`: where the attacker believes that the start vector is wrong."""
        named = self.right_n[self.coins] != wrong_n[self.coins]
        return 2 * float(named.mean()) - 1


@dataclass(frozen=True)
class Point:
    """Where an attack stands after so many questions."""

    queries: int
    inflation: float  # largest told level minus accuracy on fresh data of the vector that reached it
    recovered: float
    bits: float  # by the ledger
    bound: float  # proven, on inflation


@dataclass
class Line:
    """A base vector, and questions about it with some answers flipped."""

    world: World
    policy: Policy
    stops: tuple[int, ...]  # numbers of questions after which a Point is taken, ascending
    seed: int = 0
    points: list[Point] = field(default_factory=list)
    asked: int = 0
    inflation: float = 0.0

    def __post_init__(self) -> None:
        n = self.world.n
        self.channel = start(ACCURACY, n)
        self.belief_n = np.zeros(n)  # evidence that the start vector's answer is right; the attacker writes it
        self.flipped_n = np.zeros(n, np.bool_)  # base against start vector
        self._gain_n = np.where(self.world.right_n, -1, 1)
        p_n = np.full(n, KNOWN)
        p_n[self.world.coins] = 0.5
        self._fresh_gain_n = 1 - 2 * p_n
        self._right, self._fresh = int(self.world.right_n.sum()), float(p_n.sum())
        rng = np.random.default_rng(self.seed)
        self._codes_n = rng.integers(0, 2**63, n)  # Zobrist: the code of a vector is the XOR of its flipped items' codes
        self._code = 0
        self._memory: dict[int, Answer] = {}

    @property
    def tells_scores(self) -> bool:
        """Does every answer carry a score (what an attacker would see at once)? The ladders' refusals do not."""
        return not isinstance(self.policy, MeteredLadder)

    def ask(self, flips: Items, who: str = "eve") -> Answer:
        """The answer to the base vector with `flips` (distinct items) flipped. Repeats come from memory, but count.

        Raises:
            Spent: no questions are left.
        """
        if self.asked >= self.stops[-1]:
            raise Spent
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
        answer = self.policy.tell(self.channel, who, (self._right + int(self._gain_n[flips].sum())) / n)
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
        """Bits of the next yes to `who`; infinite when sealed."""
        bits = self.policy.outlook(self.channel, who).price_bits
        return math.inf if bits is None else bits

    def step(self) -> float:
        """The least rise that is told (accuracy)."""
        return self.policy.outlook(self.channel, "anyone").next_step - self.channel.level

    def sealed(self, who: str = "eve") -> bool:
        """Will `who` alone never be told an improvement again?"""
        return self.policy.outlook(self.channel, who).price_bits is None

    def mark(self, queries: int) -> None:
        """Take a Point."""
        slack = self.policy.outlook(self.channel, "anyone").slack_bits
        bound = inflation_bound(self.channel.bits, self.world.n, slack_bits=slack)
        recovered = self.world.recovered(self.belief_n < 0)
        self.points.append(Point(queries, self.inflation, recovered, self.channel.released, bound))

    def finish(self) -> list[Point]:
        """Points at all stops; an attack that ended early stays where it was."""
        for queries in self.stops[len(self.points) :]:
            self.mark(queries)
        return self.points
