"""What a policy costs honest researchers: a closed loop of agents who read what it releases and act
on it.

The model, in accuracy. A method has a true accuracy p. A bundle is one method, trained with five
seeds and submitted as one answer. It tries one new change, which adds 0.010 with probability 0.35
and takes 0.012 otherwise, from 0.57 up to a ceiling of 0.90. The measured score is p + g + s,
Gaussian: g is what these n items give the method by chance, of variance 0.177 / n, and is handed
down so that a method and its descendant disagree on 17 % of items; s, of variance 0.068 / 5 / n, is
the luck of five seeds that disagree on 13.6 % (the variance p (1 - p) of an item's answer, 0.245 at
the start, is 0.068 within and 0.177 between items; held constant). Effects add up.

The agent. It has a weak private proxy of each change: the effect plus Gaussian noise of 0.028. It
submits the best method that the fleet knows with its own stack of changes and the new one on top.
After a "no" it keeps the new change in the stack only if, by the proxy, it helps more than it
harms, and after ten times "no improvement" in a row it gives the stack up. So it stacks where one
change cannot reach the next step. When a method is reported as an improvement, every agent goes
over to it (the forum) and puts its own stack on top. Under exact scores the same agent accepts what
scores higher, luck included. When nothing more is released, agents go on by the proxy alone. What
is kept at the end is the best known method with an agent's stack, averaged over agents, since
nobody can know which is best.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.intervals import DRAWS
from aarlab.core.records import Measure
from aarlab.evaluation.scoring.policies import Channel, Policy, standard_error, start

# of what exact scores would give over no answers: a policy that costs honest researchers more is
# dear
LIMIT = 0.05
GAIN, HARM, P_GOOD = 0.010, -0.012, 0.35
START = 0.57
BETWEEN, WITHIN, SEEDS = 0.177, 0.068, 5  # variances of an item's answer
# mean squared change of an item's expected answer from a method to its descendant
MOVED = 0.17 - 2 * WITHIN
KEPT = 1 - MOVED / (2 * BETWEEN)  # of g by a descendant


@dataclass(frozen=True)
class Habits:
    """How an agent behaves, and how far there is to climb. The defaults are the model's."""

    patience: float = 10  # "no improvement" in a row after which the stack is given up
    # a change that is less likely than this to be good, by the proxy, is not submitted
    screens: float = 0.0
    ports: bool = True  # puts its stack on another's improvement; else gives it up then
    proxy_noise: float = 0.028  # accuracy
    ceiling: float = 0.90  # accuracy
    start: float = START  # accuracy


@dataclass(frozen=True)
class RunOutcome:
    """One run of the loop."""

    final: float  # true accuracy of what is kept
    bits: float  # released
    reported: int  # improvements reported
    real: int  # of them, truly better than what was kept before
    # bundles that were truly better than what was kept before by a standard error or more
    tries: int
    noticed: int  # of them, reported


@dataclass(frozen=True)
class _Method:
    true: float
    luck: float  # of these items, g
    score: float  # measured


@dataclass(frozen=True)
class _Change:
    effect: float
    p_good: float  # by the proxy

    @property
    def promising(self) -> bool:
        return GAIN * self.p_good + HARM * (1 - self.p_good) > 0


class SimulatedFleet:
    """Agents who share one ladder and the best method that is known. `policy=None` releases
    nothing."""

    def __init__(
        self, policy: Policy | None, *, n: int, agents: int, seed: int, habits: Habits
    ) -> None:
        self.policy, self.n, self.habits = policy, n, habits
        self._rng = np.random.default_rng(seed)
        self.best = self._method(habits.start, self._rng.normal(0, math.sqrt(BETWEEN / n)))
        self.channel: Channel = start(self.best.score, n)
        self._stacks: list[list[_Change]] = [[] for _ in range(agents)]
        self._noes = [0] * agents
        self._counts = dict.fromkeys(("reported", "real", "tries", "noticed"), 0)

    def run(self, bundles: int) -> RunOutcome:
        """Every agent makes that many bundles, in turn."""
        for _ in range(bundles):
            for who in range(len(self._stacks)):
                self._bundle(who)
        ends = [self._true(stack) for stack in self._stacks]
        return RunOutcome(float(np.mean(ends)), self.channel.released, **self._counts)

    def _bundle(self, who: int) -> None:
        change = self._change()
        stack = [*self._stacks[who], change]
        if change.promising:
            self._stacks[who] = stack
        if change.p_good < self.habits.screens or self._silent(str(who)):
            return
        assert self.policy is not None
        method = self.descendant(self._true(stack))
        answer = self.policy.answer(self.channel, str(who), method.score)
        self.channel.record(str(who), answer)
        self._count(method, improved=answer.improved)
        if answer.improved:
            self._adopt(method, who)
        else:
            self._noes[who] += 1
            if self._noes[who] > self.habits.patience:
                self._give_up(who)

    def _silent(self, who: str) -> bool:
        return self.policy is None or self.policy.outlook(self.channel, who).tier == "sealed"

    def _change(self) -> _Change:
        effect = GAIN if self._rng.random() < P_GOOD else HARM
        seen = effect + self._rng.normal(0, self.habits.proxy_noise)
        ratio = math.exp((seen - (GAIN + HARM) / 2) * (GAIN - HARM) / self.habits.proxy_noise**2)
        return _Change(effect, P_GOOD * ratio / (P_GOOD * ratio + 1 - P_GOOD))

    def descendant(self, true: float) -> _Method:
        """A method of that true accuracy, made from the best one."""
        moved = self._rng.normal(0, math.sqrt((1 - KEPT**2) * BETWEEN / self.n))
        return self._method(true, KEPT * self.best.luck + moved)

    def _method(self, true: float, luck: float) -> _Method:
        return _Method(
            true, luck, true + luck + self._rng.normal(0, math.sqrt(WITHIN / SEEDS / self.n))
        )

    def _true(self, stack: list[_Change]) -> float:
        return min(self.best.true + sum(c.effect for c in stack), self.habits.ceiling)

    def _count(self, method: _Method, *, improved: bool) -> None:
        large = method.true - self.best.true >= standard_error(self.n)
        self._counts["reported"] += improved
        self._counts["real"] += improved and method.true > self.best.true
        self._counts["tries"] += large
        self._counts["noticed"] += large and improved

    def _adopt(self, method: _Method, who: int) -> None:
        self.best = method
        self._give_up(who)
        if not self.habits.ports:
            for other in range(len(self._stacks)):
                self._give_up(other)

    def _give_up(self, who: int) -> None:
        self._stacks[who], self._noes[who] = [], 0


@dataclass(frozen=True)
class SimulationPlan:
    """What is simulated. Runs that share a seed share the fleet's first luck, so that policies are
    compared in pairs."""

    n: int
    agents: int = 9
    bundles: int = 60  # by each agent
    repetitions: int = 200
    first: int = 0  # seed


def simulate(
    policy: Policy | None, plan: SimulationPlan, habits: Habits = Habits()
) -> list[RunOutcome]:
    """An outcome for each seed; `policy=None` releases nothing."""
    seeds = range(plan.first, plan.first + plan.repetitions)
    return [
        SimulatedFleet(policy, n=plan.n, agents=plan.agents, seed=seed, habits=habits).run(
            plan.bundles
        )
        for seed in seeds
    ]


def loss_of_gain(
    runs: Sequence[RunOutcome], exact: Sequence[RunOutcome], none: Sequence[RunOutcome]
) -> Measure:
    """(exact - policy) / (exact - none): what fleets under one policy lose of what exact scores
    would have given them over no answers at all. Resampled: fleets, in pairs.

    Raises:
        Misconfigured: exact scores give these fleets nothing.
    """
    end_R, exact_R, none_R = (
        np.array([run.final for run in found]) for found in (runs, exact, none)
    )
    return ratio(exact_R - end_R, exact_R - none_R)


def ratio(top_R: NDArray[np.float64], bottom_R: NDArray[np.float64]) -> Measure:
    """A ratio of sums over R fleets, resampled together; draws without a positive sum below are
    left out.

    Raises:
        Misconfigured: the sum below is not positive.
    """
    count, below = len(top_R), float(bottom_R.sum())
    if below <= 0:
        raise Misconfigured(
            "Exact scores give these fleets nothing over no answers. Give them more --bundles or "
            "--repetitions."
        )
    weights_BR = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    bottom_B = weights_BR @ bottom_R
    use = bottom_B > 0
    lower, upper = np.quantile((weights_BR @ top_R)[use] / bottom_B[use], [0.025, 0.975])
    estimate = float(top_R.sum()) / below
    return Measure(
        estimate=estimate,
        lower=float(lower),
        upper=float(upper),
        n=count,
        resampled="fleets, in pairs",
    )


def percent(measure: Measure) -> str:
    """As a percentage with its interval."""
    return f"{100 * measure.estimate:.1f} % [{100 * measure.lower:.1f}, {100 * measure.upper:.1f}]"
