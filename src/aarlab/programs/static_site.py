"""A campaign as a static site: the report, and the pages of `aar web` from the same templates, as
files that open from disk and from any static host. Pages run nothing and load nothing: what needs a
server (filters, sorting, live updates) is left out."""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from html import escape, unescape
from importlib.resources import files
from pathlib import Path
from posixpath import relpath
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.layout import SiteFolder
from aarlab.programs.campaign_reader import CampaignReader
from aarlab.programs.table_export import make_new
from aarlab.report.pages import html
from aarlab.report.report_record import Report
from aarlab.web.board_view import board_page
from aarlab.web.forum_view import forum_page
from aarlab.web.integrity_view import integrity_page
from aarlab.web.live_view import live_page
from aarlab.web.open_campaigns import OpenCampaign
from aarlab.web.page_query import PageQuery
from aarlab.web.receipt_view import receipt_page
from aarlab.web.rendering import environment, part
from aarlab.web.researcher_view import researcher_page
from aarlab.web.transcript_pages import TranscriptPages

FIRST = SiteFolder(Path()).first.name  # the report
# a page with these fields in its address is a file of its own; other choices are left out
FIELDS = {
    "board": {"page", "show"},
    "forum": {"page"},
    "integrity": {"page"},
    "researcher": {"page"},
}
DEFAULTS = {"board": {"show": "all"}}  # without filters, all must be there
_NEEDS_A_SERVER = re.compile(r"<(form|script|noscript)\b.*?</\1>", re.DOTALL)
_LINK = re.compile(r' href="([^"]*)"')  # no text of a page holds a quotation mark unescaped
_EVENTS = re.compile(r' data-(?:events|seq)="[^"]*"')
_BRAND = re.compile(r'(<a class="brand"[^>]*>)[^<]*')
_HEAD = re.compile(r'<link rel="(?:icon|stylesheet)"[^>]*>\n?')
Address = tuple[str, str, tuple[tuple[str, str], ...]]  # kind, which one, fields of its query


def write_site(reader: CampaignReader, folder: Path, report: Report) -> int:
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
    campaign = OpenCampaign(reader.folder)
    try:
        made = _Pages(campaign).all_from(("live", "", ()))
    finally:
        campaign.close()
    first = html(report, lambda kind, which: _linked((kind, which, ()), FIRST, made))
    for name, text in {FIRST: first, **{file_of(a): t for a, t in made.items()}}.items():
        write_whole(folder / name, text)
    return 1 + len(made)


class _Pages:
    """The pages of one campaign as HTML."""

    def __init__(self, campaign: OpenCampaign) -> None:
        self._campaign, self._templates = campaign, environment()
        self._transcripts = TranscriptPages()
        style = (files("aarlab.web") / "static" / "aar.css").read_text()
        icon = (files("aarlab.web") / "static" / "icon.svg").read_bytes()
        self._head = _head(style, icon)

    def all_from(self, first: Address) -> dict[Address, str]:
        """That page and all that links lead to from it."""
        made: dict[Address, str] = {}
        waiting = [first]
        while waiting:
            here = waiting.pop()
            if here in made:
                continue
            with suppress(InvalidSubmission):  # a link to nothing, as a name that was cut makes
                made[here] = self._page(here)
                found = (self._address(link, here) for link in _LINK.findall(made[here]))
                waiting += [address for address in found if address is not None]
        return {here: self._static(text, here, made) for here, text in made.items()}

    def _page(self, here: Address) -> str:
        """As `aar web` shows it."""
        kind, which, fields = here
        query = PageQuery(DEFAULTS.get(kind, {}) | dict(fields))
        makers: dict[str, Callable[[], dict[str, Any]]] = {
            "live": lambda: live_page(self._campaign),
            "board": lambda: board_page(self._campaign, query),
            "forum": lambda: forum_page(self._campaign, query),
            "integrity": lambda: integrity_page(self._campaign, query),
            "submission": lambda: receipt_page(self._campaign, which),
            "researcher": lambda: researcher_page(self._campaign, which, query, self._transcripts),
        }
        seq, _ = self._campaign.stamp()
        page = makers[kind]() | {"campaign": self._campaign.name, "seq": seq}
        given = {"page": page, "kind": kind, "part_only": False, "json_address": None}
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
        default = DEFAULTS.get(kind, {})
        if {name for name, _ in fields} - FIELDS.get(kind, set()):
            return None
        kept = tuple(f for f in fields if f not in default.items() and f != ("page", "1"))
        which = unquote(rest[0]) if rest else ""
        known = kind in ("live", "board", "forum", "integrity", "submission", "researcher")
        return (kind, which, kept) if known else None

    def _static(self, text: str, here: Address, made: Mapping[Address, str]) -> str:
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
            there = _linked(address, at, made) if address else None
            # without an address, <a> is no link
            return f' href="{escape(there + (f"#{mark}" if mark else ""))}"' if there else ""

        text = _HEAD.sub("", _NEEDS_A_SERVER.sub("", text))
        text = _LINK.sub(relative, _BRAND.sub(r"\1Report", _EVENTS.sub("", text)))
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


def _linked(there: Address, here: str, made: Mapping[Address, str]) -> str | None:
    """From one file to a page of the site; None where there is no such page."""
    return _between(here, file_of(there)) if there in made else None


def _between(here: str, there: str) -> str:
    return relpath(there, here.rpartition("/")[0] or ".")
