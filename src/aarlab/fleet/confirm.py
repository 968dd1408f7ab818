"""Snapshots re-run by us for confirmation: clean sandbox, no network, fresh seeds, on targets that
were never queried.

Each target is a testbed; tuned naive is run the same way on the same seeds beside every snapshot.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain

from aarlab.core.answers import OneSeed
from aarlab.core.entries import EventBody
from aarlab.core.errors import AarError, CouldNotBeRun, InvalidSubmission, Misconfigured
from aarlab.core.orders import CampaignEntries, Orders
from aarlab.core.records import SplitName
from aarlab.core.settings import Home
from aarlab.evaluation.confirmation.confirmation_record import ConfirmationRecord, Kind
from aarlab.evaluation.confirmation.gate import Confirmations
from aarlab.evaluation.confirmation.run_order import (
    CodeFailed,
    NotRun,
    NoVerdict,
    Outcome,
    Ran,
    Run,
    RunAnswers,
    Target,
)
from aarlab.evaluation.confirmation.winner_components import WinnerComponents, Without
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.issued_seeds import SEEDS
from aarlab.evaluation.leaderboard import events_of
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.display import Display
from aarlab.fleet.measure_baselines import tuned_naive
from aarlab.fleet.operator_hours import charge_operator
from aarlab.fleet.prepare import engine_of, reader_of
from aarlab.fleet.without_component import components_of
from aarlab.problems import PROBLEMS
from aarlab.runs.engine import MISSHAPEN, LocalEngine, RunResult
from aarlab.testbeds import set_up
from aarlab.testbeds.ablation import ablate
from aarlab.testbeds.student import Student
from aarlab.testbeds.testbed import Testbed

MOST_COMPONENTS = 8  # that are taken out of the winner, if nobody says
FRESH = 1000  # added to the data seed: another draw of the problem, with weak labels of its own
NAIVE = "tuned naive"
Say = Callable[[str, int, int], None]
Engines = dict[str, LocalEngine]  # by target's name
Jobs = Sequence[Future[RunResult]]  # of one snapshot on one target, SEEDS seeds each


@dataclass(frozen=True)
class TargetTestbed:
    """A target and its testbed."""

    target: Target
    bed: Testbed


def plan(
    campaign: Campaign, bed: Testbed, *, home: Home, student: Student, say: Say
) -> tuple[TargetTestbed, ...]:
    """Set up what the campaign confirms on beside its own feedback and final: ablations of its own
    testbed always (they cost a second), a fresh draw of its data, another teacher and student on
    its data, and the transfer problems, each as far as asked.

    Raises:
        Misconfigured, Transient: see `set_up.prepare`.
    """

    def place(name: str, kind: Kind, on: Testbed, split: SplitName = "final") -> TargetTestbed:
        return TargetTestbed(Target(name, kind, on.folder, split), on)

    def one(name: str, kind: Kind, problem: str, data_seed: int, reader: Student) -> TargetTestbed:
        def of(what: str, done: int, total: int) -> None:
            say(f"{kind}, {problem}: {what}", done, total)

        return place(
            name,
            kind,
            set_up.prepare(
                problem, data_seed, home=home, student=reader, progress=of, in_secret=True
            ),
        )

    ablated, seed = ablate(bed, "ablated"), campaign.data_seed
    found = [
        place("teacherless", "teacherless", ablate(bed, "teacherless")),
        place("ablated", "ablated", ablated),
        place("ablated-feedback", "ablated", ablated, "feedback"),
    ]
    if campaign.confirm_on_fresh:
        if PROBLEMS[campaign.problem].fixed:
            raise Misconfigured(
                f"{campaign.problem} has no other items to confirm on. Set confirm_on_fresh: false."
            )
        found.append(one("fresh", "fresh", campaign.problem, seed + FRESH, student))
    if campaign.confirm_on_pair and student.pair is not None:
        found.append(one("pair", "pair", campaign.problem, seed, student.pair))
    return (*found, *(one(name, "transfer", name, seed, student) for name in campaign.transfers))


@contextmanager
def engines_of(
    bed: Testbed, places: Sequence[TargetTestbed], make: Callable[[Testbed], LocalEngine]
) -> Iterator[Engines]:
    """By target's name, what runs code there; one for the campaign's own feedback and final, on
    `bed`."""
    with ExitStack() as stack:
        engines: Engines = {}
        for name, on in (("final", bed), *((place.target.name, place.bed) for place in places)):
            engines[name] = make(on)
            stack.callback(engines[name].close)
        yield engines | {"feedback": engines["final"]}


def confirm_leaders(
    confirmations: Confirmations,
    engines: Engines,
    how_many: int,
    say: Say,
    *,
    snapshot: str | None = None,
) -> list[ConfirmationRecord | NoVerdict]:
    """Confirm the leaders (see `confirmation.leaders`), or one snapshot; what came of each, in rank
    order.

    `engines`: by target, "feedback" and "final" among them. A snapshot that fails here is recorded
    as failed with its words; one whose runs the machine ended has no verdict and can be confirmed
    again, and any other failure of the lab is raised. Where its runs on fresh seeds speak against a
    claim, the snapshot is run twice on the seeds that were issued for it.

    Raises:
        Transient, Misconfigured: the infrastructure failed; run the campaign again to resume
            here.
    """
    orders = confirmations.begin(how_many, snapshot)
    naive = tuned_naive(engines["final"].testbed)
    # by snapshot's token, or NAIVE: once for all with these seeds
    started: dict[tuple[str, Run], Jobs] = {}
    for order in orders:
        for run in order.runs:
            for name, files in (
                (order.token, order.files),
                *([(NAIVE, naive)] if run.target.compared else []),
            ):
                if (name, run) not in started:
                    engine = engines[run.target.name]
                    started[name, run] = [
                        engine.pool.submit(engine.run, files, run.target.split, seeds)
                        for seeds in groups_of(run.seeds)
                    ]
    made = []
    try:
        for order in orders:
            jobs = [job for group in started.values() for job in group]
            say("confirmation", sum(job.done() for job in jobs), len(jobs))
            outcomes = {
                run.target.name: _outcome(run, started[order.token, run], started.get((NAIVE, run)))
                for run in order.runs
            }
            seeds = confirmations.issued_seeds(order.token, outcomes)
            issued = () if seeds is None else _on_issued(engines["feedback"], order.files, seeds)
            made.append(confirmations.finish(order.token, outcomes, issued))
    finally:  # stopped half-way: what has not started need not run
        for job in chain.from_iterable(started.values()):
            job.cancel()
    return made


def _components(
    campaign: Campaign, gate: WinnerComponents, engine: LocalEngine, show: Display
) -> str:
    """Take components out of the winner; what came of it, as text. A failure ends nothing: the
    verdicts are on record."""
    most = campaign.ablate_components
    if most is None:
        most = MOST_COMPONENTS if engine.testbed.preset is None else 0
    try:
        found = ablate_winner(gate, engine, most, show.say)
    except (AarError, OSError, subprocess.SubprocessError) as error:
        again = f"`aar confirm {campaign.name}` tries again"
        return (
            f"the winner's components could not be taken out: {error} No verdict changes; {again}."
        )
    return f"the winner without one component: {', '.join(found) or 'nothing was run'}"


def ablate_winner(
    gate: WinnerComponents, engine: LocalEngine, most: int, say: Say
) -> tuple[str, ...]:
    """Run the first confirmed snapshot without one component at a time, on the seeds of its
    confirmation, once its verdict is on record; the names of what was taken out. What the machine
    ended is left for the next call.

    Raises:
        Transient, Misconfigured: the infrastructure failed; the verdict stands.
    """
    record = gate.winner()
    if record is None or (final := record.of("final")) is None:
        return ()
    known = {target.name for target in record.targets}
    left = [one for one in components_of(gate.code(record))[:most] if one.name not in known]
    jobs = [
        [engine.pool.submit(engine.run, one.files, "final", s) for s in groups_of(final.seeds)]
        for one in left
    ]
    ran: list[tuple[Without, Ran]] = []
    try:
        for number, (one, runs) in enumerate(zip(left, jobs, strict=True)):
            say("the winner without a component", number, len(left))
            outcome = _ended(runs)
            ran += [] if isinstance(outcome, NotRun) else [(one, outcome)]
    finally:
        for job in chain.from_iterable(jobs):
            job.cancel()
    if ran:
        gate.add(record.snapshot, ran)
    return tuple(one.name for one, _ in ran)


def wanted(ledger: Ledger, snapshot: str | None) -> list[str | None]:
    """What is put to confirmation, in order: that snapshot; else those that operators asked for,
    then the leaders (None)."""
    if snapshot is not None:
        return [snapshot]
    return [*Orders(CampaignEntries(ledger)).now().to_confirm, None]


def groups_of(seeds: tuple[int, ...]) -> list[tuple[int, ...]]:
    """As many at once as a researcher's own runs have: the time limit of a run is for these."""
    return [seeds[at : at + SEEDS] for at in range(0, len(seeds), SEEDS)]


def _on_issued(
    engine: LocalEngine, files: Mapping[str, str], seeds: tuple[int, ...]
) -> list[Outcome]:
    """Two runs, of which the cache can answer one: code that does not go by its seed differs
    between them."""
    runs = [
        engine.pool.submit(engine.run, files, "feedback", seeds, anew=anew)
        for anew in (False, True)
    ]
    return [_ended([run]) for run in runs]


def _ended(jobs: Jobs) -> Outcome:
    """What came of the runs of one snapshot on some seeds each: all answers, or what was wrong."""
    answers: dict[str, OneSeed] = {}
    for job in jobs:
        try:
            answers |= job.result().answers
        except CouldNotBeRun as error:
            return NotRun(str(error))
        except InvalidSubmission as error:
            return CodeFailed(error.facts.get("failure", MISSHAPEN), str(error))
    return RunAnswers(answers)


def _outcome(run: Run, method: Jobs, naive: Jobs | None) -> Outcome:
    found = _ended(method)
    if naive is None or not isinstance(found, RunAnswers):
        return found
    beside = _ended(naive)
    if isinstance(beside, NotRun):
        return NotRun(f"tuned naive: {beside.words}")
    if isinstance(beside, CodeFailed):
        words = (
            f"Tuned naive did not run on {run.target.name} ({beside.words}). Raise run_timeout_s "
            "and go on."
        )
        raise Misconfigured(words)
    return RunAnswers(found.method, beside.method)


def confirmed(
    campaign: Campaign, bed: Testbed, home: Home, show: Display, *, snapshot: str | None = None
) -> None:
    """Put the leaders (or one snapshot) to confirmation on every target that they were not run on
    yet.

    Raises:
        Misconfigured: the label set's budget of confirmations is spent, a target cannot be set up,
            or nobody submitted that snapshot.
    """
    words = "fresh seeds, clean sandboxes without network, items that were never queried"
    show.line(f" {words}", head="3 confirmation")
    with show.steps():
        places = plan(
            campaign, bed, home=home, student=reader_of(campaign, home, show), say=show.say
        )
    with (
        engines_of(bed, places, lambda on: engine_of(campaign, on, home, show)) as engines,
        Evaluator(bed.folder, home.campaigns / campaign.name, policy=campaign.policy) as evaluator,
        show.steps(),
    ):
        gate = WinnerComponents(evaluator, [place.target for place in places])
        done = [
            one
            for chosen in wanted(evaluator.ledger, snapshot)
            for one in confirm_leaders(gate, engines, campaign.confirm, show.say, snapshot=chosen)
        ]
        charge_operator(campaign, home.campaigns / campaign.name, evaluator)
        note_finished(evaluator)
        without = _components(campaign, gate, engines["final"], show)
    show.line(f"  {without}")
    say_of(done, show)


def note_finished(evaluator: Evaluator) -> None:
    """Note, once, that the campaign has finished."""
    if "finished" not in events_of(evaluator.ledger):
        evaluator.ledger.append("campaign", "operator", EventBody(event="finished").plain())


def say_of(done: Sequence[ConfirmationRecord | NoVerdict], show: Display) -> None:
    """What could not be run, or that nothing was left to run."""
    for one in (one for one in done if isinstance(one, NoVerdict)):
        for target, why in one.not_run.items():
            show.line(
                f"  {one.snapshot[:12]} of {one.researcher}, {target}: could not be run, no "
                f"verdict. {why}"
            )
    if not done:
        show.line("  nothing is left to run: all was confirmed earlier, or nobody submitted")
