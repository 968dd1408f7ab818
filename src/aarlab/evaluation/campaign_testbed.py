"""On which testbed a campaign was begun."""

from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import ServerFolder
from aarlab.evaluation.agreement import noted


def campaign_testbed(server: Path) -> str | None:
    """The folder's name of the testbed that the campaign of this `server` folder was begun on; None
    where it was not begun."""
    return noted(ServerFolder(server).problem)


def note_testbed(server: Path, problem: Path, *, note_it: bool) -> None:
    """Note which testbed the campaign is on; one that was begun on another goes no further on
    this."""
    if (begun := campaign_testbed(server)) not in {None, problem.absolute().name}:
        raise Misconfigured(
            f"The campaign was begun on {begun}, and its problem or student is now "
            f"{problem.absolute().name}. Put the preset or the items back as they were, or give "
            "the campaign another name."
        )
    if note_it:
        ServerFolder(server).problem.write_text(str(problem.absolute()))
