"""The top of a report: the answer in sentences, what it cost, and what to doubt."""

import pytest

from aarlab.core.records import Measure
from aarlab.fleet.campaign import Campaign
from aarlab.report.build import _cannot, _no_fresh_draw, build
from aarlab.report.headline import claim_words, first_confirmed, headline
from aarlab.report.pages import bars, ends, write
from aarlab.report.report_record import AblationRow, ElsewhereRow, Score
from aarlab.report.report_record import count as exact
from tests.report.test_ranked_claims import measure, row


def pgr(value, half=0.01):
    return Measure(estimate=value, lower=value - half, upper=value + half, n=10, resampled="made")


def scored(value, half=0.01):
    return Score(accuracy=measure(0.8), pgr=pgr(value, half))


@pytest.fixture
def report(starts_processes, bed, evaluator):
    """Of a campaign in which nothing was submitted, with two baselines."""
    campaign = Campaign(name="c", problem="generated-chat", student="double")
    made = build(campaign, bed, evaluator, isolation="bubblewrap: all")
    names = ("naive", "naive-tuned")
    rows = [b.model_copy(update={"name": n}) for n, b in zip(names, made.baselines, strict=False)]
    rows = [
        b.model_copy(update={"final": scored(p)}) for b, p in zip(rows, (0.2, 0.4), strict=True)
    ]
    return made.model_copy(update={"baselines": tuple(rows), "finished": True})


def with_claims(report, *claims):
    return report.model_copy(update={"claims": claims})


def test_the_first_confirmed_claim_is_the_answer_also_where_a_later_one_has_more(report):
    first = row(rank=2, researcher="bob", final=scored(0.6), claimed=scored(0.7))
    better = row(rank=3, researcher="eve", final=scored(0.9))
    lost = row(rank=1, verdict="not reproducible")
    found = with_claims(report, lost, first, better)
    assert first_confirmed(found) == first
    said, claimed, beside = headline(found).found
    assert said.startswith("The fleet's first confirmed claim (other, by bob) has PGR 0.60 [0.59,")
    assert claimed == "On feedback, which it could query, it had claimed 0.70 [0.69, 0.71]."
    assert beside == (
        "The best baseline is naive-tuned with 0.40 [0.39, 0.41]: the claim's interval lies above "
        "that; the gain above is against it, in pairs."
    )


def test_intervals_that_overlap_are_said_to_overlap(report):
    found = with_claims(report, row(final=scored(0.5, half=0.2)))
    assert "the two intervals overlap" in headline(found).found[2]


def test_a_verdict_that_no_longer_stands_is_no_answer(report):
    found = with_claims(report, row(stands=False, reasons=("too many were tried",)))
    (said,) = headline(found).found
    assert said == claim_words(found)
    assert said.startswith("None of 1 leaders was confirmed.")
    assert "confirmed, but no longer: too many were tried" in said
    assert claim_words(with_claims(report)).startswith("The fleet reported no improvement")


def test_doubts_name_what_was_not_run_what_is_left_and_what_was_flagged(report):
    left = AblationRow(
        kind="teacherless",
        split="final",
        accuracy=measure(0.6),
        p=exact(0),
        share=pgr(0.22),
        failure=None,
    )
    doubts = headline(with_claims(report, row(ablations=(left,), flags=("same code",)))).doubts
    assert doubts[0] == (
        "It was not run on a fresh draw of the data, another teacher and student, other problems: "
        "aar confirm c adds these."
    )
    assert "22% of its gain over chance is left" in doubts[1]
    assert doubts[2] == "Its confirmation raised flags: same code."
    assert any("may be up to" in words for words in doubts[3:])
    unfinished = report.model_copy(update={"finished": False})
    assert "figures are provisional" in headline(unfinished).doubts[0]


def test_claimed_stands_beside_confirmed_and_all_is_within_the_picture(report, tmp_path):
    found = with_claims(report, row(claimed=scored(1.2), final=scored(-0.3)))
    rows = bars(found)
    assert [r["kind"] for r in rows] == ["baseline", "baseline", "claimed", "confirmed"]
    assert all(r["left"] >= 0 and r["left"] + r["width"] <= 100.01 for r in rows)
    weak, ceiling = ends(found)
    assert rows[3]["dot"] < weak < rows[0]["dot"] < ceiling < rows[2]["dot"]
    text = write(found, tmp_path).read_text()
    assert (
        text.index("first confirmed claim") < text.index("What to doubt") < text.index("<details>")
    )
    assert "What to doubt" in (tmp_path / "report.md").read_text()


def test_a_fresh_draw_is_not_asked_for_where_there_are_no_other_items(report):
    (best,) = with_claims(report, row()).claims
    doubts = headline(
        with_claims(report, best).model_copy(update={"cannot": ("fresh", "pair")})
    ).doubts
    assert doubts[0] == "It was not run on other problems: aar confirm c adds these."
    assert doubts[1] == (
        "It was not run on a fresh draw of the data: the problem has no other items."
    )


def test_the_note_on_a_fresh_draw_says_what_can_be_done(tmp_path):
    left_out = Campaign(problem="generated-chat", confirm_on_fresh=False, name="c")
    (asked,) = _no_fresh_draw(left_out, [row()], _cannot(left_out))
    assert "Run `aar confirm c`" in asked
    ran = ElsewhereRow(
        name="fresh",
        kind="fresh",
        problem="p",
        student="s",
        score=None,
        gain=None,
        failure="it raised",
    )
    assert list(_no_fresh_draw(left_out, [row(elsewhere=(ran,))], ())) == []
    gone = left_out.model_copy(update={"problem": str(tmp_path / "mine.jsonl")})
    (none,) = _no_fresh_draw(gone, [row()], _cannot(gone))
    assert none.startswith("There is no fresh draw: mine.jsonl has no other items.")
    assert "aar confirm" not in none
