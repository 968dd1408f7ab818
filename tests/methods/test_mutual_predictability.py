"""Internal coherence maximisation: against brute force on a strong model that is a table, and on
the double."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_expit

from aarlab.core.errors import InvalidSubmission
from aarlab.methods.method import Inputs, Task, check_method
from aarlab.methods.mutual_predictability import (
    SearchBudget,
    contradictions,
    elicit_in_context,
    final_answer,
)
from aarlab.methods.parts import harden
from aarlab.models.student_contract import Question
from aarlab.problems.generated_chat import build
from tests.models.strong_double import StrongDouble


class Table:
    """A strong model whose logit of item i is the sum over its demonstrations of coupling[i, j] *
    (2 y_j - 1); no zero-shot."""

    def __init__(self, coupling_NN):
        self.coupling_NN, self.calls = coupling_NN, []

    def judge(self, where, *, rows, demonstrations):
        assert where == "student"
        assert len(demonstrations) == len(rows)
        self.calls.append((rows, demonstrations))
        return np.array(
            [
                sum(self.coupling_NN[i, j] * (2 * y - 1) for j, y in d)
                for i, d in zip(rows, demonstrations, strict=True)
            ]
        )


def inputs(questions, choices, zero_shot_logit_N):
    return Inputs(
        ids=tuple(map(str, range(len(questions)))),
        questions=tuple(questions),
        choices=tuple(choices),
        hidden={},
        zero_shot_logit_N2=np.stack([np.zeros(len(questions)), zero_shot_logit_N], axis=1).astype(
            np.float32
        ),
    )


def table_task(coupling_NN, zero_shot_logit_N=None):
    n = len(coupling_NN)
    zero_shot_logit = np.linspace(-1, 1, n) if zero_shot_logit_N is None else zero_shot_logit_N
    choices = [(f"a{i}", f"b{i}") for i in range(n)]
    return SimpleNamespace(
        strong=Table(coupling_NN),
        student=inputs([f"q{i}" for i in range(n)], choices, zero_shot_logit),
    )


def utility(coupling_NN, labels):
    """U by hand: every item is predicted from all others; logits against their median."""
    signs = 2 * np.array(labels) - 1
    logits = coupling_NN @ signs
    return log_expit(signs * (logits - np.median(logits))).sum()


@pytest.mark.parametrize("seed", range(3))
def test_the_labels_found_are_those_that_brute_force_finds(seed):
    """Eight items of two camps that predict each other, and every item after all others: a planted
    optimum, wrong starts."""
    rng = np.random.default_rng(seed)
    camp = rng.permutation([1, 1, 1, 1, -1, -1, -1, -1])
    coupling = 0.6 * np.outer(camp, camp) + 0.05 * rng.normal(size=(8, 8))
    np.fill_diagonal(coupling, 0)
    best = max(product((0, 1), repeat=8), key=lambda y: utility(coupling, y))
    task = table_task(coupling, zero_shot_logit_N=rng.normal(size=8))
    found = elicit_in_context(
        task, seed, SearchBudget(asks=3000, pool=8, start=4, shots=7, flips=1.0)
    )
    assert utility(coupling, found.astype(int)) == pytest.approx(utility(coupling, best))


def test_the_search_raises_the_utility_of_a_start_that_is_wrong_throughout():
    camp = np.array([1, -1] * 8)
    coupling = 0.3 * np.outer(camp, camp) - 0.3 * np.eye(16)
    bad_start = np.where(np.arange(16) % 4 < 2, 1.0, -1.0) * np.linspace(1, 2, 16)
    start = (bad_start > np.median(bad_start)).astype(int)
    found = elicit_in_context(
        table_task(coupling, bad_start), 0, SearchBudget(asks=4000, pool=16, start=16, shots=15)
    )
    assert utility(coupling, found.astype(int)) > utility(coupling, start) + 5


@pytest.mark.parametrize(("asks", "n"), [(0, 40), (30, 40), (500, 40), (500, 200)])
def test_no_more_is_asked_than_the_budget_and_the_rest(asks, n):
    rng = np.random.default_rng(0)
    task = table_task(rng.normal(size=(n, n)))
    found = elicit_in_context(task, 0, SearchBudget(asks=asks, pool=32, start=4, shots=4))
    searched = [rows for rows, _ in task.strong.calls]
    assert found.shape == (n,)
    assert ((found >= 0) & (found <= 1)).all()
    rest = len(searched[-1])
    assert sum(map(len, searched)) - rest <= asks
    assert rest == n - (np.isin(found, (0, 1))).sum() or n == 32


def test_a_search_that_has_settled_asks_no_more():
    camp = np.array([1, -1] * 8)
    task = table_task(2.0 * np.outer(camp, camp), zero_shot_logit_N=camp * np.linspace(1, 2, 16))
    found = elicit_in_context(task, 0, SearchBudget(asks=100_000, pool=16, start=4, shots=6))
    assert (found == (camp > 0)).all()
    assert sum(len(rows) for rows, _ in task.strong.calls) < 2000


def test_no_item_is_shown_itself_and_labels_are_shown_in_equal_numbers():
    rng = np.random.default_rng(1)
    task = table_task(rng.normal(size=(60, 60)))
    elicit_in_context(task, 1, SearchBudget(asks=400, pool=40, start=20, shots=4))
    rows, shown = task.strong.calls[0]  # growth from a balanced start
    for row, demonstrations in zip(rows, shown, strict=True):
        assert row not in [j for j, _ in demonstrations]
        assert sorted(y for _, y in demonstrations) == [0, 0, 1, 1]
    for rows, shown in task.strong.calls:
        assert all(row not in [j for j, _ in d] for row, d in zip(rows, shown, strict=True))


@pytest.mark.slow
@given(st.integers(0, 1000), st.integers(6, 24), st.integers(1, 6))
@settings(max_examples=15, deadline=None)
def test_a_swapped_form_in_the_pool_always_has_the_opposite_label(seed, half, shots):
    rng = np.random.default_rng(seed)
    choices = [(f"a{i}", f"b{i}") for i in range(half)] + [(f"b{i}", f"a{i}") for i in range(half)]
    student = inputs([f"q{i}" for i in range(half)] * 2, choices, rng.normal(size=2 * half))
    task = SimpleNamespace(strong=Table(rng.normal(size=(2 * half, 2 * half))), student=student)
    found = elicit_in_context(
        task, seed, SearchBudget(asks=600, pool=2 * half, start=4, shots=shots, hot=5.0)
    )
    decided = np.isin(found, (0, 1))
    both = decided[:half] & decided[half:]
    assert both.any()
    assert (found[:half][both] + found[half:][both] == 1).all()


def test_two_different_final_answers_of_one_question_are_never_both_right():
    texts = ["so \\boxed{4}", "hence #### 5", "the answer is 4.", "I do not know"] * 6
    questions = [f"q{i // 4}" for i in range(24)]
    student = inputs(questions, [(t,) for t in texts], np.ones(24) + np.linspace(0, 1e-3, 24))
    task = SimpleNamespace(strong=Table(np.full((24, 24), 0.2)), student=student)
    found = elicit_in_context(task, 0, SearchBudget(asks=500, pool=24, start=6, shots=4)).reshape(
        6, 4
    )
    assert (found[:, 0] * found[:, 1] == 0).all()
    assert (found[:, 1] * found[:, 2] == 0).all()


def test_links_by_hand():
    student = inputs(
        ["q", "q", "q", "r"], [("a", "b"), ("b", "a"), ("a", "c"), ("b", "a")], np.zeros(4)
    )
    assert contradictions(student) == {0: [(1, True)], 1: [(0, True)]}
    singles = inputs(["q"] * 3, [("\\boxed{1}",), ("#### 2",), ("Answer: 1",)], np.zeros(3))
    assert contradictions(singles) == {
        0: [(1, False)],
        1: [(0, False), (2, False)],
        2: [(1, False)],
    }


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("x \\boxed{3} then \\boxed{ 7 }", "7"),
        ("#### 12.", "12"),
        ("The answer is $1,200", "1,200"),
        ("none", None),
    ],
)
def test_final_answers(text, answer):
    assert final_answer(text) == answer


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    items = build(tmp_path_factory.mktemp("none"), 1)
    student, test = ([i for i in items if i.split == split] for split in ("student", "feedback"))
    strong = StrongDouble(
        *([Question(i.question, i.choices) for i in some] for some in (student, test))
    )
    seen = [
        inputs([i.question for i in some], [i.choices for i in some], strong.judge(where))
        for where, some in (("student", student), ("test", test))
    ]
    no_label = np.full(len(student), 0.5)
    return Task(*seen, no_label, no_label, strong), np.array([i.label for i in student])


SMALL = SearchBudget(asks=1500, pool=96, start=8, shots=8)


@pytest.mark.slow
def test_coherent_labels_beat_their_zero_shot_start(chat):
    task, labels = chat
    zero_shot = (
        task.student.zero_shot_logit_N > np.median(task.student.zero_shot_logit_N)
    ) == labels
    found = [((elicit_in_context(task, s, SMALL) > 0.5) == labels).mean() for s in range(3)]
    assert np.mean(found) > zero_shot.mean()


@pytest.mark.long
def test_a_method_that_trains_on_them_passes_the_examination(chat):
    task, _ = chat
    check_method(
        lambda t, s: (
            t.strong.fine_tune(harden(elicit_in_context(t, s, SMALL)), seed=s).test_probs_M
        ),
        task,
    )
    assert (elicit_in_context(task, 0, SMALL) != elicit_in_context(task, 1, SMALL)).any()


def test_a_frozen_student_and_a_search_without_sense_are_refused(chat):
    with pytest.raises(InvalidSubmission, match="elicited_labels"):
        elicit_in_context(replace(chat[0], strong=None), 0)
    with pytest.raises(InvalidSubmission, match="start"):
        SearchBudget(start=1)
