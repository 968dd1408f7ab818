"""The path of a campaign from problem to report; what `aar demo` and `aar run` walk. Each step is kept and not repeated."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from aarlab.cli.show import FleetView, Show
from aarlab.core.settings import Home
from aarlab.evaluation.confirmation import Confirmations
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.leaderboard import campaign_state
from aarlab.evaluation.ledger import Ledger
from aarlab.evaluation.requests import CODE_ONLY
from aarlab.fleet import outbox, preflight
from aarlab.fleet.baselines import measure_baselines
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.code_mode import CodeWorker
from aarlab.fleet.confirmation import confirm_leaders
from aarlab.fleet.confirmation import plan as make_plan
from aarlab.fleet.enrol import enrol
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.fleet.launch import standing
from aarlab.fleet.lease import lease
from aarlab.fleet.member import Member
from aarlab.fleet.supervisor import LAST_POST_S, Fleet, Parts
from aarlab.report.build import build
from aarlab.report.record import Report
from aarlab.report.render import write
from aarlab.runs import testbed
from aarlab.runs.blind import blind
from aarlab.runs.engine import LocalEngine, MakeSandbox
from aarlab.runs.student import OpenDoor, Student
from aarlab.runs.students import student_of
from aarlab.runs.testbed import Testbed
from aarlab.sandbox import SANDBOXES
from aarlab.sandbox.processes import LIMITED


def make_sandbox(campaign: Campaign) -> MakeSandbox:
    """The campaign's sandbox, probed once.

    Raises:
        Misconfigured: this machine cannot isolate; the message says how to mend it. Nothing falls back by itself.
    """
    chosen = SANDBOXES[campaign.sandbox]
    chosen.require()
    return chosen


def isolation_of(campaign: Campaign) -> str:
    """In words, for the ledger and the report: what is kept apart, and how limits are held."""
    chosen = SANDBOXES[campaign.sandbox]
    held = chosen.limits_held()
    limits = "; ".join(f"{limit}: {held.get(limit, 'NOT HELD')}" for limit in LIMITED)
    return f"{campaign.sandbox}: {', '.join(sorted(chosen.isolates)) or 'NONE'} (limits: {limits})"


def reader_of(campaign: Campaign, home: Home, show: Show) -> Student:
    """Who reads the texts."""
    return _student(campaign.student, campaign.workers, home, show)


@cache
def _student(name: str, workers: int, home: Home, show: Show) -> Student:
    """One a process: the workers of a student that is fine-tuned load it once, and end with this process."""
    return student_of(name, home, workers=workers, say=show.say)


def prepared(campaign: Campaign, home: Home, show: Show) -> Testbed:
    """The campaign's testbed, baselines included."""
    with show.steps():
        bed = testbed.prepare(
            campaign.problem, campaign.data_seed, home=home, student=reader_of(campaign, home, show), say=show.say
        )
    bed.require_publishable()
    if bed.from_cache:
        show.line(f"  testbed {bed.folder.name}: from cache")
    if (bed.private / "baselines.npz").exists():
        show.line("  baselines: from cache")
        return bed
    engine = engine_of(campaign, bed, home, show)
    try:
        with show.steps():
            measure_baselines(engine, bed.private, show.say)
    finally:
        engine.close()
    return bed


def engine_of(campaign: Campaign, bed: Testbed, home: Home, show: Show) -> LocalEngine:
    """Runs of this campaign, cached under AAR_HOME/runs."""
    cache = home.root / "runs"
    sandbox = make_sandbox(campaign)
    door = reader_of(campaign, home, show).open_door
    return LocalEngine(bed, cache, sandbox, workers=campaign.workers, timeout_s=campaign.timeout_s, open_door=door)


def walk(campaign: Campaign, home: Home, show: Show) -> tuple[Report, Path]:
    """Problem to report. What an earlier, interrupted walk has done is taken up and said so."""
    folder = home.campaigns / campaign.name
    preflight.require(campaign)
    campaign.save(folder)
    with lease(folder):
        show.line("[bold]1 testbed[/bold]")
        bed = prepared(campaign, home, show)
        with standing(campaign, folder, bed.folder) as parts, _worker(campaign, bed, home, parts.evaluator, show) as worker:
            _campaign(campaign, folder, bed, parts, worker, show, open_door=reader_of(campaign, home, show).open_door)
        confirmed(campaign, bed, home, show)
        show.line("[bold]4 report[/bold]")
        return reported(campaign, bed, folder)


def reported(campaign: Campaign, bed: Testbed, folder: Path) -> tuple[Report, Path]:
    """The report of what the ledger holds, written; and where its HTML is."""
    with Evaluator(bed.folder, folder, policy=campaign.policy) as evaluator:
        report = build(campaign, bed, evaluator, isolation=isolation_of(campaign))
    return report, write(report, folder / "report")


@contextmanager
def _worker(
    campaign: Campaign, bed: Testbed, home: Home, evaluator: EvaluatorProcess, show: Show
) -> Iterator[CodeWorker | None]:
    """In code mode, what runs the researchers' code."""
    if campaign.mode != "code":
        yield None
        return
    on_feedback, on_student = (engine_of(campaign, b, home, show) for b in (bed, blind(bed)))
    try:
        yield CodeWorker(evaluator, on_feedback, on_student, at_once=campaign.workers)
    finally:
        on_feedback.close()
        on_student.close()


def _campaign(
    campaign: Campaign,
    folder: Path,
    bed: Testbed,
    parts: Parts,
    worker: CodeWorker | None,
    show: Show,
    *,
    open_door: OpenDoor | None,
) -> None:
    """Run the fleet until its time, its work or a budget of the campaign is spent."""
    outbox.post_all(parts.journal, parts.evaluator, within_s=LAST_POST_S)  # what an earlier run could not tell
    state = parts.evaluator.call("GET", "/operator/campaign")
    show.line(f"[bold]2 campaign[/bold] {campaign.name}: {campaign.researchers} x {campaign.kind}")
    members = enrol(campaign, folder, bed.public, parts.journal)
    spent_s = max(parts.journal.spent(m.name).wall_s for m in members)
    left_s = campaign.minutes * 60 - spent_s
    limits = {campaign.out_of_time, f"{campaign.campaign_budget.reached(parts.journal.spent(None))} is spent"}
    if (why := _finished(folder)) and (why in limits or not why.endswith("spent")):
        show.line(f"  finished earlier ({why}): taken from the ledger")
        return
    begun = any(m.incarnation for m in members)
    if begun:
        spent = f"{spent_s:.0f} s of {campaign.minutes * 60:.0f} s were spent"
        show.line(f"  resumed: {spent}, {state['submissions']} experiments kept")
    if worker and CODE_ONLY not in state["events"]:
        _event(parts, CODE_ONLY)
    _event(parts, "isolation", isolation_of(campaign))
    _event(parts, "resumed" if begun else "started")
    why = campaign.out_of_time
    if left_s > 0:
        _budget(folder, left_s)
        shown = blind(bed) if campaign.mode == "code" else bed
        with _doors(campaign, shown, members, open_door), FleetView(show.console, folder) as view:
            why = Fleet(campaign, folder, shown, make_sandbox(campaign), members, parts).run(left_s, view, worker)
    _event(parts, "fleet finished", why)


@contextmanager
def _doors(campaign: Campaign, shown: Testbed, members: Sequence[Member], open_door: OpenDoor | None) -> Iterator[None]:
    """Each researcher's own door to the strong model, where it can be fine-tuned: it may ask about what it is shown."""
    with ExitStack() as stack:
        if open_door is not None:
            place = Path(stack.enter_context(TemporaryDirectory(prefix="aar-doors-")))
            place.chmod(0o755)
            for number, member in enumerate(members):
                member.strong = place / str(number)
                member.strong.mkdir()
                stack.enter_context(open_door(shown, "student" if campaign.mode == "code" else "feedback", member.strong))
        yield


def _finished(folder: Path) -> str | None:
    """Why the fleet finished, None if it has not. One that came to a limit goes on where that is raised."""
    ledger = Ledger(folder / "server" / "ledger.sqlite", read_only=True)
    try:
        ends = [e.body.get("detail") or "" for e in ledger.entries("campaign") if e.body["event"] == "fleet finished"]
    finally:
        ledger.close()
    return ends[-1] if ends else None


def _budget(folder: Path, left_s: float) -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=left_s)
    (folder / "server" / "budget.json").write_text(json.dumps({"deadline": deadline.isoformat()}))


def confirmed(campaign: Campaign, bed: Testbed, home: Home, show: Show, *, snapshot: str | None = None) -> None:
    """Put the leaders (or one snapshot) to confirmation on every target that they were not run on yet.

    Raises:
        Misconfigured: the label set's budget of confirmations is spent, or a target cannot be set up.
        InvalidSubmission: nobody submitted that snapshot.
    """
    folder = home.campaigns / campaign.name
    show.line("[bold]3 confirmation[/bold] fresh seeds, clean sandboxes without network, items that were never queried")
    with show.steps():
        plan = make_plan(campaign, bed, home=home, student=reader_of(campaign, home, show), say=show.say)
    plan.write(folder)
    engines = {name: engine_of(campaign, plan.bed(name), home, show) for name in ("final", *plan.others)}
    try:
        with Evaluator(bed.folder, folder, policy=campaign.policy) as evaluator, show.steps():
            gate = Confirmations(evaluator)
            by_target = engines | {"feedback": engines["final"]}
            done = confirm_leaders(gate, by_target, campaign.confirm, show.say, snapshot=snapshot)
            if "finished" not in campaign_state(evaluator)["events"]:
                evaluator.ledger.append("campaign", "operator", {"event": "finished"})
    finally:
        for engine in engines.values():
            engine.close()
    if not done:
        show.line("  nothing is left to run: all was confirmed earlier, or nobody submitted")


def _event(parts: Parts, event: str, detail: str | None = None) -> None:
    """Into the ledger, now or as soon as the server takes it."""
    parts.journal.note("campaign", "operator", {"event": event, "detail": detail})
    outbox.post_all(parts.journal, parts.evaluator, within_s=LAST_POST_S)
