"""A campaign as a static site: the report, and the pages of `aar web` from the same templates, as
files that open from disk and from any static host. Pages run nothing and load nothing: what needs a
server (filters, sorting, live updates) is left out."""

import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from html import escape, unescape
from importlib.resources import files
from pathlib import Path
from posixpath import relpath
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from aarlab.core.errors import Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.layout import SiteFolder
from aarlab.programs.campaign_reader import CampaignReader
from aarlab.programs.table_export import make_new
from aarlab.report.folder_report import FolderReport
from aarlab.report.pages import html
from aarlab.report.report_record import Report
from aarlab.web.board_view import board_page
from aarlab.web.confirmations_view import confirmations_page
from aarlab.web.costs_view import costs_page
from aarlab.web.forum_view import forum_page
from aarlab.web.integrity_view import integrity_page
from aarlab.web.live_view import live_page
from aarlab.web.open_campaigns import OpenCampaign
from aarlab.web.page_query import PageQuery
from aarlab.web.problem_view import problem_page
from aarlab.web.receipt_view import receipt_page
from aarlab.web.rendering import environment, part, when
from aarlab.web.researcher_view import researcher_page
from aarlab.web.runs_view import runs_page
from aarlab.web.transcript_pages import TranscriptPages

FIRST = SiteFolder(Path()).first.name  # the report
# pages of the whole campaign
WHOLE = {"live", "board", "forum", "integrity", "confirmations", "costs", "runs", "problem"}
# a page with these fields in its address is a file of its own; other choices are left out
FIELDS = {
    "live": {"axis"},
    "costs": {"page"},
    "runs": {"page"},
    "board": {"page", "show"},
    "forum": {"page"},
    "integrity": {"page"},
    "researcher": {"page"},
}
# without filters, all must be there
DEFAULTS = {"board": {"show": "all"}, "live": {"axis": "time"}}
_NEEDS_A_SERVER = re.compile(r"<(form|script|noscript)\b.*?</\1>", re.DOTALL)
_LINK = re.compile(r' href="([^"]*)"')  # no text of a page holds a quotation mark unescaped
_EVENTS = re.compile(r' data-(?:events|seq)="[^"]*"')
_BRAND = re.compile(r'(<a class="brand"[^>]*>)[^<]*')
_HEAD = re.compile(r'<link rel="(?:icon|stylesheet)"[^>]*>\n?')
Address = tuple[str, str, tuple[tuple[str, str], ...]]  # kind, which one, fields of its query


def write_site(reader: CampaignReader, folder: Path, report: Report | FolderReport) -> int:
    """Write the site into a new folder; returns how many pages it has.

    Raises:
        Misconfigured: the campaign runs, or there is something at that path already.
    """
    if reader.running:
        raise Misconfigured(
            f"The campaign '{reader.folder.name}' runs, and its site would hold exact scores. Make "
            "it when the campaign has ended; `aar web` shows it meanwhile."
        )
    make_new(folder)
    campaign, count = OpenCampaign(reader.folder), 1
    try:
        pages = _Pages(campaign)
        write_whole(folder / FIRST, html(report, pages.linked_from_report))
        for name, text in pages.all_from(("live", "", ())):
            write_whole(folder / name, text)
            count += 1
    finally:
        campaign.close()
    return count


class _Pages:
    """The pages of one campaign as HTML."""

    def __init__(self, campaign: OpenCampaign) -> None:
        self._campaign, self._templates = campaign, environment()
        self._transcripts = TranscriptPages()
        style = (files("aarlab.web") / "static" / "aar.css").read_text()
        icon = (files("aarlab.web") / "static" / "icon.svg").read_bytes()
        self._head = _head(style, icon)
        self._copy = (
            f"<p>A copy, made on {when(time.time())} UTC: it does not change, and ages of things "
            "are as of then.</p>\n"
        )

        with campaign.book.reading() as book:
            self._known = {"submission": {*book.place}, "researcher": {*book.researchers}}
        state = campaign.state()
        self._known["researcher"] |= {m.name for m in state.members} if state else set()

    def all_from(self, first: Address) -> Iterator[tuple[str, str]]:
        """Name and text of the file of that page, and of all to which links lead from it."""
        waiting, seen = [first], {first}
        while waiting:
            here = waiting.pop()
            text = self._page(here)
            for link in _LINK.findall(text):
                address = self._address(link, here)
                if address is not None and address not in seen:
                    seen.add(address)
                    waiting.append(address)
            yield file_of(here), self._static(text, here)

    def linked_from_report(self, kind: str, which: str) -> str | None:
        """Where the report's link to a page leads; None where there is no such page."""
        address = (kind, which, ())
        return _between(FIRST, file_of(address)) if self._there(address) else None

    def _page(self, here: Address) -> str:
        """As `aar web` shows it."""
        kind, which, fields = here
        query = PageQuery(DEFAULTS.get(kind, {}) | dict(fields))
        makers: dict[str, Callable[[], dict[str, Any]]] = {
            "live": lambda: live_page(self._campaign, query),
            "confirmations": lambda: confirmations_page(self._campaign),
            "costs": lambda: costs_page(self._campaign, query),
            "runs": lambda: runs_page(self._campaign, query),
            "problem": lambda: problem_page(self._campaign),
            "board": lambda: board_page(self._campaign, query),
            "forum": lambda: forum_page(self._campaign, query),
            "integrity": lambda: integrity_page(self._campaign, query),
            "submission": lambda: receipt_page(self._campaign, which),
            "researcher": lambda: researcher_page(self._campaign, which, query, self._transcripts),
        }
        seq, _ = self._campaign.stamp()
        page = self._campaign.units() | makers[kind]()
        page |= {"campaign": self._campaign.name, "seq": seq}
        given = {"page": page, "kind": kind, "part_only": False, "json_address": None}
        given |= {"csv_address": None, "acts": False}
        return self._templates.get_template(f"{kind}.html.jinja").render(
            given | {"path": self._path(here)}
        )

    def _path(self, here: Address) -> str:
        kind, which, _ = here
        ends = {"submission": f"/{part(which)}", "researcher": f"/{part(which)}/steps"}
        return f"/campaign/{part(self._campaign.name)}/{kind}{ends.get(kind, '')}"

    def _address(self, link: str, here: Address) -> Address | None:
        """The page that a link leads to; None where it has no file."""
        parts = urlsplit(unescape(link))
        base = f"/campaign/{part(self._campaign.name)}/"
        path = parts.path or self._path(here)
        kind, *rest = path.removeprefix(base).split("/") if path.startswith(base) else [""]
        fields = tuple(sorted(parse_qsl(parts.query)))
        if {name for name, _ in fields} - FIELDS.get(kind, set()):
            return None
        address = (kind, unquote(rest[0]) if rest else "", _kept(kind, fields))
        return address if self._there(address) else None

    def _there(self, address: Address) -> bool:
        """Whether there is such a page: a name that was cut, for example, leads to none."""
        kind, which, _ = address
        return which in self._known[kind] if kind in self._known else kind in WHOLE

    def _static(self, text: str, here: Address) -> str:
        """The page with what needs no server."""
        at = file_of(here)

        def relative(found: re.Match[str]) -> str:
            link = unescape(found[1])
            if link.startswith("#"):
                return found[0]
            if link == "/campaigns":
                return f' href="{_between(at, FIRST)}"'
            mark = urlsplit(link).fragment
            address = self._address(found[1], here)
            there = _between(at, file_of(address)) if address else None
            # without an address, <a> is no link
            return f' href="{escape(there + (f"#{mark}" if mark else ""))}"' if there else ""

        text = _HEAD.sub("", _NEEDS_A_SERVER.sub("", text))
        text = _LINK.sub(relative, _BRAND.sub(r"\1Report", _EVENTS.sub("", text)))
        text = text.replace("<footer>\n", f"<footer>\n{self._copy}", 1)
        return text.replace('<meta charset="utf-8">\n', self._head, 1)


def _head(style: str, icon: bytes) -> str:
    """Style and icon inside the page, and a policy that allows these and nothing else."""
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    return (
        '<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<link rel="icon" type="image/svg+xml" href="data:image/svg+xml;base64,'
        f'{b64encode(icon).decode()}">\n<style>{style}</style>\n'
    )


def file_of(here: Address) -> str:
    """The name of a page's file. It holds plain characters alone, whatever a name of a researcher
    holds; names that differ have files that differ, also where a disk takes `A` for `a`."""
    kind, which, fields = here
    plain = re.sub(r"[^a-z0-9._-]", "-", which)[:80].lstrip(".")
    if plain != which:
        plain += f"-{sha256(which.encode(errors='replace')).hexdigest()[:12]}"
    ends = "".join(f"-{name}-{re.sub('[^a-z0-9]', '-', value)}" for name, value in fields)
    return f"{kind}/{plain}{ends}.html" if which else f"{kind}{ends}.html"


def _kept(kind: str, fields: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The fields of a query that make it another page. A transcript begins with its last page."""
    usual = DEFAULTS.get(kind, {}).items()
    first = () if kind == "researcher" else (("page", "1"),)
    return tuple(field for field in fields if field not in usual and field not in first)


def _between(here: str, there: str) -> str:
    return relpath(there, here.rpartition("/")[0] or ".")
