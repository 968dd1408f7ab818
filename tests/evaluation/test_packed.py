import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aarlab.evaluation.scoring.packed import Packed, question_of, unpack

matrices = arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 40)))


@given(answers_SM=matrices)
def test_what_is_packed_comes_back(answers_SM):
    seeds = tuple(range(len(answers_SM)))
    stored = Packed("final", seeds, answers_SM)
    back = unpack(stored.data)
    assert (back.answers_SM == answers_SM).all()
    assert (back.split, back.seeds, back.name) == ("final", seeds, stored.name)


@given(answers_SM=matrices, order=st.randoms())
def test_the_order_of_seeds_is_not_part_of_the_question(answers_SM, order):
    rows = list(range(len(answers_SM)))
    order.shuffle(rows)
    assert question_of("feedback", answers_SM[rows]) == question_of("feedback", answers_SM)
    assert question_of("final", answers_SM) != question_of("feedback", answers_SM)


def test_other_answers_are_another_question():
    answers_SM = np.zeros((5, 9), bool)
    other = answers_SM.copy()
    other[3, 8] = True
    assert question_of("feedback", other) != question_of("feedback", answers_SM)
