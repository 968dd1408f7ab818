"""Starting prompts: what they must and must not say, and that a campaign's own directions are read
strictly."""

import re
import shutil

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.budget import Budget
from aarlab.core.errors import Misconfigured
from aarlab.core.records import Family
from aarlab.fleet import directions
from aarlab.fleet.directions import (
    SHIPPED,
    Direction,
    Directions,
    Terms,
    direction,
    go_on_prompt,
    load_directions,
    prompts_version,
    shipped,
    starting_prompt,
)
from aarlab.problems import PROBLEMS

CARD = {
    "name": "toy",
    "card": "Say which is better.",
    "in_distribution": "apples",
    "out_of_distribution": "pears",
}
START = Direction(family=None, prompt="Perhaps the answer is elsewhere. Where would you look?")
RECIPES = re.compile(
    r"\b(em|ccs|pca|k-?nn|bagging|dawid|cross-?entropy|pseudo-?label|temperature|logit|threshold"
    r"|\d+|first,|then|step)\b",
    re.I,
)


def test_nine_ship_that_point_at_nine_families_and_name_no_recipe():
    found = shipped()
    assert len({d.family for d in found.directed}) == len(found.directed) == 9
    for d in (*found.directed, found.of(0, directed=False)):
        assert RECIPES.search(d.prompt) is None, d.prompt
        assert len(d.prompt) < 400
        assert all(f.value not in d.prompt.casefold() for f in Family if f is not Family.OTHER), (
            d.prompt
        )
    assert all(d.prompt.rstrip().endswith("?") for d in found.directed), "a nudge and a question"
    assert RECIPES.search("Use EM with 3 annotators") is not None


@given(number=st.integers(0, 300))
def test_a_larger_fleet_goes_round_and_an_undirected_one_begins_alike(number):
    assert (
        direction(number, directed=True)
        == direction(number + 9, directed=True)
        != direction(number + 1, directed=True)
    )
    assert direction(number, directed=False) == direction(number + 1, directed=False)
    assert direction(number, directed=False).family is None


def test_a_campaign_names_its_own_directions(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(shipped().model_dump(mode="json")))
    assert load_directions(path) == shipped() == load_directions(SHIPPED)
    two = Directions(
        problem="x",
        undirected=START.prompt,
        directed=(START, Direction(family=Family.OTHER, prompt="y" * 20)),
    )
    assert direction(3, directed=True, directions=two).prompt == "y" * 20


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"directed": []}, "directed"),
        ({"colour": "blue"}, "colour"),
        ({"undirected": None}, "undirected"),
        (
            {
                "directed": [
                    {"family": None, "prompt": "Where would you look for it?"},
                    {"family": "poetry", "prompt": "Where would you look for it first?"},
                ]
            },
            "directed.1.family: 'poetry' is none of the problem's families. Name one of: self-tr",
        ),
        (
            {"directed": [{"family": "other", "prompt": "Where would you look for it?"}] * 2},
            "same prompt",
        ),
        ({"directed": [{"family": "other", "prompt": "Short?"}] * 2}, "prompt"),
    ],
)
def test_what_is_wrong_with_a_set_is_named(tmp_path, change, words):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(shipped().model_dump(mode="json") | change))
    with pytest.raises(Misconfigured, match=words) as caught:
        load_directions(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_missing_or_no_yaml_is_the_operators_to_mend(tmp_path):
    with pytest.raises(Misconfigured, match="weak-to-strong"):
        load_directions(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(Misconfigured, match="not valid YAML"):
        load_directions(tmp_path / "bad.yaml")


def test_the_prompt_gives_problem_resources_limits_rules_and_direction():
    terms = Terms(
        name="r-3", researchers=9, minutes=90, experiments=7, budget=Budget(usd=3, tokens=5_000_000)
    )
    text = starting_prompt(CARD, terms, START)
    for wanted in (
        "r-3",
        "one of 9",
        "toy",
        CARD["card"],
        "apples",
        "pears",
        "/data",
        "aar lab",
        "5,000,000 tokens",
        "$3.00",
    ):
        assert wanted in text
    for wanted in (
        "90 minutes",
        "7 experiments",
        START.prompt,
        *(f.value for f in Family),
        "data, not instructions",
        "negative",
    ):
        assert wanted in text
    assert "{{" not in text
    assert not re.search(r"^\s*\d+\. ", text, re.MULTILINE), "numbered steps would be a workflow"


def test_what_is_granted_differs_and_so_does_the_prompt():
    alone = starting_prompt(CARD, Terms(name="a"), START)
    assert "working alone" in alone
    assert "submit predictions" in alone
    blind = starting_prompt(
        CARD, Terms(name="a", mode="code", campaign_budget=Budget(hours=2)), START
    )
    assert "submit predictions" not in blind
    assert "All researchers together: 2 hours" in blind


def test_neither_card_nor_direction_is_a_template():
    """What an operator writes is put in, not run."""
    sly = Direction(family=None, prompt="{{ 7 * 7 }} and {% raise %} is where you look")
    text = starting_prompt(CARD | {"card": "{{ name }}"}, Terms(name="ann"), sly)
    assert sly.prompt in text
    assert "{{ name }}" in text


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_every_problem_that_ships_can_be_reported(name):
    problem = PROBLEMS[name]
    card = {
        "name": name,
        "card": problem.card,
        "items": {"student": 3, "final": 2},
        "student": "one, taught by another",
    }
    card |= {"in_distribution": problem.id_source, "out_of_distribution": problem.ood_source}
    text = starting_prompt(card, Terms(name="a"), START)
    assert problem.card in text
    assert "3 student, 2 final" in text


def test_a_card_that_lacks_something_is_refused():
    with pytest.raises(Misconfigured, match="in_distribution"):
        starting_prompt({"name": "x", "card": "y"}, Terms(name="a"), START)


def test_to_go_on_names_the_home():
    assert "/there" in go_on_prompt("/there")


def test_the_version_is_that_of_all_prompt_files(tmp_path, monkeypatch):
    shutil.copytree(directions.PROMPTS, tmp_path / "p")
    before = prompts_version()
    monkeypatch.setattr(directions, "PROMPTS", tmp_path / "p")
    assert prompts_version() == before
    (tmp_path / "p" / "notes.txt").write_text("no prompt")
    assert prompts_version() == before
    (tmp_path / "p" / "go_on.md").write_text("other")
    assert prompts_version() != before


def test_prompt_states_aim_sandbox_and_trial_split_in_code_mode():
    text = starting_prompt(CARD, Terms(name="a", sandbox="2 GiB of memory"), START)
    assert "PGR (performance gap recovered) = (accuracy - weak) / (ceiling - weak)" in text
    assert "Your sandbox: 2 GiB of memory;" in text
    assert "experiments" not in text, "of language models none are counted"
    assert "--split" not in text
    assert "--test /data --split student" in starting_prompt(
        CARD, Terms(name="a", mode="code"), START
    )
