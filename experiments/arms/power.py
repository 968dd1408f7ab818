"""How many seeds does a confirmation need? See hypotheses.md, 8.

`.venv/bin/python -m experiments.arms.power` takes the claims of an arm from result.json, runs each
and tuned naive on `final` on 20 common seeds, and gives the p-value of the confirmation's paired
test for the first 5, 10, 15 and 20 of them.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import Family
from aarlab.evaluation.confirmation.verdict import paired_effect
from aarlab.evaluation.scoring.hidden_labels import load_answers, load_unit_numbers
from aarlab.researchers.recipe import source_of as recipe_source
from experiments.arms.transfer import HERE, answers_of, bed, tuned

COUNTS = (5, 10, 15, 20)
TASK, SPLIT = "small-chat", "final"


def right(data_seed: int, source: str, seeds: range) -> NDArray[np.bool_]:
    """Which answers are right, (S, M)."""
    on = bed(TASK, data_seed)
    labels = load_answers(on.folder)[SPLIT]
    ids = sorted(labels)
    given = answers_of(on, source, SPLIT, seeds)
    return np.array([[given[seed][i] == labels[i] for i in ids] for seed in seeds])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arm", default="undirected")
    parser.add_argument("--out", type=Path, default=HERE)
    a = parser.parse_args()
    outcomes = json.loads((HERE / "result.json").read_text())[a.arm]
    found: dict[int, list[float]] = {count: [] for count in COUNTS}
    widths: dict[int, list[float]] = {count: [] for count in COUNTS}
    for number, one in enumerate(outcomes):
        data_seed, seeds = 1 + number % 2, range(1000 * number + 7, 1000 * number + 7 + max(COUNTS))
        claim = recipe_source(json.loads(one["recipe"]), family=Family.OTHER, author="")
        ids = sorted(load_answers(bed(TASK, data_seed).folder)[SPLIT])
        units = load_unit_numbers(bed(TASK, data_seed).folder, SPLIT, ids)
        both = right(data_seed, claim, seeds), right(data_seed, tuned(TASK, data_seed), seeds)
        for count in COUNTS:
            effect = paired_effect(*(rows_SM[:count] for rows_SM in both), units)
            found[count].append(effect.p)
            widths[count].append(effect.difference.upper - effect.difference.lower)
    lines = ["| seeds | median p | p < 0.05 | p < 0.05 / 3 | mean width of the 95 % interval |"]
    lines.append("|---" * 5 + "|")
    for count in COUNTS:
        p = np.array(found[count])
        some = [f"{(p < level).sum()} of {len(p)}" for level in (0.05, 0.05 / 3)]
        width = np.mean(widths[count])
        lines.append(f"| {count} | {np.median(p):.2g} | {' | '.join(some)} | {width:.3f} |")
    (a.out / "power.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
