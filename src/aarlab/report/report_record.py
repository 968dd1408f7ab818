"""The schema of report.json. Every number is a `Measure`: estimate, lower, upper, n, and what was
resampled.

A count is a Measure whose interval has no width and whose `resampled` is "exact count"; an unknown
number is null.
"""

from typing import Literal

from aarlab.core.records import Measure, Record, Verdict
from aarlab.problems.length_control import LengthRow
from aarlab.report.curve_record import Curve
from aarlab.report.diversity_record import DiversityRows
from aarlab.testbeds.gap import Anchors as Anchors
from aarlab.testbeds.gap import Score as Score


def count(value: float, n: int | None = None) -> Measure:
    """An exact count or sum as a Measure; `n` is the number of things counted (at least 1 is
    recorded)."""
    return Measure(
        estimate=value,
        lower=value,
        upper=value,
        n=max(1, int(value) if n is None else n),
        resampled="exact count",
    )


def statistic(value: float, n: int) -> Measure:
    """A p-value or a bound as a Measure: computed from `n` items, with no interval of its own."""
    return Measure(
        estimate=value, lower=value, upper=value, n=n, resampled="none: a statistic of its items"
    )


class BaselineRow(Record):
    name: str
    feedback: Score
    final: Score


class ElsewhereRow(Record):
    """A snapshot's score on a target other than the campaign's `final`, and its gain over tuned
    naive there."""

    name: str
    # "fresh": another draw of the problem. Shown, not deciding: "transfer", another problem;
    # "pair", another student
    kind: str
    problem: str
    student: str  # names of the student and its teacher
    score: Score | None
    gain: Measure | None  # accuracy over tuned naive, same seeds and items
    failure: str | None


class VotedRow(Record):
    """A fair comparison for an ensemble on final: against majority votes of as many heads of
    naive and of the ceiling."""

    seeds: Measure
    naive: Measure  # accuracy
    ceiling: Measure  # accuracy
    gain: Measure  # accuracy of the method's single seeds over naive's vote
    pgr: Measure | None  # with the ceiling's vote as 1


class AblationRow(Record):
    """The method's score without weak labels ("teacherless"), or without weak labels and student
    ("ablated")."""

    kind: str
    split: str
    accuracy: Measure | None
    p: Measure | None  # of the hypothesis that the score is chance
    share: Measure | None  # of its gain over chance on that split
    failure: str | None


class WithoutRow(Record):
    """The method's score on final without one of its components, on the seeds of its confirmation:
    shown, and no part of the verdict."""

    name: str
    removed: str  # what was taken out, and what stands in its place
    seeds: Measure  # on each of which it was run
    accuracy: Measure | None
    lost: Measure | None  # accuracy of the whole minus this, paired by item and seed
    failure: str | None


class Evidence(Record):
    """The e-value of a claim on final, and whether it is a discovery among all snapshots that were
    tried there until now, at most 5 % of which are false on average, however they depend."""

    e: Measure
    discovery: bool


class RankedClaim(Record):
    """A claim that was put to confirmation, and its verdict."""

    rank: int
    researcher: str
    family: str
    snapshot: str
    receipt: str
    verdict: Verdict
    reasons: tuple[str, ...]
    p_adjusted: Measure | None  # Holm over m; as signed
    m: Measure  # snapshots that were ever confirmed or tried on this final; as signed
    # over all snapshots tried until now: a verdict is valid while this is below 0.05
    p_adjusted_now: Measure | None
    m_now: Measure
    evidence: Evidence | None = None  # a report of an earlier version has none
    stands: bool
    record: str  # path of the signed record, from the campaign's folder


class ClaimRow(RankedClaim):
    """One leader: the score of its submission and the score of the evaluator's re-runs."""

    claimed: Score  # on feedback, from the ledger
    final: Score | None  # on final, from the evaluator's run; null if it has no result
    gain: Measure | None  # accuracy on final over tuned naive, same seeds and items
    voted: VotedRow | None
    elsewhere: tuple[ElsewhereRow, ...]
    ablations: tuple[AblationRow, ...]
    components: tuple[WithoutRow, ...] = ()  # of the first confirmed claim alone
    flags: tuple[str, ...]  # raised by the confirmation; they block nothing
    beside: str  # a warning beside the verdict, or ""

    @property
    def fresh(self) -> ElsewhereRow | None:
        return next((e for e in self.elsewhere if e.kind == "fresh"), None)

    @property
    def standing(self) -> str:
        """The verdict with its current validity and its warning."""
        verdict = self.verdict if self.stands else f"{self.verdict}, but no longer"
        return f"{verdict} ({self.beside})" if self.beside else verdict

    @property
    def pair(self) -> ElsewhereRow | None:
        return next((e for e in self.elsewhere if e.kind == "pair"), None)

    def left(self, kind: str, split: str = "final") -> AblationRow | None:
        """The score under an ablation on a split; None if it was not run."""
        return next((a for a in self.ablations if (a.kind, a.split) == (kind, split)), None)

    @property
    def transfer(self) -> tuple[ElsewhereRow, ...]:
        return tuple(e for e in self.elsewhere if e.kind == "transfer")


class ReleasedRow(Record):
    """An upper bound on the information that all answers have released about one label set."""

    labels: str  # "feedback", "final"
    items: Measure
    answers: Measure
    bits: Measure
    campaign_bits: Measure  # of these, by this campaign's improvements or verdicts
    cap_bits: Measure | None
    inflation_bound: Measure | None  # 95 %: no reported level exceeds the true accuracy by more
    independent: Measure | None = None  # independent labels in the bound (item groups by Theorem 1)
    # released by verdicts of confirmations, in addition to `bits`; part of the bound
    verdict_bits: Measure | None = None
    inflation_bound_pgr: Measure | None = None  # the same in PGR; None: there is no gap
    # accuracy, once all bits of the cap are spent; None: no cap
    inflation_bound_at_cap: Measure | None = None
    inflation_bound_at_cap_pgr: Measure | None = None

    @property
    def bound(self) -> str:
        """The most by which a reported level can exceed the true accuracy, in accuracy and PGR."""
        if self.inflation_bound is None:
            return "no level is reported"
        now = _in_both(self.inflation_bound, self.inflation_bound_pgr)
        at_cap = self.inflation_bound_at_cap
        return (
            now
            if at_cap is None
            else f"{now}; at the cap {_in_both(at_cap, self.inflation_bound_at_cap_pgr)}"
        )


def _in_both(accuracy: Measure, pgr: Measure | None) -> str:
    return f"{accuracy.estimate:.3f}" + ("" if pgr is None else f" ({pgr.estimate:.2f} PGR)")


class ReportedRow(Record):
    """One improvement that the evaluator reported; rows are in order of time."""

    at: str
    receipt: str
    researcher: str
    family: str
    level_pgr: Measure


class ResearcherRow(Record):
    name: str
    direction: str
    experiments: Measure
    told_improvements: Measure
    failures: Measure


class LimitRow(Record):
    """One limit of a budget, and the amount spent."""

    what: str  # "USD", "tokens", "hours", "processor hours"
    spent: Measure
    limit: Measure


class CostRow(Record):
    """The cost of one researcher or of the campaign (model, machine, devices). An unknown amount is
    null, never 0."""

    name: str
    hours: Measure  # of running time without an outage of services
    cpu_hours: Measure | None  # of processor time in its sandbox
    lost_hours: Measure  # of outages of the model API, the gateway or the server; not charged
    calls: Measure  # of a model
    interrupted: Measure  # interrupted calls, charged as far as known
    tokens: Measure  # of all kinds
    model_usd: Measure | None  # at list prices; null if a call's price is not known
    machine_usd: Measure | None  # null if the machine has no price
    device_hours: Measure | None = None  # of GPUs and the like; null in reports of older versions
    device_usd: Measure | None = None  # null if some of their time has no price
    usd: Measure | None  # all
    known_usd: Measure  # the known part of all
    left_out: tuple[str, ...]  # names of the costs that it excludes
    usd_per_hour: Measure | None
    limits: tuple[LimitRow, ...]

    @property
    def total(self) -> str:
        """`$3.20`, or the known costs and which costs they exclude."""
        if self.usd is not None:
            return f"${self.usd.estimate:.2f}"
        known = f"${self.known_usd.estimate:.2f}" if self.known_usd.estimate else "unknown:"
        return f"{known} without {' and '.join(self.left_out)}"


class ModelRow(Record):
    """Calls of one model by the whole campaign."""

    model: str
    calls: Measure
    input_tokens: Measure  # neither written to nor read from a cache
    cache_write_tokens: Measure
    cache_read_tokens: Measure
    output_tokens: Measure
    known_usd: Measure


class Costs(Record):
    """What the campaign cost."""

    campaign: CostRow
    researchers: tuple[CostRow, ...]
    models: tuple[ModelRow, ...]
    usd_per_researcher_hour: Measure | None  # with an interval over researchers
    known_usd_per_researcher_hour: Measure | None  # of the known costs; null if no researcher ran
    services_down_hours: Measure  # of the server and the gateway, each counted


class FlagRow(Record):
    """A flag of a detector. It blocks nothing; the reader judges the evidence."""

    at: str
    detector: str
    submitter: str
    receipts: tuple[str, ...]
    evidence: str


class CodeRow(Record):
    """The build of aarlab that made a part of the report; all null if an older version made it
    without recording."""

    what: str
    version: str | None
    commit: str | None
    source: str | None


class ComponentRow(Record):
    """A part of the library that the code of a claim calls, and what that does, by its own
    documentation."""

    name: str
    does: str
    in_baseline: bool  # the nearest baseline calls it, too


class ChangedLine(Record):
    """A line of a difference."""

    kind: Literal["file", "place", "added", "removed", "same", "note"]
    text: str


class SaidRow(Record):
    """What its researcher wrote about a claim. Nobody checked it."""

    id: str  # of the finding
    title: str
    text: str


class Winner(Record):
    """The first confirmed claim, explained from what is recorded."""

    rank: int
    receipt: str
    snapshot: str
    nearest: str  # the baseline whose code is most like it
    alike: Measure  # share of their runs of four tokens that both have
    components: tuple[ComponentRow, ...]
    difference: tuple[ChangedLine, ...]  # from the baseline's code to the claim's
    said: tuple[SaidRow, ...]
    # which components were taken out, at which cost; or why none was, and what to do
    ablated: str = ""


class InputRow(Record):
    """A file of the testbed that the figures were made from. `mac` is keyed by the campaign's
    secret, so that nobody else can try which labels have it."""

    what: str  # its path in the testbed
    mac: str  # HMAC-SHA256


class Totals(Record):
    experiments: Measure
    findings: Measure
    failures: Measure
    ledger_entries: Measure


class CampaignReport(Record):
    """What a report says of a campaign on any problem."""

    campaign: dict  # the campaign's specification, as saved
    problem: dict  # the problem's public card
    isolation: str
    finished: bool
    told: tuple[ReportedRow, ...]
    curve: Curve | None = None  # None: nothing was submitted, or an older report
    released: tuple[ReleasedRow, ...]
    researchers: tuple[ResearcherRow, ...]
    totals: Totals
    costs: Costs
    code: tuple[CodeRow, ...] = ()  # first of the report itself; () in older reports
    ledger_head: str  # hash of the last entry; it identifies the ledger's content
    ledger_root: str  # base64 Merkle root of all entries, as a signed checkpoint has it
    inputs: tuple[InputRow, ...] = ()  # () in older reports
    # faults of the ledger; None: it was not verified for this report
    faults: tuple[str, ...] | None = None
    # why figures carry no information: no gap, or too few feedback items
    troubles: tuple[str, ...] = ()
    notes: tuple[str, ...]


class Report(CampaignReport):
    """Everything that the Markdown, the HTML and the terminal show."""

    schema_version: int = 7
    student: str
    anchors_feedback: Anchors
    anchors_final: Anchors
    baselines: tuple[BaselineRow, ...]
    naive_tuned_setting: str
    claims: tuple[ClaimRow, ...]
    diversity: DiversityRows
    flags: tuple[FlagRow, ...]
    # kinds of targets that the problem does not have, such as "fresh" of items in a file; () in
    # older reports
    cannot: tuple[str, ...] = ()
    winner: Winner | None = None  # None: no claim is confirmed, or an older report
    # how often the shorter answer is the right one, by split and part; () in older reports
    lengths: tuple[LengthRow, ...] = ()
