"""Every attack against every policy: the measured cells, as a terminal table, JSON and Markdown."""

import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from rich.table import Table

from aarlab.core.intervals import mean_measure
from aarlab.core.markdown import escaped, table
from aarlab.core.records import Measure, Record
from aarlab.evaluation.scoring.policies import POLICIES, Policy
from aarlab.redteam import shared_vectors as _overlap  # noqa: F401 - registers its attacks
from aarlab.redteam.attacks import ATTACKS, SHARED, run_attack
from aarlab.redteam.channel import ACCURACY, AnswerVector, Point, World
from aarlab.redteam.jobs import Progress, in_order, silent
from aarlab.redteam.system import HELD, NOT_HELD

QUERIES = (100, 1_000, 10_000, 100_000)


class AttackedScale(NamedTuple):
    """What is attacked: see `RedTeam`."""

    n: int
    start: float
    gap: float | None


class Cell(Record):
    """One attack on one policy after so many questions; means over seeds."""

    policy: str
    attack: str
    queries: int
    # largest reported level minus accuracy on fresh data of the vector that reached it
    inflation: Measure
    largest: float  # inflation, over the seeds
    recovered: Measure  # share of the unknown labels named right, beyond half
    bits: Measure  # by the ledger
    bound: float  # proven, on inflation; the largest over the seeds
    held: bool  # did no seed exceed its bound


class RedTeam(Record):
    """The whole grid and how it was made."""

    n: int
    start: float  # accuracy of the attackers' start vector
    gap: float | None  # from the weak accuracy to the ceiling; None: the step is an accuracy
    seeds: int
    queries: tuple[int, ...]
    cells: tuple[Cell, ...]


def attack_all(
    policies: Sequence[str],
    *,
    n: int,
    seeds: int,
    start: float = ACCURACY,
    gap: float | None = None,
    queries: Sequence[int] = QUERIES,
    workers: int = 1,
    progress: Progress = silent,
) -> RedTeam:
    """Every attack on each policy, with the same hidden labels for all that share a seed."""
    stops = tuple(sorted(set(queries)))
    pairs = [(policy, attack) for policy in policies for attack in [*ATTACKS, *SHARED]]
    scale = AttackedScale(n, start, gap)
    jobs = [(POLICIES[policy], attack, scale, seeds, stops) for policy, attack in pairs]
    labels = [f"{policy}, {attack}" for policy, attack in pairs]
    cells: list[Cell] = []
    for (policy, attack), runs in zip(
        pairs, in_order(_runs, jobs, labels=labels, workers=workers, progress=progress), strict=True
    ):
        cells += [_cell(policy, attack, list(points)) for points in zip(*runs, strict=True)]
    return RedTeam(n=n, start=start, gap=gap, seeds=seeds, queries=stops, cells=tuple(cells))


def _runs(
    policy: Policy, attack: str, scale: "AttackedScale", seeds: int, stops: tuple[int, ...]
) -> list[list[Point]]:
    return [_points(policy, attack, scale, seed=seed, stops=stops) for seed in range(seeds)]


def _points(
    policy: Policy, attack: str, scale: "AttackedScale", *, seed: int, stops: tuple[int, ...]
) -> list[Point]:
    each, how = SHARED.get(attack, (1, attack))
    rng = np.random.default_rng([seed, scale.n])
    world = World.draw(scale.n // each, rng, each, scale.start, scale.gap)
    line = AnswerVector(world, policy, stops, seed)
    return run_attack(how, line, np.random.default_rng([seed, zlib.crc32(attack.encode())])).points


def _cell(policy: str, attack: str, points: list[Point]) -> Cell:
    def mean(values: Iterable[float]) -> Measure:
        return mean_measure(np.array(list(values)), resampled="seeds")

    return Cell(
        policy=policy,
        attack=attack,
        queries=points[0].queries,
        inflation=mean(p.inflation for p in points),
        largest=max(p.inflation for p in points),
        recovered=mean(p.recovered for p in points),
        bits=mean(p.bits for p in points),
        bound=max(p.bound for p in points),
        held=all(p.inflation <= p.bound for p in points),
    )


def worst(result: RedTeam, policy: str, queries: int) -> Cell:
    """The attack with the largest mean inflation."""
    cells = [c for c in result.cells if c.policy == policy and c.queries == queries]
    return max(cells, key=lambda c: c.inflation.estimate)


def summary(result: RedTeam) -> Table:
    """The worst attack on each policy after so many questions, for the terminal."""
    table = Table(
        title=f"Red team: {result.n:,} labels, {result.seeds} seeds, the worst attack in each cell"
    )
    table.add_column("policy")
    for queries in result.queries:
        table.add_column(f"{queries:,} questions", justify="right")
    for policy in dict.fromkeys(c.policy for c in result.cells):
        table.add_row(policy, *(_brief(worst(result, policy, q)) for q in result.queries))
    return table


def _brief(cell: Cell) -> str:
    return (
        f"{cell.inflation.estimate:+.3f} (bound {cell.bound:.3f})\n{cell.recovered.estimate:.0%} "
        f"of labels, {cell.bits.estimate:,.0f} bits\n{cell.attack}"
    )


PREAMBLE = """# Red team of the evaluator

{n:,} hidden balanced labels, {seeds} seeds; made by `{command}`. Every attacker knows the
policy, has a start vector of accuracy {start:g} (half of it coin flips, half right with probability
{known:g}) and knows which half is which. Where items share a label, it knows which, and so does the
evaluator (`private/groups.json`).

A cell: inflation (the largest reported level minus the accuracy, on fresh data, of the vector
that reached it; mean over seeds with its 95 % interval) / share of the unknown labels recovered
(named right, beyond half) / bits by the ledger. The bound is the proven one (Theorem 1 of
`MeteredLadder`, 95 %, for independent labels and items that share them) for the seed that
released most. For `exact` and `rounded` it is what their answers could carry: no protection. An
attack that ends early (all labels known, or sealed permanently) stays where it was.

## The worst attack on each policy
"""


def markdown(result: RedTeam, command: str) -> str:
    """The grid as a page."""
    known = 2 * result.start - 0.5
    about = {"n": result.n, "seeds": result.seeds, "start": result.start, "known": known}
    lines = [PREAMBLE.format(**about, command=command)]
    policies = list(dict.fromkeys(c.policy for c in result.cells))
    worst_of = {p: [worst(result, p, q) for q in result.queries] for p in policies}
    lines += table(
        ["policy", *(f"{q:,} questions" for q in result.queries)],
        [[p, *(f"{_text(c)} ({c.attack})" for c in found)] for p, found in worst_of.items()],
    )
    for policy in policies:
        lines += ["", f"## {escaped(policy)}", "", *_section(result, policy)]
    return "\n".join(lines) + "\n"


def _section(result: RedTeam, policy: str) -> list[str]:
    rows = []
    for attack in dict.fromkeys(c.attack for c in result.cells):
        cells = [c for c in result.cells if (c.policy, c.attack) == (policy, attack)]
        last = cells[-1]
        held = HELD if all(c.held for c in cells) else NOT_HELD
        rows.append([attack, *map(_text, cells), f"{last.bound:.3f}", f"{last.largest:+.3f}", held])
    head = ["attack", *(f"{q:,}" for q in result.queries), "bound", "largest", "held"]
    return table(head, rows)


def _text(cell: Cell) -> str:
    i, r, b = cell.inflation, cell.recovered, cell.bits
    return (
        f"{i.estimate:+.3f} [{i.lower:+.3f}, {i.upper:+.3f}] / {r.estimate:.0%} / {b.estimate:,.0f}"
    )
