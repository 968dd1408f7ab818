"""The bound on a combined score, by hand."""

import math

import pytest

from aarlab.bench.meter_outlook import meter_bound, meter_words
from aarlab.core.objectives import End, Objective
from aarlab.problems.folder.folder_problem import Contract, SubmissionForm


def contract(*names, combine="mean"):
    ends = {"floor": End(baseline="guess"), "ceiling": End(value=1.0, source="all")}
    return Contract(
        name="made-up",
        card="A problem that is made up for a test of the bound on a combined score.",
        submission=SubmissionForm(kind="artifact"),
        objectives=tuple(Objective(name=name, unit="share", **ends) for name in names),
        combine=combine,
        baselines=("guess",),
    )


def units(count, size=1):
    return {f"u{n}": f"c{n // size}" for n in range(count)}


def test_one_objective_over_units_that_stand_alone_has_the_bound_of_accuracy_over_the_gap():
    cap, bound = meter_bound(contract("a"), units(2_000), {"a": (0.6, 0.85)})
    slack = math.log2(15) + 3 * math.log2(20_001)
    accuracy = math.sqrt(((cap + slack) * math.log(2) + math.log(20)) / (2 * 2_000))
    assert bound == pytest.approx(accuracy / 0.25)


def test_clusters_and_small_gaps_cost_and_more_units_gain():
    def bound(count, size=1, gap=0.5, **how):
        return meter_bound(contract("a", **how), units(count, size), {"a": (0.2, 0.2 + gap)})[1]

    assert bound(4_000) < bound(2_000) < bound(2_000, size=4)
    assert bound(2_000, gap=0.1) == min(1.0, bound(2_000, gap=0.1))
    assert bound(20_000, gap=0.1) == pytest.approx(bound(20_000) * 5, rel=0.1)


def test_two_objectives_are_as_uncertain_as_the_worse_of_them_and_harmonic_means_twice_that():
    ends = {"a": (0.0, 0.5), "b": (0.0, 1.0)}
    one = meter_bound(contract("a"), units(50_000), ends)[1]
    both = meter_bound(contract("a", "b"), units(50_000), ends)[1]
    harmonic = meter_bound(contract("a", "b", combine="harmonic"), units(50_000), ends)[1]
    assert both == pytest.approx(one)
    assert harmonic == pytest.approx(2 * one)


def test_few_units_are_said_to_be_few():
    assert "more units" in meter_words(contract("a"), units(60), {"a": (0.5, 1.0)})
    assert "more units" not in meter_words(contract("a"), units(20_000), {"a": (0.5, 1.0)})
