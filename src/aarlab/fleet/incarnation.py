"""One incarnation of a researcher: what its sandbox shows it, and its program started there."""

from pathlib import Path

from aarlab.fleet.campaign import Campaign
from aarlab.fleet.member import Member
from aarlab.nodes.program import sandbox_of, start_program
from aarlab.problems.folder.shipped_folders import problem_of
from aarlab.researchers.researcher import STRONG, IncarnationStart
from aarlab.runs.folder_run import weights_of
from aarlab.sandbox.sandbox import MakeSandbox, Mount, SandboxSpec


def start_incarnation(
    campaign: Campaign, public: Path, member: Member, socket: Path, make_sandbox: MakeSandbox
) -> None:
    """Start the program of a researcher in a new sandbox, with the gateway's socket in the folder
    `socket`."""
    member.sandbox = make_sandbox(what_it_sees(campaign, public, member, socket))
    member.log = log_of(member)
    member.process = start_program(
        member.researcher, member.sandbox, incarnation_start(member), member.python, member.log
    )


def log_of(member: Member) -> Path:
    """Where what the incarnation prints is kept."""
    return member.transcripts / f"{member.incarnation:03d}.jsonl"


def incarnation_start(member: Member) -> IncarnationStart:
    """What its program is started with."""
    return IncarnationStart(
        incarnation=member.incarnation,
        session=member.session,
        begun=member.session_begun,
        ended=member.before,
    )


def what_it_sees(campaign: Campaign, public: Path, member: Member, socket: Path) -> SandboxSpec:
    """The sandbox of one incarnation: public data, its brief, its home, the folder with its socket,
    that of the strong model where it can be fine-tuned, the weights that a problem in a folder
    names, its kind's programs; no more."""
    weights = weights_of(problem_of(campaign.problem).contract) if campaign.in_folder else ()
    return sandbox_of(
        member.name,
        data=public,
        brief=member.brief_folder,
        home=member.home,
        gate=socket,
        more=(
            *([] if member.strong is None else [Mount(member.strong, STRONG)]),
            *weights,
            *member.researcher.mounts(),
        ),
        standing=campaign.limits.standing,
        devices=campaign.devices,
    )
