import math

import numpy as np
import pytest

from aarlab.core.errors import InvalidSubmission
from aarlab.evaluation.scoring.grade import answer_matrix, grade, takes_strings

TRUTH = {"b": 1, "a": 0, "c": 1}


def test_matched_by_id_not_by_position():
    """ids sorted: a, b, c; truth 0, 1, 1."""
    correct = grade({7: {"c": 1, "a": 1, "b": 1}, 3: {"a": 0, "b": 0, "c": 1}}, TRUTH, [3, 7])
    assert (correct == np.array([[True, False, True], [False, True, True]])).all()


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"a": 0, "b": 1}, r"1 of 3 ids have no answer, e\.g\. 'c'"),
        ({**TRUTH, "z": 1}, r"1 ids are not in this split, e\.g\. 'z'"),
        ({**TRUTH, "a": math.nan}, "'a' is nan; it must be 0 or 1"),
        ({**TRUTH, "a": 0.5}, "must be 0 or 1"),
        ({**TRUTH, "a": True}, "must be 0 or 1"),
        ({**TRUTH, "a": "1"}, "must be 0 or 1"),
        ({**TRUTH, "a": 2}, "must be 0 or 1"),
        ({**TRUTH, "a": None}, "must be 0 or 1"),
    ],
)
def test_what_cannot_be_graded_is_refused_with_words(answers, words):
    with pytest.raises(InvalidSubmission, match=words):
        grade({1: answers}, TRUTH, [1])


def test_seeds_must_be_the_issued_ones():
    with pytest.raises(InvalidSubmission, match="issued seeds"):
        grade({1: TRUTH}, TRUTH, [1, 2])


@pytest.mark.parametrize(
    ("orders", "read"),
    [
        ([["a", "b", "c"]], True),
        ([["a", "b", "c"], ["a", "b", "c"]], True),
        ([["q-zeta", "q-alpha", "q-beta"]], False),
        # submitters see another order than the answers'
        ([["a", "b", "c"], ["b", "a", "c"]], False),
        ([["q-08", "q-09", "q-10"]], True),
        ([["8", "9", "10"]], False),  # a sender sorts them as texts
        ([["10", "8", "9"]], False),  # a sender sorts them as numbers
        ([["item-8 of 1", "item-10 of 2"]], False),
        ([["3", "1", "2"]], False),
    ],
)
def test_answer_string_is_read_only_if_all_orders_agree(orders, read):
    assert takes_strings(*orders) == read


def test_a_string_without_an_order_is_refused_and_a_map_is_not():
    with pytest.raises(InvalidSubmission, match="Send {item id: 0 or 1} .* array `ids`"):
        answer_matrix({1: "011"}, ["a", "b", "c"], [1], strings=False)
    assert answer_matrix({1: TRUTH}, ["a", "b", "c"], [1], strings=False).tolist() == [
        [False, True, True]
    ]


def test_a_string_without_more_said_is_in_the_order_of_the_sorted_ids():
    assert (grade({1: "011"}, TRUTH, [1]) == np.array([[True, True, True]])).all()
