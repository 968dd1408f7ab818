"""generated-checks: a look-alike of small-math and small-code made of generated words, for tests.
It measures nothing real.

A choice holds "goodK"/"badK" words; it is right when their sum is positive.
"""

import random
from pathlib import Path

from aarlab.core.records import Choice, PartName, SplitName
from aarlab.problems.problem import Problem
from aarlab.problems.registered import PROBLEMS

SIZES: dict[tuple[SplitName, PartName], int] = {
    ("teacher", "id"): 60,
    ("student", "id"): 300,
    ("final", "id"): 150,
    ("final", "ood"): 150,
}


def build(cache: Path, data_seed: int) -> list[Choice]:
    del cache
    rng = random.Random(data_seed)
    numbered = [(split, part) for (split, part), n in SIZES.items() for _ in range(n)]
    return [_item(rng, i, split, part) for i, (split, part) in enumerate(numbered)]


def _item(rng: random.Random, number: int, split: SplitName, part: PartName) -> Choice:
    label = number % 2
    size = rng.randint(1, 9)
    return Choice(
        id=f"check-{rng.getrandbits(48):012x}",
        question=f"Is the sum of number {number} positive?",
        choice=f"{'good' if label else 'bad'}{size} {rng.choice(('box', 'door', 'line'))}",
        label=label,
        split=split,
        part=part,
        level=1,
    )


PROBLEMS.add("generated-checks")(
    Problem(
        name="generated-checks",
        version="1",
        card=(
            "A generated look-alike that measures nothing real. Predict 1 if the sum of the choice "
            "is positive."
        ),
        id_source="generated",
        ood_source="generated",
        build=build,
        corpus=lambda cache, data_seed: (),  # the double needs none
        transfer_only=True,
    )
)
