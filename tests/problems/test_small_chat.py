import random
from collections import Counter

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.problems.generated_chat import SIZES, build
from aarlab.problems.generated_checks import build as build_checks
from aarlab.problems.problem import PROBLEMS, check_problem
from aarlab.problems.small_chat import LEVELS, Snippet, make_items, pair_up
from aarlab.runs.student import COUNTING
from aarlab.runs.testbed import prepare


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return build(tmp_path_factory.mktemp("none"), 3)


def test_every_split_has_its_size_and_every_cell_is_balanced(items):
    check_problem(items)
    assert Counter((i.split, i.part) for i in items) == SIZES


def test_check_problem_can_fail(items):
    with pytest.raises(Misconfigured, match="balance"):
        check_problem([items[0].model_copy(update={"label": 1 - items[0].label}), *items[1:]])
    with pytest.raises(Misconfigured, match="item id"):
        check_problem([items[0], *items])
    with pytest.raises(Misconfigured, match="text"):
        check_problem([items[0].model_copy(update={"first": items[1].first}), *items[1:]])


def test_the_label_is_the_higher_rating_and_pairs_stay_in_their_source():
    rng = random.Random(0)
    snippets = [Snippet(f"s{i}", rng.uniform(-4, 4), rng.choice(["tweets", "amazonReviewSnippets"])) for i in range(400)]
    rating = {s.text: s.rating for s in snippets}
    for level, pairs in enumerate(pair_up(snippets, [20] * 3, rng)):
        assert len(pairs) == 20
        for a, b in pairs:
            assert a.source == b.source
            assert LEVELS[level][0] <= abs(a.rating - b.rating) < LEVELS[level][1]
    for item in make_items(snippets, 0, {("student", "ood"): 30}):
        assert (rating[item.second] > rating[item.first]) == (item.label == 1)


def test_data_seeds_draw_different_pairs(tmp_path, items):
    other = build(tmp_path, 4)
    assert {i.id for i in items}.isdisjoint({i.id for i in other})
    assert [i.id for i in build(tmp_path, 3)] == [i.id for i in items]


def test_what_ships_is_registered():
    assert {"small-chat", "generated-chat"} <= set(PROBLEMS)


def test_a_problem_that_is_reserved_for_transfer_is_no_campaign(home):
    bed = prepare("generated-checks", 1, home=home, student=COUNTING, say=lambda *_: None)
    with pytest.raises(Misconfigured, match="reserved for transfer"):
        bed.require_publishable()


def test_single_choices_are_checked_for_questions_that_cross_splits(tmp_path):
    checks = build_checks(tmp_path, 1)
    check_problem(checks)
    other = next(i for i in checks if i.split != checks[0].split)
    with pytest.raises(Misconfigured, match="another split"):
        check_problem([checks[0], other.model_copy(update={"question": checks[0].question})])
