"""Confirmations of problems in folders: better than the best baseline, and every gate holds."""

import math

import numpy as np
import pytest

from aarlab.core.errors import InvalidSubmission
from aarlab.core.objectives import Objective, combined, gradient
from aarlab.core.records import Family
from aarlab.core.sign_flip import sign_flip_p, sign_flip_p_of_reals
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.evaluation.confirmation.confirmation_record import record_of
from aarlab.evaluation.confirmation.run_order import CodeFailed, NotRun, NoVerdict
from aarlab.evaluation.confirmation.unit_gate import FINAL, ShownRun, UnitConfirmations
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.scoring.graded_units import GradedUnits
from aarlab.evaluation.scoring.unit_scores import Measured, Scale
from tests.evaluation.test_unit_marking import graded, served

N = 300
UNITS = {"feedback": {f"u{n}": f"alone: u{n}" for n in range(400)}}
UNITS |= {"final": {f"f{n}": f"alone: f{n}" for n in range(N)}}


@pytest.fixture
def gate(tmp_path):
    problem = served(tmp_path / "distances-v1-0123456789ab-seed1", units=UNITS)
    with Evaluator(problem, tmp_path / "campaign") as evaluator:
        code = evaluator.commit_code("ann", {"method.py": "1"}, Family.OTHER)
        given = graded(code["seeds"], 0.8)
        evaluator.submit_graded("ann", code["snapshot"], given, Family.OTHER)
        yield UnitConfirmations(evaluator)


def on_final(seeds, error, near=0.5, noise=0.05, submitted="m"):
    """Unit scores that vary by unit in the same way for every submission."""
    rng = np.random.default_rng(0)
    shape = len(seeds), 1, N
    table = np.clip(error + noise * rng.standard_normal(shape), 0, 1)
    right = (np.linspace(0, 1, N, endpoint=False) < near)[None, None].repeat(len(seeds), 0)
    scores = {"error": table, "near": right.astype(float)}
    return GradedUnits(FINAL, tuple(seeds), submitted, scores)


def settled(gate, **method):
    (order,) = gate.orders(1)
    beside = {"b": on_final(order.seeds, 0.6, submitted="b")}
    return gate.settle(order.token, on_final(order.seeds, **method), beside)


def test_a_better_claim_whose_gate_holds_is_confirmed(gate, tmp_path):
    record = settled(gate, error=0.7)
    target = record.targets[0]
    assert record.verdict == "confirmed"
    assert target.effect.difference.estimate == pytest.approx(1 / 3, abs=0.01)
    assert target.pgr.estimate == pytest.approx(1 / 3, abs=0.02)
    assert target.gates["near"].verdict == "holds"
    assert target.levels["error"].estimate == pytest.approx(3, abs=0.05)
    campaign = tmp_path / "campaign"
    (entry,) = gate._evaluator.ledger.entries("confirmation")
    assert record_of(entry) == record
    assert gate._evaluator.ledger.entries("confirmation")[0].body["told_accuracy"] is not None
    gate._evaluator.close()
    files = Files(campaign, tmp_path / "distances-v1-0123456789ab-seed1")
    assert audit(files, load_key(files.key)).faults == ()


def test_what_is_shown_beside_decides_nothing_and_is_signed_with_its_own_units(gate, tmp_path):
    (order,) = gate.orders(1)
    beside = {"b": on_final(order.seeds, 0.6, submitted="b")}
    drawn = {f"g{n}": f"alone: g{n}" for n in range(N)}
    shown = (
        ShownRun("fresh", "fresh", "again", drawn, on_final(order.seeds, 0.75, noise=0), beside),
        ShownRun("ablated", "ablated", "x", UNITS["final"], CodeFailed("crashed", "no rows"), {}),
        ShownRun("late", "ablated", "x", UNITS["final"], NotRun("the machine"), {}),
        ShownRun("odd", "fresh", "x", {"g": "alone: g"}, on_final(order.seeds, 0.9), beside),
    )
    record = gate.settle(order.token, on_final(order.seeds, error=0.6), beside, shown)
    assert record.verdict == "not distinguishable from tuned naive"
    final, *others = record.targets
    assert record.p == final.effect.p
    assert [(t.name, t.kind) for t in others] == [(s.name, s.kind) for s in shown]
    assert others[0].accuracy.estimate == pytest.approx(0.5, abs=0.02)
    assert others[0].effect.difference.estimate == pytest.approx(0.5, abs=0.02)
    assert [t.failure for t in others[1:]] == [
        "no rows",
        "the machine",
        "These are not gradings of one set of seeds on final.",
    ]
    ledger = gate._evaluator.ledger
    stored = set(others[0].predictions.values())
    assert {ledger.blob(name) for name in stored} == {shown[0].method.data, beside["b"].data}
    assert record_of(ledger.entries("confirmation")[0]) == record


def test_a_claim_no_better_than_the_baseline_is_not(gate):
    record = settled(gate, error=0.6)
    assert record.verdict == "not distinguishable from tuned naive"
    assert "not below 0.05" in record.reasons[0]


def test_a_better_claim_that_breaks_a_gate_is_not(gate):
    record = settled(gate, error=0.8, near=0.2)
    assert record.verdict == "not distinguishable from tuned naive"
    assert "near broken" in record.reasons[0]
    assert record.p < 1e-6


def test_code_that_fails_on_final_is_no_confirmation_and_counts_as_a_try(gate):
    (order,) = gate.orders(1)
    record = gate.settle(order.token, CodeFailed("timed out", "too slow"), {})
    assert record.verdict != "confirmed"
    assert record.targets[0].failure == "too slow"
    assert gate.orders(1) == [], "it is settled"


def test_what_the_machine_ended_keeps_its_seeds(gate):
    (order,) = gate.orders(1)
    found = gate.settle(order.token, NotRun("killed"), {})
    assert isinstance(found, NoVerdict)
    assert gate.orders(1)[0].seeds == order.seeds
    assert gate.tries.spent()[1] == 0, "nothing was released"


def test_gradings_of_other_seeds_are_refused(gate):
    (order,) = gate.orders(1)
    beside = {"b": on_final((1, 2, 3, 4, 5), 0.6)}
    with pytest.raises(InvalidSubmission, match="one set of seeds"):
        gate.settle(order.token, on_final(order.seeds, 0.8), beside)


@pytest.mark.slow
def test_the_level_of_the_test_holds_where_there_is_no_difference(tmp_path):
    """Methods that are equal to the baseline but for noise of units and seeds."""
    problem = served(tmp_path / "p", units=UNITS)
    with Evaluator(problem, tmp_path / "campaign") as evaluator:
        scale = UnitConfirmations(evaluator)
        from aarlab.evaluation.confirmation.unit_gate import OnFinal

        below = 0
        for number in range(400):
            rng = np.random.default_rng(number)
            seeds = (1, 2, 3, 4, 5)

            def made(name, rng=rng, seeds=seeds):
                shift = 0.02 * rng.standard_normal((len(seeds), 1, 1))
                table = 0.7 + shift + 0.1 * rng.standard_normal((len(seeds), 1, N))
                scores = {"error": table.clip(0, 1), "near": np.full((5, 1, N), 0.5)}
                return GradedUnits(FINAL, seeds, name, scores)

            below += OnFinal(scale.problem, made("m"), {"b": made("b")}).effect.p < 0.05
    assert below <= 0.05 * 400 + 3 * math.sqrt(400 * 0.05 * 0.95)


@pytest.mark.parametrize("how", ["mean", "geometric", "harmonic", "min"])
def test_slopes_of_combinations_are_their_derivatives(how):
    at, step = [0.3, 0.5, 0.8], 1e-6
    for k, slope in enumerate(gradient(how, at)):
        more = [x + step * (j == k) for j, x in enumerate(at)]
        assert slope == pytest.approx((combined(how, more) - combined(how, at)) / step, rel=1e-4)


def two_climbed(how, ceiling=1.0):
    """A scale of two objectives between 0 and a stated ceiling."""
    ends = {"floor": {"value": 0, "source": "s"}, "ceiling": {"value": ceiling, "source": "s"}}
    both = [Objective(name=name, unit="share", **ends) for name in ("a", "b")]
    return Scale(both, how, UNITS["final"], {}, paired=True)


def scoring(a, b, noise=0.02, seed=0):
    """A submission with these mean scores."""
    rng = np.random.default_rng(seed)
    table = rng.normal(0, noise, (2, 5, 1, N))
    table -= table.mean(axis=(1, 3), keepdims=True)
    return Measured({"a": a + table[0], "b": b + table[1]}, {})


@pytest.mark.parametrize("how", ["mean", "geometric", "harmonic", "min"])
def test_the_difference_of_combined_scores_is_theirs(how):
    """It was taken at the middle of both: a claim with a lower combined score was "better"."""
    rng, scale = np.random.default_rng(1), two_climbed(how)
    for _ in range(200):
        one, other = rng.random(2), rng.random(2)
        true = combined(how, list(one)) - combined(how, list(other))
        pair = scoring(*one), scoring(*other, seed=1)
        assert scale.apart(*pair, shared=True).estimate == pytest.approx(true, abs=1e-6)
        p = scale.p_better(*pair, shared=True)
        assert p > 0.05 if true < 0 else True, (one, other, true, p)
        assert p < 0.05 if true > 0.05 and how != "min" else True, (one, other, true, p)


def test_a_claim_that_pays_for_one_objective_with_the_other_is_not_better():
    """The claim's minimum is 0.3, and the baseline's 0.4."""
    scale, pair = two_climbed("min"), (scoring(0.6, 0.3), scoring(0.4, 1.0, seed=1))
    assert scale.p_better(*pair, shared=True) == 1
    assert scale.p_better(*pair[::-1], shared=True) < 1e-6
    # what lies beyond a ceiling counts as the ceiling: 0.8 and 0.1 of 0.4 are worth 0.63
    scale, pair = two_climbed("mean", 0.4), (scoring(0.8, 0.1), scoring(0.3, 0.3, seed=1))
    assert scale.apart(*pair, shared=True).estimate == pytest.approx(0.625 - 0.75, abs=1e-6)
    assert scale.p_better(*pair, shared=True) > 0.99


@pytest.mark.slow
def test_the_level_of_a_minimum_holds_where_objectives_meet():
    """Both of the baseline's are equal, and one of the claim's is higher: none is better."""
    scale, below = two_climbed("min"), 0
    for number in range(400):
        rng = np.random.default_rng(number)
        tables = rng.normal(0, 0.3, (4, 5, 1, N))
        own = Measured({"a": 0.5 + tables[0], "b": 0.8 + tables[1]}, {})
        other = Measured({"a": 0.5 + tables[2], "b": 0.5 + tables[3]}, {})
        below += scale.p_better(own, other, shared=True) < 0.05
    assert below <= 0.05 * 400 + 3 * math.sqrt(400 * 0.05 * 0.95)


def test_the_sign_flip_test_of_reals_is_that_of_whole_numbers():
    totals = np.array([3, -1, 2, 2, -3, 1])
    assert sign_flip_p_of_reals(totals / 150) == pytest.approx(sign_flip_p(totals), abs=0.02)
    assert sign_flip_p_of_reals(np.zeros(4)) == 1


def test_words_of_code_that_no_reader_takes_are_not_recorded(gate):
    """A name of a file that is no UTF-8, with signs that a terminal obeys."""
    (order,) = gate.orders(1)
    beside = {"b": on_final(order.seeds, 0.6, submitted="b")}
    odd = NotRun("prepare.py: '\udcff\udcfe\x1b[31m\0' is no plain file.")
    shown = (ShownRun("fresh", "fresh", "again", UNITS["final"], odd, {}),)
    record = gate.settle(order.token, on_final(order.seeds, error=0.7), beside, shown)
    assert record.targets[1].failure == "prepare.py: '' is no plain file."
    assert record_of(gate._evaluator.ledger.entries("confirmation")[0]) == record


@pytest.mark.parametrize("number", [1, 2])
def test_a_fresh_draw_of_few_units_is_shown(gate, number):
    (order,) = gate.orders(1)
    beside = {"b": on_final(order.seeds, 0.6, submitted="b")}

    def few(error, submitted):
        whole = on_final(order.seeds, error, submitted=submitted)
        scores = {name: table[..., :number] for name, table in whole.scores.items()}
        return GradedUnits(FINAL, whole.seeds, submitted, scores)

    drawn = {f"g{n}": f"alone: g{n}" for n in range(number)}
    one = ShownRun("fresh", "fresh", "again", drawn, few(0.7, "m"), {"b": few(0.6, "b")})
    record = gate.settle(order.token, on_final(order.seeds, error=0.7), beside, (one,))
    assert record.verdict == "confirmed"
    assert record.targets[1].failure is None
