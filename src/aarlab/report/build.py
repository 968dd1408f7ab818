"""Ledger + private arrays -> a Report. Nothing that a researcher says about a score is used; the ledger is the source."""

import json
from base64 import b64encode
from collections.abc import Sequence

from aarlab.core.records import Entry, Family
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet.baselines import load_baselines
from aarlab.fleet.campaign import Campaign
from aarlab.report.claims import claim_rows, released_rows
from aarlab.report.costs import costs
from aarlab.report.diversity import diversity_rows
from aarlab.report.record import (
    BaselineRow,
    FlagRow,
    Report,
    ResearcherRow,
    ToldRow,
    Totals,
    count,
)
from aarlab.report.ruler import Ruler
from aarlab.runs.testbed import Testbed


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
        claims=claim_rows(evaluator, entries, ruler),
        told=_told(of["submission"]),
        released=released_rows(evaluator),
        diversity=diversity_rows(of["submission"], of["finding"], evaluator.code),
        researchers=_researchers(entries),
        flags=tuple(FlagRow(at=e.at, **_flag(e)) for e in of["flag"]),
        totals=_totals(of, entries),
        costs=costs(campaign, entries),
        ledger_head=entries[-1].hash if entries else "",
        ledger_root=b64encode(evaluator.ledger.head()[1]).decode(),
        notes=_notes(campaign, isolation),
    )


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
            )
        )
    return tuple(rows)


def _failures(entries: Sequence[Entry]) -> int:
    return sum(e.kind == "finding" and e.body["kind"] == "error" for e in entries)


def _flag(entry: Entry) -> dict:
    evidence = entry.body["evidence"]
    return {
        "detector": entry.body["detector"],
        "submitter": entry.body["submitter"],
        "receipts": tuple(entry.body["receipts"]),
        "evidence": evidence if isinstance(evidence, str) else json.dumps(evidence),
    }


def _totals(of: dict[str, list[Entry]], entries: Sequence[Entry]) -> Totals:
    return Totals(
        experiments=count(len(of["submission"])),
        findings=count(len(of["finding"])),
        failures=count(_failures(of["finding"])),
        ledger_entries=count(len(entries)),
    )


def _notes(campaign: Campaign, isolation: str) -> tuple[str, ...]:
    notes = []
    if ": NONE" in isolation:
        notes.append("Researchers were NOT isolated: they could read the private folder. Believe no figure of this report.")
    if campaign.student == "double":
        notes.append("The student is the double and measures nothing real.")
    if campaign.kind == "scripted":
        notes.append("The model was a script on this machine: its dollars are what such calls would cost; nobody was paid.")
    if campaign.data_seed == 0:
        notes.append("Data seed 0 is the one on which hyper-parameters were chosen: its figures are optimistic.")
    notes.append(
        "A confirmed method beats on final the naive method whose settings were chosen on feedback, by a one-sided test over "
        "items and seeds, Holm-adjusted for all that were ever put to confirmation on this final (m). Another pair and "
        "transfer problems are shown and do not decide."
    )
    if not campaign.confirm_on_fresh:
        notes.append(f"No fresh draw of the data was run. `aar confirm {campaign.name}` runs the whole gate.")
    if campaign.usd_per_researcher_hour is None:
        notes.append("The machine's time has no price: no usd_per_researcher_hour was given. Costs leave it out and say so.")
    return tuple(notes)
