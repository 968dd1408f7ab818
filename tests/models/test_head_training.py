import numpy as np
import pytest
from scipy.optimize import approx_fprime

from aarlab.core.errors import InvalidSubmission
from aarlab.methods.parts import auxiliary_confidence, generalised_cross_entropy
from aarlab.models.head_training import LinearHead, cross_entropy


def toy(n=200, seed=0):
    rng = np.random.default_rng(seed)
    pairs = rng.normal(size=(n, 2, 6))
    return pairs, (pairs[:, 1, 0] > pairs[:, 0, 0]).astype(float)


def test_cross_entropy_by_hand():
    """logit 0 against target 1: ln 2, slope 0.5 - 1."""
    loss, slope = cross_entropy(np.array([0.0]), np.array([1.0]), 1.0)
    assert loss[0] == pytest.approx(np.log(2))
    assert slope[0] == pytest.approx(-0.5)


@pytest.mark.parametrize("loss", [cross_entropy, generalised_cross_entropy(0.7)])
def test_slopes_are_the_derivatives_of_the_losses(loss):
    logits, targets = np.array([-1.3, 0.2, 2.0]), np.array([0.1, 1.0, 0.6])
    numeric = np.diag(approx_fprime(logits, lambda z: loss(z, targets, 1.0)[0], 1e-6))
    assert loss(logits, targets, 1.0)[1] == pytest.approx(numeric, abs=1e-4)


def test_auxiliary_confidence_is_burns_equation_1():
    """Half way up the ramp to 0.5: (1 - 0.25) CE(f, weak) + 0.25 CE(f, own)."""
    logits, weak = np.array([-2.0, 1.0, 3.0]), np.array([1.0, 0.0, 1.0])
    own = np.array([0.0, 0.0, 1.0])  # above the median logit
    expected = 0.75 * cross_entropy(logits, weak, 1)[0] + 0.25 * cross_entropy(logits, own, 1)[0]
    assert auxiliary_confidence(0.5)(logits, weak, 0.5)[0] == pytest.approx(expected)


def test_a_head_learns_and_swapping_the_pair_swaps_the_answer():
    pairs, labels = toy()
    fitted = LinearHead(1e-3).fit(pairs, labels)
    assert ((fitted.probs(pairs) > 0.5) == labels).mean() > 0.9
    assert fitted.logits(pairs[:, ::-1]) == pytest.approx(-fitted.logits(pairs), abs=1e-5)


def test_weights_of_zero_leave_an_item_out():
    pairs, labels = toy()
    weights = np.ones(200)
    weights[100:] = 0
    few = LinearHead().fit(pairs[:100], labels[:100]).direction_D
    scale = LinearHead().fit(pairs, labels, weights_N=weights).direction_D
    assert np.corrcoef(few, scale)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("targets", "weights", "words"),
    [
        (np.full(3, np.nan), None, "finite"),
        (np.full(3, 1.5), None, "0..1"),
        (np.zeros(3), np.full(3, -1.0), "non-negative"),
    ],
)
def test_arrays_that_do_not_fit_are_the_methods_fault(targets, weights, words):
    with pytest.raises(InvalidSubmission, match=words):
        LinearHead().fit(np.zeros((3, 2, 4)), targets, weights_N=weights)
    with pytest.raises(InvalidSubmission, match="less strict"):
        LinearHead().fit(np.zeros((0, 2, 4)), np.zeros(0))
