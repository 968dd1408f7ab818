import math

import numpy as np
import pytest

from aarlab.evaluation.scoring.diagnostics import WINDOW, Diagnosis

M = 100


def answers(ones, flips=0):
    row = np.zeros(M, bool)
    row[:ones] = True
    made = np.tile(row, (5, 1))
    made[0, :flips] ^= True
    return made


def test_by_hand():
    naive = answers(50)[0]
    diagnosis = Diagnosis(naive, M)
    found = diagnosis.of(answers(40, flips=5))
    assert found.class_share == pytest.approx((5 * 40 - 5) / 500)
    assert found.seed_disagreement == pytest.approx(5 / 500)
    assert found.nearest_earlier is None
    # differs from naive on 10 %
    assert found.noise_accuracy == pytest.approx(1.96 * math.sqrt(0.1 / M), abs=1e-4)


def test_the_nearest_of_the_latest_submissions():
    diagnosis = Diagnosis(None, M)
    for ones in (10, 40):
        diagnosis.add(answers(ones), improved=False)
    assert diagnosis.of(answers(42)).nearest_earlier == 0.02
    for _ in range(WINDOW):
        diagnosis.add(answers(90), improved=False)
    assert diagnosis.of(answers(42)).nearest_earlier == 0.48  # the older ones have left the window


def test_noise_is_relative_to_the_incumbent():
    diagnosis = Diagnosis(None, M)
    assert diagnosis.of(answers(40)).noise_accuracy == pytest.approx(
        1.96 * math.sqrt(0.5 / M), abs=1e-4
    )
    diagnosis.add(answers(40), improved=True)
    assert diagnosis.of(answers(44)).noise_accuracy == pytest.approx(
        1.96 * math.sqrt(0.04 / M), abs=1e-4
    )


def test_warnings():
    diagnosis = Diagnosis(None, M)
    assert any("same" in w for w in diagnosis.of(answers(99, flips=1)).warnings)
    assert any("seed" in w for w in diagnosis.of(answers(50)).warnings)
    assert diagnosis.of(answers(50, flips=3)).warnings == ()
