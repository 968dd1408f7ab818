"""What the supervisor says about its fleet, once a second, for whoever watches:
CAMPAIGN/fleet.json."""

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from aarlab.core.budget import Budget, Spent
from aarlab.core.errors import Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.layout import CampaignFolder
from aarlab.core.records import Record
from aarlab.nodes.messages import HERE

State = Literal[
    "waiting",
    "running",
    "backing off",
    "held",
    "paused",
    "finished",
    "spent",
    "gave up",
    "stopped",
]
# "held": the circuit breaker is open, or something of the lab is down; it costs the researcher
# nothing; "paused": an operator asked for it


class MemberState(Record):
    """One researcher as it is now."""

    name: str
    direction: str
    state: State
    incarnation: int = 0
    started_at: float | None = None  # seconds since 1970: of this incarnation
    last_action_at: float | None = None  # it wrote something, or called a model or the lab
    last_action: str = ""  # as text
    restarts: int = 0  # incarnations that ended by its own fault
    spent: Spent = Spent()
    memory_bytes: int = 0
    disk_bytes: int = 0
    processes: int = 0
    host: str = HERE


class FleetState(Record):
    """The fleet as it is now."""

    campaign: str
    at: float  # seconds since 1970
    pid: int  # of the supervisor
    ends_at: float  # when the wall clock of the campaign is spent
    researcher_budget: Budget
    campaign_budget: Budget
    spent: Spent
    members: tuple[MemberState, ...]
    services: dict[str, str]  # "gateway", "server", ... -> "up", "starting", "down since ..."
    alarms: tuple[str, ...] = ()  # what somebody should look at

    def write(self, folder: Path) -> None:
        """To fleet.json in the campaign's folder, whole or not at all."""
        write_whole(CampaignFolder(folder).fleet, self.model_dump_json(indent=1))


def read_state(folder: Path) -> FleetState | None:
    """What was last said; None if nothing ever was.

    Raises:
        Misconfigured: the file is damaged.
    """
    try:
        return FleetState.model_validate_json(CampaignFolder(folder).fleet.read_text())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise Misconfigured(
            f"{CampaignFolder(folder).fleet} is damaged. Remove it: a running fleet rewrites it."
        ) from error
