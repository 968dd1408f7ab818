"""Two submissions against each other, by another way of counting."""

import numpy as np
import pytest

from aarlab.core.crossed import Crossed
from aarlab.core.errors import InvalidSubmission
from aarlab.evaluation.confirmation.gate import Confirmations
from aarlab.report.comparison import comparisons
from tests.evaluation.test_confirmation import outcomes, submit


@pytest.fixture
def two(evaluator):
    submit(evaluator, 1, 0.9)
    submit(evaluator, 2, 0.8)
    return "r-000001", "r-000002"


def test_what_was_submitted_is_compared_on_feedback_with_seeds_of_its_own(evaluator, bed, two):
    (found,) = comparisons(evaluator, bed, two)
    labels = evaluator.answers["feedback"]
    stored = [e.body["predictions"] for e in evaluator.ledger.entries("submission")]
    right = [
        np.array(
            [[rows[i] == labels[i] for i in sorted(labels)] for _, rows in sorted(given.items())]
        )
        for given in map(evaluator.predictions, stored)
    ]
    assert found.split == "feedback"
    assert not found.seeds_shared
    assert found.first.accuracy.estimate == pytest.approx(right[0].mean())
    assert found.difference.estimate == pytest.approx(right[0].mean() - right[1].mean())
    assert found.difference.lower > 0
    known = Crossed(right[0][None], right[1][None])
    assert found.p == pytest.approx(known.p_apart(np.array([1.0, -1.0])))
    (back,) = comparisons(evaluator, bed, two[::-1])
    assert back.difference.estimate == pytest.approx(-found.difference.estimate)
    assert back.p == pytest.approx(found.p)


def test_confirmed_ones_are_compared_on_final_on_the_seeds_they_share(evaluator, bed, two):
    gate = Confirmations(evaluator)
    for number, order in zip((1, 2), gate.begin(2), strict=True):
        gate.finish(order.token, outcomes(evaluator, order, right=1 - number / 10, number=number))
    found = comparisons(evaluator, bed, two)
    assert [one.split for one in found] == ["feedback", "final"]
    assert found[1].seeds_shared
    assert found[1].difference.estimate == pytest.approx(
        found[1].first.accuracy.estimate - found[1].second.accuracy.estimate
    )


def test_a_receipt_against_itself_and_one_that_is_not_there(evaluator, bed, two):
    (same,) = comparisons(evaluator, bed, (two[0], two[0]))
    assert (same.difference.estimate, same.difference.lower, same.p) == (0, 0, 1)
    with pytest.raises(InvalidSubmission, match="no receipt 'r-999999'"):
        comparisons(evaluator, bed, (two[0], "r-999999"))
