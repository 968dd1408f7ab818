"""A campaign from problem to report: what `aar demo` and `aar run` do. Each step keeps what it made
and resumes from it."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from aarlab.core.hold import TAKEOVER_S
from aarlab.core.own_code import this_build
from aarlab.core.settings import Home
from aarlab.evaluation.server_hold import hold_server
from aarlab.fleet import preflight
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.confirm import confirmed
from aarlab.fleet.display import Display
from aarlab.fleet.lease import lease
from aarlab.fleet.prepare import completed, prepared
from aarlab.fleet.raised_limits import with_limits_of_ledger
from aarlab.fleet.read_ahead import reading_ahead
from aarlab.fleet.run_fleet import run_fleet
from aarlab.fleet.run_folder import as_code, run_folder_campaign
from aarlab.fleet.step_note import Noted
from aarlab.runs.served_folder import ServedFolder
from aarlab.testbeds.testbed import Testbed

T = TypeVar("T")


Bed = Testbed | ServedFolder


def run_campaign(
    campaign: Campaign, home: Home, show: Display, report: Callable[[Campaign, Bed, Path], T]
) -> T:
    """Set up the testbed, run the fleet, confirm the leaders, and return what `report` makes of the
    record. Where nobody is paid, the fleet starts before the `final` items are read.

    Raises:
        Misconfigured: the campaign, the machine or an earlier state stands in the way; nobody was
            started.
    """
    folder = home.campaigns / campaign.name
    # kept from now on: files that change while this process runs are not what it reports by
    this_build()
    preflight.require(campaign)
    campaign = as_code(campaign)
    campaign.require_same(folder)
    with lease(folder):
        show = Noted(show, folder)
        campaign = with_limits_of_ledger(campaign, folder)
        # another server of it is refused now, and not after the set-up
        hold_server(folder, wait_s=TAKEOVER_S).release()
        if campaign.in_folder:
            bed = run_folder_campaign(campaign, home, show)
            show.line("", head="4 report")
            return report(with_limits_of_ledger(campaign, folder), bed, folder)
        show.line("", head="1 testbed")
        # `final` can show that figures will say nothing: known before anybody is paid
        paid = campaign.kind != "search"
        bed = prepared(campaign, home, show, starting=True, whole=paid)
        campaign.save(folder)
        with reading_ahead(campaign, bed, home, show):
            run_fleet(campaign, bed, home, show)
        bed = completed(campaign, bed, home, show)
        confirmed(campaign, bed, home, show)
        show.line("", head="4 report")
        return report(with_limits_of_ledger(campaign, folder), bed, folder)
