import math

import numpy as np
import pytest

from aarlab.core.errors import InvalidSubmission
from aarlab.evaluation.grade import grade

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
