import numpy as np

from aarlab.models.vectors import static_vectors

CORPUS = ["the cat sat on the mat", "a dog ran in the park", "the cat and the dog", "stocks fell in the market"] * 5


def test_texts_that_share_words_lie_closer():
    cat, kitten, stocks = static_vectors(CORPUS, ["the cat sat", "the cat and mat", "stocks fell"])
    assert np.dot(cat, kitten) > np.dot(cat, stocks)


def test_vectors_are_finite_and_the_same_again():
    first, again = (static_vectors(CORPUS, ["unheard words", ""]) for _ in range(2))
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)
