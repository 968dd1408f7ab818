import math
from itertools import product

import numpy as np
import pytest

from aarlab.researchers.surrogate import KEPT, TriedRecipe, draw

EVERY = list(product("ab", "cd", "ef", "gh", "ij"))
WORTH = {"b": 0.2, "d": 0.1, "f": -0.1, "h": 0.05, "j": 0.0}


def worth(recipe):
    return 0.2 + sum(WORTH.get(option, 0.0) for option in recipe)


def answered(recipes, step=0.05):
    """What a ladder that begins at 0.2 says of them, one after the other."""
    level, seen = 0.2, []
    for recipe in recipes:
        steps = math.floor((worth(recipe) - level) / step + 1e-9)
        level += max(steps, 0) * step
        seen.append(TriedRecipe(recipe, level if steps > 0 else -math.inf, level + step))
    return seen


def test_nothing_seen_is_the_prior():
    drawn = np.array([draw([], EVERY, 0.3, seed) for seed in range(400)])
    assert drawn.mean() == pytest.approx(0.3, abs=0.05)
    assert drawn.std() == pytest.approx(math.sqrt(0.2**2 + 0.15**2), abs=0.03)


def test_intervals_alone_show_which_options_are_worth_more():
    order = np.random.default_rng(0).permutation(len(EVERY))[:16]
    seen = answered([EVERY[n] for n in order])
    drawn = np.mean([draw(seen, EVERY, 0.2, seed) for seed in range(60)], axis=0)
    assert np.corrcoef(drawn, [worth(r) for r in EVERY])[0, 1] > 0.8
    assert worth(EVERY[int(drawn.argmax())]) >= max(map(worth, EVERY)) - 0.051


def test_what_was_seen_is_believed_within_its_interval():
    seen = [TriedRecipe(EVERY[0], 0.5, 0.55), TriedRecipe(EVERY[-1], -math.inf, 0.1)]
    drawn = np.array([draw(seen, [EVERY[0], EVERY[-1]], 0.3, seed) for seed in range(200)])
    assert drawn[:, 0].mean() == pytest.approx(0.52, abs=0.03)
    assert drawn[:, 1].mean() < 0.12


def test_a_failure_and_a_sealed_answer_say_nothing():
    silent = [TriedRecipe(recipe, -math.inf, math.inf) for recipe in EVERY[:20]]
    drawn = np.array([draw(silent, EVERY[20:], 0.3, seed) for seed in range(300)])
    assert drawn.mean() == pytest.approx(0.3, abs=0.05)


def test_long_memories_keep_every_improvement_that_fits():
    seen = answered(EVERY * 40)
    assert len(seen) > KEPT
    drawn = draw(seen, EVERY, 0.2, 0)
    assert np.isfinite(drawn).all()
    assert worth(EVERY[int(drawn.argmax())]) >= max(map(worth, EVERY)) - 0.11
