"""A campaign's testbed, student, sandbox and engine; what its researchers can expect is said before
anybody is paid."""

from collections.abc import Sequence
from contextlib import closing
from functools import cache, partial

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder
from aarlab.core.settings import Home
from aarlab.evaluation.campaign_testbed import campaign_testbed
from aarlab.evaluation.scoring.hidden_labels import load_answers, load_pgr_scale, load_units
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.device_hours import meter_in, meters_of
from aarlab.fleet.display import Display
from aarlab.fleet.measure_baselines import measure_baselines, why_again
from aarlab.fleet.start_outlook import BUNDLES, StartOutlook, start_outlook
from aarlab.runs.engine import LocalEngine
from aarlab.runs.engine_contract import Engine
from aarlab.runs.placing import engine_by
from aarlab.sandbox import SANDBOXES
from aarlab.sandbox.processes import LIMITED
from aarlab.sandbox.sandbox import MakeSandbox
from aarlab.testbeds import set_up
from aarlab.testbeds.gap import AnchorScores
from aarlab.testbeds.student import Student
from aarlab.testbeds.students import student_of
from aarlab.testbeds.testbed import Testbed


def make_sandbox(campaign: Campaign) -> MakeSandbox:
    """The campaign's sandbox, probed once.

    Raises:
        Misconfigured: this machine cannot isolate; the message says how to fix it. Nothing falls
            back by itself.
    """
    chosen = SANDBOXES[campaign.sandbox]
    chosen.require()
    return chosen


def isolation_of(campaign: Campaign) -> str:
    """As text, for the ledger and the report: what is kept apart, and how limits are held."""
    chosen = SANDBOXES[campaign.sandbox]
    held = chosen.limits_held()
    limits = "; ".join(f"{limit}: {held.get(limit, 'NOT HELD')}" for limit in LIMITED)
    return f"{campaign.sandbox}: {', '.join(sorted(chosen.isolates)) or 'NONE'} (limits: {limits})"


def reader_of(campaign: Campaign, home: Home, show: Display) -> Student:
    """Who reads the texts."""
    return _student(campaign.student, campaign.workers, home, show)


@cache
def _student(name: str, workers: int, home: Home, show: Display) -> Student:
    """One a process: the workers of a student that is fine-tuned load it once, and end with this
    process."""
    return student_of(name, home, workers=workers, progress=show.say)


def prepared(
    campaign: Campaign,
    home: Home,
    show: Display,
    *,
    again: bool = True,
    starting: bool = False,
    whole: bool = True,
) -> Testbed:
    """The campaign's testbed, baselines included; without `whole` it may lack what needs the
    `final` items (see `completed`). The testbed of a begun campaign is kept,
    whichever code made it; baselines that other code ran are run again, unless not `again`: then
    they stay beside the claims that were run when they were. Before researchers are started it is
    said what their figures can be worth.

    Raises:
        Misconfigured: `starting`, and the figures would say nothing, or no search can work;
            `start_anyway` is not set.
    """
    bed = _set_up(campaign, home, show, whole=whole)
    bed.require_publishable()
    if bed.from_cache:
        other = _by_other_code(bed, campaign, reader_of(campaign, home, show))
        show.line(f"  testbed {bed.folder.name}: from cache{other}")
    refuse_troubles(campaign, AnchorScores(bed).troubles, starting, show)
    _with_baselines(campaign, bed, home, show, again=again)
    if starting:
        made = start_outlook_of(campaign, bed)
        show.line(f"  {made.words}")
        refuse_troubles(campaign, [made.trouble] if made.trouble else [], starting, show)
    return bed


def completed(campaign: Campaign, bed: Testbed, home: Home, show: Display) -> Testbed:
    """The same testbed with its `final` items, and the baselines on them. What was not read ahead
    is read now.

    Raises:
        Misconfigured: see `set_up.prepare`.
    """
    if bed.whole and why_again(bed) is None:
        return bed
    bed = _set_up(campaign, home, show, whole=True)
    refuse_troubles(campaign, AnchorScores(bed).troubles, False, show)
    _with_baselines(campaign, bed, home, show, again=True)
    return bed


def _set_up(campaign: Campaign, home: Home, show: Display, *, whole: bool) -> Testbed:
    begun = campaign_testbed(CampaignFolder(home.campaigns / campaign.name).server.root)
    with show.steps():
        return set_up.prepare(
            campaign.problem,
            campaign.data_seed,
            home=home,
            student=reader_of(campaign, home, show),
            progress=show.say,
            begun=begun,
            whole=whole,
        )


def _with_baselines(
    campaign: Campaign, bed: Testbed, home: Home, show: Display, *, again: bool
) -> None:
    why = why_again(bed)
    if why is None or (why and not again):
        show.line(f"  baselines: from cache{f' (not run again, though {why})' if why else ''}")
        return
    if why:
        show.line(f"  baselines: run again, {why}")
    with closing(engine_of(campaign, bed, home, show)) as engine, show.steps():
        measure_baselines(engine, show.say)


def _by_other_code(bed: Testbed, campaign: Campaign, student: Student) -> str:
    """That a testbed was made by other code than there is now, and what changed; "" where it was
    not."""
    why = set_up.code_for(campaign.problem, student).since(bed.code)
    return f" (the campaign was begun on it; made by other code: {why})" if why else ""


def start_outlook_of(campaign: Campaign, bed: Testbed) -> StartOutlook:
    """What the campaign's researchers can expect of its feedback items."""
    units = load_units(
        bed.folder, "feedback", sorted(load_answers(bed.folder, "feedback")["feedback"])
    )
    bundles = campaign.experiments if campaign.kind == "search" else BUNDLES
    pgr_scale = load_pgr_scale(bed.folder).released(units.items)
    return start_outlook(
        campaign.policy, units, pgr_scale, agents=campaign.researchers, bundles=bundles
    )


def refuse_troubles(
    campaign: Campaign, troubles: Sequence[str], starting: bool, show: Display
) -> None:
    """Refuse to start where there are troubles and the operator does not insist; else show them."""
    if troubles and starting and not campaign.start_anyway:
        words = (
            "Nobody was started or paid. To start all the same, set start_anyway: true (-s "
            "start_anyway=true)"
        )
        raise Misconfigured(
            f"{' '.join(troubles)} {words}; the report then says it beside its figures."
        )
    for trouble in troubles:
        show.line(f": {trouble}", head="  warning")


def engine_of(campaign: Campaign, bed: Testbed, home: Home, show: Display) -> LocalEngine:
    """Runs of this campaign, cached under AAR_HOME/runs."""
    cache, campaign_folder = home.runs, home.campaigns / campaign.name
    sandbox = make_sandbox(campaign)
    student, placed = reader_of(campaign, home, show), placed_by(campaign, home, show)
    if placed is not None:
        student.park()  # set-up may have used a device that is the cluster's, too
    return LocalEngine(
        bed,
        cache,
        sandbox,
        workers=campaign.workers,
        timeout_s=campaign.run_timeout_s,
        student=student,
        engine=placed,
        meters=(
            None if student.open_socket is None else partial(meter_in, meters_of(campaign_folder))
        ),
    )


def placed_by(campaign: Campaign, home: Home, show: Display) -> Engine | None:
    """What places a campaign's runs; None: this process. Whoever asks closes it.

    Raises:
        Misconfigured: the cluster cannot be joined, or its runs cannot be placed there.
    """
    return engine_by(campaign, home, lambda words: show.line(f": {words}", head="  cluster"))
