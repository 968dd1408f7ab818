"""The pages in a real browser: each page of a finished campaign and of one that runs, what changes
while somebody looks, replay, what researchers write, and the static copy. Any error of a script or
of the console, any violation of the policy and any request to elsewhere fails; so does what breaks
WCAG A or AA."""

import re

import pytest

import aarlab
from aarlab.core.hold import Hold
from aarlab.core.layout import CampaignFolder
from aarlab.programs.static_site import write_site
from tests.fleet.fleets import confirmation, submission
from tests.programs.test_static_site import report
from tests.web.hostile_texts import HOSTILE, written
from tests.web.in_chromium import PHONE, WIDE, Tab, a_browser, a_tab, needs_chromium, served
from tests.web.scenes import golden, ledger_of, small, with_code
from tests.web.test_web_pages import PAGES

pytestmark = needs_chromium
CAMPAIGNS = (pytest.param("golden", marks=pytest.mark.long), "small")
OF_SMALL = "/campaign/small"
MINE = [*PAGES[:-2], "submission/r-000004", "researcher/researcher-1/steps"]


def paths(name: str) -> list[str]:
    """Each kind of page of a campaign, the live one along each axis and as it was."""
    pages = PAGES if name == "golden" else MINE
    more = ("live?at=3", "live?axis=hours", "board?show=all&sort=level")
    return ["/campaigns", *(f"/campaign/{name}/{page}" for page in (*pages, *more))]


@pytest.fixture(scope="module")
def browser():
    with a_browser() as found:
        yield found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A state folder with a campaign of version 0.1.0 that has ended, and one that runs."""
    home = tmp_path_factory.mktemp("home")
    golden(home)
    small(home)
    with_code(home, "researcher-1", "a = 1\n", "a = 2\n")
    ledger = ledger_of(home)
    body = {"kind": "result", "title": "a title", "text": "words", "family": "ensemble"}
    body |= {"receipts": ["r-000001"], "snapshot": None, "parent": None}
    ledger.append("finding", "researcher-1", body)
    settled = confirmation("s", "researcher-1", verdict="not reproducible")
    ledger.append("confirmation", "evaluator", settled)
    ledger.close()
    with Hold(CampaignFolder(home / "campaigns" / "small").lock, str):
        yield home


@pytest.fixture(scope="module")
def link(place):
    """What logs in: each new link is read from the server's terminal, so one session serves all."""
    with served(place) as found:
        yield found


@pytest.fixture(scope="module")
def session(browser, link):
    """The cookie of one login, for the tabs of all tests."""
    tab = Tab(browser, link)
    return tab.site, tab.watched.context.storage_state()


@pytest.fixture
def tab(browser, session, request):
    site, state = session
    with a_tab(browser, None, request, storage_state=state, viewport=WIDE) as found:
        found.site = site
        yield found


# --- each page ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_every_page_is_shown_without_a_complaint_and_keeps_wcag(tab, name):
    for path in paths(name):
        page = tab.visit(path)
        assert page.locator("h1").count() == 1
        assert tab.examined() == "", path
        assert tab.wrong == [], path
    assert tab.page.url.endswith("sort=level")


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_in_the_dark_colours_still_have_contrast(tab, name):
    tab.page.emulate_media(color_scheme="dark")
    for page in ("live", "board", "confirmations", "integrity", "runs", "costs"):
        tab.visit(f"/campaign/{name}/{page}")
        assert tab.examined() == "", page


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_no_page_is_wider_than_a_phone(tab, name):
    tab.page.set_viewport_size(PHONE)
    for path in paths(name):
        wide = tab.visit(path).evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE["width"], path


def test_the_checks_see_what_breaks_the_policy_or_wcag(browser, session):
    site, state = session
    tab = Tab(browser, None, storage_state=state)
    tab.site = site
    page = tab.visit("/campaigns")
    page.evaluate("document.querySelector('main').innerHTML = '<img src=/x.png onerror=alert(1)>'")
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    page.evaluate("fetch('http://localhost.example/').catch(() => 0)")
    page.wait_for_timeout(300)
    assert any("script-src" in words for words in tab.wrong)
    assert any("connect-src" in words for words in tab.wrong)
    assert "button-name" in tab.examined() or "discernible text" in tab.examined()
    tab.watched.close()


# --- what changes ---------------------------------------------------------------------------------


def test_a_live_page_shows_what_is_new_and_keeps_what_was_opened(tab, place):
    page = tab.visit(f"{OF_SMALL}/live")
    experiments = page.locator("dl.cards div", has_text="Experiments").locator(".value")
    before = int(experiments.inner_text())
    page.locator("#improvements summary").click()
    page.evaluate("window.never_loaded_again = true")
    ledger = ledger_of(place)
    number = ledger.count("submission") + 1
    body = submission(number, improved=True, level=0.5 + number / 1000)
    seq = ledger.append("submission", "researcher-2", body).seq
    ledger.close()
    page.wait_for_function(
        "n => document.querySelector('dl.cards').innerText.includes(`\\n${n}\\n`)", arg=before + 1
    )
    assert page.locator("#improvements").get_attribute("open") is not None
    assert f"r-{number:06d}" in page.locator("#improvements").inner_text()
    assert page.evaluate("window.never_loaded_again")
    page.wait_for_function(
        "n => document.querySelector('#live-state').textContent.includes(`entry ${n} of`)", arg=seq
    )


@pytest.mark.long
def test_the_slider_leads_to_the_page_as_it_was(tab):
    page = tab.visit("/campaign/golden/live")
    page.locator("#choose-at").fill("10")
    assert page.locator("#chosen-at").inner_text() == "10"
    page.wait_for_url(re.compile(r"live\?at=10"))
    assert "as it was after entry 10 of 224" in page.locator("h1").inner_text()
    page.locator(".replay nav a", has_text="Next improvement").click()
    page.wait_for_url(re.compile(r"live\?at=(?!10\b)\d+"))
    assert "as it was" in page.locator("h1").inner_text()
    page.locator(".replay nav a", has_text="As it is now").click()
    page.wait_for_url(re.compile(r"/live(?!\?at)"))
    assert "as it was" not in page.locator("h1").inner_text()


def test_a_page_can_be_used_with_the_keyboard_and_its_filters_are_its_address(tab):
    page = tab.visit("/campaign/golden/board")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    form = page.locator("form.filters")
    form.locator("select").first.select_option(index=1)
    form.locator("button").click()
    page.wait_for_load_state()
    assert "?" in page.url
    assert not re.search(r"=(&|$)", page.url), "an empty filter is not in the address"


def test_a_table_is_downloaded_as_csv(tab):
    page = tab.visit("/campaign/golden/costs")
    with page.expect_download() as started:
        page.get_by_text("This table as CSV").click()
    assert started.value.suggested_filename == "golden-costs.csv"
    assert started.value.path().read_text().startswith("of,name,usd,")


# --- what researchers write -----------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_what_researchers_write_is_text_to_the_browser(browser, tmp_path, request):
    """All of the corpus at once, and a line of 1 MB, in each place where anybody can write."""
    small(tmp_path)
    written(tmp_path, *HOSTILE, "x" * 1_000_000)
    with served(tmp_path) as link, a_tab(browser, link, request) as tab:
        for page in (*MINE, "board?show=all", "live?at=40"):
            tab.visit(f"{OF_SMALL}/{page}")
            assert tab.page.locator("h1").count() == 1
            tab.page.mouse.move(300, 300)
            assert tab.wrong == [], page
        title = tab.visit(f"{OF_SMALL}/forum").locator("body").inner_text()
        assert "<script>alert(1)</script>" in title


# --- the copy to send -----------------------------------------------------------------------------


@pytest.mark.long
def test_a_static_copy_opens_from_disk(browser, tmp_path, request):
    golden(tmp_path).pages.close()
    reader = aarlab.open(tmp_path / "campaigns" / "golden")
    write_site(reader, tmp_path / "site", report("golden"))
    pages = sorted((tmp_path / "site").rglob("*.html"), key=lambda path: (len(path.parts), path))
    assert len(pages) > 10
    with a_tab(browser, None, request) as tab:
        for path in pages[:: max(1, len(pages) // 12)]:
            tab.page.goto(path.as_uri())
            assert tab.page.locator("h1").count() == 1
            assert tab.examined() == "", path.name
            assert tab.wrong == [], path.name
        tab.page.goto((tmp_path / "site" / "index.html").as_uri())
        tab.page.locator("a[href$='.html']").first.click()
        assert tab.page.url.startswith("file:")
