"""Who may see the pages: the browser that opened a login link, on this machine, and no page of
another site through it. Every answer carries the headers that keep a browser from running or
loading anything else."""

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = ("127.0.0.1", "localhost")  # that this server may be called; it listens nowhere else
LOGIN, STATIC = "/login", "/static/"
ACTIONS = re.compile(r"/campaign/[^/]+/actions")  # the only addresses that take a POST
FORM = "application/x-www-form-urlencoded"
MOST_SESSIONS = 64  # browsers; beyond that the oldest must open a new link
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # "no-referrer" would take the origin from our own forms
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NEW_LINK = "Open the latest login link that aar web printed in its terminal."


class BrowserSessions:
    """The login link that is open now, and the browsers that used one. All of it is in memory: it
    ends with the server."""

    def __init__(self, announce: Callable[[str], None], begin_at: str = "/") -> None:
        """`announce` is given each new token: once at the start, and again when one was used.
        `begin_at`: the page to which a login leads."""
        self.begin_at = begin_at
        self._announce, self._mutex = announce, threading.Lock()
        self._token, self._known = "", dict[str, None]()
        self._secret = secrets.token_bytes(32)

    def open_link(self) -> None:
        """Make the next token, and announce it."""
        self._token = secrets.token_urlsafe(32)
        self._announce(self._token)

    def use(self, token: str) -> str | None:
        """The cookie of a new session, if this is the token that is open now; it is closed then."""
        with self._mutex:
            right = self._token and hmac.compare_digest(token.encode(), self._token.encode())
            if not right:
                return None
            cookie = secrets.token_urlsafe(32)
            self._known[_digest(cookie)] = None
            while len(self._known) > MOST_SESSIONS:
                del self._known[next(iter(self._known))]
            self.open_link()
            return cookie

    def knows(self, cookie: str) -> bool:
        """Whether a browser sent a cookie that it was given."""
        return _digest(cookie) in self._known

    def form_token(self, cookie: str) -> str:
        """What a form of that session sends back: another site cannot know it."""
        return hmac.new(self._secret, cookie.encode(errors="replace"), "sha256").hexdigest()


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode(errors="replace")).hexdigest()


class PagesAccess:
    """ASGI middleware around the pages."""

    def __init__(
        self, app: ASGIApp, sessions: BrowserSessions, port: int, *, acts: bool = False
    ) -> None:
        """`acts`: forms of the page of actions are taken, too."""
        self._app, self._sessions, self._acts = app, sessions, acts
        self._cookie = f"aar_web_{port}"  # cookies are shared by all ports of a host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        guarded = _with_headers(send)
        answer = self._refusal(scope) or self._login(scope) or self._stranger(scope)
        await (answer or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """Why a request is not looked at, and what to do; None where nothing is wrong."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in NAMES:
            return _say(
                421,
                "aar web answers to the names 127.0.0.1 and localhost only: open "
                "http://127.0.0.1 with its port, and from another machine forward the port by "
                "ssh -L.",
            )
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return _say(
                403,
                "This request comes from a page of another site: open the address yourself in a "
                "tab.",
            )
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return _say(
                403,
                "A link on another site led here: copy the address into the address bar instead.",
            )
        if self._acts and scope["method"] == "POST" and ACTIONS.fullmatch(scope["path"]):
            return _refused_form(headers)
        if scope["method"] not in ("GET", "HEAD"):
            return _say(405, "The pages only show: send GET.", {"Allow": "GET, HEAD"})
        return None

    def _login(self, scope: Scope) -> Response | None:
        """The answer to a login link."""
        if scope["path"] != LOGIN:
            return None
        given = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        cookie = self._sessions.use(given.get("token", [""])[0]) if _gets(scope) else None
        if cookie is None:
            return _say(403, f"This login link was used before, or is wrong. {NEW_LINK}")
        answer = RedirectResponse(self._sessions.begin_at, status_code=303)
        answer.set_cookie(self._cookie, cookie, httponly=True, samesite="strict", path="/")
        return answer

    def _stranger(self, scope: Scope) -> Response | None:
        """The answer to a browser that has no session; files of the layout hold no secret."""
        if scope["path"].startswith(STATIC):
            return None
        sent = cookie_parser(Headers(scope=scope).get("cookie", "")).get(self._cookie)
        if sent is not None and self._sessions.knows(sent):
            scope.setdefault("state", {})["form_token"] = self._sessions.form_token(sent)
            return None
        return _say(401, f"This browser is not logged in. {NEW_LINK}")


def _refused_form(headers: Headers) -> Response | None:
    """Why a form is not taken; None where it comes from our own page. A browser names the origin of
    each form that it sends."""
    if headers.get("origin") is None or headers.get("sec-fetch-site", "same-origin") == "none":
        return _say(403, "This form does not say where it comes from: use the page of actions.")
    if headers.get("content-type", "").partition(";")[0].strip() != FORM:
        return _say(415, f"A form is sent as {FORM}: use the page of actions.")
    return None


def _gets(scope: Scope) -> bool:
    """A HEAD request, as of a preview of a link, uses no token."""
    return scope["method"] == "GET"


def _name(host: str) -> str:
    """The name in a Host header; "" where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname or "" if parts.netloc == host and "@" not in host else ""
    except ValueError:
        return ""


def _say(status: int, words: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{words}\n", status, headers)


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return guarded
