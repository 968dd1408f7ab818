"""How a verdict reads: never without what stands beside it."""

import pytest

from aarlab.core.records import Family, Measure
from aarlab.evaluation.confirmation.confirmation_record import (
    Claim,
    ConfirmationRecord,
    TargetResult,
)
from aarlab.evaluation.confirmation.verdict import Remainder
from aarlab.report.figure_words import elsewhere, left
from aarlab.report.ranked_claims import _ablation, _beside
from aarlab.report.report_record import AblationRow, ClaimRow, ElsewhereRow, Score, count, statistic


def measure(value):
    return Measure(
        estimate=value, lower=value - 0.01, upper=value + 0.01, n=2004, resampled="made up"
    )


def ablated(split, p, share):
    found = Remainder(accuracy=measure(0.62), p=p, share=share)
    about = {"name": f"ablated-{split}", "kind": "ablated", "problem": "made up", "seeds": (1,)}
    return TargetResult(**about, split=split, accuracy=found.accuracy, remainder=found)


def record(*targets):
    claim = Claim(receipt="r-1", researcher="ann", family="other", accuracy=0.8, ledger_seq=1)
    none = {
        "reproduction": None,
        "p": None,
        "p_adjusted": None,
        "reasons": (),
        "bits": 1.0,
        "ledger_head": "",
        "made_at": "",
    }
    return ConfirmationRecord(
        campaign="c",
        problem="p",
        snapshot="s",
        id="s.n",
        claim=claim,
        targets=targets,
        m=1,
        verdict="confirmed",
        **none,
    )


def row(**changed):
    score, one = Score(accuracy=measure(0.8), pgr=measure(0.7)), count(1)
    fields = {
        "rank": 1,
        "researcher": "ann",
        "family": Family.OTHER,
        "snapshot": "s",
        "receipt": "r-1",
        "claimed": score,
        "final": score,
        "gain": measure(0.05),
        "voted": None,
        "elsewhere": (),
        "ablations": (),
        "flags": (),
        "beside": "",
        "verdict": "confirmed",
        "reasons": (),
        "p_adjusted": one,
        "m": one,
        "p_adjusted_now": one,
        "m_now": one,
        "stands": True,
        "record": "confirmations/s.json",
    }
    return ClaimRow(**(fields | changed))


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ((), ""),
        ((ablated("final", 0.3, 0.01), ablated("feedback", 0.2, 0.01)), ""),
        # on one split, 1e-6 is needed
        ((ablated("final", 1e-5, 0.4), ablated("feedback", 0.2, 0.01)), ""),
        (
            (ablated("final", 1e-7, 0.4), ablated("feedback", 0.2, 0.01)),
            "student-free: 40% of its gain over chance needs neither teacher nor student",
        ),
        (
            (ablated("final", 0.0009, 0.4), ablated("feedback", 0.0009, 0.1)),  # on both, 0.001
            "student-free: 40% of its gain over chance needs neither teacher nor student",
        ),
        (
            (ablated("feedback", 1e-9, None),),
            "student-free: what it scores needs neither teacher nor student",
        ),
    ],
)
def test_what_stands_beside_a_verdict(targets, words):
    assert _beside(record(*targets)) == words


def test_verdict_is_read_with_its_notes_and_validity():
    assert row().standing == "confirmed"
    assert row(beside="student-free: all of it").standing == "confirmed (student-free: all of it)"
    assert row(stands=False, beside="x").standing == "confirmed, but no longer (x)"


def test_an_ablation_is_found_by_kind_and_split_and_says_what_is_left():
    shown = _ablation(ablated("feedback", 0.0004, 0.4), 2004)
    one = row(ablations=(shown,))
    assert one.left("ablated", "feedback") == shown
    assert one.left("ablated") is None
    assert left(shown) == "0.620 [0.610, 0.630] (40% of its gain over chance), p 0.0004"
    assert left(None) == "not run"
    failed = AblationRow(
        kind="ablated", split="final", accuracy=None, p=None, share=None, failure="it raised"
    )
    assert left(failed) == "failed"
    assert (
        left(shown.model_copy(update={"share": None, "p": statistic(0.5, 9)}))
        == "0.620 [0.610, 0.630], p 0.5"
    )


@pytest.mark.parametrize(
    ("kind", "words"), [("fresh", "0.70 [0.69, 0.71]"), ("pair", "0.70 [0.69, 0.71]")]
)
def test_elsewhere_names_transfer_problems_alone(kind, words):
    score = Score(accuracy=measure(0.8), pgr=measure(0.7))
    where = {
        "problem": "small-chat v1, data seed 1",
        "student": "MiniLM",
        "score": score,
        "gain": None,
        "failure": None,
    }
    found = ElsewhereRow(name=kind, kind=kind, **where)
    assert elsewhere(found) == words
    assert getattr(row(elsewhere=(found,)), kind) == found
    transfer = ElsewhereRow(name="small-math", kind="transfer", **where)
    assert elsewhere(transfer) == f"small-math {words}"
    assert row(elsewhere=(found, transfer)).transfer == (transfer,)
