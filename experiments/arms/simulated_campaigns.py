"""What directions, a forum and metered answers do to a search: see hypotheses.md beside this file,
which was written before the first result.

`.venv/bin/python -m experiments.arms` runs campaigns of nine search researchers on small-chat
without their processes: the researchers' own choice of recipes (`researchers.search`), the real
testbed, the real policy. A recipe's answers are graded on five seeds that its text decides, as the
evaluator issues them. Arms share data seeds and random seeds, so that they are compared in pairs.
"""

import argparse
import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache, partial
from pathlib import Path

import numpy as np
from scipy import stats

from aarlab.core.records import Family
from aarlab.core.settings import home
from aarlab.core.worker_pool import worker_pool
from aarlab.evaluation.scoring.grade import grade
from aarlab.evaluation.scoring.hidden_labels import load_answers
from aarlab.evaluation.scoring.policies import POLICIES, Channel, start
from aarlab.fleet.directions import SHIPPED, load_directions
from aarlab.researchers.recipe import PLAIN, families_of, key_of, source_of
from aarlab.researchers.researcher import Brief
from aarlab.researchers.search import Memory, choose
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.student import smollm2
from aarlab.testbeds.task_data import load_task
from aarlab.testbeds.testbed import Testbed

RESEARCHERS, SEEDS = 9, 5


@dataclass(frozen=True)
class Arm:
    """How the researchers of a campaign work."""

    directed: bool = False
    forum: bool = True
    policy: str = "default"


ARMS = {
    "undirected": Arm(),
    "directed": Arm(directed=True),
    "no forum": Arm(forum=False),
    "exact scores": Arm(policy="exact"),
}


@dataclass(frozen=True)
class Outcome:
    """One campaign. PGR of what it claims first: on feedback (exact, which the default policy
    reports to nobody), there again on fresh seeds, and on final on fresh seeds; and the entropy of
    its recipes' families (bits)."""

    reported: float  # the level at its end
    feedback: float
    fresh: float  # on feedback
    final: float
    early_bits: float  # of the first third of its experiments
    late_bits: float  # of the last third
    recipe: str  # what it claims: a key of `researchers.recipe`


NUMBERS = tuple(f.name for f in fields(Outcome) if f.type is float)
# what picking costs: in all, by luck of seeds, by luck of items
DIFFERENCES = (("feedback", "final"), ("feedback", "fresh"), ("fresh", "final"))


class Bench:
    """Scores of recipes on a testbed."""

    def __init__(self, bed: Testbed) -> None:
        self._bed, self._answers = bed, load_answers(bed.folder)
        with np.load(bed.anchors) as stored:
            self.ends = {
                split: tuple(
                    float(stored[f"{split}_{end}_SM"].mean()) for end in ("weak", "ceiling")
                )
                for split in ("feedback", "final")
            }
        self.items = len(self._answers["feedback"])
        self._known: dict[tuple[str, str, str], float] = {}

    def accuracy(self, key: str, split: str, seeds: str = "issued") -> float:
        """Of a recipe, over the seeds that its text and a word decide."""
        cell = key, split, seeds
        if cell not in self._known:
            self._known[cell] = self._run(*cell)
        return self._known[cell]

    def _run(self, key: str, split: str, seeds: str) -> float:
        source = source_of(json.loads(key), family=Family.OTHER, author="")
        first = int.from_bytes(hashlib.sha256(f"{seeds}/{key}".encode()).digest()[:3])
        space: dict[str, Callable] = {}
        exec(source, space)
        found = []
        for seed in range(first, first + SEEDS):
            task = load_task(self._bed.public, self._folder(split), split, seed)
            found.append(space["run"](task, seed) > 0.5)
        by_seed = {
            first + n: dict(zip(task.test.ids, map(int, row), strict=True))
            for n, row in enumerate(found)
        }
        return float(grade(by_seed, self._answers[split], tuple(by_seed)).mean())

    def _folder(self, split: str) -> Path:
        return self._bed.public if split == "feedback" else self._bed.sealed

    def pgr(self, accuracy: float, split: str) -> float:
        weak, ceiling = self.ends[split]
        return (accuracy - weak) / (ceiling - weak)


def campaign(bench: Bench, arm: Arm, seed: int, experiments: int) -> Outcome:
    """One campaign of nine researchers who take turns."""
    policy, channel = POLICIES[arm.policy], _begun(bench)
    briefs = [_brief(n, arm, seed) for n in range(RESEARCHERS)]
    memories = [Memory() for _ in briefs] if not arm.forum else [Memory()] * RESEARCHERS
    families: list[set[Family]] = []
    best: tuple[float, str] = (-math.inf, key_of(PLAIN))
    for number in range(experiments):
        brief, memory = briefs[number % RESEARCHERS], memories[number % RESEARCHERS]
        recipe = choose(memory, brief, random.Random(f"{seed}/{number}"))
        if recipe is None:
            break
        families.append(families_of(recipe))
        accuracy = bench.accuracy(key_of(recipe), "feedback")
        answer = policy.answer(channel, brief.name, accuracy)
        channel.record(brief.name, answer)
        reported = answer.level if arm.policy == "exact" or answer.improved else -math.inf
        best = max(best, (reported, key_of(recipe)))
        memory.learn(recipe, _receipt(bench, arm, channel, answer.improved, accuracy), brief.name)
    third, claim = max(1, len(families) // 3), best[1]
    graded = ("feedback", "issued"), ("feedback", "fresh"), ("final", "fresh")
    return Outcome(
        bench.pgr(channel.level, "feedback"),
        *(bench.pgr(bench.accuracy(claim, s, seeds), s) for s, seeds in graded),
        _bits(families[:third]),
        _bits(families[-third:]),
        claim,
    )


def _begun(bench: Bench) -> Channel:
    channel = start(bench.accuracy(key_of(PLAIN), "feedback"), bench.items)
    weak, ceiling = bench.ends["feedback"]
    channel.gap = ceiling - weak
    return channel


def _brief(number: int, arm: Arm, seed: int) -> Brief:
    family = load_directions(SHIPPED).of(number, directed=arm.directed).family
    name = f"researcher-{number + 1}"
    return Brief(name=name, direction="", family=family, seed=seed, experiments=10**6)


def _receipt(bench: Bench, arm: Arm, channel: Channel, improved: bool, accuracy: float) -> dict:
    """What the searcher reads of an answer. An exact score is an interval without width."""
    pgr = partial(bench.pgr, split="feedback")
    if arm.policy == "exact":
        score = pgr(accuracy)
        return {"improved": True, "level_pgr": score, "next_step_pgr": score, "tier": "open"}
    outlook = POLICIES[arm.policy].outlook(channel, "anybody")
    return {
        "improved": improved,
        "level_pgr": pgr(channel.level),
        "next_step_pgr": pgr(outlook.next_step),
        "tier": outlook.tier,
    }


def _bits(families: Sequence[set[Family]]) -> float:
    """Entropy of the families of all options that differ from the plain recipe: of what the code
    shows, whatever its author's direction."""
    counts = np.array(list(Counter(f for some in families for f in some).values()), float)
    share_F = counts / counts.sum()
    return float(-(share_F * np.log2(share_F)).sum())


def _one(cell: tuple[str, int, int, int]) -> Outcome:
    arm, data_seed, seed, experiments = cell
    return campaign(_bench(data_seed), ARMS[arm], seed, experiments)


@cache
def _bench(data_seed: int) -> Bench:
    say = lambda *_: None  # noqa: E731
    return Bench(
        prepare("small-chat", data_seed, home=home(), student=smollm2(home(), 2), progress=say)
    )


def mean_with_interval(values: Sequence[float]) -> str:
    """Mean and 95 % t interval over campaigns."""
    array = np.array(values)
    half = stats.t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / math.sqrt(len(array))
    return f"{array.mean():.3f} [{array.mean() - half:.3f}, {array.mean() + half:.3f}]"


def table(found: dict[str, list[Outcome]]) -> str:
    """One row an arm, and one for its difference from the first in pairs of campaigns."""
    columns = (*NUMBERS, *(f"{one} - {other}" for one, other in DIFFERENCES))
    rows = {arm: _columns(outcomes) for arm, outcomes in found.items()}
    first = next(iter(rows))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for arm, values in rows.items():
        lines.append(f"| {arm} | " + " | ".join(map(mean_with_interval, values)) + " |")
    for arm, values in rows.items():
        if arm != first:
            apart = [
                list(np.array(a) - np.array(b)) for a, b in zip(values, rows[first], strict=True)
            ]
            lines.append(
                f"| {arm} minus {first} | " + " | ".join(map(mean_with_interval, apart)) + " |"
            )
    return "\n".join(lines) + "\n"


def _columns(outcomes: Sequence[Outcome]) -> list[list[float]]:
    return [
        *([getattr(o, name) for o in outcomes] for name in NUMBERS),
        *([getattr(o, one) - getattr(o, other) for o in outcomes] for one, other in DIFFERENCES),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=12, help="of each arm")
    parser.add_argument("--experiments", type=int, default=90, help="of a campaign")
    parser.add_argument("--data-seed", type=int, action="append", help="[1 and 2]")
    parser.add_argument("--arm", choices=ARMS, action="append", help="[all]")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    a = parser.parse_args()
    data_seeds, arms = a.data_seed or [1, 2], a.arm or list(ARMS)
    for data_seed in data_seeds:
        _bench(data_seed)
    cells = [
        (arm, data_seeds[n % len(data_seeds)], n, a.experiments)
        for n in range(a.campaigns)
        for arm in arms
    ]
    found: dict[str, list[Outcome]] = {arm: [] for arm in arms}
    with worker_pool(a.workers) as pool:
        for (arm, *_), outcome in zip(cells, pool.map(_one, cells), strict=True):
            found[arm].append(outcome)
            print(arm, outcome, flush=True)
    text = table(found)
    (a.out / "result.json").write_text(
        json.dumps({arm: [asdict(o) for o in some] for arm, some in found.items()}, indent=1) + "\n"
    )
    (a.out / "result.md").write_text(text)
    print(text)
