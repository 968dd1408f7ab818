"""What a receipt says of itself: which line was passed, what is noise, steps and bounds in PGR;
older receipts say less."""

import json
import math

import numpy as np
import pytest

from aarlab.core.records import Family, Receipt
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.scoring.meaning import NO_GAP
from aarlab.evaluation.scoring.policies import POLICIES
from aarlab.redteam.system import write_problem

NEW = ("meaning", "next_step_pgr")
NEW_RELEASED = ("inflation_bound_pgr", "inflation_bound_at_cap", "inflation_bound_at_cap_pgr")


def submit(evaluator, answers, wrong, number=0, after=0):
    """One bundle in which so many answers are wrong, those after the first `after`."""
    code = evaluator.commit_code("ann", {"method.py": f"# {number}"}, Family.OTHER)
    sent = {
        i: 1 - label if after <= k < after + wrong else label
        for k, (i, label) in enumerate(sorted(answers["feedback"].items()))
    }
    return evaluator.submit(
        "ann", code["snapshot"], {str(s): sent for s in code["seeds"]}, Family.OTHER
    )


def test_improved_is_said_to_be_a_line_that_was_passed_and_no_test(evaluator, answers):
    """The second passes the next line by an item, is wrong where the first is right, and its own
    receipt says that the difference between them is noise."""
    n, wrong = len(answers["feedback"]), []
    for number in range(2):
        line = evaluator.meter.now("ann").outlook.next_step
        wrong.append(math.floor((1 - line) * n))
        receipt = submit(evaluator, answers, wrong[-1], number, after=number * n // 2)
        assert receipt.improved
    assert (wrong[0] - wrong[1]) / n < receipt.diagnostics.noise_accuracy
    assert (
        f"passed the line at accuracy {receipt.level_accuracy:.4f} (PGR {receipt.level_pgr:.3f})"
        in receipt.meaning
    )
    assert "no test against the method that held the level before" in receipt.meaning
    assert f"below accuracy {receipt.diagnostics.noise_accuracy:.4f}" in receipt.meaning


def test_refusal_names_the_threshold_and_that_last_is_not_compared(evaluator, answers):
    n = len(answers["feedback"])
    worse, better = (
        submit(evaluator, answers, round(share * n), number)
        for number, share in enumerate((0.6, 0.55))
    )
    for receipt in (worse, better):
        assert not receipt.improved
        assert (
            f"did not pass the line at accuracy {receipt.next_step_accuracy:.4f}" in receipt.meaning
        )
        assert "compared with no other submission, your last one included" in receipt.meaning


def test_a_no_that_no_score_could_change_says_so(bed, tmp_path, answers):
    with Evaluator(bed.folder, tmp_path / "generous", policy="exact") as evaluator:
        for number in range(20):
            submit(evaluator, answers, number, number)
    with Evaluator(bed.folder, tmp_path / "strict", policy="strict") as evaluator:
        receipt = submit(evaluator, answers, 150, 99)
        assert (receipt.improved, receipt.tier) == (False, "sealed")
        assert receipt.meaning.startswith("No score would have been reported as an improvement")


@pytest.mark.slow
def test_repeat_in_another_campaign_names_no_current_threshold(bed, tmp_path, answers):
    for name in ("one", "two"):
        with Evaluator(bed.folder, tmp_path / name) as evaluator:
            receipt = submit(evaluator, answers, 200)
            if name == "one":
                submit(evaluator, answers, 10, 1)
    assert "the line that stood when these answers were first submitted" in receipt.meaning


def test_one_scale_for_receipt_and_operator(bed, tmp_path, answers):
    """Under 'exact' what is reported is the score: the ledger's exact PGR is the receipt's."""
    with Evaluator(bed.folder, tmp_path / "campaign", policy="exact") as evaluator:
        for number, wrong in enumerate((150, 60, 7)):
            receipt = submit(evaluator, answers, wrong, number)
            body = evaluator.ledger.entries("submission")[-1].body
            assert receipt.level_pgr == round(body["exact_pgr"], 4)
            assert receipt.level_accuracy == round(body["exact_accuracy"], 6)
        assert evaluator.pgr_scale.pgr(evaluator.pgr_scale.weak) == 0


@pytest.mark.parametrize("policy", ["default", "exact", "rounded", "ladder"])
def test_without_a_gap_every_receipt_says_that_its_pgr_says_nothing(tmp_path, policy):
    """The operator started all the same: the PGRs of the receipt are on a gap that the anchors do
    not have."""
    folder = write_problem(tmp_path / "problem", np.arange(200) % 2 == 0)
    np.savez(
        folder / "private" / "anchors.npz",
        feedback_weak_SM=np.ones((1, 200)) * 0.7,
        feedback_ceiling_SM=np.ones((1, 200)) * 0.6,
    )
    np.savez(folder / "private" / "baselines.npz", **{"feedback/naive": np.arange(200)[None] < 120})
    (folder / "private" / "ruler.json").unlink()
    labels = json.loads((folder / "private" / "answers.json").read_text())
    with Evaluator(folder, tmp_path / "campaign", policy=policy) as evaluator:
        for number, wrong in enumerate((190, 20, 20)):
            receipt = submit(evaluator, labels, wrong, number)
            assert NO_GAP in receipt.meaning
            assert evaluator.ledger.entries("submission")[-1].body["exact_pgr"] is None


def test_with_a_gap_no_receipt_says_so(evaluator, answers):
    assert NO_GAP not in submit(evaluator, answers, 20).meaning


def test_steps_and_bounds_are_in_pgr_too(evaluator, answers):
    receipt, pgr_scale = submit(evaluator, answers, 20), evaluator.pgr_scale
    gap, released = pgr_scale.ceiling - pgr_scale.weak, receipt.released
    assert receipt.next_step_pgr == pytest.approx(
        (receipt.next_step_accuracy - pgr_scale.weak) / gap, abs=1e-3
    )
    assert released.inflation_bound_pgr == pytest.approx(released.inflation_bound / gap, abs=1e-3)
    assert released.inflation_bound_at_cap_pgr == pytest.approx(
        released.inflation_bound_at_cap / gap, abs=1e-3
    )
    assert receipt.diagnostics.noise_pgr == pytest.approx(
        receipt.diagnostics.noise_accuracy / gap, abs=1e-3
    )
    assert released.inflation_bound < released.inflation_bound_at_cap
    assert POLICIES["exact"].outlook(evaluator.meter.channel, "ann").cap_bits is None


def test_a_receipt_holds_no_number_of_numpys(evaluator, answers):
    def leaves(found):
        if isinstance(found, dict | tuple):
            for inner in found.values() if isinstance(found, dict) else found:
                yield from leaves(inner)
        else:
            yield found

    for number, wrong in enumerate((20, 300)):
        found = submit(
            evaluator, answers, min(wrong, len(answers["feedback"])), number
        ).model_dump()
        assert {type(x) for x in leaves(found)} <= {str, int, float, bool, type(None), Family}
    assert {type(x) for x in leaves(dict(evaluator.meter.state()))} <= {str, int, float, type(None)}


def test_a_receipt_of_an_older_version_is_read_as_it_was_reported(bed, tmp_path, answers):
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        receipt = json.loads(submit(evaluator, answers, 20).model_dump_json())
    for name in NEW:
        del receipt[name]
    for name in NEW_RELEASED:
        del receipt["released"][name]
    del receipt["diagnostics"]["noise_pgr"]
    old = Receipt.model_validate_json(json.dumps(receipt))
    assert (
        old.meaning,
        old.next_step_pgr,
        old.released.inflation_bound_pgr,
        old.diagnostics.noise_pgr,
    ) == (None,) * 4
    assert old.model_dump(mode="json", exclude_unset=True) == receipt
