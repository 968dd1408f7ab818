"""Snapshots re-run by us for confirmation: clean sandbox, no network, fresh seeds, on targets that were never queried.

Each target is a testbed; tuned naive is run the same way on the same seeds beside every snapshot.
"""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.records import SplitName
from aarlab.core.settings import Home
from aarlab.evaluation.confirmation import Confirmations
from aarlab.evaluation.confirmation_record import COMPARED, Kind, Target
from aarlab.fleet.baselines import tuned_naive
from aarlab.fleet.campaign import Campaign
from aarlab.problems import PROBLEMS
from aarlab.runs import testbed
from aarlab.runs.ablation import ablate
from aarlab.runs.engine import LocalEngine, RunResult
from aarlab.runs.student import Student
from aarlab.runs.testbed import Testbed

FRESH = 1000  # added to the data seed: another draw of the problem, with weak labels of its own
Say = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Elsewhere:
    """A target that is not the campaign's own feedback or final."""

    kind: Kind
    bed: Testbed
    split: SplitName = "final"


@dataclass(frozen=True)
class Plan:
    """On which testbeds a campaign confirms, beside its own, by the target's name."""

    campaign: Testbed
    others: Mapping[str, Elsewhere]

    def write(self, folder: Path) -> None:
        """Tell the evaluator of the campaign in `folder`, once: server/targets.json."""
        found = [Target(name=n, kind=o.kind, folder=str(o.bed.folder), split=o.split) for n, o in self.others.items()]
        rows = [target.model_dump() for target in found]
        (folder / "server").mkdir(parents=True, exist_ok=True)
        (folder / "server" / "targets.json").write_text(json.dumps(rows, indent=1))

    def bed(self, target: str) -> Testbed:
        """The testbed of a target; feedback and final are the campaign's own."""
        return self.others[target].bed if target in self.others else self.campaign


def plan(campaign: Campaign, bed: Testbed, *, home: Home, student: Student, say: Say) -> Plan:
    """Set up what the campaign confirms on: ablations of its own testbed always (they cost a second), a fresh draw of its data,
    another teacher and student on its data, and the transfer problems, each as far as asked.

    Raises:
        Misconfigured, Transient: see `testbed.prepare`.
    """

    def one(kind: Kind, problem: str, data_seed: int, reader: Student) -> Elsewhere:
        def of(what: str, done: int, total: int) -> None:
            say(f"{kind}, {problem}: {what}", done, total)

        bed = testbed.prepare(problem, data_seed, home=home, student=reader, say=of, in_secret=True)
        return Elsewhere(kind, bed)

    ablated = ablate(bed, "ablated")
    found = {
        "teacherless": Elsewhere("teacherless", ablate(bed, "teacherless")),
        "ablated": Elsewhere("ablated", ablated),
        "ablated-feedback": Elsewhere("ablated", ablated, "feedback"),
    }
    if campaign.confirm_on_fresh:
        if PROBLEMS[campaign.problem].fixed:
            raise Misconfigured(f"{campaign.problem} has no other items to confirm on. Set confirm_on_fresh: false.")
        found["fresh"] = one("fresh", campaign.problem, campaign.data_seed + FRESH, student)
    if campaign.confirm_on_pair and student.pair is not None:
        found["pair"] = one("pair", campaign.problem, campaign.data_seed, student.pair)
    return Plan(bed, found | {name: one("transfer", name, campaign.data_seed, student) for name in campaign.transfers})


def confirm_leaders(
    confirmations: Confirmations,
    engines: Mapping[str, LocalEngine],
    how_many: int,
    say: Say,
    *,
    snapshot: str | None = None,
) -> list[dict[str, Any]]:
    """Confirm the leaders (see `Confirmations.leaders`), or one snapshot; each confirmation's ledger body, in rank order.

    `engines`: by target, "feedback" and "final" among them. A snapshot that fails here is recorded as failed with its words; an
    infrastructure failure is raised and is no result.

    Raises:
        Transient, Misconfigured: the infrastructure failed; run the campaign again to go on from here.
    """
    begun = confirmations.begin(how_many, snapshot)
    naive = tuned_naive(engines["final"].testbed.private)
    pool = engines["final"].pool
    jobs: dict[tuple[str, str, str], Future[RunResult]] = {}
    for one in begun:
        for target in one["targets"]:
            engine, seeds = engines[target["name"]], tuple(target["seeds"])
            for name, files in (("method", one["files"]), ("naive", naive)):
                key = one["id"] if name == "method" else str(seeds), target["name"], name
                if key not in jobs and (name == "method" or target["kind"] in COMPARED):
                    jobs[key] = pool.submit(engine.run, files, target["split"], seeds)
    bodies = []
    try:
        for one in begun:
            say("confirmation", sum(job.done() for job in jobs.values()), len(jobs))
            outcomes = {target["name"]: _outcome(one["id"], target, jobs) for target in one["targets"]}
            bodies.append(confirmations.finish(one["id"], outcomes))
    finally:  # stopped half-way: what has not started need not run
        for job in jobs.values():
            job.cancel()
    return bodies


def _outcome(token: str, target: Mapping[str, Any], jobs: Mapping[tuple[str, str, str], Future[RunResult]]) -> dict[str, Any]:
    try:
        found = {"method": _compact(jobs[token, target["name"], "method"].result())}
    except InvalidSubmission as error:
        return {"error": str(error)}
    if target["kind"] in COMPARED:
        try:
            found["naive"] = _compact(jobs[str(tuple(target["seeds"])), target["name"], "naive"].result())
        except InvalidSubmission as error:
            words = f"Tuned naive did not run on {target['name']} ({error}). Raise run_timeout_s and go on."
            raise Misconfigured(words) from error
    return found


def _compact(result: RunResult) -> dict[str, str]:
    """Answers as strings of 0s and 1s in the order of the sorted ids. The grader refuses the rest."""
    return {seed: "".join(str(by_id[i]) for i in sorted(by_id)) for seed, by_id in result.answers.items()}
