"""The report of a campaign on a problem in a folder. Scores come only from the ledger and from what
set-up measured, never from researchers."""

from collections.abc import Iterator, Sequence

from aarlab.core.entries import SubmissionBody
from aarlab.core.layout import PublicFolder
from aarlab.core.operation_records import families_of
from aarlab.core.records import Entry, Measure, Record
from aarlab.evaluation.confirmation.confirmation_record import (
    ConfirmationRecord,
)
from aarlab.evaluation.confirmation.unit_gate import figures_again
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.scoring.graded_units import GradedUnits
from aarlab.evaluation.scoring.marking import UnitMarking, stored
from aarlab.evaluation.scoring.unit_scores import Gate, Measured
from aarlab.fleet.campaign import Campaign
from aarlab.report.build import campaign_fields, unrun_notes
from aarlab.report.builds import folder_code_rows
from aarlab.report.diversity import folder_diversity
from aarlab.report.diversity_record import FolderDiversity
from aarlab.report.inputs import folder_inputs
from aarlab.report.ranked_claims import latest_records, leader_fields, released_rows
from aarlab.report.report_record import CampaignReport, RankedClaim
from aarlab.runs.served_folder import BaselineScores, ServedFolder


class OnOtherData(Record):
    """What the same code scored on a fresh draw of the data, or without what an ablation takes out:
    shown, and no part of the verdict."""

    name: str
    kind: str
    score: Measure | None
    gain: Measure | None  # over the best baseline; on a fresh draw on the same, else on final
    failure: str | None


class FolderClaim(RankedClaim):
    """One leader: the combined score of its submission, and of our runs on fresh seeds and
    `final`."""

    claimed: Measure  # on feedback, from the ledger
    final: Measure | None  # on final; null if the code gave no score
    gain: Measure | None  # over the best baseline on final, the same seeds and units
    levels: dict[str, Measure]  # by objective, on final, in its own unit
    gates: dict[str, Gate]
    others: tuple[OnOtherData, ...] = ()  # shown; a report of an earlier version has none


class FolderReport(CampaignReport):
    """Everything that the Markdown, the HTML and the terminal show."""

    schema_version: int = 1
    comparator: str  # the best baseline on feedback
    baselines: dict[str, dict[str, BaselineScores]]  # by name and split
    claims: tuple[FolderClaim, ...]
    diversity: FolderDiversity | None = None  # a report of an earlier version has none

    @property
    def confirmed(self) -> FolderClaim | None:
        """The confirmed claim that ranked first."""
        return _first_confirmed(self.claims)


def build_folder(
    campaign: Campaign,
    bed: ServedFolder,
    evaluator: Evaluator,
    *,
    isolation: str,
    faults: tuple[str, ...] | None,
    upto: int | None = None,
) -> FolderReport:
    """The report of a campaign in its current state, or from its first `upto` entries; see
    `build.build`.

    Raises:
        Misconfigured: the ledger's hash chain is broken.
    """
    evaluator.ledger.verify()
    entries = evaluator.ledger.entries(limit=-1 if upto is None else upto)
    of = {kind: [e for e in entries if e.kind == kind] for kind in ("submission", "finding")}
    claims = _claims(evaluator, entries)
    shared = campaign_fields(campaign, PublicFolder(bed.public), evaluator, entries)
    families = families_of(shared["problem"])
    return FolderReport(
        **shared,
        isolation=isolation,
        comparator=_marking(evaluator).problem.comparator,
        baselines=bed.baselines(),
        claims=claims,
        released=released_rows(evaluator, _marking(evaluator).problem.units["final"]),
        diversity=folder_diversity(of["submission"], of["finding"], families),
        inputs=folder_inputs(bed.folder, evaluator),
        code=folder_code_rows(entries),
        faults=faults,
        notes=(
            *_notes(campaign, isolation),
            *_no_components(campaign, claims),
            *unrun_notes(campaign, entries),
        ),
    )


def _marking(evaluator: Evaluator) -> UnitMarking:
    assert isinstance(evaluator.marking, UnitMarking)
    return evaluator.marking


def _claims(evaluator: Evaluator, entries: Sequence[Entry]) -> tuple[FolderClaim, ...]:
    """From the latest record of each snapshot; confirmed ones first, then by claim."""
    latest = latest_records(entries)
    rows = [(record, _claimed(evaluator, submission)) for record, submission in latest]
    rows.sort(key=lambda row: (row[0].verdict != "confirmed", -row[1].estimate))
    return tuple(_row(rank, *row, evaluator) for rank, row in enumerate(rows, start=1))


def _claimed(evaluator: Evaluator, submission: Entry) -> Measure:
    """The combined score on feedback again from the stored unit scores; floors and ceilings as they
    were measured."""
    graded = stored(evaluator.ledger.blob(submission.read(SubmissionBody).predictions))
    assert isinstance(graded, GradedUnits)
    found = _marking(evaluator).problem.held_scale("feedback").combined(Measured(graded.scores, {}))
    assert found is not None
    return found


def _row(
    rank: int, record: ConfirmationRecord, claimed: Measure, evaluator: Evaluator
) -> FolderClaim:
    problem = _marking(evaluator).problem
    target, *others = (figures_again(problem, t, evaluator.ledger.blob) for t in record.targets)
    units, p = len(problem.units["final"]), target.effect and target.effect.p
    return FolderClaim(
        **leader_fields(rank, record, evaluator, p, units),
        claimed=claimed,
        final=target.accuracy,
        gain=target.effect and target.effect.difference,
        levels=target.levels,
        gates=target.gates,
        others=tuple(
            OnOtherData(
                name=t.name,
                kind=t.kind,
                score=t.accuracy,
                gain=t.effect and t.effect.difference,
                failure=t.failure,
            )
            for t in others
        ),
    )


def _first_confirmed(claims: Sequence[FolderClaim]) -> FolderClaim | None:
    return next((c for c in claims if c.stands and c.verdict == "confirmed"), None)


def _no_components(campaign: Campaign, claims: Sequence[FolderClaim]) -> Iterator[str]:
    """That nothing was taken out of the winner's code, and what to do."""
    if best := _first_confirmed(claims):
        yield (
            "The components of the first confirmed claim's code are not known, so none was taken "
            "out; what the problem's ablations take out of the data is shown beside the claim. "
            "Submit the code without one part as a submission of its own, and compare both: `aar "
            f"compare {campaign.name} {best.receipt} OTHER`."
        )


def _notes(campaign: Campaign, isolation: str) -> tuple[str, ...]:
    found = [
        "A confirmed method is better on final than the best baseline (by its score on feedback), "
        "by a one-sided test over units, in clusters, and seeds, Holm-adjusted for all m snapshots "
        "that were ever tried on this final; and every gate holds there, the whole 95 % interval "
        "within its margin."
    ]
    if ": NONE" in isolation:
        found.insert(
            0,
            "Researchers were NOT isolated: they could read the private folder. Do not trust any "
            "figure of this report.",
        )
    if campaign.kind == "scripted":
        found.append("The model was a script on this machine: its dollars were not paid.")
    return tuple(found)
