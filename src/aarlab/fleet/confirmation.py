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
from aarlab.core.settings import Home
from aarlab.evaluation.confirmation import Confirmations
from aarlab.fleet.baselines import tuned_naive
from aarlab.fleet.campaign import Campaign
from aarlab.runs import testbed
from aarlab.runs.engine import LocalEngine, RunResult
from aarlab.runs.student import Student
from aarlab.runs.testbed import Testbed

FRESH = 1000  # added to the data seed: another draw of the problem, with weak labels of its own
Say = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """On which testbeds a campaign confirms, beside its own: target's name -> (kind, testbed)."""

    campaign: Testbed
    others: Mapping[str, tuple[str, Testbed]]

    def write(self, folder: Path) -> None:
        """Tell the evaluator of the campaign in `folder`, once: server/targets.json."""
        rows = [{"name": name, "kind": kind, "folder": str(bed.folder)} for name, (kind, bed) in self.others.items()]
        (folder / "server").mkdir(parents=True, exist_ok=True)
        (folder / "server" / "targets.json").write_text(json.dumps(rows, indent=1))

    def bed(self, target: str) -> Testbed:
        """The testbed of a target; feedback and final are the campaign's own."""
        return self.others[target][1] if target in self.others else self.campaign


def plan(campaign: Campaign, bed: Testbed, *, home: Home, student: Student, say: Say) -> Plan:
    """Set up what the campaign confirms on: a fresh draw of its problem and the transfer problems, each as far as asked.

    Raises:
        Misconfigured, Transient: see `testbed.prepare`.
    """
    wanted = [("fresh", "fresh", campaign.problem, campaign.data_seed + FRESH)] if campaign.confirm_on_fresh else []
    wanted += [(name, "transfer", name, campaign.data_seed) for name in campaign.transfers]

    def one(problem: str, data_seed: int) -> Testbed:
        return testbed.prepare(problem, data_seed, home=home, student=student, say=lambda w, d, n: say(f"{problem}: {w}", d, n))

    return Plan(bed, {name: (kind, one(problem, seed)) for name, kind, problem, seed in wanted})


def confirm_leaders(
    confirmations: Confirmations,
    engines: Mapping[str, LocalEngine],
    how_many: int,
    say: Say,
    *,
    snapshot: str | None = None,
) -> list[dict[str, Any]]:
    """Confirm the leaders by exact feedback score, or one snapshot; each confirmation's ledger body, in rank order.

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
                if key not in jobs and not (name == "naive" and target["kind"] == "feedback"):
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
    if target["kind"] != "feedback":
        try:
            found["naive"] = _compact(jobs[str(tuple(target["seeds"])), target["name"], "naive"].result())
        except InvalidSubmission as error:
            words = f"Tuned naive did not run on {target['name']} ({error}). Raise run_timeout_s and go on."
            raise Misconfigured(words) from error
    return found


def _compact(result: RunResult) -> dict[str, str]:
    """Answers as strings of 0s and 1s in the order of the sorted ids. The grader refuses the rest."""
    return {seed: "".join(str(by_id[i]) for i in sorted(by_id)) for seed, by_id in result.answers.items()}
