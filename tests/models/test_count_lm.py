import numpy as np
import pytest

from aarlab.models.count_lm import CountLM, tokens_of

CORPUS = [
    f"Tom has {a} pens and buys {b}.\n{a} + {b} = {a + b}."
    for a in range(2, 9)
    for b in range(2, 9)
]


@pytest.fixture(scope="module")
def model():
    return CountLM(CORPUS)


def test_tokens_are_words_whole_numbers_and_signs():
    assert tokens_of("12 + x1 = 3.") == ["12", "+", "x1", "=", "3", "."]


def test_the_classes_after_any_history_sum_to_one(model):
    """Witten-Bell, with what is left for a token that never occurred."""
    classes = [*model._next[()], "<never seen>"]
    for history in (("<start>", "<number>"), ("<number>", "+"), ("what", "is")):
        assert sum(model.running(c, history) for c in classes) == pytest.approx(1)


def test_a_number_of_the_question_surprises_less_than_most_others(model):
    question = "Tom has 12 pens and buys 34."
    right = model.read(question, "12 + 34 = 46.").surprisal_t[0]
    others = [model.read(question, f"{a} + 34 = 46.").surprisal_t[0] for a in range(40, 99)]
    assert np.mean(np.array(others) > right + 1) > 0.5
    assert min(others) == pytest.approx(right)  # and some it takes for the one that stood there


def test_it_cannot_reckon(model):
    """Results that never stood before surprise it by their bucket alone, right or wrong."""
    question = "Tom has 12 pens and buys 34."
    results = [model.read(question, f"12 + 34 = {n}.").surprisal_t[4] for n in range(40, 60)]
    assert len({round(float(r), 6) for r in results}) <= 4


def test_profiles_are_finite_and_of_one_width(model):
    found = model.profiles(
        [("Tom has 2 pens and buys 3.", "2 + 3 = 5."), ("unheard words", "so be it")]
    )
    assert found.shape[0] == 2
    assert np.isfinite(found).all()


def test_words_of_the_question_call_for_tokens_of_the_answer():
    """Three rounds of EM tell "plus" from "minus" although both stand beside the same other
    words."""
    corpus = [
        f"so {word} this\n{sign} x"
        for word, sign in (("plus", "+"), ("minus", "-"))
        for _ in range(3)
    ]
    made = CountLM(corpus)
    assert made.called_for("+", {"plus"}) > 3 * made.called_for("+", {"minus"})
    right, wrong = (made.read("so plus this", f"{sign} x").excess_t[0] for sign in "+-")
    assert right < wrong
