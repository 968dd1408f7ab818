"""The answer of a campaign in sentences, for the top of its report: what was found, what it cost,
what to doubt."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aarlab.report.figure_words import accuracy, hours, interval, p_value, percent, rate, score
from aarlab.report.report_record import ClaimRow, Report


class Headline(NamedTuple):
    """Each a list of sentences."""

    found: tuple[str, ...]
    cost: tuple[str, ...]
    doubts: tuple[str, ...]


def headline(report: Report) -> Headline:
    """Of one report."""
    best = first_confirmed(report)
    found = [claim_words(report)] if best is None else [claim_words(report), *_beside(report, best)]
    return Headline(tuple(found), tuple(_cost(report)), tuple(_doubts(report, best)))


def first_confirmed(report: Report) -> ClaimRow | None:
    """The confirmed claim that ranked first: the highest of several confirmed figures is
    optimistic."""
    return first_standing(report.claims)


def first_standing(claims: Sequence[ClaimRow]) -> ClaimRow | None:
    """As `first_confirmed`, of a report that is being made."""
    standing = (c for c in claims if c.stands and c.verdict == "confirmed" and c.final)
    return next(standing, None)


def claim_words(report: Report) -> str:
    """The first of the fleet's claims that was confirmed, or why none was."""
    best = first_confirmed(report)
    if best is None:
        return _none_confirmed(report.claims)
    said = (
        f"The fleet's first confirmed claim ({best.family}, by {best.researcher}) has PGR "
        f"{score(best.final)} on items that nobody could query: accuracy "
        f"{accuracy(best.gain)} above tuned naive, adjusted p {p_value(best.p_adjusted_now)}."
    )
    return said + (f" Note: {best.beside}." if best.beside else "")


def _none_confirmed(claims: Sequence[ClaimRow]) -> str:
    """Why, of the first leader."""
    if not claims:
        return "The fleet reported no improvement, so nothing was put to confirmation."
    first = claims[0]
    reasons = "; ".join(first.reasons) or "no reason was recorded"
    return (
        f"None of {len(claims)} leaders was confirmed. Of the first ({first.family}, by "
        f"{first.researcher}, claimed PGR {score(first.claimed)}) the verdict is: "
        f"{first.standing}: {reasons}."
    )


def _beside(report: Report, best: ClaimRow) -> Iterator[str]:
    """The claim beside what it had claimed, and beside the best baseline."""
    yield f"On feedback, which it could query, it had claimed {score(best.claimed)}."
    rows = [(b.final.pgr, b.name) for b in report.baselines if b.final.pgr is not None]
    if rows and best.final and best.final.pgr:
        top, name = max(rows, key=lambda row: row[0].estimate)
        above = best.final.pgr.lower > top.upper
        apart = "the claim's interval lies above that" if above else "the two intervals overlap"
        paired = "; the gain above is against it, in pairs" if name == "naive-tuned" else ""
        yield f"The best baseline is {name} with {interval(top)}: {apart}{paired}."


def _cost(report: Report) -> Iterator[str]:
    totals, cost = report.totals, report.costs
    yield (
        f"{interval(totals.experiments)} experiments and {interval(totals.findings)} findings of "
        f"{len(report.researchers)} researchers in {hours(cost.campaign.hours)} researcher-hours. "
        f"Cost: {cost.campaign.total}; per researcher-hour {rate(cost)}."
    )


def _doubts(report: Report, best: ClaimRow | None) -> Iterator[str]:
    if not report.finished:
        yield "The campaign has not finished: figures are provisional."
    if best is not None:
        yield from _doubts_of(best, str(report.campaign["name"]), report.cannot)
    if report.flags:
        named = ", ".join(sorted({flag.detector for flag in report.flags}))
        yield f"Detectors raised {len(report.flags)} flags ({named}): read their evidence below."
    for row in report.released:
        if row.labels == "feedback" and row.inflation_bound is not None:
            inside = (
                ""
                if row.inflation_bound_pgr is None
                else (f" ({row.inflation_bound_pgr.estimate:.2f} PGR)")
            )
            yield (
                "A level that was reported on feedback may be up to "
                f"{row.inflation_bound.estimate:.3f} accuracy{inside} above the truth; what was "
                "confirmed does not depend on it."
            )
    if any(row.is_shortcut for row in report.lengths):
        yield "The length of an answer alone says something about some labels: see 'Length alone'."


def _doubts_of(best: ClaimRow, campaign: str, cannot: Sequence[str]) -> Iterator[str]:
    """What was not asked of the claim, and what is left of it without what it should need."""
    kinds = {"fresh": "a fresh draw of the data", "pair": "another teacher and student"}
    left_out = [kind for kind in kinds if getattr(best, kind) is None]
    missing = [kinds[kind] for kind in left_out if kind not in cannot]
    missing += [] if best.transfer else ["other problems"]
    if missing:
        yield f"It was not run on {', '.join(missing)}: aar confirm {campaign} adds these."
    if "fresh" in cannot:
        yield "It was not run on a fresh draw of the data: the problem has no other items."
    left = best.left("teacherless")
    if left is not None and left.share is not None:
        yield (
            f"Without the weak labels {percent(left.share.estimate)} of its gain over chance is "
            "left: so much of it does not come from them."
        )
    if best.flags:
        yield f"Its confirmation raised flags: {', '.join(best.flags)}."
