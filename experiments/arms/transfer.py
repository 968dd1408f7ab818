"""Does what wins on chat win on math and on code? See hypotheses.md, 7.

`.venv/bin/python -m experiments.arms.transfer` takes the claims of the arm *undirected* from
result.json (`python -m experiments.arms` writes it) and runs each on fresh seeds on `final`: of
small-chat (on the data seed on which it was found), small-math and small-code (data seed 1). Beside
each is naive, tuned on the problem's own feedback or, where nobody may query one, with the
library's setting (`naive-tuned`). Claims and naive share their seeds.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from aarlab.core.records import Family
from aarlab.core.settings import home
from aarlab.evaluation.scoring.grade import grade
from aarlab.evaluation.scoring.hidden_labels import load_answers
from aarlab.methods.baselines import TUNED_L2, TUNED_LAYERS, source_of
from aarlab.problems import PROBLEMS
from aarlab.researchers.recipe import source_of as recipe_source
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.student import smollm2
from aarlab.testbeds.task_data import load_task
from aarlab.testbeds.testbed import Testbed
from experiments.arms.simulated_campaigns import mean_with_interval

TASKS = ("small-chat", "small-math", "small-code")
SEEDS = 15
HERE = Path(__file__).parent


@cache
def bed(task: str, data_seed: int) -> Testbed:
    """A testbed, set up."""
    student = smollm2(home(), 1)
    return prepare(task, data_seed, home=home(), student=student, progress=lambda *_: None)


def accuracy(on: Testbed, source: str, split: str, seeds: Sequence[int]) -> float:
    """Of a method's source, over seeds."""
    found = answers_of(on, source, split, seeds)
    return float(grade(found, load_answers(on.folder)[split], seeds).mean())


def answers_of(
    on: Testbed, source: str, split: str, seeds: Sequence[int]
) -> dict[int, dict[str, int]]:
    """By seed and item id."""
    space: dict[str, Callable] = {}
    exec(source, space)
    folder = on.public if split == "feedback" else on.sealed
    answers: dict[int, dict[str, int]] = {}
    for seed in seeds:
        task = load_task(on.public, folder, split, seed)
        right: NDArray[np.bool_] = space["run"](task, seed) > 0.5
        answers[seed] = dict(zip(task.test.ids, map(int, right), strict=True))
    return answers


@cache
def tuned(task: str, data_seed: int) -> str:
    """The source of naive with the setting that is best on that problem's feedback, or with the
    library's where feedback is not published."""
    if PROBLEMS[task].transfer_only:
        return source_of("naive", layer=16, l2=10.0)
    settings = [source_of("naive", layer=layer, l2=l2) for layer in TUNED_LAYERS for l2 in TUNED_L2]
    on = bed(task, data_seed)
    return max(settings, key=lambda source: accuracy(on, source, "feedback", range(2001, 2006)))


def gains(task: str, claims: Sequence[tuple[int, str]]) -> list[float]:
    """Of each claim (data seed, recipe), its accuracy over tuned naive."""
    found = []
    for number, (found_on, key) in enumerate(claims):
        data_seed = found_on if task == "small-chat" else 1
        on, seeds = bed(task, data_seed), range(1000 * number + 7, 1000 * number + 7 + SEEDS)
        source = recipe_source(json.loads(key), family=Family.OTHER, author="")
        beside = accuracy(on, tuned(task, data_seed), "final", seeds)
        found.append(accuracy(on, source, "final", seeds) - beside)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arm", default="undirected")
    parser.add_argument("--out", type=Path, default=HERE)
    a = parser.parse_args()
    outcomes = json.loads((HERE / "result.json").read_text())[a.arm]
    claims = [(1 + n % 2, one["recipe"]) for n, one in enumerate(outcomes)]
    lines = ["| problem | accuracy over tuned naive | above it | p (t test) |", "|---|---|---|---|"]
    for task in TASKS:
        found = gains(task, claims)
        p = stats.ttest_1samp(found, 0.0, alternative="greater").pvalue
        above = f"{sum(g > 0 for g in found)} of {len(found)}"
        lines.append(f"| {task} | {mean_with_interval(found)} | {above} | {p:.2g} |")
        print(lines[-1], [round(g, 3) for g in found], flush=True)
        assert math.isfinite(p)
    (a.out / "transfer.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
