"""Build a Report from the ledger and the private arrays. Scores come only from the ledger, never
from researchers."""

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aarlab.core.crossed import note_few_seeds
from aarlab.core.entries import (
    ConfirmationBody,
    EventBody,
    FindingBody,
    Flag,
    SubmissionBody,
    read_all,
)
from aarlab.core.errors import Misconfigured
from aarlab.core.layout import PublicFolder
from aarlab.core.records import Entry, EntryKind
from aarlab.evaluation.confirmation.gate import COULD_NOT
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger.views import aside_in, flags_in
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.measure_baselines import load_baselines
from aarlab.fleet.start_outlook import start_outlook
from aarlab.problems import PROBLEMS
from aarlab.problems.length_control import length_control
from aarlab.problems.publish import read_private_items
from aarlab.report.builds import code_notes, code_rows
from aarlab.report.costs import costs
from aarlab.report.curve import curve_of
from aarlab.report.diversity import diversity_rows
from aarlab.report.inputs import input_rows
from aarlab.report.ranked_claims import claim_rows, released_rows
from aarlab.report.report_record import (
    BaselineRow,
    ClaimRow,
    FlagRow,
    Report,
    ReportedRow,
    ResearcherRow,
    Totals,
    count,
)
from aarlab.report.winner import winner
from aarlab.testbeds.gap import AnchorScores
from aarlab.testbeds.testbed import Testbed


def baseline_rows(testbed: Testbed) -> tuple[BaselineRow, ...]:
    """Every measured baseline on both splits."""
    anchors, found = AnchorScores(testbed), load_baselines(testbed)
    names = [key.split("/")[1] for key in found if key.startswith("feedback/")]
    return tuple(
        BaselineRow(
            name=n, **{s: anchors.score(s, found[f"{s}/{n}"]) for s in ("feedback", "final")}
        )
        for n in names
    )


KINDS: tuple[EntryKind, ...] = ("submission", "finding")


def build(
    campaign: Campaign,
    testbed: Testbed,
    evaluator: Evaluator,
    *,
    isolation: str,
    faults: tuple[str, ...] | None = None,
    upto: int | None = None,
) -> Report:
    """The report of a campaign in its current state, or from its first `upto` entries. `faults`:
    the faults that an audit found; None if there was no audit.

    Raises:
        Misconfigured: the ledger's hash chain is broken, or the testbed lacks its `final` items,
            so that nothing can be reported.
    """
    evaluator.ledger.verify()
    entries = evaluator.ledger.entries(limit=-1 if upto is None else upto)
    of = {kind: [e for e in entries if e.kind == kind] for kind in KINDS}
    testbed.require_whole()
    anchors = AnchorScores(testbed)
    claims, cannot = claim_rows(evaluator, entries, anchors), _cannot(campaign)
    return Report(
        **campaign_fields(campaign, PublicFolder(testbed.public), evaluator, entries),
        student=campaign.student,
        isolation=isolation,
        anchors_feedback=anchors.anchors("feedback"),
        anchors_final=anchors.anchors("final"),
        baselines=baseline_rows(testbed),
        naive_tuned_setting=testbed.naive_tuned.read_text().strip(),
        lengths=length_control(read_private_items(testbed.folder)),
        claims=claims,
        cannot=cannot,
        winner=winner(claims, of["finding"], evaluator),
        released=released_rows(evaluator, evaluator.answers["final"]),
        diversity=diversity_rows(of["submission"], of["finding"], evaluator.code),
        flags=tuple(_flag(entry, flag) for entry, flag in flags_in(entries)),
        inputs=input_rows(testbed, evaluator),
        faults=faults,
        troubles=_troubles(campaign, anchors, evaluator),
        code=code_rows(testbed, entries),
        notes=(
            *code_notes(testbed, evaluator, entries),
            *_notes(campaign, isolation),
            *_no_fresh_draw(campaign, claims, cannot),
            *_few_seeds(testbed),
            *_notes_of_entries(campaign, entries),
        ),
    )


def campaign_fields(
    campaign: Campaign, public: PublicFolder, evaluator: Evaluator, entries: Sequence[Entry]
) -> dict[str, Any]:
    """The fields of a `CampaignReport` that follow from its settings and the ledger."""
    events = [e.read(EventBody).event for e in entries if e.kind == "campaign"]
    return {
        "campaign": campaign.model_dump(mode="json"),
        "problem": json.loads(public.card.read_text()),
        "finished": "finished" in events,
        "told": _reported_rows([e for e in entries if e.kind == "submission"]),
        "curve": curve_of(entries),
        "researchers": _research_rows(entries),
        "totals": _totals(entries),
        "costs": costs(campaign, entries),
        "ledger_head": entries[-1].hash if entries else "",
        "ledger_root": b64encode(evaluator.ledger.root_of(len(entries))).decode(),
    }


def _notes_of_entries(campaign: Campaign, entries: Sequence[Entry]) -> Iterator[str]:
    """What the ledger says that a reader should know."""
    yield from unrun_notes(campaign, entries)
    yield from _refused_calls(entries)
    yield from (f"{words[:1].upper()}{words[1:]}" for words in aside_in(entries).values())


def _reported_rows(submissions: Sequence[Entry]) -> tuple[ReportedRow, ...]:
    """The improvements that were reported."""
    return tuple(
        ReportedRow(
            at=e.at,
            receipt=body.receipt.id,
            researcher=e.who,
            family=body.family,
            level_pgr=count(body.receipt.level_pgr, n=1),
        )
        for e, body in read_all(submissions, SubmissionBody)
        if body.receipt.improved
    )


def _research_rows(entries: Sequence[Entry]) -> tuple[ResearcherRow, ...]:
    """Each researcher, with what it submitted."""
    names = dict.fromkeys(e.who for e in entries if e.kind == "researcher")
    events = [(e.who, e.read(EventBody).direction) for e in entries if e.kind == "researcher"]
    directions = {who: direction for who, direction in events if direction is not None}
    rows = []
    for name in names:
        mine = [e for e in entries if e.who == name]
        submitted = [body for _, body in read_all(mine, SubmissionBody)]
        rows.append(
            ResearcherRow(
                name=name,
                direction=directions.get(name, ""),
                experiments=count(len(submitted)),
                told_improvements=count(sum(body.receipt.improved for body in submitted)),
                failures=count(_failures(mine)),
            )
        )
    return tuple(rows)


def _failures(entries: Sequence[Entry]) -> int:
    return sum(body.kind == "error" for _, body in read_all(entries, FindingBody))


def _flag(entry: Entry, flag: Flag) -> FlagRow:
    evidence = flag.evidence if isinstance(flag.evidence, str) else json.dumps(flag.evidence)
    return FlagRow(
        at=entry.at,
        detector=flag.detector,
        submitter=flag.submitter,
        receipts=flag.receipts,
        evidence=evidence,
    )


def _totals(entries: Sequence[Entry]) -> Totals:
    """What the ledger holds, in numbers."""
    findings = [e for e in entries if e.kind == "finding"]
    return Totals(
        experiments=count(sum(e.kind == "submission" for e in entries)),
        findings=count(len(findings)),
        failures=count(_failures(findings)),
        ledger_entries=count(len(entries)),
    )


def unrun_notes(campaign: Campaign, entries: Sequence[Entry]) -> Iterator[str]:
    """Of every snapshot whose latest confirmation the machine ended, why it has no verdict, or not
    on every target."""
    latest: dict[str | None, EventBody | ConfirmationBody] = {}
    for entry in entries:
        if entry.kind == "confirmation":
            latest[entry.read(ConfirmationBody).snapshot] = entry.read(ConfirmationBody)
        elif entry.kind == "campaign" and (event := entry.read(EventBody)).event == COULD_NOT:
            latest[event.snapshot] = event
    for last in latest.values():
        if isinstance(last, EventBody):
            words = (
                f"Could not be run: {last.detail} That is no verdict and no fault of the "
                "submitter's."
            )
            yield f"{words} `aar confirm {campaign.name}` tries again on the same seeds."


def _few_seeds(testbed: Testbed) -> tuple[str, ...]:
    with np.load(testbed.anchors) as stored:
        return note_few_seeds({"anchors": min(len(array) for array in stored.values())})


def _troubles(campaign: Campaign, anchors: AnchorScores, evaluator: Evaluator) -> tuple[str, ...]:
    """Sentences that say why figures of this report carry no information."""
    small = start_outlook(campaign.policy, evaluator.units, evaluator.pgr_scale, fleets=0).trouble
    return (*anchors.troubles, *([small] if small else []))


def _refused_calls(entries: Sequence[Entry]) -> tuple[str, ...]:
    """That model calls were refused or failed while the fleet ran, in whose words."""
    events = (body for e, body in read_all(entries, EventBody) if e.kind == "campaign")
    found = (e.detail for e in events if e.event.startswith("model calls "))
    return tuple(dict.fromkeys(f"While the fleet ran, {words}." for words in found if words))


def _cannot(campaign: Campaign) -> tuple[str, ...]:
    """On which kinds of targets no claim of this campaign can be run. Of a file that is gone nobody
    knows."""
    try:
        problem = PROBLEMS[campaign.problem]
    except (Misconfigured, OSError):
        return ("fresh",) if campaign.problem.endswith(".jsonl") else ()
    fresh = ("fresh",) if problem.fixed else ()
    return (*fresh, "pair") if problem.worded else fresh


def _no_fresh_draw(
    campaign: Campaign, claims: Sequence[ClaimRow], cannot: tuple[str, ...]
) -> Iterator[str]:
    """That no claim was run on a fresh draw, and what to do."""
    if any(claim.fresh for claim in claims):
        return
    if "fresh" in cannot:
        yield (
            f"There is no fresh draw: {Path(campaign.problem).name} has no other items. What is "
            "confirmed holds for items like those of final; collect new ones to try it on more."
        )
    elif not campaign.confirm_on_fresh:
        yield (
            f"No fresh draw of the data was run. Run `aar confirm {campaign.name}` for the full "
            "confirmation."
        )


def _notes(campaign: Campaign, isolation: str) -> tuple[str, ...]:
    notes = []
    if ": NONE" in isolation:
        notes.append(
            "Researchers were NOT isolated: they could read the private folder. Do not trust any "
            "figure of this report."
        )
    if campaign.student == "double":
        notes.append("The student is a test double: its figures have no meaning.")
    if campaign.kind == "scripted":
        notes.append(
            "The model was a script on this machine: the dollars are list prices of such calls, "
            "and were not paid."
        )
    if campaign.data_seed == 0:
        notes.append("Hyper-parameters were chosen on data seed 0, so its figures are optimistic.")
    notes.append(
        "A confirmed method is better on final than the naive method with settings chosen on "
        "feedback, by a one-sided test over items and seeds. The test is Holm-adjusted for all m "
        "snapshots that were ever confirmed or tried on this final. The other pair and transfer "
        "problems do not decide."
    )
    if campaign.usd_per_researcher_hour is None:
        notes.append(
            "The costs do not include the machine's time: the campaign gives no "
            "usd_per_researcher_hour."
        )
    return tuple(notes)
