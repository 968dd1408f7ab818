import random
from collections import Counter

import numpy as np
import pytest

from aarlab.core.errors import Misconfigured
from aarlab.problems import small_chat, small_chat_easy
from aarlab.problems.generated_chat import SIZES, build
from aarlab.problems.generated_checks import build as build_checks
from aarlab.problems.problem import check_problem
from aarlab.problems.rated_snippets import LEVELS, SOURCES, Snippet
from aarlab.problems.registered import PROBLEMS
from aarlab.problems.small_chat_easy import pair_up
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.student import COUNTING


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return build(tmp_path_factory.mktemp("none"), 3)


def test_every_split_has_its_size_and_every_cell_is_balanced(items):
    check_problem(items)
    assert Counter((i.split, i.part) for i in items) == SIZES


def test_check_problem_can_fail(items):
    with pytest.raises(Misconfigured, match="one half of the labels"):
        check_problem([items[0].model_copy(update={"label": 1 - items[0].label}), *items[1:]])
    with pytest.raises(Misconfigured, match="item id"):
        check_problem([items[0], *items])
    with pytest.raises(Misconfigured, match="text"):
        check_problem([items[0].model_copy(update={"first": items[1].first}), *items[1:]])


def rated(count: int, seed: int = 0) -> tuple[list[Snippet], np.ndarray]:
    """Snippets, and logits that follow their ratings as a good judgement would: right on four of
    five pairs."""
    rng = np.random.RandomState(seed)
    snippets = [
        Snippet(f"s{n}", rng.uniform(-4, 4), sorted(SOURCES)[rng.randint(len(SOURCES))])
        for n in range(count)
    ]
    return snippets, 0.5 * np.array([s.rating for s in snippets]) + rng.randn(count)


@pytest.mark.parametrize("problem", ["easy", "drawn against the judgement"])
def test_the_label_is_the_higher_rating_and_pairs_stay_in_their_source(problem):
    snippets, logits = rated(2_000)
    sizes = {("feedback", "ood"): 60, ("final", "ood"): 60}
    items = (
        small_chat_easy.make_items(snippets, 0, sizes)
        if problem == "easy"
        else small_chat.make_items(snippets, logits, 0, sizes)
    )
    assert len(items) == 120
    check_problem(items)
    by_text = {s.text: s for s in snippets}
    for item in items:
        first, second = (by_text[text] for text in item.choices)
        assert first.source == second.source
        assert (second.rating > first.rating) == (item.label == 1)
        low, high = LEVELS[item.level - 1]
        assert low - 0.1 <= abs(first.rating - second.rating) < high + 0.1


def test_pairs_of_a_level_are_disjoint_and_as_many_as_asked_for():
    snippets, _ = rated(400)
    for level, pairs in enumerate(pair_up(snippets, [20] * 3, random.Random(0))):
        assert len({s.text for pair in pairs for s in pair}) == 40
        for a, b in pairs:
            assert LEVELS[level][0] <= abs(a.rating - b.rating) < LEVELS[level][1]


def test_the_judgement_and_its_margin_say_nothing_about_the_label():
    """Of 3,000 pairs one half, 0.5 +- 0.027 (three standard errors): all, those with the larger
    margins, and those of which both logits are high."""
    right, margins, sums = [], [], []
    for seed in range(5):
        snippets, logits = rated(6_000, seed)
        assert judged(snippets, logits) > 0.75, "at random it would say much"
        at = {s.text: n for n, s in enumerate(snippets)}
        for pairs in small_chat.draw_pairs(snippets, logits, 200, np.random.RandomState(seed)):
            assert len(pairs) == 200
            for higher, lower in pairs:
                right.append(higher.rating > lower.rating)
                margins.append(logits[at[higher.text]] - logits[at[lower.text]])
                sums.append(logits[at[higher.text]] + logits[at[lower.text]])
    right_P, margin_P, sum_P = map(np.array, (right, margins, sums))
    assert (margin_P > 0).all()
    assert right_P.mean() == pytest.approx(0.5, abs=0.027)
    for some in (margin_P > np.median(margin_P), sum_P > np.median(sum_P)):
        assert right_P[some].mean() == pytest.approx(0.5, abs=0.039)


def judged(snippets, logits):
    """On which share of random pairs of ratings at least 1.2 apart the judgement is right."""
    a, b = np.random.RandomState(1).permutation(len(snippets)).reshape(2, -1)
    gap = np.array([s.rating for s in snippets])
    gap = gap[a] - gap[b]
    return ((gap > 0) == (logits[a] > logits[b]))[abs(gap) >= 1.2].mean()


@pytest.mark.slow
def test_no_snippet_is_in_feedback_under_one_data_seed_and_in_final_under_another():
    snippets, logits = rated(6_000)
    sizes = {k: n // 10 // 6 * 6 for k, n in small_chat.PAIRS.items()}
    of = {
        (split, seed): {
            text
            for item in small_chat.make_items(snippets, logits, seed, sizes)
            if item.split == split
            for text in item.choices
        }
        for seed in range(3)
        for split in ("student", "feedback", "final")
    }
    for (split, seed), texts in of.items():
        assert texts != of[split, (seed + 1) % 3], "each seed draws anew"
        for other in {"student", "feedback", "final"} - {split}:
            assert all(texts.isdisjoint(of[other, s]) for s in range(3))


@pytest.mark.slow
def test_pairs_of_which_the_judgement_says_something_are_refused():
    snippets, logits = rated(6_000)
    sizes = {k: n // 6 // 6 * 6 for k, n in small_chat.PAIRS.items()}
    logit_of = dict(zip([s.text for s in snippets], logits, strict=True))
    small_chat.require_fair(small_chat.make_items(snippets, logits, 1, sizes), logit_of)
    drawn_at_random = small_chat_easy.make_items(snippets, 1, sizes)
    with pytest.raises(Misconfigured, match=r"right on \d+ of \d+ pairs of student"):
        small_chat.require_fair(drawn_at_random, logit_of)


def test_logits_of_other_snippets_are_refused():
    with pytest.raises(Misconfigured, match="made of other snippets"):
        small_chat.zero_shot_logits(rated(10)[0])


@pytest.mark.slow
def test_data_seeds_draw_different_pairs(tmp_path, items):
    other = build(tmp_path, 4)
    assert {i.id for i in items}.isdisjoint({i.id for i in other})
    assert [i.id for i in build(tmp_path, 3)] == [i.id for i in items]


def test_what_ships_is_registered():
    assert {"small-chat", "small-chat-easy", "generated-chat"} <= set(PROBLEMS)


def test_a_problem_that_is_reserved_for_transfer_is_no_campaign(home):
    bed = prepare("generated-checks", 1, home=home, student=COUNTING, progress=lambda *_: None)
    with pytest.raises(Misconfigured, match="reserved for transfer"):
        bed.require_publishable()


def test_single_choices_are_checked_for_questions_that_cross_splits(tmp_path):
    checks = build_checks(tmp_path, 1)
    check_problem(checks)
    there = next(n for n, i in enumerate(checks) if i.split != checks[0].split)
    checks[there] = checks[there].model_copy(update={"question": checks[0].question})
    with pytest.raises(Misconfigured, match="another split"):
        check_problem(checks)
