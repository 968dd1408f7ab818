"""Run a campaign's fleet on a testbed until its time, its work or a budget of the campaign is
spent. Resumes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from aarlab.core.entries import EventBody
from aarlab.core.held_folder import HeldFolder
from aarlab.core.layout import CampaignFolder
from aarlab.core.settings import Home
from aarlab.evaluation.code_requests import CODE_ONLY
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet import outbox, preflight
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.code_mode import CodeWorker, EngineRuns
from aarlab.fleet.device_hours import DeviceHours
from aarlab.fleet.display import Display
from aarlab.fleet.enrol import enrol
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.fleet.fleet_parts import Parts
from aarlab.fleet.hosts import hosts_of
from aarlab.fleet.launch import running_parts
from aarlab.fleet.member import Member
from aarlab.fleet.prepare import engine_of, isolation_of, make_sandbox, reader_of
from aarlab.fleet.supervisor import LAST_POST_S, Fleet
from aarlab.testbeds.code_mode_view import code_mode_view
from aarlab.testbeds.student import OpenSocket
from aarlab.testbeds.testbed import Testbed


def run_fleet(campaign: Campaign, bed: Testbed, home: Home, show: Display) -> None:
    """Start what the fleet stands on, and the fleet; stop all of it at the end.

    Raises:
        Misconfigured: a part cannot be started; the message says which and why.
    """
    folder, student = home.campaigns / campaign.name, reader_of(campaign, home, show)
    shown = code_mode_view(bed) if campaign.mode == "code" else bed
    strong = None
    if student.open_socket is not None and (campaign.engine == "local" or student.has_device()):
        strong = partial(_strong_sockets, campaign, shown, student.open_socket)
    elif student.open_socket is not None:
        show.line(
            "  This machine has no GPU: researchers have the strong model where the cluster runs "
            "their code, and its frozen states in their sandboxes."
        )
    with (
        running_parts(campaign, folder, bed.folder) as parts,
        _worker(campaign, bed, home, parts.evaluator, show) as worker,
    ):
        run_members(
            campaign, folder, parts, worker, show, card=bed.public, data=shown.public, strong=strong
        )


@contextmanager
def _worker(
    campaign: Campaign, bed: Testbed, home: Home, evaluator: EvaluatorProcess, show: Display
) -> Iterator[CodeWorker | None]:
    """In code mode, what runs the researchers' code."""
    if campaign.mode != "code":
        yield None
        return
    on_feedback, on_student = (
        engine_of(campaign, b, home, show) for b in (bed, code_mode_view(bed))
    )
    try:
        yield CodeWorker(evaluator, EngineRuns(on_feedback, on_student), at_once=campaign.workers)
    finally:
        on_feedback.close()
        on_student.close()


StrongSockets = Callable[[Sequence[Member], DeviceHours], AbstractContextManager[None]]


def run_members(
    campaign: Campaign,
    folder: Path,
    parts: Parts,
    worker: CodeWorker | None,
    show: Display,
    *,
    card: Path,
    data: Path,
    strong: StrongSockets | None = None,
) -> None:
    """Run the fleet until its time, its work or a budget of the campaign is spent. `card`: the
    public folder whose card the prompts state; `data`: the one that researchers see."""
    devices = DeviceHours(campaign, folder, parts.journal)
    devices.recover()
    parts.journal.release()  # what an earlier run could not post
    outbox.post_all(parts.journal, parts.evaluator, within_s=LAST_POST_S)
    state = parts.evaluator.call("operator_campaign")
    show.line(f" {campaign.name}: {campaign.researchers} x {campaign.kind}", head="2 campaign")
    if words := preflight.overcommitted(campaign):
        show.line(f"  {words}: lower limits.disk_gib")
    members = enrol(campaign, folder, card, parts.journal, with_strong=strong is not None)
    spent_s = max(parts.journal.spent(m.name).wall_s for m in members)
    left_s = campaign.minutes * 60 - spent_s
    limits = {
        campaign.out_of_time,
        f"{campaign.campaign_budget.reached(parts.journal.spent(None))} is spent",
    }
    why, states = _ended(folder)
    given_up = [m.name for m in members if states.get(m.name) == "gave up"]
    if why and (why in limits or not why.endswith("spent")) and not (left_s > 0 and given_up):
        show.line(f"  finished earlier ({why}): taken from the ledger")
        return
    begun = any(m.incarnation for m in members)
    if begun:
        spent = f"{spent_s:.0f} s of {campaign.minutes * 60:.0f} s were spent"
        show.line(f"  resumed: {spent}, {state['submissions']} experiments kept")
    elif words := asked_before(parts.evaluator.call("operator_board")):
        show.line(f"  {words}")
    if why and given_up:
        show.line(f"  started again, after they were given up: {', '.join(given_up)}")
        _leave_others_ended(members, given_up, states)
    if worker and CODE_ONLY not in state["events"]:
        _event(parts, CODE_ONLY)
    _event(
        parts,
        "isolation",
        f"{isolation_of(campaign)}; the lab is apart from the evaluator by {parts.evaluator.apart}",
    )
    _event(parts, "resumed" if begun else "started", campaign.limits_text)
    why = campaign.out_of_time
    if left_s > 0:
        with strong(members, devices) if strong else nullcontext(), show.fleet(folder) as view:
            sandbox = make_sandbox(campaign)
            with hosts_of(campaign, folder, members, data, sandbox) as hosts:
                given = campaign, folder, data, sandbox, members, parts
                why = Fleet(*given, hosts=hosts, devices=devices).run(left_s, view, worker)
        devices.step(campaign)  # what was used until the sockets closed
        parts.journal.release()
    _event(parts, "fleet finished", why)


def _leave_others_ended(
    members: Sequence[Member], given_up: Sequence[str], states: Mapping[str, str]
) -> None:
    """Who was not given up has ended permanently."""
    for member in members:
        if member.name not in given_up:
            member.state = "spent" if states.get(member.name) == "spent" else "finished"


def asked_before(board: Mapping[str, Any]) -> str | None:
    """As text, where others have asked these labels before this campaign's first submission: its
    level then begins where theirs ended, and may hardly move."""
    if board["submissions"] or board["released"]["bits"] < 1:
        return None
    begins = f"PGR {board['level_pgr']:.2f}, not at the weak teacher's"
    if board.get("combined"):
        begins = f"the score {board['level_pgr']:.2f}, not at the floor"
    return (
        f"these labels were asked before: the level begins at {begins}, and "
        f"{board['released']['bits']:.1f} bits of them are released. A submission improves only "
        "above it. Labels that nobody asked: -s data_seed=N"
    )


@contextmanager
def _strong_sockets(
    campaign: Campaign,
    shown: Testbed,
    open_socket: OpenSocket,
    members: Sequence[Member],
    devices: DeviceHours,
) -> Iterator[None]:
    """Each researcher's own socket to the strong model, where it can be fine-tuned: it may ask
    about what it is shown."""
    with ExitStack() as stack:
        place = stack.enter_context(HeldFolder(0o755)).path
        for number, member in enumerate(members):
            member.strong = place / str(number)
            member.strong.mkdir()
            stack.enter_context(
                open_socket(
                    shown,
                    "student" if campaign.mode == "code" else "feedback",
                    member.strong,
                    devices.open(campaign, member.name, member.name),
                )
            )
        yield


def _ended(folder: Path) -> tuple[str | None, dict[str, str]]:
    """Why the fleet finished, None if it has not (one that came to a limit goes on where that is
    raised); and the latest event of each researcher."""
    with closing(Ledger(CampaignFolder(folder).server.ledger, read_only=True)) as ledger:
        events = [e.read(EventBody) for e in ledger.entries("campaign")]
        ends = [body.detail or "" for body in events if body.event == "fleet finished"]
        latest = {e.who: e.read(EventBody).event for e in ledger.entries("researcher")}
    return (ends[-1] if ends else None), latest


def _event(parts: Parts, event: str, detail: str | None = None) -> None:
    """Into the ledger, now or as soon as the server takes it."""
    parts.journal.note("campaign", "operator", {"event": event, "detail": detail})
    outbox.post_all(parts.journal, parts.evaluator, within_s=LAST_POST_S)
