import random

import numpy as np
import pytest

from aarlab.core.records import Family
from aarlab.fleet.directions import DIRECTED, UNDIRECTED, direction
from aarlab.methods.method import check_output
from aarlab.researchers.kinds import RESEARCHERS
from aarlab.researchers.recipe import OPTIONS, PLAIN, families_of, key_of, mutate, options_of, recipe_in, source_of
from aarlab.researchers.researcher import Brief, Inside
from aarlab.researchers.search import Memory, choose, family_of
from aarlab.runs.data import load_task

BRIEF = Brief(name="ann", direction="?", family=Family.ENSEMBLE, seed=1, experiments=5)
EVERY = [(d, o) for d, options in OPTIONS.items() for o in options]


@pytest.mark.parametrize(("dimension", "option"), EVERY)
def test_every_option_writes_a_method_file_that_runs(bed, dimension, option):
    recipe = PLAIN | {dimension: option}
    source = source_of(recipe, family=Family.OTHER, author="ann")
    assert recipe_in(source) == recipe
    space: dict = {}
    exec(source, space)
    task = load_task(bed.public, bed.public, "feedback", 1)
    check_output(space["run"](task, 1), len(task.test))


def test_every_family_has_an_option_and_a_direction():
    for family in Family:
        assert options_of(family)
    assert {d.family for d in DIRECTED} == set(Family)


def test_nine_directed_researchers_get_nine_directions():
    assert len({direction(n, directed=True) for n in range(9)}) == 9
    assert {direction(n, directed=False) for n in range(9)} == {UNDIRECTED}


def test_files_of_another_kind_hold_no_recipe():
    for source in ("", "RECIPE = {bad", 'RECIPE = {"layers": "__import__(1)"}', "def run(task, seed): ..."):
        assert recipe_in(source) is None


def test_a_recipe_is_never_proposed_twice():
    memory, rng = Memory(), random.Random(0)
    for _ in range(40):
        recipe = choose(memory, BRIEF, rng)
        assert key_of(recipe) not in memory.tried
        memory.learn(recipe, improved=False, level=0.0, author="ann")


def test_it_learns_from_receipts():
    """Options that were told to improve are drawn far more often than ones that were not."""
    memory, rng = Memory(), random.Random(0)
    for n in range(30):
        good = mutate(PLAIN, {"labels": "task.critic_probs_N", "l2": "3.0"}, rng, extra=2)
        bad = mutate(PLAIN, {"labels": "parts.noisy_channel_labels(task)", "l2": "0.1"}, rng, extra=2)
        memory.learn(good, improved=True, level=n / 100, author="bob")
        memory.learn(bad, improved=False, level=0.0, author="bob")
    drawn = [choose(memory, BRIEF, rng)["labels"] for _ in range(200)]
    assert drawn.count("task.critic_probs_N") > 3 * drawn.count("parts.noisy_channel_labels(task)")


def test_most_of_its_ideas_are_of_its_direction():
    rng = random.Random(0)
    families = [family_of(choose(Memory(), BRIEF, rng), BRIEF) for _ in range(200)]
    assert families.count(Family.ENSEMBLE) > 60
    assert len(set(families)) > 4  # and around it
    assert families_of(PLAIN) == set()
    assert family_of(PLAIN, BRIEF.model_copy(update={"family": None})) is Family.OTHER


def test_the_same_seed_makes_the_same_choices():
    first, again = (choose(Memory(), BRIEF, random.Random("1/0")) for _ in range(2))
    assert first == again


def test_the_kind_prepares_a_home_and_names_its_command(tmp_path):
    RESEARCHERS["search"].prepare(tmp_path, BRIEF)
    assert Brief.model_validate_json((tmp_path / "brief.json").read_text()) == BRIEF
    argv = RESEARCHERS["search"].command(Inside(brief="/h", data="/d", socket="/s"))
    assert argv[1:3] == ["-m", "aarlab.researchers.search"]
    assert np.isin(["/h", "/d", "/s"], argv).all()
