"""The report's rows of confirmations and label sets."""

from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any

from aarlab.core.entries import SubmissionBody
from aarlab.core.intervals import accuracy_measure
from aarlab.core.records import Entry, Measure
from aarlab.evaluation.confirmation.confirmation_record import (
    ABLATED,
    ConfirmationRecord,
    TargetResult,
    record_of,
    record_path,
)
from aarlab.evaluation.confirmation.submitter_flags import STUDENT_FREE
from aarlab.evaluation.confirmation.verdict import ALPHA, paired_effect
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.scoring.grade import grade
from aarlab.evaluation.scoring.hidden_labels import load_unit_numbers
from aarlab.evaluation.scoring.tries import Tries, Try, tries_of
from aarlab.report.report_record import (
    AblationRow,
    ClaimRow,
    ElsewhereRow,
    Evidence,
    ReleasedRow,
    Score,
    VotedRow,
    WithoutRow,
    count,
    statistic,
)
from aarlab.testbeds.gap import AnchorScores, Correct

MOST_E = 1e300  # JSON has no infinity: of a p-value that is 0 to a processor


def claim_rows(
    evaluator: Evaluator, entries: Sequence[Entry], anchors: AnchorScores
) -> tuple[ClaimRow, ...]:
    """One row a snapshot that was put to confirmation, from its latest record; confirmed ones
    first, then by claim."""
    rows = [
        (record, anchors.score("feedback", _correct(evaluator, submission)))
        for record, submission in latest_records(entries)
    ]
    rows.sort(key=lambda row: (row[0].verdict != "confirmed", -row[1].accuracy.estimate))
    return tuple(_row(rank, *row, evaluator, anchors) for rank, row in enumerate(rows, start=1))


def latest_records(entries: Sequence[Entry]) -> list[tuple[ConfirmationRecord, Entry]]:
    """The latest record of each snapshot, with the submission that it is a claim of."""
    by_seq = {e.seq: e for e in entries if e.kind == "submission"}
    records = [record_of(e) for e in entries if e.kind == "confirmation"]
    latest = {record.snapshot: record for record in records}
    return [(record, by_seq[record.claim.ledger_seq]) for record in latest.values()]


def leader_fields(
    rank: int, record: ConfirmationRecord, evaluator: Evaluator, p: float | None, n: int
) -> dict[str, Any]:
    """The fields of a `RankedClaim`. `p`: on n units of `final`."""
    tries = tries_of(evaluator.problem)
    tried = tries.find(evaluator.campaign, record.id)
    now, m_now = tries.adjusted(tried, p)
    return {
        "rank": rank,
        "researcher": record.claim.researcher,
        "family": record.claim.family,
        "snapshot": record.snapshot,
        "receipt": record.claim.receipt,
        "verdict": record.verdict,
        "reasons": record.reasons,
        "p_adjusted": None if record.p_adjusted is None else statistic(record.p_adjusted, n),
        "m": count(record.m),
        "p_adjusted_now": None if now is None else statistic(now, n),
        "m_now": count(m_now),
        "evidence": _evidence(tries, tried, p, n),
        "stands": record.verdict != "confirmed" or (now is not None and now < ALPHA),
        "record": str(record_path(Path("confirmations"), record.snapshot)),
    }


def _row(
    rank: int,
    record: ConfirmationRecord,
    claimed: Score,
    evaluator: Evaluator,
    anchors: AnchorScores,
) -> ClaimRow:
    final, n = record.of("final"), len(evaluator.answers["final"])
    return ClaimRow(
        **leader_fields(rank, record, evaluator, record.p, n),
        claimed=claimed,
        final=None
        if final is None or final.failure
        else anchors.score("final", _final(evaluator, final)),
        gain=None if final is None or final.effect is None else final.effect.difference,
        voted=_voted(final, n),
        elsewhere=tuple(
            _elsewhere(t) for t in record.targets if t.kind in {"fresh", "transfer", "pair"}
        ),
        ablations=tuple(_ablation(t, n) for t in record.targets if t.kind in ABLATED),
        components=_components(evaluator, record),
        flags=record.flags,
        beside=_beside(record),
    )


def _evidence(tries: Tries, tried: Try, p: float | None, n: int) -> Evidence | None:
    """The e-value of a try on n units of `final`."""
    found = tries.evidence(tried, p, ALPHA)
    if found is None:
        return None
    e, discovery = found
    return Evidence(e=statistic(min(e, MOST_E), n), discovery=discovery)


def _beside(record: ConfirmationRecord) -> str:
    """A warning beside the verdict, or "": the part of the claim that needs neither teacher nor
    student."""
    if not record.student_free:
        return ""
    shares = [
        t.remainder.share
        for t in record.remainders
        if t.remainder and t.remainder.share is not None
    ]
    much = f"{max(shares):.0%} of its gain over chance" if shares else "what it scores"
    return f"{STUDENT_FREE}: {much} needs neither teacher nor student"


def _voted(final: TargetResult | None, n: int) -> VotedRow | None:
    if final is None or final.voted is None:
        return None
    found = final.voted
    return VotedRow(
        seeds=count(found.seeds),
        naive=found.naive,
        ceiling=found.ceiling,
        gain=found.gain,
        pgr=None if found.pgr is None else statistic(found.pgr, n),
    )


def _ablation(target: TargetResult, n: int) -> AblationRow:
    left = target.remainder
    return AblationRow(
        kind=target.kind,
        split=target.split or "final",
        accuracy=left.accuracy if left else None,
        p=statistic(left.p, n) if left else None,
        share=statistic(left.share, n) if left and left.share is not None else None,
        failure=target.failure,
    )


def _components(evaluator: Evaluator, record: ConfirmationRecord) -> tuple[WithoutRow, ...]:
    """Graded again from the stored answers, the whole code's and those without each component."""
    taken = [target for target in record.targets if target.kind == "component"]
    whole = record.of("final")
    if not taken or whole is None or "method" not in whole.predictions:
        return ()
    units_M = load_unit_numbers(evaluator.problem, "final", sorted(evaluator.answers["final"]))
    rows = []
    for target in taken:
        found = None
        if target.predictions:
            found = [_final(evaluator, one) for one in (whole, target)]
        rows.append(
            WithoutRow(
                name=target.name,
                removed=target.removed,
                seeds=count(len(target.seeds)),
                accuracy=found and accuracy_measure(found[1], units_M),
                lost=found and paired_effect(*found, units_M).difference,
                failure=target.failure,
            )
        )
    return tuple(rows)


def _correct(evaluator: Evaluator, submission: Entry) -> Correct:
    """Graded again from the stored predictions, not from a stored score."""
    predictions = evaluator.predictions(submission.read(SubmissionBody).predictions)
    return grade(predictions, evaluator.answers["feedback"], sorted(predictions))


def _final(evaluator: Evaluator, final: TargetResult) -> Correct:
    predictions = evaluator.predictions(final.predictions["method"])
    return grade(predictions, evaluator.answers["final"], sorted(predictions))


def _elsewhere(target: TargetResult) -> ElsewhereRow:
    score = None
    if target.accuracy is not None:
        score = Score(accuracy=target.accuracy, pgr=target.pgr)
    return ElsewhereRow(
        name=target.name,
        kind=target.kind,
        problem=target.problem,
        student=target.student,
        score=score,
        gain=target.effect.difference if target.effect else None,
        failure=target.failure,
    )


def released_rows(evaluator: Evaluator, on_final: Sized) -> tuple[ReleasedRow, ...]:
    """The bits released about `feedback`, which answers submissions, and about `final`, with its
    items."""
    state, n_final = evaluator.meter.state(), len(on_final)
    tries = tries_of(evaluator.problem)
    tried, answers, bits = tries.spent()
    cap, n, at_cap = state["cap_bits"], state["items"], state["inflation_bound_at_cap"]
    feedback = ReleasedRow(
        labels="feedback",
        items=count(n),
        answers=count(state["answers"]),
        bits=statistic(state["bits"], n),
        campaign_bits=statistic(state["bits_by_campaign"].get(evaluator.campaign, 0.0), n),
        cap_bits=None if cap is None else statistic(cap, n),
        inflation_bound=statistic(state["inflation_bound"], n),
        inflation_bound_pgr=_in_pgr(evaluator, state["inflation_bound"]),
        inflation_bound_at_cap=None if at_cap is None else statistic(at_cap, n),
        inflation_bound_at_cap_pgr=None if at_cap is None else _in_pgr(evaluator, at_cap),
        independent=count(state["independent_labels"]),
        verdict_bits=statistic(state["verdict_bits"], n),
    )
    final = ReleasedRow(
        labels=f"final ({tried} snapshots tried)",
        items=count(n_final),
        answers=count(answers),
        bits=statistic(bits, n_final),
        campaign_bits=statistic(tries.spent(evaluator.campaign)[2], n_final),
        cap_bits=None,
        inflation_bound=None,
    )
    return feedback, final


def _in_pgr(evaluator: Evaluator, accuracy: float) -> Measure | None:
    """A difference of accuracies on `feedback` in PGR; None if the anchors leave no gap."""
    anchors = evaluator.pgr_scale
    if anchors.ceiling <= anchors.weak:
        return None
    return statistic(anchors.pgr_of_difference(accuracy), len(evaluator.ids))
