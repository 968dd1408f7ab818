"""A report is made of a record that was verified, or says at its top that it was not."""

import io

import pytest
from rich.console import Console

from aarlab.core.errors import Misconfigured
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet.campaign import Campaign
from aarlab.report.terminal import print_outcome, print_report
from aarlab.report.verified import reported, require_verified
from tests.evaluation.test_agreement import change

pytestmark = pytest.mark.process

CAMPAIGN = Campaign(name="campaign", problem="generated-chat", student="double")
FINDING = {
    "kind": "result",
    "title": "t",
    "text": "x",
    "family": "other",
    "receipts": ["r-000099"],
    "parent": None,
}


@pytest.fixture
def folder(bed, tmp_path):
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        evaluator.ledger.append("campaign", "operator", {"event": "started"})
    return tmp_path / "campaign"


def top(page):
    return page.read_text()[: page.read_text().index("In distribution")]


def test_a_record_with_a_fault_is_reported_as_such_and_ends_in_an_error(bed, folder):
    with Evaluator(bed.folder, folder) as evaluator:
        evaluator.ledger.append("finding", "eve", FINDING)
    report, page = reported(CAMPAIGN, bed, folder)
    assert report.faults == ("Entry 2 cites the receipt r-000099, which was not given before.",)
    for path in (page, folder / "report" / "report.md"):
        assert "does not verify. Do not trust any figure" in top(path)
        assert report.faults[0] in top(path)
    for shown in (print_report, print_outcome):
        console = Console(file=io.StringIO(), width=250)
        shown(report, console)
        assert console.file.getvalue().startswith("THE LEDGER DOES NOT VERIFY: Entry 2 cites")
    with pytest.raises(
        Misconfigured, match="Do not trust any figure of .* `aar ledger verify campaign`"
    ):
        require_verified(report, page)


def test_valid_record_is_not_mentioned_and_not_written(bed, folder):
    before = (folder / "server" / "ledger.sqlite").read_bytes()
    report, page = reported(CAMPAIGN, bed, folder)
    assert report.faults == ()
    assert "verif" not in top(page)
    require_verified(report, page)
    assert (folder / "server" / "ledger.sqlite").read_bytes() == before


def test_while_a_server_runs_a_report_says_that_it_was_not_verified(bed, folder):
    with Evaluator(bed.folder, folder):
        report, page = reported(CAMPAIGN, bed, folder, live=True)
        assert report.faults is None
        assert "was not verified" in top(page)
        with pytest.raises(Misconfigured, match="runs already, as process"):
            reported(CAMPAIGN, bed, folder)


def test_report_that_cannot_be_computed_states_the_reason(bed, folder):
    with Evaluator(bed.folder, folder) as evaluator:
        evaluator.ledger.append("finding", "eve", FINDING)
        evaluator.ledger.append("finding", "eve", FINDING)
    reported(CAMPAIGN, bed, folder)
    change(
        folder / "server" / "ledger.sqlite",
        "DROP TRIGGER no_delete",
        "DELETE FROM entries WHERE seq = 1",
    )
    with pytest.raises(Misconfigured):
        reported(CAMPAIGN, bed, folder)
    for name in ("report.md", "report.html"):
        assert "entry 1 is missing" in (folder / "report" / name).read_text()
    assert not (folder / "report" / "report.json").exists()
