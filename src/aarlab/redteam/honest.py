"""What a policy costs honest researchers: a closed loop of agents who hear what it tells and act on it.

The model, in accuracy. A method has a true accuracy p. A bundle is one method, trained with five seeds and submitted as one
answer; it tries one new change, which adds +0.010 with probability 0.35 and takes 0.012 otherwise, from 0.57 up to a ceiling.
The measured score of a method is p + g + s, Gaussian: g is what the n items favour in this method, of variance 0.177 / n, and
is handed down to a descendant so that two methods disagree on 17 % of items; s, of variance 0.068 / 5 / n, is the luck of five
seeds that disagree on 13.6 % (item variances p (1 - p) = 0.068 within and 0.177 between, at the start; held constant).

An agent has a weak private proxy of each change: its effect plus Gaussian noise of 0.028. It keeps odds that each change in its
stack is good, from the proxy and from the answers: a told score moves them by Gaussian likelihood, a "no" by the probability of
a "no" (each change in turn, the others at their mean and variance). It drops what is more likely to harm than to help, and
submits what remains together with the next change; so it stacks where one change cannot reach the next step, and gives a stack up
after some noes. When a method is told an improvement, every agent goes over to it (the forum) and puts its own stack on top.
When nothing more is told, agents go on by the proxy alone. What is kept at the end is an agent's method with its stack, averaged
over agents, since nobody can tell which is best.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from aarlab.evaluation.policies import Channel, Policy, standard_error, start

GAIN, HARM, P_GOOD = 0.010, -0.012, 0.35
START = 0.57
BETWEEN, WITHIN, SEEDS = 0.177, 0.068, 5  # variances of an item's correctness
KEPT = 1 - 0.034 / (2 * BETWEEN)  # of g by a descendant: 17 % - 13.6 % of items change their expected answer


@dataclass(frozen=True)
class Habits:
    """How an agent behaves; the defaults are the model's agent."""

    proxy_noise: float = 0.028  # accuracy
    patience: float = 5
    temper: float = 0.0
    rebase: bool = True
    keeps: bool = True  # a change that was not told may stay in the stack; else it is dropped after one "no"
    screens: float = 0.0  # a change whose odds by the proxy are below this is not submitted
    ceiling: float = 0.90


@dataclass(frozen=True)
class Outcome:
    """One run of the loop."""

    final: float  # true accuracy of what is kept
    bits: float  # released
    told: int  # improvements told
    real: int  # of them, truly better than what was kept before
    tries: int  # bundles that were truly better than what was kept before by a standard error or more
    noticed: int  # of them, told
    bound: float  # bits that the bound counts


@dataclass(frozen=True)
class _Method:
    true: float
    favour: float  # g
    score: float  # measured


@dataclass(frozen=True)
class _Change:
    effect: float
    odds: float  # that it is good

    @property
    def p(self) -> float:
        return self.odds / (1 + self.odds)

    @property
    def expected(self) -> float:
        return GAIN * self.p + HARM * (1 - self.p)

    @property
    def variance(self) -> float:
        return (GAIN - HARM) ** 2 * self.p * (1 - self.p)


class Fleet:
    """Agents who share one ladder and one best method."""

    def __init__(self, policy: Policy | None, *, n: int, agents: int, seed: int, habits: Habits) -> None:
        self.policy, self.n, self.habits = policy, n, habits
        self.rng = np.random.default_rng(seed)
        self.channel: Channel = start(START, n)
        self.best = self._measured(START, self.rng.normal(0, math.sqrt(BETWEEN / n)))
        self.told_best = self.channel.level
        self.noes = [0] * agents
        self.offset = standard_error(n) / 2  # by how much the best method is thought to exceed its told level
        self.stacks: list[list[_Change]] = [[] for _ in range(agents)]
        self.noise = math.sqrt((0.034 + 2 * WITHIN / SEEDS) / n)  # of a difference between parent and descendant
        self.counts = dict.fromkeys(("told", "real", "tries", "noticed"), 0)

    def run(self, bundles: int) -> Outcome:
        """Every agent makes that many bundles, in turn."""
        for _ in range(bundles):
            for who in range(len(self.stacks)):
                self._bundle(who)
        ends = [self._clip(self.best.true + sum(c.effect for c in stack)) for stack in self.stacks]
        return Outcome(float(np.mean(ends)), self.channel.released, bound=self.channel.bits, **self.counts)

    def _bundle(self, who: int) -> None:
        stack = [*self.stacks[who], self._change()]
        self.stacks[who] = [c for c in stack if c.expected > 0]
        if stack[-1].odds < self.habits.screens or self._silent(str(who)):
            return
        true = self._clip(self.best.true + sum(c.effect for c in stack))
        spread = math.sqrt((1 - KEPT**2) * BETWEEN / self.n)
        method = self._measured(true, KEPT * self.best.favour + self.rng.normal(0, spread))
        assert self.policy is not None
        outlook = self.policy.outlook(self.channel, str(who))
        answer = self.policy.tell(self.channel, str(who), method.score)
        self.channel.record(str(who), answer)
        self._count(method, improved=answer.improved)
        if answer.improved:
            self._adopt(method, answer.level, who)
        else:
            self._learn(who, stack, answer.level, outlook.next_step)

    def _silent(self, who: str) -> bool:
        return self.policy is None or self.policy.outlook(self.channel, who).tier == "sealed"

    def _change(self) -> _Change:
        effect = GAIN if self.rng.random() < P_GOOD else HARM
        seen = effect + self.rng.normal(0, self.habits.proxy_noise)
        likelihood = math.exp((seen - (GAIN + HARM) / 2) * (GAIN - HARM) / self.habits.proxy_noise**2)
        return _Change(effect, P_GOOD / (1 - P_GOOD) * likelihood)

    def _measured(self, true: float, favour: float) -> _Method:
        return _Method(true, favour, true + favour + self.rng.normal(0, math.sqrt(WITHIN / SEEDS / self.n)))

    def _clip(self, true: float) -> float:
        return min(true, self.habits.ceiling)

    def _count(self, method: _Method, *, improved: bool) -> None:
        large = method.true - self.best.true >= standard_error(self.n)
        self.counts["told"] += improved
        self.counts["real"] += improved and method.true > self.best.true
        self.counts["tries"] += large
        self.counts["noticed"] += large and improved

    def _adopt(self, method: _Method, level: float, who: int) -> None:
        self.best, self.told_best = method, level
        self.stacks[who] = []
        self.noes[who] = 0
        if not self.habits.rebase:
            self.stacks = [[] for _ in self.stacks]
            self.noes = [0] * len(self.stacks)

    def _learn(self, who: int, stack: list[_Change], level: float, next_step: float) -> None:
        self.noes[who] += 1
        if self.noes[who] > self.habits.patience:
            self.stacks[who], self.noes[who] = [], 0
        elif self.habits.temper:
            mean, variance = sum(c.expected for c in stack), sum(c.variance for c in stack) + self.noise**2
            step = next_step - self.channel.level
            gap, variance = step / 2, variance + step**2 / 12
            moved = []
            for change in stack:
                rest = math.sqrt(variance - change.variance)
                others = mean - change.expected
                factor = _below((gap - others - GAIN) / rest) / max(_below((gap - others - HARM) / rest), 1e-12)
                moved.append(replace(change, odds=change.odds * factor**self.habits.temper))
            self.stacks[who] = [c for c in moved if c.expected > 0]


def _density(z: float) -> float:
    return math.exp(-z * z / 2)


def _below(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def simulate(
    policy: Policy | None, *, n: int, agents: int, bundles: int, repetitions: int, habits: Habits = Habits()
) -> list[Outcome]:
    """`repetitions` runs with seeds 0, 1, ...; `policy=None` tells nothing."""
    fleets = (Fleet(policy, n=n, agents=agents, seed=seed, habits=habits) for seed in range(repetitions))
    return [fleet.run(bundles) for fleet in fleets]
