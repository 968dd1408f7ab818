"""`aar confirm NAME`: the whole release gate on a campaign that has finished."""

from pathlib import Path

from aarlab.cli.path import confirmed, prepared, reported
from aarlab.cli.show import Show
from aarlab.core.settings import Home
from aarlab.fleet.campaign import load
from aarlab.report.record import Report


def confirm(name: str, home: Home, show: Show, *, snapshot: str | None = None) -> tuple[Report, Path]:
    """Confirm the leaders (or the snapshot whose hash begins so) on final, a fresh draw and the transfer problems, whatever the
    campaign's own `confirm_on_fresh` and `transfer` left out; what was run already is not run again. The report, and its HTML.

    Raises:
        Misconfigured: no such campaign, or the label set's budget of confirmations is spent.
        InvalidSubmission: nobody submitted that snapshot.
    """
    folder = home.campaigns / name
    campaign = load(folder / "campaign.yaml")
    bed = prepared(campaign, home, show)
    whole = campaign.model_copy(update={"confirm_on_fresh": True, "transfer": campaign.transfer or None})
    confirmed(whole, bed, home, show, snapshot=snapshot)
    return reported(campaign, bed, folder)
