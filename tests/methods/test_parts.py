import numpy as np
import pytest
from scipy.special import expit

from aarlab.core.errors import InvalidSubmission
from aarlab.methods import parts
from aarlab.methods.baselines import source_of
from aarlab.methods.method import check_method, check_output, student_rows
from aarlab.testbeds.task_data import load_task


@pytest.fixture(scope="module")
def task(module_bed):
    return load_task(module_bed.public, module_bed.public, "feedback", 1)


def test_a_task_cannot_name_a_true_label(task):
    fields = {*vars(task), *vars(task.student), *vars(task.test)}
    shown = {"ids", "questions", "choices", "hidden", "zero_shot_logit_N2"}
    assert fields == {"student", "test", "weak_probs_N", "critic_probs_N", "strong", *shown}


def test_code_of_version_0_1_reads_the_zero_shot_logits_under_their_old_name(task):
    assert task.test.favour_N2 is task.test.zero_shot_logit_N2
    assert np.array_equal(task.test.favour_N, task.test.zero_shot_logit_N)


def test_the_examination_can_fail(task):
    with pytest.raises(InvalidSubmission, match="two answers for one seed"):
        check_method(lambda t, s: np.random.default_rng().random(len(t.test)), task)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("no", "must return"),
        ([0.5], "one number for each"),
        ([np.nan, 0.1], "not finite"),
        ([2.0, 0.1], "0..1"),
    ],
)
def test_outputs_that_are_no_predictions_are_refused(answer, words):
    with pytest.raises(InvalidSubmission, match=words):
        check_output(answer, 2)


def test_a_seed_draws_four_fifths_of_the_student_split():
    rows = student_rows(100, 7)
    assert len(rows) == len(set(rows)) == 80
    assert (rows == student_rows(100, 7)).all()
    assert (rows != student_rows(100, 8)).any()


def test_confident_keeps_the_furthest_from_a_half():
    labels = np.array([0.5, 0.9, 0.45, 0.05] * 5)
    assert set(parts.confident(labels, 0.5) % 4) == {1, 3}


def test_product_labels_by_hand(task):
    zero_shot_logit = task.student.zero_shot_logit_N
    weak = np.clip(task.weak_probs_N, 1e-4, 1 - 1e-4)
    expected = expit(np.log(weak / (1 - weak)) + 2 * zero_shot_logit / zero_shot_logit.std())
    assert parts.product_labels(task, 2.0) == pytest.approx(expected)


def test_noisy_channel_finds_the_error_rates_of_independent_annotators():
    """Three annotators, right with 0.9, 0.7 and 0.6: the posterior beats the best of them, and
    sides with it alone."""
    rng = np.random.default_rng(0)
    truth = rng.random(4_000) < 0.5
    votes = np.stack([np.where(rng.random(4_000) < p, truth, ~truth) for p in (0.9, 0.7, 0.6)])
    posterior = parts.noisy_channel(votes)
    assert ((posterior > 0.5) == truth).mean() >= 0.89
    alone = (votes[0] != votes[1]) & (votes[0] != votes[2])
    assert ((posterior > 0.5) == votes[0])[alone].mean() > 0.9


def test_noisy_channel_trusts_the_majority_of_good_annotators(task, bed, answers):
    truth = np.array([answers["student"][i] for i in task.student.ids])
    weak = ((task.weak_probs_N > 0.5) == truth).mean()
    assert ((parts.noisy_channel_labels(task) > 0.5) == truth).mean() > weak


def test_cross_fitting_never_predicts_an_item_from_its_own_label():
    """With pure-noise labels a head that saw its own label would agree with it; a cross-fitted one
    is at chance."""
    rng = np.random.default_rng(0)
    pairs, labels = rng.normal(size=(400, 2, 50)), rng.integers(0, 2, 400).astype(float)
    agreement = ((parts.cross_fit(pairs, labels, 0, l2=1e-3) > 0.5) == labels).mean()
    assert agreement < 0.6
    assert ((parts.train(pairs, labels, l2=1e-6).probs(pairs) > 0.5) == labels).mean() > 0.6


def test_co_teaching_drops_the_wrong_labels_first():
    rng = np.random.default_rng(1)
    pairs = rng.normal(size=(400, 2, 5))
    labels = (pairs[:, 1, 0] > pairs[:, 0, 0]).astype(float)
    wrong = rng.permutation(400)[:80]
    labels[wrong] = 1 - labels[wrong]
    kept = parts.co_teaching(pairs, labels, 0, drop=0.25)
    assert np.isin(wrong, kept).mean() < 0.3


def test_low_rank_keeps_that_many_directions(task):
    student, test = parts.represent(task, (16,), rank=4)
    assert student.shape[2] == test.shape[2] == 4


def test_evolved_layers_are_layers(task):
    assert set(parts.evolve_layers(task, task.weak_probs_N, 0, generations=2)) <= set(
        task.student.hidden
    )


def test_a_baselines_source_is_a_method_file():
    space: dict = {}
    exec(source_of("zero-shot"), space)
    assert callable(space["run"])
    assert "layer=12, l2=0.1" in source_of("naive", layer=12, l2=0.1)
