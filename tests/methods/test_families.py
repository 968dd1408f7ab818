"""One formula a family, stated by hand; every family is represented."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from aarlab.core.records import Family
from aarlab.methods.distillation import softened
from aarlab.methods.library import METHODS
from aarlab.methods.loss_function import reverse_kl_loss
from aarlab.methods.method import check_method
from aarlab.methods.parts import confidence_weights, dense, mean_difference
from aarlab.methods.unsupervised_elicitation import contrast_consistency, top_component
from aarlab.testbeds.task_data import load_task


@pytest.fixture(scope="module")
def task(module_bed):
    return load_task(module_bed.public, module_bed.public, "feedback", 1)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_passes_the_examination_and_cites(name, task):
    check_method(METHODS[name].run, task)
    assert METHODS[name].cites


def test_every_family_has_a_method():
    assert {METHODS[name].family for name in METHODS} == set(Family)


def test_softening_halves_the_logit_at_temperature_2():
    """p = 0.9: logit ln 9; halved ln 3; sigmoid 0.75."""
    assert softened(np.array([0.9, 0.5]), 2.0) == pytest.approx([0.75, 0.5])


def test_reverse_kl_is_zero_at_the_target_and_its_slope_is_the_derivative():
    logits, targets = np.array([0.0, -1.0, 2.0]), np.array([0.5, 0.3, 0.9])
    value, slope = reverse_kl_loss(logits, targets, 1.0)
    assert value[0] == pytest.approx(0)
    numeric = np.diag(approx_fprime(logits, lambda z: reverse_kl_loss(z, targets, 1.0)[0], 1e-6))
    assert slope == pytest.approx(numeric, abs=1e-5)


def test_confidence_weights_by_hand():
    """|2 * 0.75 - 1| = 0.5, squared 0.25; a half weighs nothing."""
    assert confidence_weights(np.array([0.75, 0.5]), 2.0) == pytest.approx([0.25, 0.0], abs=1e-3)


def test_overlap_density_drops_a_label_that_its_neighbours_contradict():
    rng = np.random.default_rng(0)
    pairs = rng.normal(scale=0.1, size=(60, 2, 4))
    pairs[:, 1, 0] += 3  # all differences point the same way
    labels = np.ones(60)
    labels[:6] = 0
    assert set(dense(pairs, labels, share=0.9)).isdisjoint(range(6))


def test_the_difference_of_means_is_the_projection_by_hand():
    """Differences +2 and -2 on one axis with labels 1 and 0: direction 2, so a test difference of
    +1 is on side 1."""
    pairs = np.array([[[0.0], [2.0]], [[0.0], [-2.0]]])
    out = mean_difference(pairs, np.array([1.0, 0.0]), np.array([[[0.0], [1.0]], [[0.0], [-3.0]]]))
    assert out[0] > 0.5 > out[1]


def test_the_top_component_is_the_axis_of_largest_spread_about_zero():
    """Contrasts of +-3 on the first axis and +-1 on the second: the first axis."""
    contrasts = np.array([[3.0, 1.0], [-3.0, 1.0], [3.0, -1.0], [-3.0, -1.0]])
    assert np.abs(top_component(contrasts)) == pytest.approx([1, 0])


def test_the_contrast_probe_swaps_its_answer_with_the_pair(task):
    swapped = replace(
        task, test=replace(task.test, hidden={k: h[:, ::-1] for k, h in task.test.hidden.items()})
    )
    assert contrast_consistency(task, 0) + contrast_consistency(swapped, 0) == pytest.approx(1)
