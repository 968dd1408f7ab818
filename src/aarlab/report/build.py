"""Ledger + private arrays -> a Report. Nothing that a researcher says about a score is used; the ledger is the source."""

import json
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from aarlab.core.intervals import accuracy_measure, pgr_measure
from aarlab.core.records import Entry, Family, Measure
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.grade import grade
from aarlab.fleet.baselines import load_baselines
from aarlab.fleet.campaign import Campaign
from aarlab.report.entropy import family_entropy, over_time
from aarlab.report.record import (
    Anchors,
    BaselineRow,
    ClaimRow,
    EntropyRow,
    FlagRow,
    Report,
    ResearcherRow,
    Score,
    ToldRow,
    Totals,
    count,
)
from aarlab.runs.testbed import Testbed

Correct = NDArray[np.bool_]


class Ruler:
    """Accuracy and PGR against a testbed's anchors, split by split."""

    def __init__(self, testbed: Testbed) -> None:
        with np.load(testbed.private / "anchors.npz") as stored:
            self._anchors = {name: stored[name] for name in stored.files}

    def score(self, split: str, correct_SM: Correct) -> Score:
        """`correct_SM` (S, M) as a Score on that split."""
        pgr = pgr_measure(
            correct_SM, weak_SM=self._anchors[f"{split}_weak_SM"], ceiling_SM=self._anchors[f"{split}_ceiling_SM"]
        )
        return Score(accuracy=accuracy_measure(correct_SM), pgr=pgr)

    def anchors(self, split: str) -> Anchors:
        """The anchors themselves, with intervals over items and seeds."""
        weak, ceiling = (accuracy_measure(self._anchors[f"{split}_{end}_SM"]) for end in ("weak", "ceiling"))
        return Anchors(weak=weak, ceiling=ceiling)


def baseline_rows(testbed: Testbed) -> tuple[BaselineRow, ...]:
    """Every measured baseline on both splits."""
    ruler, found = Ruler(testbed), load_baselines(testbed.private)
    names = [key.split("/")[1] for key in found if key.startswith("feedback/")]
    return tuple(BaselineRow(name=n, **{s: ruler.score(s, found[f"{s}/{n}"]) for s in ("feedback", "final")}) for n in names)


def build(campaign: Campaign, testbed: Testbed, evaluator: Evaluator, *, isolation: str) -> Report:
    """The report of a campaign, as far as it has come.

    Raises:
        Misconfigured: the ledger's chain is broken; nothing is reported from a record that was rewritten.
    """
    evaluator.ledger.verify()
    entries = evaluator.ledger.entries()
    of = {kind: [e for e in entries if e.kind == kind] for kind in ("submission", "finding", "spend", "flag", "campaign")}
    families = [Family(e.body["family"]) for e in of["submission"]]
    ruler = Ruler(testbed)
    return Report(
        campaign=campaign.model_dump(mode="json"),
        problem=json.loads((testbed.public / "problem.json").read_text()),
        student=campaign.student,
        isolation=isolation,
        finished=any(e.body.get("event") == "finished" for e in of["campaign"]),
        anchors_feedback=ruler.anchors("feedback"),
        anchors_final=ruler.anchors("final"),
        baselines=baseline_rows(testbed),
        naive_tuned_setting=(testbed.private / "naive_tuned.txt").read_text().strip(),
        claims=_claims(evaluator, entries, ruler),
        told=_told(of["submission"]),
        entropy=family_entropy(families) if families else None,
        entropy_over_time=_entropy_rows(of["submission"], families),
        researchers=_researchers(entries),
        flags=tuple(FlagRow(at=e.at, **_flag(e)) for e in of["flag"]),
        totals=_totals(of, entries),
        ledger_head=entries[-1].hash if entries else "",
        notes=_notes(campaign, isolation),
    )


def _claims(evaluator: Evaluator, entries: Sequence[Entry], ruler: Ruler) -> tuple[ClaimRow, ...]:
    """One row a confirmed snapshot, ranked by its claim; a snapshot confirmed twice counts by its first confirmation."""
    first: dict[str, Entry] = {}
    for e in entries:
        if e.kind == "confirmation":
            first.setdefault(e.body["snapshot"], e)
    rows = []
    for snapshot, e in first.items():
        best = max(
            (s for s in entries if s.kind == "submission" and s.body["snapshot"] == snapshot),
            key=lambda s: s.body["exact_accuracy"],
        )
        claimed = ruler.score("feedback", _correct(evaluator, best, "feedback"))
        confirmed = None if "error" in e.body else ruler.score("final", _correct(evaluator, e, "final"))
        rows.append((best, claimed, confirmed, e.body.get("error")))
    rows.sort(key=lambda row: -row[1].accuracy.estimate)
    return tuple(
        ClaimRow(
            rank=rank,
            researcher=best.who,
            family=Family(best.body["family"]),
            snapshot=best.body["snapshot"],
            receipt=best.body["receipt"]["id"],
            claimed=claimed,
            confirmed=confirmed,
            failure=failure,
        )
        for rank, (best, claimed, confirmed, failure) in enumerate(rows, start=1)
    )


def _correct(evaluator: Evaluator, entry: Entry, split: str) -> Correct:
    """Graded again from the stored predictions, not from a stored score."""
    predictions = evaluator.predictions(entry.body["predictions"])
    return grade(predictions, evaluator.answers[split], sorted(predictions))


def _told(submissions: Sequence[Entry]) -> tuple[ToldRow, ...]:
    return tuple(
        ToldRow(
            at=e.at,
            receipt=e.body["receipt"]["id"],
            researcher=e.who,
            family=Family(e.body["family"]),
            level_pgr=count(e.body["receipt"]["level_pgr"], n=1),
        )
        for e in submissions
        if e.body["receipt"]["improved"]
    )


def _entropy_rows(submissions: Sequence[Entry], families: Sequence[Family]) -> tuple[EntropyRow, ...]:
    if not submissions:
        return ()
    at = np.array([datetime.fromisoformat(e.at).timestamp() for e in submissions])
    return tuple(
        EntropyRow(from_s=count(a, n=1), to_s=count(b, n=1), bits=bits) for a, b, bits in over_time(at - at[0], families)
    )


def _researchers(entries: Sequence[Entry]) -> tuple[ResearcherRow, ...]:
    names = dict.fromkeys(e.who for e in entries if e.kind == "researcher")
    directions = {e.who: e.body["direction"] for e in entries if e.kind == "researcher"}
    rows = []
    for name in names:
        mine = [e for e in entries if e.who == name]
        submitted = [e for e in mine if e.kind == "submission"]
        rows.append(
            ResearcherRow(
                name=name,
                direction=directions[name],
                experiments=count(len(submitted)),
                told_improvements=count(sum(e.body["receipt"]["improved"] for e in submitted)),
                failures=count(_failures(mine)),
                hours=_hours(mine),
                usd=_usd(mine),
            )
        )
    return tuple(rows)


def _failures(entries: Sequence[Entry]) -> int:
    return sum(e.kind == "finding" and e.body["kind"] == "error" for e in entries)


def _hours(entries: Sequence[Entry]) -> Measure:
    spends = [e for e in entries if e.kind == "spend"]
    return count(sum(e.body["wall_s"] for e in spends) / 3600, n=max(1, len(spends)))


def _usd(entries: Sequence[Entry]) -> Measure | None:
    spends = [e.body["usd"] for e in entries if e.kind == "spend"]
    return None if not spends or None in spends else count(sum(spends), n=len(spends))


def _flag(entry: Entry) -> dict:
    evidence = entry.body["evidence"]
    return {
        "detector": entry.body["detector"],
        "submitter": entry.body["submitter"],
        "receipts": tuple(entry.body["receipts"]),
        "evidence": evidence if isinstance(evidence, str) else json.dumps(evidence),
    }


def _totals(of: dict[str, list[Entry]], entries: Sequence[Entry]) -> Totals:
    hours, usd = _hours(of["spend"]), _usd(of["spend"])
    rate = None if usd is None or not hours.estimate else count(usd.estimate / hours.estimate, n=usd.n)
    return Totals(
        experiments=count(len(of["submission"])),
        findings=count(len(of["finding"])),
        failures=count(_failures(of["finding"])),
        hours=hours,
        usd=usd,
        usd_per_researcher_hour=rate,
        ledger_entries=count(len(entries)),
    )


def _notes(campaign: Campaign, isolation: str) -> tuple[str, ...]:
    notes = []
    if not isolation.startswith("bubblewrap"):
        notes.append("Researchers were NOT isolated: they could read the private folder. Believe no figure of this report.")
    if campaign.student == "double":
        notes.append("The student is the double and measures nothing real.")
    if campaign.data_seed == 0:
        notes.append("Data seed 0 is the one on which hyper-parameters were chosen: its figures are optimistic.")
    if campaign.usd_per_researcher_hour is None:
        notes.append("Cost is unknown: no usd_per_researcher_hour was given. No model API was called.")
    return tuple(notes)
