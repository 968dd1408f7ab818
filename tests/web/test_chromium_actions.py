"""The operator's actions in a real browser, on a real campaign: each button does what it says, and
each is an entry of the ledger."""

import subprocess
from contextlib import closing

import pytest

from aarlab.core.hold import holder
from aarlab.core.layout import CampaignFolder
from aarlab.core.orders import Orders
from aarlab.fleet.campaign import load
from aarlab.fleet.state import read_state
from experiments.browser import AAR
from tests.waiting import waited_for
from tests.web.in_chromium import WIDE, a_browser, a_tab, needs_chromium, served
from tests.web.scenes import ledger_of

pytestmark = [*needs_chromium, pytest.mark.long]
ACTIONS = "/campaign/one/actions"
FIELDS = ("student=double", "problem=generated-chat", "sandbox=directory", "experiments=300")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A campaign that runs in another process."""
    monkeypatch.setenv("AAR_HOME", str(tmp_path))
    sets = [f"-s{field}" for field in FIELDS]
    argv = [*AAR, "demo", "--name", "one", "--researchers", "2", "--minutes", "20", *sets, "-d"]
    subprocess.run(argv, capture_output=True, check=True)
    campaign = CampaignFolder(tmp_path / "campaigns" / "one")
    yield campaign
    if holder(campaign.lock):
        subprocess.run([*AAR, "stop", "one"], capture_output=True, check=True)


def states(place):
    found = read_state(place.root)
    return {member.state for member in found.members} if found else set()


def orders(home):
    with closing(ledger_of(home, "one", read_only=True)) as ledger:
        return Orders(ledger).now()


def done(tab, button: str, **fields: str) -> str:
    """Fill in the form of that button and press it; what the page says then."""
    page = tab.visit(ACTIONS)
    form = page.locator("form", has=page.get_by_role("button", name=button, exact=True)).last
    for name, value in fields.items():
        form.locator(f"[name={name}]").fill(value)
    form.get_by_role("button", name=button, exact=True).click()
    page.wait_for_selector('[role="status"], .refusal, h1:has-text("Not shown")')
    assert tab.examined() == ""
    return page.locator("main").inner_text()


@pytest.mark.timeout(420)
def test_each_action_does_what_its_button_says(place, tmp_path, request):
    waited_for(lambda: states(place) == {"running"})
    with (
        a_browser() as browser,
        served(tmp_path, "one", "--act") as link,
        a_tab(browser, link, request, viewport=WIDE) as tab,
    ):
        assert tab.visit(ACTIONS).locator("#message").count() == 0, "they read no words"
        assert "The fleet pauses" in done(tab, "Pause the fleet")
        waited_for(lambda: states(place) == {"paused"})
        assert "paused since entry" in tab.visit(ACTIONS).locator("main").inner_text()
        assert "paused by the operator" in tab.visit("/campaign/one/live").inner_text("main")
        said = done(tab, "Raise them", limits="minutes=30 experiments=400")
        assert "The limits are raised" in said
        assert "minutes=30" in said
        assert "Nothing to do" in done(tab, "Raise them", limits="minutes=30")
        assert "The fleet goes on" in done(tab, "Continue")
        waited_for(lambda: states(place) == {"running"})
        assert load(place.settings).minutes == 30

        page = tab.visit("/campaign/one/forum")
        finding = page.locator("article.finding").last.get_attribute("id")
        page.locator("article.finding").last.get_by_text("hide", exact=True).click()
        page.wait_for_url("**/actions?finding=*")
        assert page.locator("#choose-finding").input_value() == finding
        page.get_by_role("button", name="Hide it").click()
        page.wait_for_selector('[role="status"]')
        assert list(orders(tmp_path).hidden) == [finding]
        page = tab.visit("/campaign/one/forum")
        assert "Hidden from the researchers" in page.locator(f"#{finding}").inner_text()
        assert "Researchers see it again" in done(tab, "Show it again", finding=finding)
        assert not orders(tmp_path).hidden

        page = tab.visit("/campaign/one/board?show=all")
        receipt = page.locator("tbody a.id").first.inner_text()
        shown = page.request.get(f"{tab.site}/campaign/one/submission/{receipt}.json").json()
        snapshot = shown["row"]["snapshot"]
        assert "confirmed before the leaders" in done(
            tab, "Have it confirmed", snapshot=snapshot[:12]
        )
        assert list(orders(tmp_path).to_confirm) == [snapshot]
        assert "was asked to stop" in done(tab, "Stop the campaign")
        waited_for(lambda: holder(place.lock) is None)
        assert "Resume the campaign" in tab.visit(ACTIONS).locator("main").inner_text()


@pytest.mark.timeout(240)
def test_what_cannot_be_done_is_a_page_that_says_why(place, tmp_path, request):
    """The browser itself reports the status of such an answer, and nothing else is wrong."""
    waited_for(lambda: states(place) == {"running"})
    with (
        a_browser() as browser,
        served(tmp_path, "one", "--act") as link,
        a_tab(browser, link, request) as tab,
    ):
        said = done(tab, "Raise them", limits="minutes=1")
        assert "cannot become 1" in said
        assert "There is no finding" in done(tab, "Hide it", finding="f-999999")
        assert all("Failed to load resource" in words for words in tab.wrong)
        tab.wrong.clear()
