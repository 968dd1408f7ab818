"""What does each policy cost honest researchers and give attackers, at one number of hidden labels?

The loss of honest researchers is measured at the end of a simulated fleet's work (see `honest`), in
true accuracy, as the mean over fleets that share their seeds, and is put in three ways:

    of the gain    (exact - policy) / (exact - none): of what exact scores would have given them
                   over no answers at all
    of the climb   (exact - policy) / (exact - start)
    of the end     (exact - policy) / exact

`python -m experiments.policy_costs --n 300 --n 1263 --out docs/redteam`, in the repository, writes
simulate.json and simulate.md. `aar simulate` simulates the honest fleets alone.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from aarlab.cli.out import write
from aarlab.core.intervals import mean_measure
from aarlab.core.markdown import escaped, table
from aarlab.core.records import Measure, Record
from aarlab.evaluation.scoring.bounds import inflation_bound
from aarlab.evaluation.scoring.default_policy import MeteredLadder
from aarlab.evaluation.scoring.policies import POLICIES, start
from aarlab.evaluation.scoring.tries import FEEDBACK_BITS
from aarlab.fleet.simulated_fleet import (
    START,
    Habits,
    RunOutcome,
    SimulationPlan,
    percent,
    ratio,
    simulate,
)
from aarlab.fleet.start_outlook import advice
from aarlab.redteam.attack_table import Cell, attack_all, worst
from aarlab.redteam.attacks import IDENTITIES
from aarlab.redteam.channel import ACCURACY
from aarlab.redteam.jobs import Progress, in_order, silent
from aarlab.redteam.shared_vectors import _above, _truncated

NONE = "none"  # no answers at all
OFFERED = ("exact", "rounded", "ladder", "strict", "default", "roomy", NONE)
ASKED, ATTACK_SEEDS = (1_000, 10_000), 2
# accuracy, weak to ceiling, of the study's chat set: what makes a step or a bound a PGR
GAP = 0.7325 - 0.528


class Honest(Record):
    """What a fleet of honest researchers has in the end; shares of 1, accuracies. Resampled:
    fleets, in pairs."""

    end: Measure  # true accuracy of what is kept
    loss_of_gain: Measure
    loss_of_climb: Measure
    loss_of_end: Measure
    # share of true improvements by a standard error or more, sent while anything is released, that
    # are reported
    noticed: Measure | None
    false: Measure | None  # share of reported improvements that are none
    bits: Measure  # released


def honest(
    runs: Sequence[RunOutcome],
    exact: Sequence[RunOutcome],
    none: Sequence[RunOutcome],
) -> Honest:
    """Figures of fleets under one policy, beside the same fleets under exact scores and under none,
    on a climb from START."""
    end_R, exact_R, none_R = (
        np.array([run.final for run in found]) for found in (runs, exact, none)
    )
    lost_R = exact_R - end_R
    reported_R, tries_R = (
        np.array([getattr(run, name) for run in runs], float) for name in ("reported", "tries")
    )
    return Honest(
        end=mean_measure(end_R, resampled="fleets"),
        loss_of_gain=ratio(lost_R, exact_R - none_R),
        loss_of_climb=ratio(lost_R, exact_R - START),
        loss_of_end=ratio(lost_R, exact_R),
        noticed=ratio(np.array([run.noticed for run in runs]), tries_R) if tries_R.any() else None,
        false=ratio(reported_R - [run.real for run in runs], reported_R)
        if reported_R.any()
        else None,
        bits=mean_measure(np.array([run.bits for run in runs]), resampled="fleets"),
    )


class Protection(Record):
    """What attackers can get."""

    cap_bits: float | None  # None: no cap
    share_of_labels: float | None  # cap_bits / n
    # proven at the cap: how far a reported level can exceed the truth (accuracy, 95 %); None: no
    # cap
    bound: float | None
    step: float | None  # smallest accuracy gain that is reported; None: nothing is reported
    # what the best overlap would reach in the mean with as many questions as the cap lasts for
    at_the_cap: float | None
    questions: float | None  # which are so many
    # the measured attack that inflates most, after 1,000 and 10,000 questions
    worst: tuple[Cell, ...]


class Offer(Record):
    """One policy."""

    policy: str
    honest: Honest
    attackers: Protection


class Comparison(Record):
    """All policies at one number of labels."""

    n: int
    agents: int
    bundles: int
    repetitions: int
    first_seed: int
    attack_seeds: int
    start: float  # accuracy of the fleet's first method
    ceiling: float  # and the most that it can come to
    gap: float  # ceiling minus weak accuracy, by which steps and bounds are put in PGR
    offers: tuple[Offer, ...]
    advice: str


def compare(
    policies: Sequence[str],
    plan: SimulationPlan,
    *,
    workers: int = 1,
    progress: Progress = silent,
) -> Comparison:
    """Every policy for honest fleets and under every attack. `exact` and `none` are always
    simulated: the loss needs them."""
    honest = honest_all(policies, plan, workers=workers, progress=progress)
    attacked = [name for name in policies if name != NONE]
    grid = attack_all(
        attacked, n=plan.n, seeds=ATTACK_SEEDS, queries=ASKED, workers=workers, progress=progress
    )
    cells = {name: tuple(worst(grid, name, queries) for queries in ASKED) for name in attacked}
    offers = tuple(
        Offer(
            policy=name,
            honest=honest[name],
            attackers=protection(name, plan.n, cells.get(name, ()), at=START),
        )
        for name in policies
    )
    return Comparison(
        n=plan.n,
        agents=plan.agents,
        bundles=plan.bundles,
        repetitions=plan.repetitions,
        first_seed=plan.first,
        attack_seeds=ATTACK_SEEDS,
        start=START,
        ceiling=Habits().ceiling,
        gap=GAP,
        offers=offers,
        advice=advice(
            plan.n,
            START,
            Habits().ceiling,
            agents=plan.agents,
            bundles=plan.bundles,
            fleets=plan.repetitions,
        ),
    )


def honest_all(
    policies: Sequence[str],
    plan: SimulationPlan,
    *,
    workers: int = 1,
    progress: Progress = silent,
) -> dict[str, Honest]:
    """By policy, on the same seeds."""
    names = list(dict.fromkeys([*policies, "exact", NONE]))
    jobs = [(None if name == NONE else POLICIES[name], plan) for name in names]
    found = in_order(
        simulate,
        jobs,
        labels=[f"honest fleets under {name}" for name in names],
        workers=workers,
        progress=progress,
    )
    outcomes = dict(zip(names, found, strict=True))
    return {name: honest(outcomes[name], outcomes["exact"], outcomes[NONE]) for name in policies}


def protection(name: str, n: int, cells: tuple[Cell, ...] = (), *, at: float = START) -> Protection:
    """Cap, share of the labels and bound of a policy at n labels; the level starts `at` that
    accuracy."""
    if name == NONE:
        return Protection(
            cap_bits=0.0,
            share_of_labels=0.0,
            bound=0.0,
            step=None,
            at_the_cap=None,
            questions=None,
            worst=(),
        )
    policy, channel = POLICIES[name], start(at, n)
    outlook = policy.outlook(channel, "anyone")
    cap, slack = outlook.cap_bits, outlook.slack_bits
    far = reach(policy, n) if isinstance(policy, MeteredLadder) and cap is not None else None
    return Protection(
        cap_bits=cap,
        share_of_labels=None if cap is None else cap / n,
        bound=None if cap is None else inflation_bound(cap, n, slack_bits=slack),
        step=outlook.next_step - channel.level,
        at_the_cap=far and far.inflation,
        questions=far and far.questions,
        worst=cells,
    )


def in_both(accuracy: float, gap: float) -> str:
    """A difference of accuracies, and what it is in PGR where weak and ceiling lie that far
    apart."""
    return f"{accuracy:.3f} ({accuracy / gap:.2f} PGR)"


@dataclass(frozen=True)
class Reach:
    """How far the climb of the best overlap comes in the mean, when only the cap ends it."""

    steps: int
    inflation: float  # accuracy
    questions: float
    bits: float


def reach(policy: MeteredLadder, n: int, identities: int = IDENTITIES) -> Reach:
    """From the Gaussians of `shared_vectors`, without asking anything: each step takes 1/h
    questions, h the chance of the likeliest vector, in the names of `identities` in turn."""
    channel = start(ACCURACY, n)
    sd, step, at = math.sqrt(n // 2) / 2, policy.step(channel) * n, channel.level
    excess, made = 0.0, Reach(0, 0.0, 0.0, 0.0)
    while True:
        target = (at - ACCURACY) * n + (made.steps + 1) * step
        # excess to be found in what does not overlap
        rest = math.sqrt(max(target**2 - excess**2, 0.0))
        z, spread = rest / sd, sd * rest / target
        chance = max(_above(z), 1e-100)
        bits = made.bits + policy.price(1 / chance / identities, 1 / identities)
        cap = policy.cap_bits(n)
        if cap is None or bits > cap:
            return made
        inflation = (at - ACCURACY) + (made.steps + 1) * policy.step(channel)
        made = Reach(made.steps + 1, inflation, made.questions + 1 / chance, bits)
        excess = target + spread * (_truncated(z, math.inf) - z)


PREAMBLE = """# What each policy costs honest researchers and gives attackers

Made by `{command}`.

{agents} honest agents of {bundles} bundles each, from an accuracy of {start:.3f} up to
{ceiling:.3f} at most, {repetitions} fleets (seeds from {first_seed}
on, the same for every policy). The loss is measured at the end, in true accuracy, on fleets
that share their seeds. Of the gain: (exact - policy) / (exact - none), of what exact scores
would have given them over no answers at all. Of the climb: over (exact - start). Of the end:
over exact. The 5 % of the default are of the gain, the largest of the three. In brackets, 95 %
bootstrap intervals over fleets. Noticed: of the bundles that are truly better by a standard
error or more and were sent while anything is reported, the share that is reported. False: share
of reported improvements that are none. The model of a researcher:
`src/aarlab/fleet/simulated_fleet.py`.

An improvement is a score that passed the next step above the level; it is not a test against
the submission before it. PGR is for a gap of {gap:.4f} accuracy between the weak teacher and
the ceiling.

Attackers, each on {attack_seeds} label sets. The bound: no reported level exceeds the truth by
more with the whole cap spent (95 %, Theorem 1 of `MeteredLadder`, for so many independent
labels: where items are in groups of m with one label, n is a share 1/m of the items; each
verdict of a confirmation adds {verdict_bits:.1f} bits). Worst: the largest mean of reported
level minus accuracy on fresh data, over all attacks of `aar redteam`. Reach: what the attack of
the best overlap would come to if only the cap ended it, after so many questions (computed,
`reach`, not run).
"""
HONEST = (
    "policy",
    "end (accuracy)",
    "lost of the gain",
    "of the climb",
    "of the end",
    "noticed",
    "false",
    "bits",
)
ATTACKERS = (
    "policy",
    "cap (bits)",
    "of the labels",
    "step",
    "proven bound at the cap",
    "reach at the cap",
    "worst of 1,000 questions",
    "worst of 10,000 questions",
)


def markdown(made: Sequence[Comparison], command: str) -> str:
    """The page of one or several comparisons of the same fleets."""
    lines = [
        PREAMBLE.format(
            **made[0].model_dump(exclude={"offers"}), command=command, verdict_bits=FEEDBACK_BITS
        )
    ]
    for lab in made:
        lines += [f"## {lab.n:,} hidden labels", "", f"**{escaped(lab.advice)}**", ""]
        lines += table(HONEST, [_honest(offer) for offer in lab.offers])
        lines += [
            "",
            *table(
                ATTACKERS,
                [[offer.policy, *_attackers(offer.attackers, lab.gap)] for offer in lab.offers],
            ),
            "",
        ]
    return "\n".join(lines)


def _honest(offer: Offer) -> list[str]:
    h = offer.honest
    losses = [percent(loss) for loss in (h.loss_of_gain, h.loss_of_climb, h.loss_of_end)]
    return [
        offer.policy,
        str(h.end),
        *losses,
        _share(h.noticed),
        _share(h.false),
        f"{h.bits.estimate:,.0f}",
    ]


def _share(measure: Measure | None) -> str:
    return "-" if measure is None else f"{measure.estimate:.0%}"


def _attackers(p: Protection, gap: float) -> list[str]:
    cap = "no cap" if p.cap_bits is None else f"{p.cap_bits:,.0f}"
    share = "-" if p.share_of_labels is None else f"{p.share_of_labels:.1%}"
    worst = [_cell(cell) for cell in p.worst] or ["-", "-"]
    far = "-" if p.at_the_cap is None else f"{p.at_the_cap:+.3f} after {p.questions:.1g}"
    step = "-" if p.step is None else in_both(p.step, gap)
    return [cap, share, step, "no bound" if p.bound is None else in_both(p.bound, gap), far, *worst]


def _cell(cell: Cell) -> str:
    return (
        f"{cell.inflation.estimate:+.3f}, {cell.recovered.estimate:.0%} of unknown labels "
        f"({cell.attack})"
    )


def main(
    *,
    n: Annotated[list[int] | None, typer.Option(help="hidden labels; repeatable")] = None,
    repetitions: Annotated[int, typer.Option(min=10, help="simulated fleets")] = 300,
    workers: Annotated[int, typer.Option(min=1, help="processes")] = 2,
    out: Annotated[Path | None, typer.Option(help="folder for simulate.json and .md")] = None,
) -> None:
    """Compare all policies: the loss of honest researchers, the gain of attackers; minutes."""
    console = Console(highlight=False)
    sizes = n or [300, 1_263, 2_004, 10_000]
    with console.status("") as status:
        made = [
            compare(
                OFFERED,
                SimulationPlan(items, repetitions=repetitions),
                workers=workers,
                progress=status.update,
            )
            for items in sizes
        ]
    options = "".join(f"--n {items} " for items in sizes)
    command = f"python -m experiments.policy_costs {options}--repetitions {repetitions}"
    text = markdown(made, f"{command} --out {out}")
    console.print(text)
    if out is not None:
        plain = [one.model_dump(mode="json") for one in made]
        write(out / "simulate.json", json.dumps(plain, indent=1))
        write(out / "simulate.md", text)


if __name__ == "__main__":
    typer.run(main)
