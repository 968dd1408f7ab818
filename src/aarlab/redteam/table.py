"""Every attack against every policy: the measured cells, as a terminal table, JSON and Markdown."""

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from rich.table import Table

from aarlab.core.intervals import mean_measure
from aarlab.core.records import Measure, Record
from aarlab.evaluation import metered as _metered  # noqa: F401 - registers the policies
from aarlab.evaluation.policies import POLICIES, Policy
from aarlab.redteam import overlap as _overlap  # noqa: F401 - registers its attacks
from aarlab.redteam.attacks import ATTACKS, run_attack
from aarlab.redteam.channel import Line, Point, World
from aarlab.redteam.jobs import Say, in_order, silent

QUERIES = (100, 1_000, 10_000, 100_000)


class Cell(Record):
    """One attack on one policy after so many questions; means over seeds."""

    policy: str
    attack: str
    queries: int
    inflation: Measure  # largest told level minus accuracy on fresh data of the vector that reached it
    largest: float  # inflation, over the seeds
    recovered: Measure  # share of the unknown labels named right, beyond half
    bits: Measure  # by the ledger
    bound: float  # proven, on inflation; the largest over the seeds
    held: bool  # did no seed exceed its bound


class RedTeam(Record):
    """The whole grid and how it was made."""

    n: int
    seeds: int
    queries: tuple[int, ...]
    cells: tuple[Cell, ...]


def attack_all(
    policies: Sequence[str], *, n: int, seeds: int, queries: Sequence[int] = QUERIES, workers: int = 1, say: Say = silent
) -> RedTeam:
    """Every attack on each policy, with the same hidden labels for all that share a seed."""
    stops = tuple(sorted(set(queries)))
    pairs = [(policy, attack) for policy in policies for attack in ATTACKS]
    jobs = [(POLICIES[policy], attack, n, seeds, stops) for policy, attack in pairs]
    labels = [f"{policy}, {attack}" for policy, attack in pairs]
    cells: list[Cell] = []
    for (policy, attack), runs in zip(pairs, in_order(_runs, jobs, labels=labels, workers=workers, say=say), strict=True):
        cells += [_cell(policy, attack, list(points)) for points in zip(*runs, strict=True)]
    return RedTeam(n=n, seeds=seeds, queries=stops, cells=tuple(cells))


def _runs(policy: Policy, attack: str, n: int, seeds: int, stops: tuple[int, ...]) -> list[list[Point]]:
    return [_points(policy, attack, n=n, seed=seed, stops=stops) for seed in range(seeds)]


def _points(policy: Policy, attack: str, *, n: int, seed: int, stops: tuple[int, ...]) -> list[Point]:
    world = World.draw(n, np.random.default_rng([seed, n]))
    line = Line(world, policy, stops, seed)
    return run_attack(attack, line, np.random.default_rng([seed, zlib.crc32(attack.encode())])).points


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
    table = Table(title=f"Red team: {result.n:,} labels, {result.seeds} seeds, the worst attack in each cell")
    table.add_column("policy")
    for queries in result.queries:
        table.add_column(f"{queries:,} questions", justify="right")
    for policy in dict.fromkeys(c.policy for c in result.cells):
        table.add_row(policy, *(_brief(worst(result, policy, q)) for q in result.queries))
    return table


def _brief(cell: Cell) -> str:
    return (
        f"{cell.inflation.estimate:+.3f} (bound {cell.bound:.3f})\n{cell.recovered.estimate:.0%} of labels, "
        f"{cell.bits.estimate:,.0f} bits\n{cell.attack}"
    )


PREAMBLE = """# Red team of the evaluator

{n:,} hidden balanced labels, {seeds} seeds; made by `{command}`. Every attacker knows the policy, has a start vector of
accuracy 0.57 (half of it coin flips, half right with probability 0.64) and knows which half is which.

A cell: displayed inflation (the largest told level minus the accuracy, on fresh data, of the vector that reached it; mean over
seeds with its 95 % interval) / share of the unknown labels recovered (named right, beyond half) / bits by the ledger. The bound
is the proven one (Theorem 1 of `MeteredLadder`, 95 %) for the seed that released most. For `exact` and `rounded` it is what
their answers could carry: no protection. An attack that ends early (all labels known, or sealed for good) stays where it was.

## The worst attack on each policy
"""


def markdown(result: RedTeam, command: str) -> str:
    """The grid as a page."""
    lines = [PREAMBLE.format(n=result.n, seeds=result.seeds, command=command)]
    lines.append(markdown_row(["policy", *(f"{q:,} questions" for q in result.queries)]))
    lines.append(markdown_row(["---"] * (1 + len(result.queries))))
    policies = list(dict.fromkeys(c.policy for c in result.cells))
    for policy in policies:
        lines.append(
            markdown_row([policy, *(f"{_text(c)} ({c.attack})" for c in (worst(result, policy, q) for q in result.queries))])
        )
    for policy in policies:
        lines += ["", f"## {policy}", "", *_section(result, policy)]
    return "\n".join(lines) + "\n"


def _section(result: RedTeam, policy: str) -> Iterable[str]:
    yield markdown_row(["attack", *(f"{q:,}" for q in result.queries), "bound", "largest", "held"])
    yield markdown_row(["---"] * (4 + len(result.queries)))
    for attack in dict.fromkeys(c.attack for c in result.cells):
        cells = [c for c in result.cells if (c.policy, c.attack) == (policy, attack)]
        last = cells[-1]
        held = "yes" if all(c.held for c in cells) else "**NO**"
        yield markdown_row([attack, *map(_text, cells), f"{last.bound:.3f}", f"{last.largest:+.3f}", held])


def _text(cell: Cell) -> str:
    i, r, b = cell.inflation, cell.recovered, cell.bits
    return f"{i.estimate:+.3f} [{i.lower:+.3f}, {i.upper:+.3f}] / {r.estimate:.0%} / {b.estimate:,.0f}"


def markdown_row(cells: Sequence[str]) -> str:
    """A row of a table in Markdown."""
    return "| " + " | ".join(cells) + " |"
