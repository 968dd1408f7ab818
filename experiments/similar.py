"""What an answer about near-duplicates costs among 5,000 snapshots or findings. Run:
`.venv/bin/python experiments/similar.py`.

Snapshots are recipes of the search researcher, findings their descriptions. No test asserts a time.
"""

import random
import time
from collections.abc import Callable, Sequence

import numpy as np

from aarlab.core.records import Family
from aarlab.diversity.similar import Features, IdeaIndex, text_features
from aarlab.diversity.source import shingles
from aarlab.researchers.recipe import PLAIN, Recipe, mutate, source_of

IDEAS, ASKED = 5_000, 300


def code(recipe: Recipe) -> Features:
    """Of the recipe as the search researcher writes it."""
    return shingles(source_of(recipe, family=Family.OTHER, author="ann"))


def words(recipe: Recipe) -> Features:
    """Of the recipe as the search researcher tells of it."""
    return text_features(
        ", ".join(f"{d} {o}" for d, o in recipe.items() if o != PLAIN[d]) or "all plain"
    )


def timed_ms(act: Callable[[Recipe], object], recipes: Sequence[Recipe]) -> list[float]:
    """Milliseconds of processor time for each."""
    took = []
    for recipe in recipes:
        started = time.process_time()
        act(recipe)
        took.append(1e3 * (time.process_time() - started))
    return took


def main() -> None:
    rng = random.Random(0)
    recipes = [mutate(PLAIN, {}, rng, extra=rng.randint(0, 4)) for _ in range(IDEAS + ASKED)]
    print(f"| {IDEAS:,} of | to take one up, ms | to ask, ms: median (99 of 100) |\n|---|---|---|")
    for name, features in (("snapshots", code), ("findings", words)):
        taken, asked = measured(features, recipes)
        print(
            f"| {name} | {np.median(taken):.2f} | {np.median(asked):.2f} "
            f"({np.quantile(asked, 0.99):.2f}) |"
        )


def measured(
    features: Callable[[Recipe], Features], recipes: Sequence[Recipe]
) -> tuple[list[float], list[float]]:
    """To take up the first IDEAS, and to ask about the others; features are made in both."""
    index: IdeaIndex[int] = IdeaIndex()
    taken = timed_ms(lambda recipe: index.add(len(index), features(recipe)), recipes[:IDEAS])
    return taken, timed_ms(lambda recipe: index.nearest(features(recipe), 3), recipes[IDEAS:])


if __name__ == "__main__":
    main()
