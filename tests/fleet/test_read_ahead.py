"""The process that reads the `final` items while a campaign runs."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from aarlab.cli.show import Show
from aarlab.core.settings import Home
from aarlab.fleet import read_ahead
from aarlab.fleet.campaign import Campaign
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.student import COUNTING


@pytest.fixture
def meanwhile(tmp_path, monkeypatch):
    """(student's name, is the testbed whole) -> what is said of reading ahead, and the process's
    arguments."""
    home, started = Home(tmp_path / "home"), []

    class Child(read_ahead.Child):
        def start(self) -> None:
            super().start()
            started.append(self)

    monkeypatch.setattr(read_ahead, "Child", Child)

    def made(student: str, *, reads_ahead: bool = True, whole: bool = False):
        reader = replace(COUNTING, reads_ahead=reads_ahead)
        monkeypatch.setattr(read_ahead, "reader_of", lambda *_: reader)
        say = lambda *_: None  # noqa: E731
        bed = prepare("generated-chat", 1, home=home, student=COUNTING, progress=say, whole=whole)
        campaign = Campaign(name="one", problem="generated-chat", student="double")
        campaign = campaign.model_copy(update={"student": student})
        show = Show(Console(file=io.StringIO(), width=200))
        with read_ahead.reading_ahead(campaign, bed, home, show):
            for child in started:
                assert child.join(250) is not None  # it has the lowest priority
        return show.console.file.getvalue(), started

    return made


@pytest.mark.long
@pytest.mark.process
def test_it_reads_the_final_items_and_ends(meanwhile):
    assert meanwhile("double")[0] == ""


@pytest.mark.process
def test_that_nothing_was_read_ahead_is_said_with_the_reason(meanwhile):
    said, _ = meanwhile("no-such-student")
    assert said.startswith("  the final items were not read ahead (")
    assert "no-such-student" in said


@pytest.mark.parametrize("why", [{"reads_ahead": False}, {"whole": True}])
def test_no_process_is_started_where_nothing_is_left_to_read_ahead(meanwhile, why):
    assert meanwhile("double", **why) == ("", [])
