"""Levels, normalised scores and gates: identities, and figures by hand."""

import numpy as np
import pytest

from aarlab.core.objectives import End, Objective
from aarlab.evaluation.scoring.unit_scores import (
    Measured,
    Scale,
    seed_spread,
    trial_spread,
    unit_scores,
)
from aarlab.problems.folder.folder_problem import Contract, SubmissionForm

FAR = Objective(
    name="far",
    unit="m",
    direction="lower",
    range=(0.0, 10.0),
    floor=End(baseline="none"),
    ceiling=End(value=1.0, source="a tape"),
)
NEAR = Objective(
    name="near",
    unit="share",
    role="gate",
    margin=0.1,
    floor=End(baseline="none"),
    ceiling=End(value=1.0, source="all"),
)
CONTRACT = Contract(
    name="distances",
    card="How far each point is from the place that was guessed.",
    submission=SubmissionForm(kind="predictions", values="number"),
    objectives=(FAR, NEAR),
    baselines=("none",),
)
UNITS = {f"u{n}": f"alone: u{n}" for n in range(200)}


def measured(far_STM, near_STM) -> Measured:
    return Measured({"far": unit_scores(FAR, far_STM)[0], "near": near_STM}, {})


@pytest.fixture
def floor():
    rng = np.random.default_rng(0)
    return measured(rng.uniform(4, 8, (3, 1, 200)), rng.integers(0, 2, (3, 1, 200)).astype(float))


def test_the_floor_is_zero_and_the_ceiling_is_one(floor):
    scale = Scale(*CONTRACT.aims, UNITS, {"none": floor})
    assert scale.normalised(floor, FAR).estimate == pytest.approx(0)
    best = measured(np.full((1, 1, 200), 1.0), np.ones((1, 1, 200)))
    assert scale.normalised(best, FAR).estimate == pytest.approx(1)
    assert scale.combined(best).estimate == pytest.approx(1)
    assert scale.level(best, FAR).estimate == pytest.approx(1.0)


def test_a_level_is_in_the_objectives_own_unit_with_students_interval(floor):
    values = np.random.default_rng(1).uniform(0, 10, 200)
    found = Scale(*CONTRACT.aims, UNITS, {"none": floor}).level(
        measured(values[None, None], np.ones((1, 1, 200))), FAR
    )
    half = 1.972 * values.std(ddof=1) / 200**0.5
    assert found.estimate == pytest.approx(values.mean())
    assert found.upper == pytest.approx(values.mean() + half, rel=1e-3)
    assert found.lower == pytest.approx(values.mean() - half, rel=1e-3)


def test_clusters_are_what_is_counted(floor):
    values = np.repeat(np.random.default_rng(2).uniform(0, 10, 50), 4)[None, None]
    together = {f"u{n}": f"c{n // 4}" for n in range(200)}
    one = measured(values, np.ones((1, 1, 200)))
    alone, four = (
        Scale(*CONTRACT.aims, u, {"none": floor}).unit_error(one, FAR) for u in (UNITS, together)
    )
    assert four / alone == pytest.approx(2, rel=0.02)


def test_values_beyond_the_range_count_as_its_ends():
    scores, beyond = unit_scores(FAR, np.array([-1.0, 0.0, 5.0, 12.0]))
    assert scores.tolist() == [1, 1, 0.5, 0]
    assert beyond == 0.5


def test_spreads_over_seeds_and_trials():
    base = np.zeros((2, 2, 5))
    base[0, 0], base[0, 1], base[1, 0], base[1, 1] = 0.1, 0.3, 0.5, 0.7
    found = Measured({"near": base}, {})
    assert seed_spread(found, "near") == pytest.approx(np.std([0.2, 0.6], ddof=1))
    assert trial_spread(found, "near") == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert trial_spread(Measured({"near": base[:, :1]}, {}), "near") is None


@pytest.mark.parametrize(
    ("right", "verdict"), [(0.9, "holds"), (0.44, "not shown"), (0.1, "broken")]
)
def test_a_gate_holds_if_the_whole_interval_is_within_its_margin(right, verdict):
    rng = np.random.default_rng(4)
    half = measured(np.full((1, 1, 200), 5.0), (rng.random((1, 1, 200)) < 0.5).astype(float))
    one = measured(np.full((1, 1, 200), 5.0), (rng.random((1, 1, 200)) < right).astype(float))
    scale = Scale(*CONTRACT.aims, UNITS, {"none": half})
    gate = scale.gate(one, NEAR)
    assert gate.verdict == verdict
    worse = half.scores["near"].mean() - one.scores["near"].mean()
    assert gate.worse.estimate == pytest.approx(worse)
