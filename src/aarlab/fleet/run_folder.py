"""A campaign on a problem in a folder: set-up, fleet, confirmation. Researchers submit code; it is
run and graded on the operator's side."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from shlex import quote

from aarlab.core.layout import CampaignFolder, GradingsFolder
from aarlab.core.settings import Home
from aarlab.core.strict_json import read_json
from aarlab.evaluation.confirmation.unit_gate import UnitConfirmations
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.scoring.graded_units import GradedUnits
from aarlab.evaluation.scoring.marking import UnitMarking
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.code_mode import CodeWorker
from aarlab.fleet.confirm import note_finished, say_of, wanted
from aarlab.fleet.display import Display
from aarlab.fleet.final_runs import FinalRuns, OtherData
from aarlab.fleet.folder_runs import FolderRuns
from aarlab.fleet.launch import running_parts
from aarlab.fleet.prepare import make_sandbox, placed_by, refuse_troubles
from aarlab.fleet.run_fleet import run_members
from aarlab.fleet.start_outlook import BUNDLES, StartOutlook, start_outlook
from aarlab.problems.folder.folder_problem import FolderProblem
from aarlab.problems.folder.shipped_folders import SHIPPED, problem_of
from aarlab.runs.engine_contract import Engine
from aarlab.runs.grading import Grader
from aarlab.runs.placed_making import require_placeable
from aarlab.runs.served_folder import ServedFolder, serve_folder


def as_code(campaign: Campaign) -> Campaign:
    """A campaign on a problem in a folder takes code, whatever its mode says."""
    return campaign.model_copy(update={"mode": "code"}) if campaign.in_folder else campaign


def served(campaign: Campaign, home: Home, show: Display) -> ServedFolder:
    """The campaign's problem, set up.

    Raises:
        Misconfigured, CouldNotBeRun, Transient: see `serve_folder`.
    """
    problem, box = problem_of(campaign.problem), make_sandbox(campaign)
    with makings_by(campaign, problem, home, show) as engine, show.steps():
        return serve_folder(problem, campaign.data_seed, home, box, show.say, engine=engine)


@contextmanager
def makings_by(
    campaign: Campaign, problem: FolderProblem, home: Home, show: Display
) -> Iterator[Engine | None]:
    """What places the code that makes submissions; gradings, which have secrets, stay here.

    Raises:
        Misconfigured: see `placed_by`; or what may be submitted is too large for it.
    """
    engine = placed_by(campaign, home, show)
    if engine is None:
        yield None
        return
    with closing(engine):
        require_placeable(problem)
        yield engine


def start_outlook_of_folder(campaign: Campaign, bed: ServedFolder) -> StartOutlook:
    """What the campaign's researchers can expect of its feedback units."""
    marking = UnitMarking(bed.folder)
    bundles = campaign.experiments if campaign.kind == "search" else BUNDLES
    return start_outlook(
        campaign.policy,
        marking.units,
        marking.pgr_scale,
        agents=campaign.researchers,
        bundles=bundles,
        fleets=0,  # the simulation is of answers that are right or wrong
    )


def unchecked(problem: FolderProblem) -> str | None:
    """As text, where the folder was not admitted as it is now; None of problems that ship."""
    root = problem.folder.root
    if root.parent == SHIPPED:
        return None
    card = read_json(problem.folder.card) if problem.folder.card.is_file() else None
    found = card if isinstance(card, dict) and card.get("digest") == problem.digest else {}
    if not found:
        return f"{root} was not checked as it is now: aar problem check {quote(str(root))}"
    return f"{root} was refused by its check; see `aar problem card`" if found["refusals"] else None


def run_folder_campaign(campaign: Campaign, home: Home, show: Display) -> ServedFolder:
    """Set up, run the fleet and confirm the leaders. Each step keeps what it made.

    Raises:
        Misconfigured: a part cannot be started, or too few improvements could be reported and the
            operator does not insist.
    """
    folder = home.campaigns / campaign.name
    show.line(f" {campaign.problem}", head="1 problem")
    bed = served(campaign, home, show)
    if words := unchecked(bed.problem):
        show.line(f": {words}", head="  warning")
    made = start_outlook_of_folder(campaign, bed)
    show.line(f"  {made.words}")
    refuse_troubles(campaign, [made.trouble] if made.trouble else [], True, show)
    campaign.save(folder)
    box, workers = make_sandbox(campaign), campaign.workers
    with (
        makings_by(campaign, bed.problem, home, show) as engine,
        closing(FolderRuns(bed, folder, box, workers=workers, engine=engine)) as runs,
        running_parts(campaign, folder, bed.folder) as parts,
    ):
        worker = CodeWorker(parts.evaluator, runs, at_once=runs.at_once)
        run_members(campaign, folder, parts, worker, show, card=bed.public, data=bed.public)
    confirmed_in_folder(campaign, bed, home, show)
    return bed


def confirmed_in_folder(
    campaign: Campaign,
    bed: ServedFolder,
    home: Home,
    show: Display,
    *,
    snapshot: str | None = None,
) -> None:
    """Put the leaders, or one snapshot, to confirmation.

    Raises:
        Misconfigured: the budget of confirmations is spent, a baseline or the grader fails, or
            nobody submitted that snapshot.
    """
    words = "fresh seeds, clean sandboxes without network, units that were never queried"
    show.line(f" {words}", head="3 confirmation")
    folder, box, done = home.campaigns / campaign.name, make_sandbox(campaign), []
    with (
        makings_by(campaign, bed.problem, home, show) as engine,
        Evaluator(bed.folder, folder, policy=campaign.policy) as evaluator,
        show.steps(),
        ExitStack() as stack,
    ):
        gate, beside = UnitConfirmations(evaluator), {}
        grader, fresh = Grader(bed.problem, bed.prepared, box, engine), campaign.confirm_on_fresh
        runs = FinalRuns(box, GradingsFolder(CampaignFolder(folder).server.gradings))
        others = stack.enter_context(
            OtherData(bed, gate.problem, home, runs, fresh=fresh, engine=engine)
        )
        for chosen in wanted(evaluator.ledger, snapshot):
            orders = gate.orders(campaign.confirm, chosen)
            for number, order in enumerate(orders):
                show.say("confirmation", number, len(orders))
                method, shown = runs.method(grader, order), ()
                if isinstance(method, GradedUnits):
                    if order.seeds not in beside:
                        beside[order.seeds] = runs.baselines(grader, gate.problem, order)
                    show.say("confirmation: other data", number, len(orders))
                    shown = others.runs(order, beside[order.seeds])
                done.append(gate.settle(order.token, method, beside.get(order.seeds, {}), shown))
        if all(one.verdict for one in done):  # else it is confirmed again
            runs.forget()
        note_finished(evaluator)
    say_of(done, show)
