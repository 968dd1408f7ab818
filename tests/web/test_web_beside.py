"""The pages beside a run: they come with it, end with it, and cannot end it."""

import re

import httpx
import pytest

from aarlab.cli import web_command
from aarlab.cli.web_command import pages_beside
from tests.fleet.fleets import campaign_folder, fleet

pytestmark = pytest.mark.process


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AAR_HOME", str(tmp_path))
    campaign_folder(tmp_path / "campaigns", fleet())
    return tmp_path


def test_the_printed_link_leads_to_the_runs_page_and_the_server_ends_with_the_run(home):
    said = []
    with pages_beside("small", said.append):
        (words,) = said
        link = re.search(r"http://127\.0\.0\.1:\d+/login\?token=\S+", words)[0]
        with httpx.Client(follow_redirects=True) as browser:
            page = browser.get(link)
            assert page.status_code == 200
            assert page.url.path == "/campaign/small/live"
        assert "aar web small" in words
    with pytest.raises(httpx.ConnectError):
        httpx.get(link)


def test_a_run_goes_on_where_the_pages_cannot_be_served(home, monkeypatch):
    monkeypatch.setattr(web_command.sys, "executable", "/bin/false")
    said, ran = [], []
    with pages_beside("small", said.append):
        ran.append(True)
    assert ran
    assert "The server of the pages did not start" in said[0]


def test_what_ends_the_run_is_not_held_back(home):
    with pytest.raises(KeyboardInterrupt), pages_beside("small", [].append):
        raise KeyboardInterrupt
