"""Who gets in: the login link works once, other names and other sites are refused in a sentence,
and every answer has its headers."""

import asyncio
import http.client
import os
import re
import subprocess
import sys
from contextlib import closing

import pytest

from aarlab.web.access import HEADERS, MOST_SESSIONS, POLICY
from tests.fleet.fleets import campaign_folder, fleet
from tests.web.scenes import Browser, small

AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]
LIVE = "/campaign/small/live"


@pytest.fixture
def browser(tmp_path):
    return small(tmp_path)


def test_login_link_works_once_and_a_new_one_is_printed(tmp_path):
    browser = Browser(tmp_path)
    (link,) = browser.links
    assert browser.get("/campaigns").status_code == 401
    first = browser.get(f"/login?token={link}")
    assert (first.status_code, first.headers["location"]) == (303, "/")
    assert browser.get("/campaigns").status_code == 200
    browser.client.cookies.clear()
    again = browser.get(f"/login?token={link}")
    assert again.status_code == 403
    assert "Open the latest login link" in again.text
    assert browser.get("/campaigns").status_code == 401
    assert len(browser.links) == 2
    assert browser.get(f"/login?token={browser.links[1]}").status_code == 303


def test_cookie_cannot_be_read_by_scripts_or_sent_by_other_sites(tmp_path):
    browser = Browser(tmp_path)
    cookie = browser.get(f"/login?token={browser.links[0]}").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert cookie.startswith("aar_web_80=")
    value = re.match("aar_web_80=([^;]+)", cookie)[1]
    assert value not in browser.links[0]
    assert value not in str(vars(browser.sessions)), "only its digest is kept"


def test_odd_cookies_of_other_programs_do_not_log_out(browser):
    ours = f"aar_web_80={browser.client.cookies['aar_web_80']}"
    browser.client.cookies.clear()
    odd = 'a={"x": [1, 2]}; b="open; c=\xe9; ;;=; d'
    assert browser.get(LIVE, cookie=f"{odd}; {ours}".encode()).status_code == 200
    assert browser.get(LIVE, cookie=odd.encode()).status_code == 401


@pytest.mark.parametrize("token", ["", "x", "%00", "é", "a" * 5000])
def test_wrong_tokens_open_nothing(tmp_path, token):
    browser = Browser(tmp_path)
    assert browser.get(f"/login?token={token}").status_code == 403
    assert len(browser.links) == 1, "the link stays as it is"


def test_a_preview_of_the_link_does_not_use_it(tmp_path):
    browser = Browser(tmp_path)
    assert browser.client.head(f"/login?token={browser.links[0]}").status_code == 403
    assert browser.get(f"/login?token={browser.links[0]}").status_code == 303


def test_the_oldest_of_many_sessions_ends(browser):
    cookie = browser.client.cookies["aar_web_80"]
    for _ in range(MOST_SESSIONS):
        assert browser.sessions.use(browser.links[-1])
    assert not browser.sessions.knows(cookie)


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({"host": "evil.example"}, 421, "127.0.0.1 and localhost only"),
        ({"host": "127.0.0.1.evil.example"}, 421, "ssh -L"),
        ({"host": "evil.example@127.0.0.1"}, 421, "ssh -L"),
        ({"host": "[::1"}, 421, "ssh -L"),
        ({"origin": "http://evil.example"}, 403, "open the address yourself"),
        ({"origin": "null"}, 403, "open the address yourself"),
        ({"origin": "http://127.0.0.1:81"}, 403, "open the address yourself"),
        ({"sec-fetch-site": "cross-site"}, 403, "copy the address"),
        ({"sec-fetch-site": "same-site"}, 403, "copy the address"),
    ],
)
def test_other_names_and_other_sites_are_refused_in_one_sentence(browser, headers, status, words):
    for path in (LIVE, "/static/live.js", "/campaign/small/events", "/login?token=x"):
        answer = browser.get(path, **headers)
        assert answer.status_code == status
        assert words in answer.text
        assert answer.text.count("\n") == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:8000"},
        {"host": "127.0.0.1:1234"},
        {"origin": "http://127.0.0.1"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
def test_our_own_requests_and_forwarded_ports_pass(browser, headers):
    assert browser.get(LIVE, **headers).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_get_is_answered(browser, method):
    answer = browser.client.request(method, LIVE)
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/campaigns", LIVE, f"{LIVE}.json", "/nothing", "/campaign/none/live", "/login"),
        *("/static/aar.css", "/static/live.js", "/static/none", "/static/%2e%2e/access.py"),
        "/campaign/small/board?sort=x",
    ],
)
def test_every_answer_has_the_headers(browser, path):
    for headers in ({}, {"host": "evil.example"}, {"cookie": "aar_web_80=x"}):
        answer = browser.get(path, **headers)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "unsafe" not in POLICY
    assert "script-src 'self';" in POLICY


def test_a_bug_is_answered_with_the_headers_and_a_sentence(browser, monkeypatch):
    monkeypatch.setattr("aarlab.web.web_app.forum_page", lambda *_: 1 / 0)
    browser.client._transport.raise_server_exceptions = False
    answer = browser.get("/campaign/small/forum")
    assert answer.status_code == 500
    assert "an error in aarlab" in answer.text
    assert answer.headers["content-security-policy"] == POLICY


def test_files_of_the_layout_are_a_fixed_set(browser):
    assert browser.get("/static/aar.css").headers["content-type"].startswith("text/css")
    for name in ("..%2faccess.py", "%2e%2e/access.py", "access.py", "/etc/passwd"):
        assert browser.get(f"/static/{name}").status_code == 404


def test_what_is_no_request_gets_no_answer(browser):
    """A websocket, say."""
    asyncio.run(browser.app({"type": "websocket"}, None, None))


@pytest.mark.long
@pytest.mark.process
def test_the_command_prints_a_link_that_works_and_ends_when_it_is_asked_to(tmp_path):
    campaign_folder(tmp_path / "campaigns", fleet())
    env = {**os.environ, "AAR_HOME": str(tmp_path)}
    with subprocess.Popen(
        [*AAR, "web", "small"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert str(tmp_path) in process.stdout.readline()
            link = process.stdout.readline().partition(": ")[2].strip()
            host, port, path = re.fullmatch(r"http://(127\.0\.0\.1):(\d+)(/login.*)", link).groups()
            answer = _asked(host, port, path)
            assert (answer.status, answer.headers["location"]) == (303, LIVE)
            cookie = answer.headers["set-cookie"].partition(";")[0]
            answer = _asked(host, port, LIVE, cookie)
            assert answer.status == 200
            assert "another login link: http://127.0.0.1" in process.stdout.readline()
            stream = http.client.HTTPConnection(host, int(port), timeout=60)
            stream.request("GET", "/campaign/small/events?after=1", headers={"Cookie": cookie})
            with closing(stream), stream.getresponse() as following:
                assert following.readline() == b"retry: 2000\n"
        finally:
            process.terminate()
        assert process.wait(60) == 143
        assert process.stderr.read() == ""


def _asked(host, port, path, cookie=""):
    with closing(http.client.HTTPConnection(host, int(port), timeout=60)) as connection:
        connection.request("GET", path, headers={"Cookie": cookie})
        answer = connection.getresponse()
        answer.read()
        return answer


@pytest.mark.process
def test_help_does_not_import_the_pages():
    code = "import sys\nfrom aarlab.cli import main\nheavy = ('starlette', 'uvicorn', 'jinja2', "
    code += "'aarlab.web')\nprint([m for m in sys.modules if m.startswith(heavy)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.process
def test_the_command_refuses_a_campaign_that_is_not_there(tmp_path):
    env = {**os.environ, "AAR_HOME": str(tmp_path)}
    done = subprocess.run([*AAR, "web", "none"], env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert "There is no campaign 'none'" in done.stderr
