"""`aar confirm NAME`: the whole release gate on a campaign that has finished."""

from pathlib import Path

from aarlab.cli.path import confirmed, prepared, reported
from aarlab.cli.show import Show
from aarlab.core.settings import Home
from aarlab.fleet.campaign import begun
from aarlab.fleet.lease import lease
from aarlab.problems import PROBLEMS
from aarlab.report.record import Report


def confirm(name: str, home: Home, show: Show, *, snapshot: str | None = None) -> tuple[Report, Path]:
    """Confirm the leaders (or the snapshot whose hash begins so) on final, a fresh draw, another teacher and student, and the
    transfer problems, whatever the campaign's own fields left out; what was run already is not run again. Returns the report.

    Raises:
        Misconfigured: no such campaign, or the label set's budget of confirmations is spent.
        InvalidSubmission: nobody submitted that snapshot.
    """
    folder = home.campaigns / name
    campaign = begun(home.campaigns, name)
    bed = prepared(campaign, home, show)
    fresh = not PROBLEMS[campaign.problem].fixed
    all_of_it = {"confirm_on_fresh": fresh, "confirm_on_pair": True, "transfer": campaign.transfer or None}
    whole = campaign.model_copy(update=all_of_it)
    with lease(folder):
        confirmed(whole, bed, home, show, snapshot=snapshot)
    return reported(campaign, bed, folder)
