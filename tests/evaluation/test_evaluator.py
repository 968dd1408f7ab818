import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.records import Family, Receipt
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.scoring.policies import POLICIES, start

FAMILY = Family.OTHER
CODE = {"method.py": "def run(task, seed): ..."}


def bundle(seeds, answers, right, seed=0):
    """Answers on every seed, a share `right` of them correct."""
    rng = np.random.default_rng(seed)
    ids = sorted(answers)

    def row():
        return {
            i: int(answers[i] if ok else 1 - answers[i])
            for i, ok in zip(ids, rng.random(len(ids)) < right, strict=True)
        }

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
        receipt = evaluator.submit(
            "ann",
            code["snapshot"],
            bundle(code["seeds"], answers["feedback"], right, number),
            FAMILY,
        )
        assert receipt.improved == improved
    assert receipt.level_accuracy <= 0.97
    assert receipt.id == "r-000003"


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(right=st.floats(0.3, 1.0), number=st.integers(0, 10**9))
def test_a_receipt_never_tells_the_exact_score(evaluator, answers, right, number):
    code = commit(evaluator, number)
    receipt = evaluator.submit(
        "ann", code["snapshot"], bundle(code["seeds"], answers["feedback"], right, number), FAMILY
    )
    exact = next(
        e.body
        for e in evaluator.ledger.entries("submission")
        if e.body["receipt"]["id"] == receipt.id
    )
    reported = json.loads(receipt.model_dump_json())
    assert not {"exact_accuracy", "exact_pgr"} & reported.keys()
    begun = start(evaluator.pgr_scale.start, len(answers["feedback"]))
    begun.gap = evaluator.pgr_scale.ceiling - evaluator.pgr_scale.weak
    steps = (receipt.level_accuracy - begun.level) / POLICIES["default"].step(begun)
    assert steps == pytest.approx(round(steps), abs=1e-3)
    assert not receipt.improved or receipt.level_accuracy <= exact["exact_accuracy"] + 1e-6


def test_repeats_are_answered_from_memory(evaluator, answers):
    code = commit(evaluator)
    given_ = bundle(code["seeds"], answers["feedback"], 0.95)
    first = evaluator.submit("ann", code["snapshot"], given_, FAMILY)
    again = evaluator.submit("ann", code["snapshot"], given_, FAMILY)
    assert again == first.model_copy(update={"repeated": True})
    others = evaluator.submit("bob", code["snapshot"], given_, FAMILY)
    assert (others.id, others.repeated, others.snapshot) == ("r-000002", True, first.snapshot)
    assert (others.improved, others.level_accuracy) == (first.improved, first.level_accuracy)
    assert evaluator.meter.state()["answers"] == 1
    assert len(evaluator.ledger.entries("submission")) == 2


def test_a_restart_loses_nothing(evaluator, answers, bed):
    code = commit(evaluator)
    evaluator.submit(
        "ann", code["snapshot"], bundle(code["seeds"], answers["feedback"], 0.95), FAMILY
    )
    evaluator.close()
    with Evaluator(bed.folder, evaluator.folder.parent) as again:
        assert again.meter.channel.level == evaluator.meter.channel.level
        assert commit(again)["seeds"] == code["seeds"]
        code = commit(again, 1)
        assert (
            again.submit(
                "ann", code["snapshot"], bundle(code["seeds"], answers["feedback"], 0.9, 5), FAMILY
            ).id
            == "r-000002"
        )


def test_submissions_need_committed_code_and_their_own_split(evaluator, answers):
    with pytest.raises(InvalidSubmission, match="Commit the code first"):
        evaluator.submit("ann", "0" * 64, {}, FAMILY)
    code = commit(evaluator)
    for split in ("final", "student", "teacher"):
        with pytest.raises(InvalidSubmission, match="Answer"):
            evaluator.submit(
                "ann", code["snapshot"], bundle(code["seeds"], answers[split], 0.9), FAMILY
            )
    with pytest.raises(InvalidSubmission, match="whole numbers"):
        evaluator.submit("ann", code["snapshot"], {"x": {}}, FAMILY)
    assert evaluator.ledger.entries("submission") == []


def test_a_predictions_blob_is_no_snapshot(evaluator, answers):
    code = commit(evaluator)
    evaluator.submit(
        "ann", code["snapshot"], bundle(code["seeds"], answers["feedback"], 0.9), FAMILY
    )
    blob = evaluator.ledger.entries("submission")[0].body["predictions"]
    with pytest.raises(InvalidSubmission, match="no snapshot"):
        evaluator.code(blob)


def test_single_flips_read_no_label(evaluator, answers):
    """The oldest attack: flip one answer at a time and watch. Under the ladder every reply is the
    same 'no'."""
    base = {i: 0 for i in sorted(answers["feedback"])}
    replies = []
    for number, item in enumerate([None, *sorted(base)[:40]]):
        code = commit(evaluator, number)
        flipped = base | ({item: 1} if item else {})
        receipt = evaluator.submit(
            "eve", code["snapshot"], {str(s): flipped for s in code["seeds"]}, FAMILY
        )
        replies.append((receipt.improved, receipt.level_accuracy, receipt.next_step_accuracy))
    assert len(set(replies)) == 1
    flags = {e.body["detector"] for e in evaluator.ledger.entries("flag")}
    assert {"label probing", "constant answers"} <= flags


def test_a_testbed_without_baselines_is_the_operators_to_mend(tmp_path):
    with pytest.raises(Misconfigured, match="Set the testbed up"):
        Evaluator(tmp_path, tmp_path / "c")


def test_replies_are_independent_of_unpublished_weak_answers(bed, tmp_path):
    """Two testbeds that differ in these answers alone: byte for byte the same receipts, before
    and after an improvement. The agreement with them, and the noise against them, told them one
    by one."""
    replies = []
    for name in ("one", "two"):
        folder = tmp_path / name / "problem"
        shutil.copytree(bed.folder, folder)
        path = folder / "private" / "anchors.npz"
        with np.load(path) as stored:
            anchors = dict(stored)
        if name == "two":  # the mean of each seed stays
            anchors["feedback_weak_SM"] = anchors["feedback_weak_SM"][:, ::-1]
        path.unlink()
        np.savez(path, **anchors)
        campaign = tmp_path / name / "campaign"
        (campaign / "server").mkdir(parents=True)
        (campaign / "server" / "secret").write_bytes(bytes(32))
        with Evaluator(folder, campaign) as evaluator:
            code, labels = commit(evaluator), evaluator.answers["feedback"]
            reported = [
                evaluator.submit(
                    "ann", code["snapshot"], bundle(code["seeds"], labels, share), FAMILY
                )
                for share in (0.5, 0.6, 0.95, 0.7)
            ]
            replies.append([receipt.model_dump_json() for receipt in reported])
    assert replies[0] == replies[1]
    assert "weak_agreement" not in replies[0][0]


def test_receipts_of_old_ledgers_that_told_the_agreement_are_still_read(evaluator, answers):
    code = commit(evaluator)
    receipt = evaluator.submit(
        "ann", code["snapshot"], bundle(code["seeds"], answers["feedback"], 0.9), FAMILY
    )
    old = receipt.model_dump(mode="json")
    old["diagnostics"]["weak_agreement"] = 0.61
    del old["released"]["independent_labels"], old["released"]["verdict_bits"]
    again = Receipt.model_validate_json(json.dumps(old))
    assert "weak_agreement" not in again.model_dump()["diagnostics"]


def test_groups_are_counted_from_the_private_side(bed, tmp_path, answers):
    path = bed.private / "groups.json"
    path.unlink()  # a link to other tests' file
    path.write_text(
        json.dumps(
            {"feedback": {i: f"g{n // 6}" for n, i in enumerate(sorted(answers["feedback"]))}}
        )
    )
    with Evaluator(bed.folder, tmp_path / "grouped") as made:
        code = commit(made)
        receipt = made.submit(
            "ann", code["snapshot"], bundle(code["seeds"], answers["feedback"], 0.95), FAMILY
        )
        assert receipt.released.independent_labels == len(made.ids) // 6
        assert receipt.released.cap_bits == pytest.approx(len(made.ids) / 6 / 8, abs=0.01)
