"""The figure of the reported level over time: what was released, and no exact score."""

import re

import pytest

from aarlab.core.entries import SubmissionBody
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet.campaign import Campaign
from aarlab.programs.reproduce import figures
from aarlab.report.build import build
from aarlab.report.curve import curve_of
from aarlab.report.curve_picture import NARROW, WIDE, Known, picture_of, shapes
from aarlab.report.folder_report import FolderClaim, FolderReport
from aarlab.report.pages import html
from aarlab.report.report_record import Score
from aarlab.runs.served_folder import BaselineScores
from tests.evaluation.test_confirmation import submit
from tests.report.test_ranked_claims import measure, row
from tests.web.test_web_pages import all_spelled, on_page

EXACT = 0.7123456789


@pytest.fixture
def campaign_entries(starts_processes, bed, evaluator):
    """Three submissions; the second has the highest score."""
    for number, right in enumerate((0.7, 0.95, 0.8), start=1):
        submit(evaluator, number, right)
    return evaluator.ledger.entries()


@pytest.fixture
def report(campaign_entries, bed, evaluator: Evaluator):
    made = build(
        Campaign(name="c", problem="generated-chat", student="double"),
        *(bed, evaluator),
        isolation="bubblewrap: all",
    )
    final = Score(accuracy=measure(EXACT), pgr=measure(EXACT))
    claims = (row(final=final), row(final=final, rank=2, verdict="not reproducible"))
    return made.model_copy(update={"claims": claims})


def receipts(entries):
    return [e.read(SubmissionBody).receipt for e in entries if e.kind == "submission"]


def test_the_level_never_falls_and_is_what_was_reported(campaign_entries):
    given = receipts(campaign_entries)
    curve = curve_of(campaign_entries)
    levels = [point.level_pgr.estimate for point in curve.points]
    assert levels == sorted(levels)
    assert levels[-1] == max(receipt.level_pgr for receipt in given) > levels[0]
    assert curve.points[-1].certified_pgr.estimate == given[-1].certified_pgr
    assert 0 < curve.points[0].hours.estimate <= curve.hours.estimate
    assert curve_of([e for e in campaign_entries if e.kind != "submission"]) is None


def test_the_figure_has_no_exact_score(report, campaign_entries):
    page = html(report)
    (figure,) = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
    assert len(re.findall("<svg", figure)) == 2
    assert figure.count('class="leader yes"') == figure.count('class="leader "') == 2
    assert "0.71 [0.70, 0.72], confirmed" in figure
    bodies = [e.read(SubmissionBody) for e in campaign_entries if e.kind == "submission"]
    exact = [EXACT, *(b.exact_accuracy for b in bodies), *(b.exact_pgr for b in bodies)]
    exact += [b.feedback.pgr.estimate for b in report.baselines if b.feedback.pgr]
    known = {f"{v:.2f}" for r in receipts(campaign_entries) for v in (r.level_pgr, r.next_step_pgr)}
    ways = all_spelled(exact)
    assert on_page(figure, ways, known) == set()
    assert on_page(f"{figure}{EXACT:.4f}", ways, known), "the search can fail"
    assert "curve/points/r-000001/level_pgr" in figures(report)


def test_without_a_submission_a_sentence_stands_there(report):
    without = report.model_copy(update={"curve": None})
    assert "Nothing was submitted: no level was reported over time." in html(without)
    assert "<figure>" not in html(without)
    assert not [name for name in figures(without) if name.startswith("curve")]


def test_a_problem_in_a_folder_has_scores_and_its_own_baseline(campaign_entries):
    scored = BaselineScores(levels={}, combined=measure(0.4))
    claim = FolderClaim.model_construct(
        rank=1, verdict="confirmed", stands=True, final=measure(EXACT)
    )
    found = picture_of(
        FolderReport.model_construct(
            curve=curve_of(campaign_entries),
            comparator="half",
            baselines={"half": {"feedback": scored, "final": scored}},
            claims=(claim,),
        )
    )
    assert (found.unit, found.best) == ("score", "half")
    assert found.lines == (Known("best", "best", 0.4, 0.4), Known("ceiling", "ceiling", 1.0, 1.0))
    for width in (WIDE, NARROW):
        drawn = shapes(found, width)
        (leader,) = drawn["leaders"]
        assert drawn["end"] < drawn["beside"] < leader["x"] < drawn["right"] < width
        assert 0 < leader["upper_y"] < leader["y"] < leader["lower_y"] < drawn["bottom"]
