"""What the operator may do on the pages: only where it was asked for, only from the page's own form
of the same session, and with an entry in the ledger."""

import os
import re
import subprocess
import sys
from contextlib import closing, suppress

import pytest

from aarlab.cli.web_command import resumed_in_background
from aarlab.core.entries import EventBody
from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.hold import holder
from aarlab.core.layout import CampaignFolder
from aarlab.fleet.campaign import load
from tests.fleet.fleets import campaign_folder, fleet
from tests.waiting import waited_for
from tests.web.scenes import HOST, Browser, ledger_of, small

ACTIONS = "/campaign/small/actions"
AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]


@pytest.fixture
def asked():
    return []


@pytest.fixture
def browser(tmp_path, asked):
    campaign_folder(tmp_path / "campaigns", fleet())
    return Browser(tmp_path, lambda *given: asked.append(given) or "started").log_in()


def token_of(browser: Browser, path: str = ACTIONS) -> str:
    return re.search(r'name="token" value="([0-9a-f]{64})"', browser.text(path))[1]


def post(browser: Browser, fields: dict, path: str = ACTIONS, **headers: str):
    return browser.client.post(path, data=fields, headers={"origin": HOST} | headers)


def test_without_the_flag_the_pages_only_show(tmp_path):
    browser = small(tmp_path)
    assert browser.get(ACTIONS).status_code == 404
    assert post(browser, {"action": "stop"}).status_code == 405
    assert "Actions" not in browser.text("/campaign/small/live")


def test_a_form_of_the_page_is_taken_once_it_has_the_sessions_token(browser, asked):
    fields = {"action": "resume", "token": token_of(browser), "minutes": "5"}
    answer = post(browser, fields)
    assert (answer.status_code, answer.headers["location"]) == (303, ACTIONS)
    assert asked == [("small", 5.0)]
    assert 'role="status">started<' in browser.text(ACTIONS)
    part = browser.get(ACTIONS, **{"aar-part": "main"}).text
    assert 'role="status">started<' in part, "the open page fetches its content again"
    assert 'role="status"' not in browser.text(ACTIONS), "it is said once"


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({"origin": "http://evil.example"}, 403, "another site"),
        ({"origin": "null"}, 403, "another site"),
        ({"origin": "http://127.0.0.1:81"}, 403, "another site"),
        ({"sec-fetch-site": "cross-site"}, 403, "another site"),
        ({"sec-fetch-site": "none"}, 403, "where it comes from"),
        ({"content-type": "text/plain"}, 415, "use the page of actions"),
        ({"content-type": "application/json"}, 415, "use the page of actions"),
        ({"host": "evil.example"}, 421, "127.0.0.1 and localhost only"),
    ],
)
def test_forms_of_others_are_refused(browser, asked, headers, status, words):
    fields = {"action": "resume", "token": token_of(browser)}
    answer = post(browser, fields, **headers)
    assert answer.status_code == status
    assert words in answer.text
    assert asked == []


def test_a_form_without_origin_cookie_or_token_is_refused(browser, asked):
    token = token_of(browser)
    fields = {"action": "resume", "token": token}
    assert browser.client.post(ACTIONS, data=fields).status_code == 403
    for wrong in ("", "0" * 64, token[:-1], "é"):
        answer = post(browser, {"action": "resume", "token": wrong})
        assert answer.status_code == 403
        assert "another session" in answer.text
    browser.client.cookies.clear()
    assert post(browser, fields).status_code == 401
    assert asked == []


def test_the_token_of_one_session_is_none_of_another(browser, asked):
    first = token_of(browser)
    browser.client.cookies.clear()
    browser.log_in()
    assert token_of(browser) != first
    assert post(browser, {"action": "resume", "token": first}).status_code == 403
    assert asked == []


@pytest.mark.parametrize("minutes", ["1.4", "-1", "nan", "inf", "x", "1e9"])
def test_a_wall_clock_that_is_none_is_refused(browser, asked, minutes):
    fields = {"action": "resume", "token": token_of(browser), "minutes": minutes}
    answer = post(browser, fields)
    assert answer.status_code == 422
    assert "Give a number from 1.5" in answer.text
    assert asked == []


def test_what_cannot_be_done_is_said_in_a_sentence(browser, asked):
    token = token_of(browser)
    answer = post(browser, {"action": "stop", "token": token})
    assert "Nobody runs the campaign" in answer.text
    answer = post(browser, {"action": "rm", "token": token})
    assert (answer.status_code, "There are: stop, resume, pause, continue," in answer.text) == (
        422,
        True,
    )
    answer = post(browser, {"action": "stop", "token": token, "x": "y" * 17_000})
    assert (answer.status_code, "too large" in answer.text) == (422, True)
    for path in ("/campaign/small/live", "/campaigns", "/campaign/small/actions/x"):
        assert post(browser, {"token": token}, path).status_code == 405


def test_the_page_of_actions_is_never_kept_for_another_session(browser):
    first = browser.get(ACTIONS)
    assert first.headers["cache-control"] == "no-store"
    browser.client.cookies.clear()
    browser.log_in()
    assert token_of(browser) not in first.text


@pytest.mark.process
def test_a_run_that_does_not_start_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("AAR_HOME", str(tmp_path))
    with pytest.raises(Misconfigured, match="There is no campaign 'none'"):
        resumed_in_background("none", None)


@pytest.mark.process
@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_real_campaign_is_stopped_and_resumed_with_more_time(tmp_path, monkeypatch):
    """Each is an entry of the operator."""
    monkeypatch.setenv("AAR_HOME", str(tmp_path))
    fields = [f"-s{f}" for f in ("student=double", "problem=generated-chat", "sandbox=directory")]
    argv = [*AAR, "demo", "--name", "one", "--researchers", "1", "--minutes", "20", *fields, "-d"]
    subprocess.run(argv, capture_output=True, text=True, check=True)
    place = CampaignFolder(tmp_path / "campaigns" / "one")
    browser = Browser(tmp_path, resumed_in_background).log_in()
    actions = "/campaign/one/actions"
    try:
        waited_for(lambda: "started" in events(tmp_path))
        answer = post(browser, {"action": "stop", "token": token_of(browser, actions)}, actions)
        assert answer.status_code == 303, answer.text
        assert "was asked to stop (entry" in browser.text(actions)
        waited_for(lambda: holder(place.lock) is None)
        assert events(tmp_path)["asked to stop"] == "by the operator, on the pages"
        again = {"action": "resume", "token": token_of(browser, actions), "minutes": "30"}
        answer = post(browser, again, actions)
        assert answer.status_code == 303, answer.text
        assert "started: one (process" in browser.text(actions)
        waited_for(lambda: "resumed" in events(tmp_path))
        assert events(tmp_path)["resumed"] == "30 minutes"
        assert load(place.settings).minutes == 30
    finally:
        with suppress(Exception):
            os.kill(int((holder(place.lock) or "").split()[0]), 15)
        waited_for(lambda: holder(place.lock) is None)


def events(home) -> dict[str, str | None]:
    """The campaign's events so far, with their details."""
    if not CampaignFolder(home / "campaigns" / "one").server.ledger.exists():
        return {}
    with suppress(Transient), closing(ledger_of(home, "one", read_only=True)) as ledger:
        found = [e for e in ledger.entries("campaign") if e.who == "operator"]
        return {e.read(EventBody).event: e.read(EventBody).detail for e in found}
    return {}  # it is being made
