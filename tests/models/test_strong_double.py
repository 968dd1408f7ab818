"""The double of the strong model: what others' tests may rely on."""

import numpy as np
import pytest

from aarlab.core.errors import InvalidSubmission
from aarlab.models.head_training import cross_entropy
from aarlab.models.student_contract import Question
from aarlab.problems.generated_chat import build
from tests.models.strong_double import StrongDouble


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return build(tmp_path_factory.mktemp("none"), 1)


def questions(items, split):
    chosen = [i for i in items if i.split == split]
    return [Question(i.question, i.choices) for i in chosen], np.array([i.label for i in chosen])


@pytest.fixture(scope="module")
def world(items):
    (student, y_N), (test, y_M) = questions(items, "student"), questions(items, "feedback")
    return student, y_N.astype(float), test, y_M


def accuracy(logits, labels):
    return ((logits > 0) == (labels > 0.5)).mean()


def test_fine_tuning_on_truth_beats_zero_shot_and_is_seeded(world):
    student, y_N, test, y_M = world
    strong = StrongDouble(student, test)
    tuned = strong.fine_tune(y_N, seed=3, answer_student=True)
    assert accuracy(tuned.test_logits_M, y_M) > accuracy(strong.judge("test"), y_M) + 0.05
    assert tuned.student_probs_N.shape == y_N.shape
    assert (strong.fine_tune(y_N, seed=3).test_logits_M == tuned.test_logits_M).all()
    assert (strong.fine_tune(y_N, seed=4).test_logits_M != tuned.test_logits_M).any()


def test_true_demonstrations_help_and_false_ones_hurt(world):
    student, y_N, test, y_M = world
    strong = StrongDouble(student, test, context=64)
    shown = [(i, int(y_N[i])) for i in range(64)]
    right = accuracy(strong.judge("test", demonstrations=[shown]), y_M)
    wrong = accuracy(strong.judge("test", demonstrations=[[(i, 1 - y) for i, y in shown]]), y_M)
    assert right > accuracy(strong.judge("test"), y_M) > wrong
    assert strong.asked == 3 * len(test)


def test_only_so_many_demonstrations_are_read_the_first_ones_first(world):
    student, _, test, _ = world
    strong = StrongDouble(student, test, context=2)
    three, two = [(0, 1), (1, 0), (2, 1)], [(0, 1), (1, 0)]
    rows = np.array([5, 7])
    one_each = strong.judge("student", rows=rows, demonstrations=[three, two])
    assert one_each == pytest.approx(strong.judge("student", rows=rows, demonstrations=[two]))


def test_a_swapped_pair_swaps_every_answer(world):
    student, y_N, test, _ = world
    swapped = [Question(q.question, q.choices[::-1]) for q in test]
    plain, other = StrongDouble(student, test), StrongDouble(student, swapped)
    assert plain.judge("test") == pytest.approx(-other.judge("test"))
    assert plain.fine_tune(y_N, seed=0).test_logits_M == pytest.approx(
        -other.fine_tune(y_N, seed=0).test_logits_M
    )


def test_single_choices_are_compared_with_the_middling_one(world):
    student, _, test, _ = world
    singles = [Question(q.question, q.choices[1:]) for q in student]
    strong = StrongDouble(singles, [Question(q.question, q.choices[1:]) for q in test])
    assert np.median(strong.judge("student")) == pytest.approx(0)


def test_rows_weights_and_a_loss_reach_the_head(world):
    student, y_N, test, _ = world
    strong, rows = StrongDouble(student, test), np.arange(40)
    seen = []

    def loss(logits, targets, progress):
        seen.append((len(logits), progress))
        return cross_entropy(logits, targets, progress)

    weighted = strong.fine_tune(
        y_N[rows], seed=0, rows=rows, weights_n=np.linspace(0, 1, 40), loss=loss
    )
    plain = strong.fine_tune(y_N[rows], seed=0, rows=rows)
    assert {n for n, _ in seen} == {40}
    assert max(p for _, p in seen) == 1
    assert (weighted.test_logits_M != plain.test_logits_M).any()


@pytest.mark.parametrize("rows", [np.array([0, 10_000]), np.array([-1, 0])])
def test_rows_that_do_not_exist_are_refused(world, rows):
    student, y_N, test, _ = world
    strong = StrongDouble(student, test)
    with pytest.raises(InvalidSubmission, match="Rows must lie"):
        strong.judge("student", rows=rows)
    with pytest.raises(InvalidSubmission, match="Rows must lie"):
        strong.fine_tune(y_N[:2], seed=0, rows=rows)


def test_arrays_that_do_not_fit_are_refused(world):
    student, y_N, test, _ = world
    strong = StrongDouble(student, test)
    with pytest.raises(InvalidSubmission, match="one target"):
        strong.fine_tune(y_N[:3], seed=0)
    with pytest.raises(InvalidSubmission, match="one list of demonstrations"):
        strong.judge("student", rows=np.array([1, 2, 3]), demonstrations=[[(0, 1)], [(1, 1)]])
