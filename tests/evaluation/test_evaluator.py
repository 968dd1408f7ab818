import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.records import Family
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.policies import POLICIES, start

FAMILY = Family.OTHER
CODE = {"method.py": "def run(task, seed): ..."}


def bundle(seeds, answers, right, seed=0):
    """Answers on every seed, a share `right` of them correct."""
    rng = np.random.default_rng(seed)
    ids = sorted(answers)

    def row():
        return {i: int(answers[i] if ok else 1 - answers[i]) for i, ok in zip(ids, rng.random(len(ids)) < right, strict=True)}

    return {str(s): row() for s in seeds}


def commit(evaluator, number=0):
    return evaluator.commit_code("ann", {"method.py": f"# {number}"}, FAMILY)


def test_seeds_follow_from_the_code_and_cannot_be_picked(evaluator, bed, tmp_path):
    first, again = (evaluator.commit_code("ann", CODE, FAMILY) for _ in range(2))
    assert first == again
    assert len(set(first["seeds"])) == 5
    assert commit(evaluator)["seeds"] != first["seeds"]
    with Evaluator(bed.folder, tmp_path / "another") as other:
        assert other.commit_code("ann", CODE, FAMILY)["seeds"] != first["seeds"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\0b", "", "a\\b", "./a"])
def test_snapshots_cannot_name_paths_outside_themselves(evaluator, name):
    with pytest.raises(InvalidSubmission, match="plain relative path"):
        evaluator.commit_code("ann", {name: ""}, FAMILY)


def test_snapshots_are_bounded(evaluator):
    with pytest.raises(InvalidSubmission, match="smaller"):
        evaluator.commit_code("ann", {"a": "x" * (2 << 20)}, FAMILY)
    with pytest.raises(InvalidSubmission, match="smaller"):
        evaluator.commit_code("ann", {}, FAMILY)


def test_a_good_bundle_improves_and_a_worse_one_does_not(evaluator, answers):
    for number, (right, improved) in enumerate([(0.95, True), (0.80, False), (0.95, False)]):
        code = commit(evaluator, number)
        receipt = evaluator.submit("ann", code["snapshot"], bundle(code["seeds"], answers["feedback"], right, number), FAMILY)
        assert receipt.improved == improved
    assert receipt.level_accuracy <= 0.97
    assert receipt.id == "r-000003"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(right=st.floats(0.3, 1.0), number=st.integers(0, 10**9))
def test_a_receipt_never_tells_the_exact_score(evaluator, answers, right, number):
    code = commit(evaluator, number)
    receipt = evaluator.submit("ann", code["snapshot"], bundle(code["seeds"], answers["feedback"], right, number), FAMILY)
    exact = next(e.body for e in evaluator.ledger.entries("submission") if e.body["receipt"]["id"] == receipt.id)
    told = json.loads(receipt.model_dump_json())
    assert not {"exact_accuracy", "exact_pgr"} & told.keys()
    n = len(answers["feedback"])
    steps = (receipt.level_accuracy - start(evaluator.ruler.start, n).level) / POLICIES["default"].step(n)
    assert steps == pytest.approx(round(steps), abs=1e-3)
    assert not receipt.improved or receipt.level_accuracy <= exact["exact_accuracy"] + 1e-6


def test_repeats_are_answered_from_memory(evaluator, answers):
    code = commit(evaluator)
    given_ = bundle(code["seeds"], answers["feedback"], 0.95)
    first = evaluator.submit("ann", code["snapshot"], given_, FAMILY)
    again = evaluator.submit("bob", code["snapshot"], given_, FAMILY)
    assert again == first.model_copy(update={"repeated": True})
    assert len(evaluator.ledger.entries("submission")) == 1


def test_a_restart_loses_nothing(evaluator, answers, bed):
    code = commit(evaluator)
    evaluator.submit("ann", code["snapshot"], bundle(code["seeds"], answers["feedback"], 0.95), FAMILY)
    with Evaluator(bed.folder, evaluator.folder.parent) as again:
        assert again.level == evaluator.level
        assert commit(again)["seeds"] == code["seeds"]
        code = commit(again, 1)
        assert (
            again.submit("ann", code["snapshot"], bundle(code["seeds"], answers["feedback"], 0.9, 5), FAMILY).id == "r-000002"
        )


def test_submissions_need_committed_code_and_their_own_split(evaluator, answers):
    with pytest.raises(InvalidSubmission, match="Commit the code first"):
        evaluator.submit("ann", "0" * 64, {}, FAMILY)
    code = commit(evaluator)
    for split in ("final", "student", "teacher"):
        with pytest.raises(InvalidSubmission, match="Answer"):
            evaluator.submit("ann", code["snapshot"], bundle(code["seeds"], answers[split], 0.9), FAMILY)
    with pytest.raises(InvalidSubmission, match="whole numbers"):
        evaluator.submit("ann", code["snapshot"], {"x": {}}, FAMILY)
    assert evaluator.ledger.entries("submission") == []


def test_a_predictions_blob_is_no_snapshot(evaluator, answers):
    code = commit(evaluator)
    evaluator.submit("ann", code["snapshot"], bundle(code["seeds"], answers["feedback"], 0.9), FAMILY)
    blob = evaluator.ledger.entries("submission")[0].body["predictions"]
    with pytest.raises(InvalidSubmission, match="no snapshot"):
        evaluator.code(blob)


def test_single_flips_read_no_label(evaluator, answers):
    """The oldest attack: flip one answer at a time and watch. Under the ladder every reply is the same 'no'."""
    base = {i: 0 for i in sorted(answers["feedback"])}
    replies = []
    for number, item in enumerate([None, *sorted(base)[:40]]):
        code = commit(evaluator, number)
        flipped = base | ({item: 1} if item else {})
        receipt = evaluator.submit("eve", code["snapshot"], {str(s): flipped for s in code["seeds"]}, FAMILY)
        replies.append((receipt.improved, receipt.level_accuracy, receipt.next_step_accuracy))
    assert len(set(replies)) == 1
    flags = {e.body["detector"] for e in evaluator.ledger.entries("flag")}
    assert {"label probing", "constant answers"} <= flags


def test_a_testbed_without_baselines_is_the_operators_to_mend(tmp_path):
    with pytest.raises(Misconfigured, match="Set the testbed up"):
        Evaluator(tmp_path, tmp_path / "c")
