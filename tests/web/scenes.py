"""State folders with campaigns, and a browser that is logged in, for the tests of the pages."""

import re
from pathlib import Path

from starlette.testclient import TestClient

from aarlab.core.layout import CampaignFolder, Home
from aarlab.core.snapshot import canonical
from aarlab.evaluation.ledger.blobs import Blobs
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.web.access import BrowserSessions, PagesAccess
from aarlab.web.actions_view import Resume
from aarlab.web.web_app import Pages, application
from tests.fleet.fleets import campaign_folder, fleet, submission
from tests.golden.golden_archive import unpack

GOLDEN = "/campaign/golden"
HOST = "http://127.0.0.1"


class Browser:
    """A client of the pages, with the links that the server announced."""

    def __init__(self, home: Path, resume: Resume | None = None) -> None:
        self.links: list[str] = []
        self.sessions = BrowserSessions(self.links.append)
        self.pages = Pages(Home(home), resume)
        acts = resume is not None
        self.app = PagesAccess(application(self.pages), self.sessions, 80, acts=acts)
        self.client = TestClient(self.app, base_url=HOST, follow_redirects=False)
        self.sessions.open_link()

    def log_in(self) -> "Browser":
        assert self.client.get(f"/login?token={self.links[-1]}").status_code == 303
        return self

    def get(self, path: str, **headers: str):
        return self.client.get(path, headers=headers)

    def text(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def json(self, path: str) -> dict:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


def golden(home: Path) -> Browser:
    """With the finished campaign that version 0.1.0 wrote."""
    unpack(home)
    return Browser(home).log_in()


def small(home: Path) -> Browser:
    """With a campaign whose fleet runs, as its files say; see `fleets`."""
    campaign_folder(home / "campaigns", fleet())
    return Browser(home).log_in()


def ledger_of(home: Path, name: str = "small", *, read_only: bool = False) -> Ledger:
    path = CampaignFolder(home / "campaigns" / name).server.ledger
    return Ledger(path, read_only=read_only)


def with_code(home: Path, who: str, *texts: str) -> list[str]:
    """Commit and submit one snapshot for each text; their receipts."""
    folder = CampaignFolder(home / "campaigns" / "small")
    blobs, ledger, receipts = Blobs(folder.server.blobs), ledger_of(home), []
    for text in texts:
        snapshot = blobs.put(canonical({"method.py": text}))
        body = {"snapshot": snapshot, "family": "ensemble", "bytes": len(text)}
        ledger.append("code", who, body)
        number = ledger.count("submission") + 1
        ledger.append(
            "submission", who, submission(number, improved=False, level=0.42, snapshot=snapshot)
        )
        receipts.append(f"r-{number:06d}")
    ledger.close()
    return receipts


DATA = (".json", ".csv", "/proof", "/checkpoints", "/key")  # of what no link leads on
AT = re.compile(r"[?&]at=(\d+)")
ENTRIES = {
    1,
    10,
    16,
    60,
    223,
}  # after which the page is looked at as it was; there may be thousands


def _looked_at(path: str) -> bool:
    at = AT.search(path)
    return at is None or int(at[1]) in ENTRIES


def _entries(browser: Browser, name: str) -> int:
    return browser.json(f"/campaign/{name}/live.json")["seq"]


def addresses(browser: Browser, name: str) -> list[str]:
    """Every page of a campaign: those that link from another, page by page, and as JSON or CSV; of
    the live page as it was, some."""
    base = f"/campaign/{name}"
    earlier = [f"{base}/live?at={at}" for at in sorted(ENTRIES) if at <= _entries(browser, name)]
    found, new = [], ["/campaigns", f"{base}/live", f"{base}/board?show=all", *earlier]
    while new:
        found.append(path := new.pop())
        if any(end in path for end in DATA):
            continue
        links = re.findall(r'href="([^"#]+)(?:#[^"]*)?"', browser.text(path))
        for link in links:
            whole = link.replace("&amp;", "&")
            whole = f"{path.partition('?')[0]}{whole}" if whole.startswith("?") else whole
            wanted = whole.startswith(("/campaigns", f"/campaign/{name}/"))
            if wanted and _looked_at(whole) and whole not in {*found, *new}:
                new.append(whole)
    return found
