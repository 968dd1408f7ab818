"""The statistics of a bench on drawn worlds whose truth is known."""

import numpy as np
import pytest

from aarlab.bench.table import TaskResult, Truth, transfer
from aarlab.core.intervals import GradedMethods, holm
from aarlab.methods.library import METHODS

ITEMS, SEEDS = 1_200, 4


def world(accuracies, seed=0, items=ITEMS):
    """Answers of methods with the given accuracies, weak 0.6, ceiling 0.8; errors are shared by a
    common difficulty."""
    rng = np.random.default_rng(seed)
    labels = rng.random(items) < 0.5
    difficulty = rng.random(items)

    def answers(p, seeds):
        return np.where((difficulty < p) ^ (rng.random((seeds, items)) < 0.02), labels, ~labels)

    truth = Truth(
        labels,
        np.arange(items) % 2 == 0,
        *(answers(p, 10) == labels for p in (0.6, 0.8)),
        np.arange(items),
    )
    return truth, {name: answers(p, SEEDS) for name, p in accuracies.items()}


def result(accuracies, task="task", **kwargs):
    truth, answers = world(accuracies, **kwargs)
    return TaskResult(task, "final", [], truth, answers)


def test_the_table_ranks_and_says_what_is_not_distinguishable():
    made = result({"naive": 0.62, "critic": 0.75, "elicitation": 0.749})
    table = made.table({name: [0.1, 0.2] for name in made.correct})
    assert table.winner in {"critic", "elicitation"}
    assert len(table.with_winner) == 1
    assert table.rows[-1].method == "naive"
    assert table.rows[0].against_naive.distinguishable
    assert table.rows[-1].against_naive is None
    assert table.gap.estimate == pytest.approx(0.2, abs=0.04)


def graded(accuracies, **kwargs):
    truth, answers = world(accuracies, **kwargs)
    correct = {name: given == truth.labels_M for name, given in answers.items()}
    return GradedMethods(correct, **truth.anchors)


def test_a_difference_is_paired_and_so_narrower_than_two_intervals():
    found = graded({"naive": 0.70, "critic": 0.72})
    difference, p = found.difference("critic", "naive")
    alone = [found.pgr(name) for name in ("critic", "naive")]
    assert difference.upper - difference.lower < 0.6 * sum(m.upper - m.lower for m in alone)
    assert p < 0.05
    assert difference.estimate == pytest.approx(alone[0].estimate - alone[1].estimate)


def test_a_method_differs_from_itself_by_nothing():
    difference, p = graded({"naive": 0.7}).difference("naive", "naive")
    assert (difference.estimate, difference.lower, difference.upper, p) == (0, 0, 0, 1)


def test_item_error_falls_with_the_square_root_of_the_items():
    errors = [graded({"naive": 0.7}, items=items).item_error("naive") for items in (500, 2_000)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.35)


def test_items_of_one_group_are_one_unit_in_every_figure_of_the_table():
    truth, answers = world({"naive": 0.62, "critic": 0.75}, items=150)
    copied = Truth(
        *(np.repeat(row_M, 8) for row_M in (truth.labels_M, truth.ood_M)),
        *(np.repeat(rows_SM, 8, axis=1) for rows_SM in (truth.weak_SM, truth.ceiling_SM)),
        np.repeat(truth.units_M, 8),
    )
    eight = {name: np.repeat(rows_SM, 8, axis=1) for name, rows_SM in answers.items()}
    one, same = (
        TaskResult("task", "final", [], t, a).table({"naive": [0.1], "critic": [0.1]})
        for t, a in ((truth, answers), (copied, eight))
    )
    for row, again in zip(one.rows, same.rows, strict=True):
        for name in ("accuracy", "accuracy_id", "pgr", "pgr_ood"):
            known, found = getattr(row, name), getattr(again, name)
            assert (found.lower, found.upper) == pytest.approx((known.lower, known.upper))
    assert same.rows[0].against_naive.p == pytest.approx(one.rows[0].against_naive.p)


def test_holm_by_hand():
    """0.01 x 3, 0.02 x 2, 0.04 x 1, made monotone."""
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


@pytest.mark.slow
def test_transfer_of_one_ranking_to_itself_and_to_its_reverse():
    levels = dict(zip(sorted(METHODS)[:5], (0.62, 0.66, 0.7, 0.74, 0.78), strict=True))
    back = dict(zip(levels, reversed(levels.values()), strict=True))
    a, same, reverse = result(levels, "a"), result(levels, "b", seed=1), result(back, "c", seed=2)
    assert transfer(a, same).tau.estimate == pytest.approx(1)
    assert transfer(a, same).winner_rank == 1
    assert transfer(a, reverse).tau.estimate == pytest.approx(-1)
    assert transfer(a, reverse).winner_rank == 5
