"""The schema of report.json. Every number is a `Measure`: estimate, lower, upper, n, and what was resampled.

A count is a Measure whose interval has no width and whose `resampled` is "exact count"; an unknown number is null.
"""

from aarlab.core.records import Family, Measure, Record
from aarlab.evaluation.verdict import Verdict


def count(value: float, n: int | None = None) -> Measure:
    """An exact count or sum as a Measure; `n` is how many things were counted or summed (at least 1 is recorded)."""
    return Measure(estimate=value, lower=value, upper=value, n=max(1, int(value) if n is None else n), resampled="exact count")


def statistic(value: float, n: int) -> Measure:
    """A p-value or a bound as a Measure: computed from `n` items, with no interval of its own."""
    return Measure(estimate=value, lower=value, upper=value, n=n, resampled="none: a statistic of its items")


class Anchors(Record):
    """The two ends of the PGR ruler on one split."""

    weak: Measure  # accuracy of the weak teacher
    ceiling: Measure  # accuracy of the student trained on true labels


class Score(Record):
    """Accuracy and PGR of one thing on one split."""

    accuracy: Measure
    pgr: Measure


class BaselineRow(Record):
    name: str
    feedback: Score
    final: Score


class ElsewhereRow(Record):
    """What a snapshot scored on a target that is not the campaign's own `final`, and its gain over tuned naive there."""

    name: str
    kind: str  # "fresh": another draw of the problem. Shown, not deciding: "transfer", another problem; "pair", another student
    problem: str
    student: str  # and its teacher, in words
    score: Score | None
    gain: Measure | None  # accuracy over tuned naive, same seeds and items
    failure: str | None


class VotedRow(Record):
    """Like with like for an ensemble: against majority votes over as many heads of naive and of the ceiling, on final."""

    seeds: Measure
    naive: Measure  # accuracy
    ceiling: Measure  # accuracy
    gain: Measure  # accuracy of the method's single seeds over naive's vote
    pgr: Measure | None  # with the ceiling's vote as 1


class AblationRow(Record):
    """What the method still scores without the weak labels ("teacherless"), or without these and the student ("ablated")."""

    kind: str
    split: str
    accuracy: Measure | None
    p: Measure | None  # that it knows no more than chance does
    share: Measure | None  # of its gain over chance on that split
    failure: str | None


class ClaimRow(Record):
    """One of the leaders: what its submission scored, what the evaluator's own re-runs scored, and the verdict on it."""

    rank: int
    researcher: str
    family: Family
    snapshot: str
    receipt: str
    claimed: Score  # on feedback, from the ledger
    final: Score | None  # on final, from the evaluator's run; null if it did not come about
    gain: Measure | None  # accuracy on final over tuned naive, same seeds and items
    voted: VotedRow | None
    elsewhere: tuple[ElsewhereRow, ...]
    ablations: tuple[AblationRow, ...]
    flags: tuple[str, ...]  # that the confirmation raised; they block nothing
    beside: str  # what must be read with the verdict, or ""
    verdict: Verdict
    reasons: tuple[str, ...]
    p_adjusted: Measure | None  # Holm over m; as signed
    m: Measure  # snapshots that were ever put to confirmation on this final; as signed
    p_adjusted_now: Measure | None  # over all that have been since: a verdict stands while this is below 0.05
    m_now: Measure
    stands: bool
    record: str  # path of the signed record, from the campaign's folder

    @property
    def fresh(self) -> ElsewhereRow | None:
        return next((e for e in self.elsewhere if e.kind == "fresh"), None)

    @property
    def standing(self) -> str:
        """The verdict as it must be read: whether it still stands, and what stands beside it."""
        words = self.verdict if self.stands else f"{self.verdict}, but no longer"
        return f"{words} ({self.beside})" if self.beside else words

    @property
    def pair(self) -> ElsewhereRow | None:
        return next((e for e in self.elsewhere if e.kind == "pair"), None)

    def left(self, kind: str, split: str = "final") -> AblationRow | None:
        """What an ablation left on a split; None where it was not run."""
        return next((a for a in self.ablations if (a.kind, a.split) == (kind, split)), None)

    @property
    def transfer(self) -> tuple[ElsewhereRow, ...]:
        return tuple(e for e in self.elsewhere if e.kind == "transfer")


class ReleasedRow(Record):
    """What everything that was ever told about one label set can have carried of it, to anybody."""

    labels: str  # "feedback", "final"
    items: Measure
    answers: Measure
    bits: Measure
    campaign_bits: Measure  # of them, by this campaign's improvements or verdicts
    cap_bits: Measure | None
    inflation_bound: Measure | None  # 95 %: no told level is further above the true accuracy


class ToldRow(Record):
    """One improvement that the evaluator told, in order of time."""

    at: str
    receipt: str
    researcher: str
    family: Family
    level_pgr: Measure


class EntropyRow(Record):
    from_s: Measure
    to_s: Measure
    bits: Measure


class ResearcherRow(Record):
    name: str
    direction: str
    experiments: Measure
    told_improvements: Measure
    failures: Measure


class LimitRow(Record):
    """One limit of a budget, and what was spent of it."""

    what: str  # "USD", "tokens", "hours", "processor hours"
    spent: Measure
    limit: Measure


class CostRow(Record):
    """What one researcher, or the whole campaign, cost: model + machine. What is not known is null, never 0."""

    name: str
    hours: Measure  # in which it ran and nothing that is not its own was broken
    cpu_hours: Measure | None  # of processor time in its sandbox
    lost_hours: Measure  # in which the model API, the gateway or the server was broken: charged to nobody
    calls: Measure  # of a model
    interrupted: Measure  # of them: cut off, and charged as far as is known
    tokens: Measure  # of all kinds
    model_usd: Measure | None  # at list prices; null if a call's price is not known
    machine_usd: Measure | None  # null if the machine has no price
    usd: Measure | None  # both
    known_usd: Measure  # what of both is known
    left_out: tuple[str, ...]  # what that leaves out, in words
    usd_per_hour: Measure | None
    limits: tuple[LimitRow, ...]

    @property
    def total(self) -> str:
        """In words: `$3.20`, or what is known and what that leaves out."""
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
    known_usd_per_researcher_hour: Measure | None  # the same of what is known; null where nobody ran
    services_down_hours: Measure  # of the server and the gateway, each counted


class FlagRow(Record):
    """What a detector raised. It never blocks; the evidence is for the reader to judge."""

    at: str
    detector: str
    submitter: str
    receipts: tuple[str, ...]
    evidence: str


class Totals(Record):
    experiments: Measure
    findings: Measure
    failures: Measure
    ledger_entries: Measure


class AcrossRow(Record):
    """Entropy across the researchers' n-th ideas."""

    idea: Measure
    bits: Measure


class FamilyRow(Record):
    """How many ideas were declared to be of a family, and how many are by their code or words (`other`: nothing spoke)."""

    family: Family
    submissions: Measure
    submissions_by_code: Measure
    findings: Measure
    findings_by_words: Measure


class UnsupportedRow(Record):
    """A declared family for which little in the code or the words speaks. A look, not a verdict."""

    id: str  # receipt or finding
    researcher: str
    declared: Family
    classified: Family


class DiversityRows(Record):
    """Shannon entropy over the eleven families, corrected for small counts; families as declared."""

    bits: Measure | None  # of submissions
    normalised: Measure | None  # as a share of log2 11
    effective: Measure | None  # how many equally frequent families have it
    findings_bits: Measure | None
    over_time: tuple[EntropyRow, ...]
    across: tuple[AcrossRow, ...]
    alarm: str | None
    families: tuple[FamilyRow, ...]
    unsupported: Measure
    doubted: tuple[UnsupportedRow, ...]  # the first of them


class Report(Record):
    """Everything that the Markdown, the HTML and the terminal show."""

    schema_version: int = 5
    campaign: dict  # the campaign's specification, as saved
    problem: dict  # the problem's public card
    student: str
    isolation: str
    finished: bool
    anchors_feedback: Anchors
    anchors_final: Anchors
    baselines: tuple[BaselineRow, ...]
    naive_tuned_setting: str
    claims: tuple[ClaimRow, ...]
    told: tuple[ToldRow, ...]
    released: tuple[ReleasedRow, ...]
    diversity: DiversityRows
    researchers: tuple[ResearcherRow, ...]
    flags: tuple[FlagRow, ...]
    totals: Totals
    costs: Costs
    ledger_head: str  # hash of the last entry: quote it to pin down the record
    ledger_root: str  # base64 Merkle root of all entries, as a signed checkpoint has it
    notes: tuple[str, ...]
