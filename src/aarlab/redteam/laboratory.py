"""What each policy costs honest researchers and gives attackers, at one number of hidden labels.

The loss of honest researchers is measured at the end of a simulated fleet's work (see `honest`), in true accuracy, as the mean
over fleets that share their seeds, and is put in three ways:

    of the gift    (exact - policy) / (exact - none): of what exact scores would have given them over no answers at all
    of the climb   (exact - policy) / (exact - start)
    of the end     (exact - policy) / exact

The limit for the shipped default is on the first, which is the largest of the three: 5 %.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.intervals import DRAWS, mean_measure
from aarlab.core.records import Measure, Record
from aarlab.evaluation.bounds import inflation_bound
from aarlab.evaluation.metered import MeteredLadder
from aarlab.evaluation.policies import POLICIES, Policy, start
from aarlab.redteam.honest import START, Outcome, Plan, simulate
from aarlab.redteam.jobs import Say, in_order, silent
from aarlab.redteam.overlap import reach
from aarlab.redteam.table import Cell, attack_all, worst

LIMIT = 0.05  # of the gift
NONE = "none"  # told nothing
CAPPED = ("strict", "default", "roomy")  # dearest first
SIZES = (300, 600, 1_263, 2_004, 3_000, 5_000, 10_000)
ASKED, ATTACK_SEEDS = (1_000, 10_000), 2


class Honest(Record):
    """What a fleet of honest researchers has in the end; shares of 1, accuracies. Resampled: fleets, in pairs."""

    end: Measure  # true accuracy of what is kept
    loss_of_gift: Measure
    loss_of_climb: Measure
    loss_of_end: Measure
    noticed: Measure | None  # share of true improvements by a standard error or more, sent while anything is told, that is told
    false: Measure | None  # share of told improvements that are none
    bits: Measure  # released


class Protection(Record):
    """What attackers can get."""

    cap_bits: float | None  # None: no cap
    share_of_labels: float | None  # cap_bits / n
    bound: float | None  # proven at the cap: how far a told level can exceed the truth (accuracy, 95 %); None: no cap
    at_the_cap: float | None  # what the best overlap would reach in the mean with as many questions as the cap lasts for
    questions: float | None  # which are so many
    worst: tuple[Cell, ...]  # the measured attack that inflates most, after 1,000 and 10,000 questions


class Offer(Record):
    """One policy."""

    policy: str
    honest: Honest
    attackers: Protection


class Laboratory(Record):
    """The whole comparison."""

    n: int
    agents: int
    bundles: int
    repetitions: int
    first_seed: int
    attack_seeds: int
    offers: tuple[Offer, ...]
    advice: str


def compare(policies: Sequence[str], plan: Plan, *, workers: int = 1, say: Say = silent) -> Laboratory:
    """Every policy for honest fleets and under every attack. `exact` and `none` are always simulated: the loss needs them."""
    honest = honest_all(policies, plan, workers=workers, say=say)
    attacked = [name for name in policies if name != NONE]
    grid = attack_all(attacked, n=plan.n, seeds=ATTACK_SEEDS, queries=ASKED, workers=workers, say=say)
    cells = {name: tuple(worst(grid, name, queries) for queries in ASKED) for name in attacked}
    offers = tuple(
        Offer(policy=name, honest=honest[name], attackers=protection(name, plan.n, cells.get(name, ()))) for name in policies
    )
    return Laboratory(
        n=plan.n,
        agents=plan.agents,
        bundles=plan.bundles,
        repetitions=plan.repetitions,
        first_seed=plan.first,
        attack_seeds=ATTACK_SEEDS,
        offers=offers,
        advice=advise(plan, honest, say=say),
    )


def honest_all(policies: Sequence[str], plan: Plan, *, workers: int = 1, say: Say = silent) -> dict[str, Honest]:
    """By policy, on the same seeds."""
    names = list(dict.fromkeys([*policies, "exact", NONE]))
    jobs = [(None if name == NONE else POLICIES[name], plan) for name in names]
    found = in_order(simulate, jobs, labels=[f"honest fleets under {name}" for name in names], workers=workers, say=say)
    outcomes = dict(zip(names, found, strict=True))
    return {name: honest(outcomes[name], outcomes["exact"], outcomes[NONE]) for name in policies}


def honest(runs: Sequence[Outcome], exact: Sequence[Outcome], none: Sequence[Outcome]) -> Honest:
    """Figures of fleets under one policy, beside the same fleets under exact scores and under none."""
    end_R, exact_R, none_R = (np.array([run.final for run in found]) for found in (runs, exact, none))
    lost_R = exact_R - end_R
    told_R, tries_R = (np.array([getattr(run, name) for run in runs], float) for name in ("told", "tries"))
    return Honest(
        end=mean_measure(end_R, resampled="fleets"),
        loss_of_gift=_ratio(lost_R, exact_R - none_R),
        loss_of_climb=_ratio(lost_R, exact_R - START),
        loss_of_end=_ratio(lost_R, exact_R),
        noticed=_ratio(np.array([run.noticed for run in runs]), tries_R) if tries_R.any() else None,
        false=_ratio(told_R - [run.real for run in runs], told_R) if told_R.any() else None,
        bits=mean_measure(np.array([run.bits for run in runs]), resampled="fleets"),
    )


def _ratio(top_R: NDArray[np.float64], bottom_R: NDArray[np.float64]) -> Measure:
    """A ratio of sums over R fleets, resampled together; draws without a positive sum below are left out.

    Raises:
        Misconfigured: the sum below is not positive.
    """
    count, below = len(top_R), float(bottom_R.sum())
    if below <= 0:
        raise Misconfigured(
            "Exact scores give these fleets nothing over no answers. Give them more --bundles or --repetitions."
        )
    weights_BR = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    bottom_B = weights_BR @ bottom_R
    use = bottom_B > 0
    lower, upper = np.quantile((weights_BR @ top_R)[use] / bottom_B[use], [0.025, 0.975])
    estimate = float(top_R.sum()) / below
    return Measure(estimate=estimate, lower=float(lower), upper=float(upper), n=count, resampled="fleets, in pairs")


def protection(name: str, n: int, cells: tuple[Cell, ...] = ()) -> Protection:
    """Cap, share of the labels and bound of a policy at n labels."""
    if name == NONE:
        return Protection(cap_bits=0.0, share_of_labels=0.0, bound=0.0, at_the_cap=None, questions=None, worst=())
    policy = POLICIES[name]
    cap, slack = _limits(policy, n)
    far = reach(policy, n) if isinstance(policy, MeteredLadder) and cap is not None else None
    return Protection(
        cap_bits=cap,
        share_of_labels=None if cap is None else cap / n,
        bound=None if cap is None else inflation_bound(cap, n, slack_bits=slack),
        at_the_cap=far and far.inflation,
        questions=far and far.questions,
        worst=cells,
    )


def _limits(policy: Policy, n: int) -> tuple[float | None, float]:
    outlook = policy.outlook(start(START, n), "anyone")
    return outlook.cap_bits, outlook.slack_bits


def advise(plan: Plan, found: dict[str, Honest], *, say: Say = silent) -> str:
    """One sentence: the tightest capped policy that keeps within the limit here, or what would."""
    simulated = {name: found[name] for name in CAPPED if name in found} or honest_all(CAPPED, plan, say=say)
    fitting = [name for name, row in simulated.items() if row.loss_of_gift.upper <= LIMIT]
    who = f"{plan.agents} honest agents of {plan.bundles} bundles"
    if fitting:
        name = fitting[0]
        bound = protection(name, plan.n).bound
        assert bound is not None
        loss = simulated[name].loss_of_gift
        return (
            f"With {plan.n:,} items take {name}: {who} lose {percent(loss)} of what exact scores would have given them, and no "
            f"told level is more than {bound:.3f} too high (95 %).{_tighter(name, bound)}"
        )
    mildest = min(simulated, key=lambda name: simulated[name].loss_of_gift.estimate)
    here = (
        f"With {plan.n:,} items every capped policy costs {who} more than 5 % of what exact scores would have given them "
        f"({mildest}: {percent(simulated[mildest].loss_of_gift)})"
    )
    for n in (size for size in SIZES if size > plan.n):
        more = replace(plan, n=n, repetitions=min(plan.repetitions, 200))
        for name, row in honest_all(CAPPED, more, say=say).items():
            if row.loss_of_gift.upper <= LIMIT:
                return f"{here}: take {mildest}, or {n:,} items with {name}."
    return f"{here}, and so up to {SIZES[-1]:,} items: the climb is longer than the caps allow. Take {mildest}."


def _tighter(name: str, bound: float) -> str:
    """How many items bring the bound to 0.10."""
    if bound <= 0.10:
        return ""
    n = next(n for n in range(100, 10**6, 100) if (b := protection(name, n).bound) is not None and b <= 0.10 and n > 500)
    return f" For a bound of 0.10 take {n:,} items."


def percent(measure: Measure) -> str:
    """As a percentage with its interval."""
    return f"{100 * measure.estimate:.1f} % [{100 * measure.lower:.1f}, {100 * measure.upper:.1f}]"
