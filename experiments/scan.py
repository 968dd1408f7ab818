"""How was the default policy chosen? One number of the metered code is changed at a time, and the
habits of agents under it.

`python -m experiments.scan --out docs/redteam`, in the repository, writes scan.json and scan.md;
many minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from aarlab.cli.out import write
from aarlab.core.markdown import table
from aarlab.core.records import Measure, Record
from aarlab.evaluation.scoring.bounds import inflation_bound
from aarlab.evaluation.scoring.default_policy import MeteredLadder
from aarlab.evaluation.scoring.policies import POLICIES, Policy, start
from aarlab.fleet.simulated_fleet import (
    LIMIT,
    START,
    Habits,
    RunOutcome,
    SimulationPlan,
    percent,
    simulate,
)
from aarlab.redteam.jobs import Progress, in_order, silent
from experiments.policy_costs import honest

ITEMS = (1_263, 2_004)
CHOSEN_ON, CONFIRMED_ON = 0, 100_000  # first seeds: of the scan, of the figures for the default
NUMBERS: dict[str, tuple[float, ...]] = {
    "cap": (70, 100, 120, 130, 140, 160, 200, 280),
    "step_least": (0.0, 0.0125, 0.015, 0.0175, 0.02, 0.0225, 0.025),
    "step_se": (0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
    "never": (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32),
    "tail": (1, 2, 4, 8),
    "rise": (1 / 2, 1 / 4, 1 / 8, 1 / 16),
    "identities": (1, 3, 9, 18, 36),
    "identity_share": (0.25, 0.5, 1.0),
}
HABITS: dict[str, Habits] = {
    "the model's": Habits(),
    "patience 3": Habits(patience=3),
    "patience 30": Habits(patience=30),
    "screens below 0.2": Habits(screens=0.2),
    "screens below 0.35": Habits(screens=0.35),
    "gives its stack up when another improves": Habits(ports=False),
    "proxy noise 0.014": Habits(proxy_noise=0.014),
    "proxy noise 0.056": Habits(proxy_noise=0.056),
    "no proxy (noise 1)": Habits(proxy_noise=1.0),
    "ceiling 0.75": Habits(ceiling=0.75),
    "ceiling 0.80": Habits(ceiling=0.80),
    "ceiling 0.85": Habits(ceiling=0.85),
    "ceiling 0.95": Habits(ceiling=0.95),
}
FLEETS = {
    "1 agent": (1, 60),
    "3 agents": (3, 60),
    "20 agents": (20, 60),
    "20 bundles each": (9, 20),
    "30 bundles each": (9, 30),
    "120 bundles each": (9, 120),
    "240 bundles each": (9, 240),
}


class Try(Record):
    """One code at one number of items."""

    changed: str
    value: float
    n: int
    loss_of_gain: Measure
    bound: float  # at the cap


class Robust(Record):
    """The default under one change of the model."""

    model: str
    n: int
    loss_of_gain: Measure
    exact: float  # end (accuracy)
    default: float
    none: float


class Scan(Record):
    """The whole scan."""

    default: dict[str, float]
    repetitions: int
    confirmed: tuple[Robust, ...]  # on seeds that nothing was chosen on
    confirmed_repetitions: int
    tries: tuple[Try, ...]
    robust: tuple[Robust, ...]


def scan(
    *,
    repetitions: int = 400,
    confirmed_repetitions: int = 3_000,
    workers: int = 1,
    say: Progress = silent,
    items: Sequence[int] = ITEMS,
) -> Scan:
    """Everything in docs/redteam/scan.md. Minutes."""
    default = POLICIES["default"]
    assert isinstance(default, MeteredLadder)
    models = [(name, habits, 9, 60) for name, habits in HABITS.items()]
    models += [(name, Habits(), agents, bundles) for name, (agents, bundles) in FLEETS.items()]
    plans = [SimulationPlan(n, first=CHOSEN_ON, repetitions=repetitions) for n in items]
    sure = [SimulationPlan(n, first=CONFIRMED_ON, repetitions=confirmed_repetitions) for n in items]
    robust = SimulationPlan(items[0], first=CONFIRMED_ON, repetitions=repetitions)
    return Scan(
        default={name: float(value) for name, value in asdict(default).items()},
        repetitions=repetitions,
        confirmed_repetitions=confirmed_repetitions,
        confirmed=tuple(_robust("the model's", plan, Habits(), workers, say) for plan in sure),
        tries=tuple(row for plan in plans for row in _tries(default, plan, workers, say)),
        robust=tuple(
            _robust(name, replace(robust, agents=agents, bundles=bundles), habits, workers, say)
            for name, habits, agents, bundles in models
        ),
    )


def _tries(
    default: MeteredLadder, plan: SimulationPlan, workers: int, say: Progress
) -> Iterator[Try]:
    codes = [
        (name, value, replace(default, **{name: value}))
        for name, values in NUMBERS.items()
        for value in values
    ]
    labels = [f"{plan.n:,} items, {name} {value:.4g}" for name, value, _ in codes]
    policies: list[Policy | None] = [POLICIES["exact"], None, *(code for *_, code in codes)]
    exact, none, *found = _outcomes(
        policies, plan, Habits(), ["exact", "none", *labels], workers, say
    )
    for (name, value, code), runs in zip(codes, found, strict=True):
        loss = honest(runs, exact, none).loss_of_gain
        yield Try(
            changed=name, value=value, n=plan.n, loss_of_gain=loss, bound=_bound(code, plan.n)
        )


def _outcomes(
    policies: Sequence[Policy | None],
    plan: SimulationPlan,
    habits: Habits,
    labels: Sequence[str],
    workers: int,
    say: Progress,
) -> list[list[RunOutcome]]:
    jobs = [(policy, plan, habits) for policy in policies]
    return list(in_order(simulate, jobs, labels=labels, workers=workers, progress=say))


def _robust(name: str, plan: SimulationPlan, habits: Habits, workers: int, say: Progress) -> Robust:
    labels = [f"{plan.n:,} items, {name}, {policy}" for policy in ("default", "exact", "none")]
    runs, exact, none = _outcomes(
        [POLICIES["default"], POLICIES["exact"], None], plan, habits, labels, workers, say
    )
    ends = {
        key: sum(run.final for run in found) / len(found)
        for key, found in (("exact", exact), ("default", runs), ("none", none))
    }
    return Robust(model=name, n=plan.n, loss_of_gain=honest(runs, exact, none).loss_of_gain, **ends)


def _bound(code: MeteredLadder, n: int) -> float:
    cap = code.cap_bits(n)
    assert cap is not None
    return inflation_bound(cap, n, slack_bits=code.outlook(start(START, n), "anyone").slack_bits)


PREAMBLE = """# How the default policy was chosen

Made by `{command}`. The default: {default}.

The goal: nine honest agents of 60 bundles lose at most 5 % of what exact scores would have
given them, (exact - policy) / (exact - none) in true accuracy at the end, at the smallest
proven bound. Fleets are simulated (`src/aarlab/fleet/simulated_fleet.py`); policies are compared on
fleets that share their seeds; in brackets, 95 % bootstrap intervals over fleets. The numbers
were chosen on seeds below 1,000; the figures of the default are on seeds on which nothing was
chosen.

## The default, on fresh seeds ({confirmed_repetitions:,} fleets)
"""
ONE_BY_ONE = """
## One number changed, the others as in the default ({repetitions} fleets)

Bound: how far a reported level can be above the truth with the whole cap spent (95 %). cap:
bits. step_least: accuracy. step_se: standard errors; a step is the larger of the two. never,
tail, rise, identities: parameters of the prefix code. identity_share: of the cap, for one
identity.
"""
ROBUSTNESS = """
## The default when agents behave otherwise ({repetitions} fleets, fresh seeds)

Each row changes one thing in the model of a researcher; all three policies are simulated with
it. The loss is relative: if exact scores give little, a small difference is a large share.
"""


def markdown(made: Scan, command: str) -> str:
    """The page."""
    default = ", ".join(f"{name} {value:.4g}" for name, value in made.default.items())
    fields = made.model_dump(exclude={"default", "tries", "robust", "confirmed"})
    lines = [
        PREAMBLE.format(**fields, default=default, command=command),
        *_robust_rows(made.confirmed),
    ]
    lines += [
        ONE_BY_ONE.format(**fields),
        *_try_rows(made),
        ROBUSTNESS.format(**fields),
        *_robust_rows(made.robust),
    ]
    lines += ["", _reading(made)]
    return "\n".join(lines) + "\n"


def _reading(made: Scan) -> str:
    """What the last table says, in words."""
    within = [row.model for row in made.robust if row.loss_of_gain.upper <= LIMIT]
    beyond = [row.model for row in made.robust if row.loss_of_gain.upper > LIMIT]
    return (
        f"**Within {LIMIT:.0%}: {', '.join(within) or 'nothing'}. Beyond it: "
        f"{', '.join(beyond) or 'nothing'}.** The default is sized for one climb of a fleet that "
        "has time to finish it: the cap pays for some twenty steps. Where the way is longer, the "
        "time shorter, the agents fewer or many more, their own judgement weaker or their "
        "patience less than some ten bundles, exact scores are worth more than is given."
    )


def _robust_rows(rows: Sequence[Robust]) -> list[str]:
    return table(
        ["agents", "items", "lost of the gain", "end: exact", "default", "none"],
        [
            [
                *(row.model, f"{row.n:,}", percent(row.loss_of_gain)),
                *(f"{end:.3f}" for end in (row.exact, row.default, row.none)),
            ]
            for row in rows
        ],
    )


def _try_rows(made: Scan) -> list[str]:
    items = list(dict.fromkeys(row.n for row in made.tries))
    lines = []
    for name, value in dict.fromkeys((row.changed, row.value) for row in made.tries):
        rows = [row for row in made.tries if (row.changed, row.value) == (name, value)]
        shown = [f"{percent(row.loss_of_gain)}, {row.bound:.3f}" for row in rows]
        mark = " (default)" if value == made.default[name] else ""
        lines.append([name, f"{value:.4g}{mark}", *shown])
    return table(["changed", "to", *(f"lost at {n:,}, bound" for n in items)], lines)


def main(
    *,
    workers: Annotated[int, typer.Option(min=1, help="processes")] = 2,
    out: Annotated[Path | None, typer.Option(help="folder for scan.json and scan.md")] = None,
) -> None:
    """Show how the default policy was chosen; many minutes."""
    console = Console(highlight=False)
    with console.status("") as status:
        made = scan(workers=workers, say=status.update)
    text = markdown(made, f"python -m experiments.scan --out {out}")
    console.print(text)
    if out is not None:
        write(out / "scan.json", made.model_dump_json(indent=1))
        write(out / "scan.md", text)


if __name__ == "__main__":
    typer.run(main)
