"""The campaigns of a state folder, and what each does now."""

from datetime import UTC, datetime
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.hold import holder
from aarlab.core.layout import CampaignFolder, ReportFolder
from aarlab.fleet.campaign import Campaign, load
from aarlab.fleet.state import read_state


def state_of(folder: Path) -> str:
    """What a campaign does now, in a few words."""
    if runs := holder(CampaignFolder(folder).lock):
        what = "running" if CampaignFolder(folder).settings.exists() else "being set up"
        return f"{what} (process {runs.split()[0]})"
    state = read_state(folder)
    if state is None:
        return "no fleet was started"
    reported, last = (
        ReportFolder(CampaignFolder(folder).report).record,
        CampaignFolder(folder).fleet,
    )
    if reported.exists() and reported.stat().st_mtime >= last.stat().st_mtime:
        return "finished"
    return f"stopped: aar run --resume {folder.name}"


def rows(campaigns: Path) -> list[dict[str, object]]:
    """Every campaign of a state folder's `campaigns`, the latest first."""
    found = []
    for folder in campaigns.glob("*"):
        place = CampaignFolder(folder)
        if place.settings.exists():
            campaign, state, last = *_looked_at(folder), place.fleet
            changed = (last if last.exists() else place.settings).stat().st_mtime
        elif holder(place.lock):  # it is being set up; its settings are written at the end
            campaign, state, changed = None, state_of(folder), place.lock.stat().st_mtime
        else:
            continue
        found.append(
            {
                "name": folder.name,
                "state": state,
                "problem": campaign and campaign.problem,
                "researchers": campaign and campaign.researchers,
                "kind": campaign and campaign.kind,
                "changed": datetime.fromtimestamp(changed, UTC).isoformat(timespec="seconds"),
                "folder": str(folder),
            }
        )
    return sorted(found, key=lambda row: str(row["changed"]), reverse=True)


def _looked_at(folder: Path) -> tuple[Campaign | None, str]:
    """A campaign and its state; one whose files are damaged hides no other."""
    try:
        return load(CampaignFolder(folder).settings), state_of(folder)
    except Misconfigured as error:
        return None, f"damaged: {error}"
