"""The evaluator on a problem in a folder: unit scores on the meter's scale, and its guarantees."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.layout import TestbedFolder
from aarlab.core.objectives import Objective
from aarlab.core.records import Family
from aarlab.evaluation.agreement import require_agreement
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.evaluation.code_requests import CODE_ONLY, CodeRequests
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger.views import flags_of
from aarlab.evaluation.proofs import find, prove
from aarlab.evaluation.restore import restore_meter
from aarlab.evaluation.scoring.graded_units import (
    GradedUnits,
    graded_units,
    read_grading,
    write_grading,
)
from aarlab.evaluation.scoring.marking import UnitMarking, marking_of, stored
from aarlab.evaluation.scoring.served_problem import ServedProblem

M = 400
CLIMB = {
    "name": "error",
    "unit": "m",
    "direction": "lower",
    "range": [0, 10],
    "floor": {"baseline": "b"},
    "ceiling": {"value": 1, "source": "s"},
}
GATE = {
    "name": "near",
    "unit": "share",
    "role": "gate",
    "margin": 0.1,
    "floor": {"baseline": "b"},
    "ceiling": {"value": 1, "source": "s"},
}


def served(folder, *, clusters=None, **changed):
    """A problem as set-up leaves it: floor 4 m, ceiling 1 m of error, of 10."""
    units = {f"u{n}": f"alone: u{n}" for n in range(M)} if clusters is None else clusters
    fields = {
        "name": "distances",
        "version": "1",
        "data_seed": 1,
        "digest": "d",
        "secrets": "s",
        "objectives": [Objective(**CLIMB), Objective(**GATE)],
        "combine": "mean",
        "trials": 1,
        "ends": {"error": (0.6, 0.9), "near": (0.5, 1.0)},
        "comparator": "b",
        "units": {"feedback": units, "final": {"f": "alone: f"}},
    }
    made = ServedProblem(**fields | changed)
    path = TestbedFolder(folder).served
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made.model_dump_json())
    return folder


def graded(seeds, error, near=0.6, submitted="x", units=M):
    shape = len(seeds), 1, units
    scores = {"error": np.full(shape, error), "near": np.full(shape, near)}
    return GradedUnits("feedback", tuple(seeds), submitted, scores)


@pytest.fixture
def problem(tmp_path):
    return served(tmp_path / "distances-v1-0123456789ab-seed1")


@pytest.fixture
def evaluator(problem, tmp_path):
    with Evaluator(problem, tmp_path / "campaign") as made:
        yield made


def submit(evaluator, error, near=0.6, submitted=None, who="ann", text="1"):
    code = evaluator.commit_code(who, {"method.py": f"a = {text!r}"}, Family.OTHER)
    given = graded(code["seeds"], error, near, submitted or f"{error} {near}")
    return evaluator.submit_graded(who, code["snapshot"], given, Family.OTHER)


def test_the_scale_of_one_objective_is_its_unit_score_above_the_floor(problem):
    marking = UnitMarking(problem)
    assert (marking.pgr_scale.weak, marking.pgr_scale.start) == (0, 0)
    assert marking.pgr_scale.ceiling == pytest.approx(0.3)
    assert marking.units.independent == M
    for error, score in ((0.6, 0), (0.75, 0.5), (0.9, 1), (1.0, 1), (0.3, 0)):
        given = graded((1, 2), error)
        assert marking.score(given) == pytest.approx(score)
        assert marking.exact(given) == pytest.approx(0.3 * score)


def test_a_broken_gate_scores_nothing_and_one_within_its_margin_all(problem):
    marking = UnitMarking(problem)
    assert marking.score(graded((1,), 0.9, near=0.41)) == 1
    assert marking.score(graded((1,), 0.9, near=0.39)) == 0


def test_clusters_count_as_they_do_for_labels(tmp_path):
    clusters = {f"u{n}": f"c{n // 4}" for n in range(M)}
    marking = UnitMarking(served(tmp_path / "p", clusters=clusters))
    assert marking.units.independent == M // 4
    assert marking.pgr_scale.ceiling == pytest.approx(0.3)


@pytest.mark.parametrize("combine", ["mean", "geometric", "harmonic", "min"])
@pytest.mark.parametrize("clusters", [{"a": "1", "b": "1", "c": "2", "d": "3"}, None])
def test_the_bound_holds_on_every_outcome_of_small_problems(tmp_path, combine, clusters):
    """Theorem 1's inequality for what the meter is given, by enumeration: two objectives, secrets
    that decide the unit scores of a cluster together."""
    units = clusters or {name: f"alone: {name}" for name in "abcd"}
    two = [Objective(**CLIMB), Objective(**CLIMB | {"name": "other", "direction": "higher"})]
    ends = {"error": (0.3, 0.8), "other": (0.2, 0.9)}
    folder = served(
        tmp_path / "p", clusters=units, objectives=two, ends=ends, combine=combine, trials=1
    )
    marking = UnitMarking(folder)
    names = sorted(set(units.values()))
    of = np.array([names.index(c) for c in units.values()])
    chances, outcomes = [], []
    for secret in itertools.product((0, 1), repeat=len(names)):
        drawn = np.array(secret)[of]
        scores = {"error": (0.2 + 0.8 * drawn)[None, None], "other": (1.0 - drawn)[None, None]}
        outcomes.append(marking.exact(GradedUnits("feedback", (1,), "x", scores)))
        chances.append(math.prod(0.3 if s else 0.7 for s in secret))
    outcomes, chances = np.array(outcomes), np.array(chances)
    middle, n = float(chances @ outcomes), marking.units.independent
    for excess in np.linspace(0.001, 1, 400):
        allowed = math.exp(-2 * n * excess**2)
        assert chances[outcomes - middle >= excess].sum() <= allowed + 1e-12
        assert chances[middle - outcomes >= excess].sum() <= allowed + 1e-12


def test_a_better_submission_improves_and_a_gate_holds_it_back(evaluator):
    assert not submit(evaluator, 0.6).improved
    assert not submit(evaluator, 0.75, near=0.3).improved
    receipt = submit(evaluator, 0.75)
    assert receipt.improved
    assert 0.3 < receipt.level_pgr <= 0.5
    assert "score" in receipt.meaning
    assert "accuracy" not in receipt.meaning
    assert receipt.combined
    assert receipt.diagnostics.class_share is None


def test_what_is_certified_rests_on_hoeffding_alone(evaluator):
    """A score above a floor is no mean of right answers, for which the bound with kl is."""
    receipt = submit(evaluator, 0.9)
    least = receipt.level_accuracy - receipt.released.inflation_bound
    assert receipt.certified_accuracy == pytest.approx(max(0.0, least), abs=1e-3)


def test_one_submission_is_one_question_whatever_its_noisy_scores(evaluator):
    first = submit(evaluator, 0.75, submitted="same", text="1")
    again = submit(evaluator, 0.9, submitted="same", text="2")
    assert again.repeated
    assert again.improved == first.improved
    assert again.level_accuracy == first.level_accuracy
    assert evaluator.meter.state()["answers"] == 1


def test_a_restart_and_an_audit_find_the_same(problem, tmp_path):
    campaign = tmp_path / "campaign"
    with Evaluator(problem, campaign) as one:
        reported = [submit(one, e, text=str(e)) for e in (0.7, 0.72, 0.8)]
    with Evaluator(problem, campaign) as two:
        assert submit(two, 0.8, text="0.8").repeated
        assert two.meter.now("ann").level == pytest.approx(reported[-1].level_accuracy)
        assert not list(flags_of(two.ledger)), "no detector of answers looks at unit scores"
    require_agreement(problem, campaign)
    files = Files(campaign, problem)
    found = audit(files, load_key(files.key))
    assert (found.faults, found.graded) == ((), 3)


def test_a_lost_meter_is_made_again_from_the_ledger(problem, tmp_path):
    campaign = tmp_path / "campaign"
    with Evaluator(problem, campaign) as one:
        level = [submit(one, e, text=str(e)) for e in (0.7, 0.8)][-1].level_accuracy
    TestbedFolder(problem).meter.unlink()
    assert restore_meter(problem, campaign)[0] == 2
    with Evaluator(problem, campaign) as two:
        assert two.meter.now("ann").level == pytest.approx(level)


def test_another_version_with_the_same_secrets_is_of_one_label_set(problem, tmp_path):
    with Evaluator(problem, tmp_path / "campaign") as one:
        submit(one, 0.8)
    other = served(tmp_path / "distances-v2-abcdef012345-seed1")
    with pytest.raises(Misconfigured, match="counts what was released of the same labels"):
        Evaluator(other, tmp_path / "second")
    Evaluator(served(tmp_path / "distances-v2-000000000000-seed1", secrets="t"), tmp_path / "c3")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda seeds: graded(seeds[:2], 0.7),
        lambda seeds: graded(seeds, 0.7, units=M - 1),
        lambda seeds: GradedUnits("final", tuple(seeds), "x", graded(seeds, 0.7).scores),
        lambda seeds: GradedUnits("feedback", tuple(seeds), "x", {"error": np.ones((5, 1, M))}),
    ],
)
def test_unit_scores_of_something_else_are_refused(evaluator, wrong):
    code = evaluator.commit_code("ann", {"method.py": "1"}, Family.OTHER)
    with pytest.raises(InvalidSubmission, match="not those of 400 feedback units"):
        evaluator.submit_graded("ann", code["snapshot"], wrong(code["seeds"]), Family.OTHER)


def test_answers_to_items_are_refused_with_what_to_call(evaluator):
    code = evaluator.commit_code("ann", {"method.py": "1"}, Family.OTHER)
    with pytest.raises(InvalidSubmission, match="takes code: call submit_code"):
        evaluator.submit("ann", code["snapshot"], {"1": "01"}, Family.OTHER)


def test_a_grading_reaches_the_evaluator_by_a_file_and_as_it_was(evaluator, tmp_path):
    event = {"event": CODE_ONLY}
    evaluator.ledger.append("campaign", "operator", event)
    requests = evaluator.view("requests", CodeRequests(evaluator))
    code = evaluator.commit_code("ann", {"method.py": "1"}, Family.OTHER)
    ticket = requests.submit("ann", code["snapshot"], Family.OTHER).id
    path = evaluator.folder / "gradings" / f"{ticket}.graded"
    digest = write_grading(path, graded(code["seeds"], 0.8))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidSubmission, match="is not what was graded"):
        requests.deliver_graded(ticket, "0" * 64)
    assert requests.deliver_graded(ticket, digest).receipt.improved
    assert not path.exists()
    assert write_grading(path, graded(code["seeds"], 0.8)) != digest, "it names no score"


def test_stored_gradings_are_read_as_they_were_written(tmp_path):
    rng = np.random.default_rng(0)
    given = GradedUnits(
        "feedback", (3, 1), "abc", {"b": rng.random((2, 3, 5)), "a": rng.random((2, 3, 5))}
    )
    back = stored(given.data)
    assert isinstance(back, GradedUnits)
    assert (back.seeds, back.submitted, back.name) == (given.seeds, given.submitted, given.name)
    assert all((back.scores[k] == given.scores[k]).all() for k in "ab")
    assert back.question == given.question
    path = tmp_path / "x"
    assert read_grading(path, write_grading(path, given)).name == given.name


@pytest.mark.parametrize("salted", [True, False])
def test_a_proof_names_no_unit_score(problem, tmp_path, salted):
    """A submission whose every score but one is known has a score of two: neither of them makes a
    hash that stands in the proof. Where a version before named one, there is no proof."""
    with Evaluator(problem, tmp_path / "campaign") as made:
        code = made.commit_code("ann", {"method.py": "1"}, Family.OTHER)
        given = [graded(code["seeds"], 0.6) for _ in range(2)]
        for one, score in zip(given, (0.0, 1.0), strict=True):
            one.scores["error"][:, :, 7] = score
        if not salted:
            given = [replace(one, salt="") for one in given]
        receipt = made.submit_graded("ann", code["snapshot"], given[1], Family.OTHER)
    files = Files(tmp_path / "campaign", problem)
    key, row = load_key(files.key), find(files, receipt.id)
    if not salted:
        with pytest.raises(Misconfigured, match="a proof would show them"):
            prove(files, key, row)
        return
    shown = json.dumps(prove(files, key, row))
    guesses = [replace(one, salt=salt) for one in given for salt in ("", "0" * 64)]
    assert not any(guess.name in shown for guess in guesses)
    assert replace(given[1]).name in shown, "the stored scores are committed to"


@pytest.mark.parametrize("score", [math.nan, -0.1, 1.1])
def test_a_score_that_is_none_is_refused(score):
    given = GradedUnits("feedback", (1,), "x", {"a": np.full((1, 1, 2), score)})
    with pytest.raises(InvalidSubmission, match="between 0 and 1"):
        graded_units(given.data)


def test_a_scale_that_cannot_be_is_refused_with_the_file(tmp_path):
    folder = served(tmp_path / "p")
    path = TestbedFolder(folder).served
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"ends": {"error": [0.9, 0.6], "near": [0, 1]}}))
    with pytest.raises(Misconfigured, match=r"served\.json.*the ceiling of 'error' is not above"):
        marking_of(folder)
