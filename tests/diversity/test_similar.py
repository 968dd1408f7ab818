"""The index of near-duplicates against exact Jaccard similarity, and what must be alike and what
not."""

import random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aarlab.diversity.similar import CANDIDATES, MAX_FEATURES, IdeaIndex, text_features
from aarlab.diversity.source import shingles
from aarlab.researchers.recipe import PLAIN, Family, mutate, source_of

SETS = st.lists(
    st.frozensets(st.integers(0, 2**32 - 1), min_size=1, max_size=30), min_size=1, max_size=25
)


def weighted_jaccard(one, other, ideas):
    """The formula of the module, feature by feature."""

    def weight(features):
        return sum(
            np.log1p((len(ideas) + 1) / (1 + sum(f in idea for idea in ideas))) for f in features
        )

    return weight(one & other) / weight(one | other)


@given(SETS, st.frozensets(st.integers(0, 2**32 - 1), min_size=1, max_size=30))
def test_similarity_is_weighted_jaccard(ideas, asked):
    index = IdeaIndex()
    for number, idea in enumerate(ideas):
        index.add(number, idea)
    found = index.nearest(asked | ideas[0], 3)
    assume(found)  # it is approximate: where little is shared, it may find none
    for number, alike in found:
        assert alike == pytest.approx(weighted_jaccard(asked | ideas[0], ideas[number], ideas))


@pytest.mark.slow
@given(SETS)
def test_an_idea_is_most_like_itself(ideas):
    index = IdeaIndex()
    for number, idea in enumerate(ideas):
        index.add(number, idea)
    for idea in ideas:
        key, alike = index.nearest(idea, 1)[0]
        assert alike == pytest.approx(1)
        assert ideas[key] == idea


@pytest.mark.slow
def test_the_nearest_of_a_thousand_are_those_of_an_exhaustive_search():
    rng = random.Random(0)
    features = [
        shingles(source_of(mutate(PLAIN, {}, rng, extra=4), family=Family.OTHER, author="a"))
        for _ in range(1_000)
    ]
    index, hits = IdeaIndex(), 0
    for number, idea in enumerate(features):
        index.add(number, idea)
    for _ in range(20):
        asked = shingles(
            source_of(mutate(PLAIN, {}, rng, extra=4), family=Family.OTHER, author="b")
        )
        best = index._similarities(asked, range(1_000)).max()
        hits += index.nearest(asked, 1)[0][1] >= best - 0.02
    assert hits >= 19


def test_what_all_share_makes_nobody_alike():
    common, index = frozenset(range(100)), IdeaIndex()
    for number in range(200):
        index.add(number, common | {1_000 + number})
    alike = index.nearest(common | {9_999}, 1)[0][1]
    assert alike < 100 / 102, "plain Jaccard"


def test_the_latest_of_equals_comes_first_and_only_what_may_be_used():
    index = IdeaIndex()
    for number in range(3 * CANDIDATES):
        index.add(number, frozenset({1, 2, 3}))
    assert [key for key, _ in index.nearest(frozenset({1, 2, 3}), 2)] == [
        3 * CANDIDATES - 1,
        3 * CANDIDATES - 2,
    ]
    assert [key for key, _ in index.nearest(frozenset({1, 2, 3}), 2, lambda key: key < 2)] == [1, 0]


def test_a_key_stays_as_it_was_and_nothing_is_like_nothing():
    index = IdeaIndex()
    index.add("a", frozenset({1}))
    index.add("a", frozenset({2}))
    index.add("b", frozenset())
    assert len(index) == 1
    assert index.nearest(frozenset({2}), 3) == []
    assert index.nearest(frozenset(), 3) == []
    assert IdeaIndex().nearest(frozenset({1}), 3) == []


def test_a_giant_idea_costs_no_more_than_the_limit():
    index = IdeaIndex()
    index.add("a", frozenset(range(10 * MAX_FEATURES)))
    assert len(index._features[0]) == MAX_FEATURES
    assert index.nearest(frozenset(range(10 * MAX_FEATURES)), 1) == [("a", pytest.approx(1))]


def test_texts_are_alike_by_words_whatever_their_endings():
    one = text_features("Filtering the unsure labels before training")
    assert one == text_features("filtered unsure label, before the trainings!")
    assert not one & text_features("Evolution strategy on layers")
    assert text_features("the of and") == frozenset()
