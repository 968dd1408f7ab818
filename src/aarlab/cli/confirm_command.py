"""`aar confirm NAME`: the full confirmation of a campaign that has finished."""

from pathlib import Path

from aarlab.cli.show import Show
from aarlab.core.settings import Home
from aarlab.fleet.campaign import begun
from aarlab.fleet.confirm import MOST_COMPONENTS, confirmed
from aarlab.fleet.lease import lease
from aarlab.fleet.operator_orders import submitted
from aarlab.fleet.prepare import prepared
from aarlab.fleet.run_folder import confirmed_in_folder, served
from aarlab.fleet.step_note import Noted
from aarlab.problems import PROBLEMS
from aarlab.report.verified import AnyReport, reported


def confirm(
    name: str, home: Home, show: Show, *, snapshot: str | None = None
) -> tuple[AnyReport, Path]:
    """Confirm the leaders (or one snapshot, given by the first digits of its hash) on final, a
    fresh draw, another teacher and student, and the transfer problems, and take out components of
    the winner, also where the campaign's fields leave some of these out. Runs that are cached are
    not repeated. Returns the report and the path of its HTML.

    Raises:
        Misconfigured: there is no such campaign, or the label set's budget of confirmations is
            spent, or no such snapshot was submitted.
    """
    folder = home.campaigns / name
    campaign = begun(home.campaigns, name)
    if snapshot is not None:
        snapshot = submitted(folder, snapshot)  # before minutes of set-up
    if campaign.in_folder:
        bed = served(campaign, home, show)
        whole = campaign.model_copy(update={"confirm_on_fresh": True})
        with lease(folder):
            confirmed_in_folder(whole, bed, home, Noted(show, folder), snapshot=snapshot)
        return reported(campaign, bed, folder)
    bed = prepared(campaign, home, show)
    problem = PROBLEMS[campaign.problem]
    all_of_it = {
        "confirm_on_fresh": not problem.fixed,
        "confirm_on_pair": not problem.worded,
        "transfer": campaign.transfer or None,
        "ablate_components": campaign.ablate_components or MOST_COMPONENTS,
    }
    whole = campaign.model_copy(update=all_of_it)
    with lease(folder):
        confirmed(whole, bed, home, Noted(show, folder), snapshot=snapshot)
    return reported(campaign, bed, folder)
