"""The application: which address shows what, as a page, as JSON, and as a stream of events."""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from aarlab.core.errors import AarError, InvalidSubmission
from aarlab.core.http_errors import problem_of, status_of
from aarlab.core.layout import Home
from aarlab.web.actions_view import Resume, act, actions_page
from aarlab.web.board_view import board_page
from aarlab.web.compare_view import compare_page
from aarlab.web.confirmations_view import confirmations_page, confirmations_table
from aarlab.web.costs_view import costs_page, costs_table
from aarlab.web.csv_table import UNKNOWN, as_csv
from aarlab.web.forum_view import forum_page
from aarlab.web.integrity_view import integrity_page
from aarlab.web.live_events import WatchedCampaign, events, number_in
from aarlab.web.live_view import being_set_up, campaigns_page, live_page
from aarlab.web.open_campaigns import OpenCampaigns, Stamp
from aarlab.web.page_query import PageQuery
from aarlab.web.problem_view import problem_page
from aarlab.web.receipt_view import known, receipt_page
from aarlab.web.rendering import as_json, environment
from aarlab.web.researcher_view import jump, researcher_page
from aarlab.web.runs_view import runs_page, runs_table
from aarlab.web.shown_text import line
from aarlab.web.signed_files import checkpoints, proof, public_key
from aarlab.web.transcript_pages import TranscriptPages

Page = dict[str, Any]
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
KEPT = 128  # pages that are kept while nothing is new
MOST_FORM = 16_384  # bytes
FRESH_S = 5  # for what changes with time alone, such as "3 m ago"
OF_CAMPAIGN = (
    *("live", "board", "confirmations", "forum", "integrity", "runs", "costs"),
    *("problem", "compare", "submission", "researcher"),
)
UNRECORDED = ("live", "compare")  # pages that say themselves that nothing was recorded yet
FILES = {"proof": "submission/{receipt}/proof", "checkpoints": "checkpoints", "key": "key"}
TABLES: dict[str, Callable[[Page], bytes]] = {  # pages that are a table, too
    "board": lambda page: as_csv(page["rows"]),
    "confirmations": lambda page: as_csv(confirmations_table(page)),
    "costs": lambda page: as_csv(costs_table(page), missing=UNKNOWN),
    "runs": lambda page: as_csv(runs_table(page)),
}


class Pages:
    """Makes each page once, for all who ask for it while nothing is new."""

    def __init__(self, home: Home, resume: Resume | None = None) -> None:
        """`resume`: starts a campaign again; None: the pages only show."""
        self.campaigns, self.resume = OpenCampaigns(home), resume
        self.ending = False
        self._templates = environment()
        self._transcripts = TranscriptPages()
        self._watched: dict[str, WatchedCampaign] = {}
        # each with when it was made, in seconds of time.monotonic
        self._kept: OrderedDict[tuple[object, ...], tuple[float, Response]] = OrderedDict()
        self._making: dict[tuple[object, ...], threading.Lock] = {}
        self._mutex = threading.Lock()
        # by campaign and session: what was done last, until the page is loaded; and what the page
        # that is open shows, which fetches its content again
        self._done: dict[tuple[str, str], str] = {}
        self._said: dict[tuple[str, str], str] = {}

    # --- pages ------------------------------------------------------------------------------------

    def answer(self, request: Request, kind: str, form: str) -> Response:
        """The page of that kind that a request asks for, as HTML, JSON or CSV. Runs in a thread of
        its own."""
        if form == "page" and "aar-part" in request.headers:
            form = "part"
        name = request.path_params.get("campaign")
        stamp = self._stamp(name, form) if name else None
        key = (form, request.url.path, request.url.query, stamp)
        with self._mutex:
            making = self._making.setdefault(key, threading.Lock())
        try:
            with making:  # who asks for the same page waits for it
                made_at, kept = self._kept.get(key, (float("-inf"), None))
                if kept is None or time.monotonic() - made_at >= FRESH_S:
                    kept = self._made(kind, form, request, self._page(kind, form, request))
                    self._keep(key, kept)
            return kept
        finally:
            with self._mutex:
                self._making.pop(key, None)

    def _stamp(self, name: str, form: str) -> Stamp:
        """What a kept page was made of that may be shown: what there is now; for the content of an
        open page, what was announced last, so that all open pages are answered with the same."""
        campaign, watched = self.campaigns.get(name), self._watched.get(name)
        announced = watched.announced if watched and form == "part" else None
        return announced or campaign.stamp()

    def _keep(self, key: tuple[object, ...], made: Response) -> None:
        with self._mutex:
            self._kept[key] = (time.monotonic(), made)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def _page(self, kind: str, form: str, request: Request) -> Page:
        """The numbers of a page, and what its layout needs."""
        asked = request.path_params
        query = PageQuery(request.query_params, whole=form == "csv")
        if kind == "campaigns":
            return campaigns_page(self.campaigns) | {"seq": None}
        campaign = self.campaigns.get(asked["campaign"])
        seq, _ = campaign.stamp()
        if form != "csv" and kind not in UNRECORDED and not campaign.has_ledger:
            return {"campaign": campaign.name, "seq": seq} | being_set_up(campaign)
        makers: dict[str, Callable[[], Page]] = {
            "live": lambda: live_page(campaign, query),
            "board": lambda: board_page(campaign, query),
            "compare": lambda: compare_page(campaign, self.campaigns, query),
            "confirmations": lambda: confirmations_page(campaign),
            "costs": lambda: costs_page(campaign, query),
            "forum": lambda: forum_page(campaign, query),
            "integrity": lambda: integrity_page(campaign, query),
            "problem": lambda: problem_page(campaign),
            "runs": lambda: runs_page(campaign, query),
            "submission": lambda: receipt_page(campaign, asked["receipt"]),
            "researcher": lambda: researcher_page(campaign, asked["who"], query, self._transcripts),
        }
        return {"campaign": campaign.name, "seq": seq} | campaign.units() | makers[kind]()

    def _made(self, kind: str, form: str, request: Request, page: Page) -> Response:
        if form == "json":
            return Response(as_json(page), media_type="application/json")
        if form == "csv":
            return _download(TABLES[kind](page), f"{page['campaign']}-{kind}.csv", "text/csv")
        query = request.url.query
        behind = f"{'?' if query else ''}{query}"
        given = {
            "page": page,
            "kind": kind,
            "part_only": form == "part",
            "json_address": f"{request.url.path}.json{behind}",
            "csv_address": f"{request.url.path}.csv{behind}" if kind in TABLES else None,
            "path": request.url.path,
        }
        return self._rendered(kind, given)

    def _rendered(self, kind: str, given: dict[str, Any], status: int = 200) -> Response:
        """A page as HTML."""
        shows = "live" if given["page"].get("ready") is False else kind
        template = self._templates.get_template(f"{shows}.html.jinja")
        html = template.render({"acts": self.resume is not None} | given)
        return Response(html, status, media_type="text/html; charset=utf-8")

    def jump(self, request: Request) -> Response:
        """To the next error or submission of a transcript."""
        campaign = self.campaigns.get(request.path_params["campaign"])
        query = PageQuery(request.query_params)
        end = jump(campaign, request.path_params["who"], query, self._transcripts)
        return RedirectResponse(f"{request.url.path.removesuffix('next')}steps{end}", 303)

    def file(self, request: Request, kind: str) -> Response:
        """A file to keep, by which others can check a receipt."""
        campaign = self.campaigns.get(request.path_params["campaign"])
        if kind == "key":
            name = campaign.place.checkpoints.public_key.name
            return _download(public_key(campaign), name, "text/plain")
        if kind == "checkpoints":
            return _download(
                checkpoints(campaign), f"{campaign.name}-checkpoints.txt", "text/plain"
            )
        receipt = request.path_params["receipt"]
        with campaign.book.reading() as book:
            seq = known(book, receipt).seq
        name = f"{campaign.name}-{receipt}-proof.json"
        return _download(proof(campaign, seq), name, "application/json")

    # --- actions ----------------------------------------------------------------------------------

    def actions(self, request: Request) -> Response:
        """The page of actions. It holds the session's token, so it is made for each request."""
        campaign = self.campaigns.get(request.path_params["campaign"])
        token = request.state.form_token
        part_only, whose = "aar-part" in request.headers, (campaign.name, token)
        if not part_only:
            self._said[whose] = self._done.pop(whose, "")
        done = self._said.get(whose, "")
        finding = line(request.query_params.get("finding", ""), 20)
        page = actions_page(campaign, token, done, finding)
        page |= {"campaign": campaign.name, "seq": campaign.stamp()[0]} | campaign.units()
        given = {"page": page, "kind": "actions", "path": request.url.path}
        given |= {"json_address": None, "csv_address": None}
        return self._rendered("actions", given | {"part_only": part_only})

    async def act(self, request: Request) -> Response:
        """Do what a form of that page asks for, and show the page again."""
        campaign = self.campaigns.get(request.path_params["campaign"])
        assert self.resume
        form, token = await _form(request), request.state.form_token
        done = await asyncio.to_thread(act, campaign, form, token, self.resume)
        self._done[campaign.name, token] = done
        return RedirectResponse(request.url.path, 303)

    # --- events, files, errors --------------------------------------------------------------------

    async def stream(self, request: Request) -> Response:
        """The events of one campaign."""
        campaign = self.campaigns.get(request.path_params["campaign"])
        watched = self._watched.get(campaign.name) or WatchedCampaign(campaign, lambda: self.ending)
        self._watched[campaign.name] = watched
        last = number_in(request.headers.get("last-event-id"))
        seen = number_in(request.query_params.get("after")) if last is None else last
        return StreamingResponse(events(watched, seen), media_type="text/event-stream")

    def refusal(self, request: Request, error: Exception) -> Response:
        """One of our errors, or an address that is not there, as a page that says what to do."""
        if isinstance(error, HTTPException):
            status, words = error.status_code, "There is no such page. Go back to the first page."
            body = {"error": words, "whose_move": "submitter"}
        elif isinstance(error, AarError):
            status, body = status_of(error), problem_of(error)
        else:
            status = 500
            words = "This page failed, which is an error in aarlab. Its terminal says more."
            body = {"error": words, "whose_move": "nobody"}
        if request.url.path.endswith(".json"):
            return Response(as_json(body), status, media_type="application/json")
        page = {"title": "Not shown", "words": body["error"], "seq": None}
        if (name := request.path_params.get("campaign")) in self.campaigns.names():
            page["campaign"] = name
        given = {"page": page, "kind": "refusal", "path": request.url.path}
        given |= {"json_address": None, "csv_address": None}
        return self._rendered(
            "refusal", given | {"part_only": "aar-part" in request.headers}, status
        )

    def close(self) -> None:
        """End the streams, and close the ledgers."""
        self.ending = True
        self.campaigns.close()


def application(pages: Pages) -> Starlette:
    """The application, without its access control: see `access`."""
    routes = [
        Route("/", lambda _: RedirectResponse("/campaigns", 303)),
        Route("/static/{name}", _static),
        Route("/campaign/{campaign}/events", pages.stream),
        Route("/campaign/{campaign}/researcher/{who}/next", pages.jump),
    ]
    for kind, end in FILES.items():
        routes.append(Route(f"/campaign/{{campaign}}/{end}", partial(_file, pages, kind)))
    if pages.resume is not None:
        path = "/campaign/{campaign}/actions"
        routes.append(Route(path, pages.actions, methods=["GET"]))
        routes.append(Route(path, pages.act, methods=["POST"]))
    paths = {kind: f"/campaign/{{campaign}}/{kind}" for kind in OF_CAMPAIGN}
    paths |= {
        "submission": "/campaign/{campaign}/submission/{receipt}",
        "researcher": "/campaign/{campaign}/researcher/{who}/steps",
        "campaigns": "/campaigns",
    }
    for kind, path in paths.items():
        ends = {".json": "json", **({".csv": "csv"} if kind in TABLES else {}), "": "page"}
        for end, form in ends.items():
            routes.append(Route(path + end, partial(_answered, pages, kind, form)))
    errors = {kind: pages.refusal for kind in (AarError, HTTPException, Exception)}
    return Starlette(routes=routes, exception_handlers=errors)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small form.

    Raises:
        InvalidSubmission: it is larger than those of the pages.
    """
    sent = b""
    async for part in request.stream():
        sent += part
        if len(sent) > MOST_FORM:
            raise InvalidSubmission("This form is too large. Use the page of actions.")
    return dict(parse_qsl(sent.decode(errors="replace"), max_num_fields=10))


def _file(pages: Pages, kind: str, request: Request) -> Response:
    return pages.file(request, kind)


def _answered(pages: Pages, kind: str, form: str, request: Request) -> Response:
    return pages.answer(request, kind, form)


def _download(data: bytes, name: str, media_type: str) -> Response:
    """A file to keep."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)
    headers = {"Content-Disposition": f'attachment; filename="{plain}"'}
    return Response(data, media_type=f"{media_type}; charset=utf-8", headers=headers)


def _static(request: Request) -> Response:
    """A file of the layout; there is a fixed set of them."""
    name = request.path_params["name"]
    folder = files("aarlab.web") / "static"
    if name not in {found.name for found in folder.iterdir()} or Path(name).suffix not in TYPES:
        raise HTTPException(404)
    return Response((folder / name).read_bytes(), media_type=TYPES[Path(name).suffix])
