import numpy as np
import pytest

from aarlab.core.errors import Misconfigured
from aarlab.models.vectors import static_vectors

CORPUS = [
    "the cat sat on the mat",
    "a dog ran in the park",
    "the cat and the dog",
    "stocks fell in the market",
] * 5


def test_texts_that_share_words_lie_closer():
    cat, kitten, stocks = static_vectors(CORPUS, ["the cat sat", "the cat and mat", "stocks fell"])
    assert np.dot(cat, kitten) > np.dot(cat, stocks)


def test_vectors_are_finite_and_the_same_again():
    first, again = (static_vectors(CORPUS, ["unheard words", ""]) for _ in range(2))
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)


def test_scripts_without_spaces_are_told_apart_by_their_signs():
    corpus = ["质量很好我很喜欢", "质量太差我要退货", "很好很喜欢", "太差退货"] * 3
    good, better, bad = static_vectors(corpus, ["很好很喜欢", "我很喜欢", "太差要退货"])
    assert np.dot(good, better) > np.dot(good, bad)


def test_a_corpus_that_shares_no_words_is_refused_in_a_sentence():
    for corpus in ([], ["one"], ["alpha beta", "gamma delta", "epsilon zeta"]):
        with pytest.raises(Misconfigured, match="fewer than two words occur in at least 3 of its"):
            static_vectors(corpus, ["one text"])
