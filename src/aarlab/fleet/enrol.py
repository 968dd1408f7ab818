"""Who belongs to a fleet: a home, a brief and a starting prompt each, made before anything is started."""

import json
import sys
import uuid
from pathlib import Path

from aarlab.fleet.campaign import Campaign
from aarlab.fleet.directions import (
    Direction,
    Terms,
    direction,
    go_on_prompt,
    load_directions,
    prompts_version,
    starting_prompt,
)
from aarlab.fleet.member import Member
from aarlab.gateway.journal import Journal
from aarlab.models.strong import SOCKET
from aarlab.researchers.kinds import kind_named
from aarlab.researchers.researcher import BRIEF, DATA, GATE, HOME, STRONG, Brief, Researcher
from aarlab.sandbox.sandbox import Mount, SandboxSpec

ENV = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}


def enrol(campaign: Campaign, folder: Path, public: Path, journal: Journal) -> list[Member]:
    """The researchers of a campaign, as their earlier lives left them. What they are told is written, and the full text of it
    is noted for the ledger before the first life of each.

    Raises:
        Misconfigured: what the kind of researcher needs is missing, or the file of directions cannot be used.
    """
    researcher = kind_named(campaign.kind)(campaign.options)
    researcher.require()
    directions = load_directions(Path(campaign.directions)) if campaign.directions else None
    members = []
    for number in range(campaign.researchers):
        start = direction(number, directed=campaign.directed, directions=directions)
        member = _member(campaign, folder, researcher, _brief(campaign, public, number, start))
        member.incarnation = journal.incarnation(member.name)
        member.begun = member.incarnation > 0
        members.append(member)
    if not any(m.incarnation for m in members):
        version = {"event": "prompts", "detail": f"SHA-256 {prompts_version()}"}
        journal.note("campaign", "operator", version)
        for member in members:
            told = {"event": "enrolled", "direction": member.brief.direction, "detail": member.brief.prompt}
            journal.note("researcher", member.name, told)
    return members


def _brief(campaign: Campaign, public: Path, number: int, start: Direction) -> Brief:
    name, card = f"researcher-{number + 1}", json.loads((public / "problem.json").read_text())
    terms = Terms(
        name=name,
        researchers=campaign.researchers,
        mode=campaign.mode,
        minutes=campaign.minutes,
        experiments=None if campaign.calls_a_model else campaign.experiments,  # of nobody else are they counted
        budget=campaign.budget,
        campaign_budget=campaign.campaign_budget,
        sandbox=_sandbox_words(campaign),
        model_api=campaign.calls_a_model,
        strong=f"{STRONG}/{SOCKET}" if (public / "strong.json").exists() else "",
    )
    return Brief(
        name=name,
        direction=start.prompt,
        family=start.family,
        seed=campaign.seed * 1000 + number,
        experiments=campaign.experiments,
        mode=campaign.mode,
        prompt=starting_prompt(card, terms, start),
        go_on=go_on_prompt(),
    )


def _sandbox_words(campaign: Campaign) -> str:
    """What a sandbox may use, in words; "" where nothing is limited."""
    limits = campaign.limits
    units = {
        "{:g} GiB of memory": limits.memory_gib,
        "{:g} processes and threads": limits.pids,
        "{:g} processor(s)": limits.cpus,
        "{:g} GiB of disk in all": limits.disk_gib,
    }
    return ", ".join(words.format(limit) for words, limit in units.items() if limit is not None)


def _member(campaign: Campaign, folder: Path, researcher: Researcher, brief: Brief) -> Member:
    home, told = folder / "work" / brief.name, folder / "briefs" / brief.name
    for made in (home, told):
        made.mkdir(parents=True, exist_ok=True)
    researcher.prepare(told, brief)
    return Member(
        brief=brief,
        researcher=researcher,
        session=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{campaign.name}/{brief.name}")),
        told=told,
        home=home,
        transcripts=folder / "transcripts" / brief.name,
        python=sys.executable,
    )


def what_it_sees(campaign: Campaign, public: Path, member: Member, door: Path) -> SandboxSpec:
    """The sandbox of one life: public data, its brief, its home, the folder with its socket, that of the strong model where
    it can be fine-tuned, its kind's programs; no more."""
    mounts = (
        Mount(public, DATA),
        Mount(member.told, BRIEF),
        Mount(member.home, HOME, writable=True),
        Mount(door, GATE),
        *([] if member.strong is None else [Mount(member.strong, STRONG)]),
        *member.researcher.mounts(),
    )
    return SandboxSpec(
        name=member.name,
        mounts=mounts,
        env=ENV | {"HOME": HOME},
        workdir=HOME,
        standing=campaign.limits.standing,
        devices=campaign.devices,
    )
