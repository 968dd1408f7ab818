"""Who belongs to a fleet: a home, a brief and a starting prompt each, made before anything is
started."""

import json
import sys
import uuid
from pathlib import Path

from aarlab.core.layout import CampaignFolder, PublicFolder
from aarlab.core.operation_records import families_of
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
from aarlab.models.student_contract import SOCKET
from aarlab.researchers.kinds import RESEARCHERS
from aarlab.researchers.researcher import STRONG, Brief, Researcher


def enrol(
    campaign: Campaign, folder: Path, public: Path, journal: Journal, *, with_strong: bool = True
) -> list[Member]:
    """The researchers of a campaign, as their earlier incarnations left them. Their brief is
    written, and the full text of it is noted for the ledger before each one's first incarnation.
    `with_strong`: their sandboxes have the strong model's socket, where it can be fine-tuned.

    Raises:
        Misconfigured: what the kind of researcher needs is missing, or the file of directions
            cannot be used.
    """
    researcher = RESEARCHERS[campaign.kind](campaign.options)
    researcher.require()
    card, file = json.loads(PublicFolder(public).card.read_text()), campaign.directions
    directions = load_directions(Path(file), families_of(card)) if file else None
    members, kind = [], card.get("kind")
    for number in range(campaign.researchers):
        start = direction(number, directed=campaign.directed, directions=directions, kind=kind)
        member = _member(
            campaign, folder, researcher, _brief(campaign, public, number, start, with_strong)
        )
        member.incarnation = journal.incarnation(member.name)
        number, after = journal.session(member.name)
        member.session = session_of(campaign.name, member.name, number)
        member.begun, member.session_begun = member.incarnation > 0, member.incarnation > after
        members.append(member)
    if not any(m.incarnation for m in members):
        version = {"event": "prompts", "detail": f"SHA-256 {prompts_version()}"}
        journal.note("campaign", "operator", version)
        for member in members:
            note = {
                "event": "enrolled",
                "direction": member.brief.direction,
                "detail": member.brief.prompt,
            }
            journal.note("researcher", member.name, note)
    return members


def _brief(
    campaign: Campaign, public: Path, number: int, start: Direction, with_strong: bool
) -> Brief:
    tuned = PublicFolder(public).strong.exists()
    name, card = f"researcher-{number + 1}", json.loads(PublicFolder(public).card.read_text())
    terms = Terms(
        name=name,
        researchers=campaign.researchers,
        mode=campaign.mode,
        minutes=campaign.minutes,
        # of nobody else are they counted
        experiments=None if campaign.calls_a_model else campaign.experiments,
        budget=campaign.budget,
        campaign_budget=campaign.campaign_budget,
        sandbox=_sandbox_words(campaign),
        model_api=campaign.calls_a_model,
        strong=f"{STRONG}/{SOCKET}" if tuned and with_strong else "",
        tuned=tuned,
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
    """What a sandbox may use, as text; "" where nothing is limited."""
    limits = campaign.limits
    units = {
        "{:g} GiB of memory": limits.memory_gib,
        "{:g} processes and threads": limits.pids,
        "{:g} processor(s)": limits.cpus,
        "{:g} GiB of disk in all": limits.disk_gib,
    }
    return ", ".join(words.format(limit) for words, limit in units.items() if limit is not None)


def _member(campaign: Campaign, folder: Path, researcher: Researcher, brief: Brief) -> Member:
    place = CampaignFolder(folder)
    home, brief_folder = place.work / brief.name, place.briefs / brief.name
    for made in (home, brief_folder):
        made.mkdir(parents=True, exist_ok=True)
    researcher.prepare(brief_folder, brief)
    return Member(
        brief=brief,
        researcher=researcher,
        session=session_of(campaign.name, brief.name, 0),
        brief_folder=brief_folder,
        home=home,
        transcripts=place.transcripts / brief.name,
        python=sys.executable,
    )


def session_of(campaign: str, name: str, number: int) -> str:
    """The UUID of a researcher's session, which is its `number`-th, from 0."""
    again = f"/{number}" if number else ""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{campaign}/{name}{again}"))
