"""Make a campaign's report after verifying its ledger; an unverified report says so."""

import os
from pathlib import Path

from pydantic import ValidationError

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder, ReportFolder
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.kept_state import compare_kept
from aarlab.evaluation.server_hold import hold_server
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.prepare import isolation_of
from aarlab.report.build import build
from aarlab.report.folder_report import FolderReport, build_folder
from aarlab.report.pages import write, write_refusal
from aarlab.report.report_record import Report
from aarlab.runs.served_folder import ServedFolder
from aarlab.testbeds.testbed import Testbed

AnyReport = Report | FolderReport
Bed = Testbed | ServedFolder


def reported(
    campaign: Campaign, bed: Bed, folder: Path, *, live: bool = False
) -> tuple[AnyReport, Path]:
    """Verify the ledger, write the report, and return it with the path of its HTML. `live`: if a
    server is running on the campaign, the report is made without verification and says so. Where
    the folder is read-only, the files of the report are left as they are.

    Raises:
        Misconfigured: another process is running on the campaign, or the ledger is damaged. Then
            the files of the report list the faults.
    """
    faults, isolation = _faults(folder, bed, campaign, live=live), isolation_of(campaign)
    try:
        with Evaluator(bed.folder, folder, policy=campaign.policy, read_only=True) as evaluator:
            about = {"isolation": isolation, "faults": faults}
            report = (
                build_folder(campaign, bed, evaluator, **about)
                if isinstance(bed, ServedFolder)
                else build(campaign, bed, evaluator, **about)
            )
    except Misconfigured:
        if faults:
            write_refusal(campaign.name, faults, CampaignFolder(folder).report)
        raise
    place = CampaignFolder(folder).report
    if not os.access(folder, os.W_OK):
        return report, ReportFolder(place).html
    return report, write(report, place)


def read_any(path: Path) -> AnyReport:
    """The report in a file `report.json`, of either kind of problem.

    Raises:
        OSError, ValidationError: it cannot be read, or another version wrote it.
    """
    data = path.read_bytes()
    try:
        return Report.model_validate_json(data)
    except ValidationError:
        if b'"comparator"' not in data:
            raise
        return FolderReport.model_validate_json(data)


def faults_now(folder: Path, bed: Bed, campaign: Campaign) -> tuple[str, ...] | None:
    """The ledger's faults; None if it was not verified because a server is writing it."""
    return _faults(folder, bed, campaign, live=True)


def _faults(folder: Path, bed: Bed, campaign: Campaign, *, live: bool) -> tuple[str, ...] | None:
    """The ledger's faults; None if it was not verified because a server is writing it."""
    if not os.access(folder, os.W_OK):  # an archive: no server can run on it
        return _found(folder, bed, campaign)
    try:
        hold = hold_server(folder)
    except Misconfigured:
        if live:
            return None
        raise
    with hold:
        return _found(folder, bed, campaign)


def _found(folder: Path, bed: Bed, campaign: Campaign) -> tuple[str, ...]:
    files = Files(folder, bed.folder)
    faults = audit(files, load_key(files.key)).faults
    return faults or compare_kept(bed.folder, folder, campaign.detectors)


def require_verified(report: AnyReport, path: Path) -> None:
    """Check the result of the verification, after the report was shown.

    Raises:
        Misconfigured: the ledger does not verify.
    """
    if report.faults:
        name = report.campaign["name"]
        raise Misconfigured(
            f"The ledger of campaign '{name}' does not verify: {len(report.faults)} faults; the "
            f"first is: {report.faults[0]} Do not trust any figure of {path}. Run `aar ledger "
            f"verify {name}` to list all faults."
        )
