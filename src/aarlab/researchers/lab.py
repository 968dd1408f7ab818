"""What a researcher has of the lab: its operations over HTTP at the one unix socket there is. The socket is who one is."""

import http.client
import json
import random
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured, Transient, Unauthorised

TIMEOUT_S = 120.0  # of one request
FIRST_PAUSE_S, MOST_PAUSE_S = 0.25, 15.0
LOST_STATUS = (429, 502, 503, 504)  # nothing is wrong with the request
_ERRORS: dict[str, type[AarError]] = {"submitter": InvalidSubmission, "try again": Transient, "operator": Misconfigured}

# tool -> verb and path; fields that the path does not name are the query of a GET and the body of a POST
ROUTES: dict[str, tuple[str, str]] = {
    "get_problem": ("GET", "/problem"),
    "commit_code": ("POST", "/code"),
    "download_code": ("GET", "/code/{snapshot}"),
    "submit_predictions": ("POST", "/submissions"),
    "submit_code": ("POST", "/requests"),
    "read_receipt": ("GET", "/receipts/{receipt}"),
    "read_ticket": ("GET", "/requests/{ticket}"),
    "leaderboard": ("GET", "/leaderboard"),
    "my_budget": ("GET", "/budget"),
    "bits_released": ("GET", "/released"),
    "share_finding": ("POST", "/findings"),
    "list_findings": ("GET", "/findings"),
    "search_findings": ("GET", "/findings/search"),
    "similar_ideas": ("POST", "/similar"),
    "read_finding": ("GET", "/findings/{finding}"),
}


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("lab", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Lab:
    """The lab behind a socket. A request is a connection of its own, so a gateway or server that came back is found again."""

    def __init__(self, path: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._path, self._sleep = path, sleep

    def call(self, tool: str, **fields: Any) -> Any:
        """The answer of one operation, tried once.

        Raises:
            InvalidSubmission: the lab refused what was sent; its words say what to change.
            Unauthorised: this socket is nobody's any more.
            Transient: nobody answered, or the lab could not take it now.
            Misconfigured: the lab itself is at fault.
        """
        verb, path = ROUTES[tool]
        for name in [name for name in fields if f"{{{name}}}" in path]:
            path = path.replace(f"{{{name}}}", quote(str(fields.pop(name)), safe=""))
        given = {name: value for name, value in fields.items() if value is not None}
        if verb == "GET":
            return self.request(verb, f"/api/v1{path}" + (f"?{urlencode(given)}" if given else ""))
        return self.request(verb, f"/api/v1{path}", given)

    def usage(self) -> dict[str, Any]:
        """What the gateway has metered of this researcher, and what is left. Raises as `call`."""
        return self.request("GET", "/usage")

    def request(self, verb: str, target: str, body: Any = None) -> Any:
        """The JSON that one request is answered with. Raises as `call`."""
        sent = None if body is None else json.dumps(body).encode()
        connection = _Connection(self._path)
        try:
            connection.request(verb, target, body=sent, headers={"Content-Type": "application/json"})
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Transient(f"The lab does not answer ({type(error).__name__}: {error}). Try again.") from error
        finally:
            connection.close()
        try:
            told = json.loads(content)
        except ValueError as error:
            raise Transient(f"The lab's answer (status {status}) is no JSON. Try again.") from error
        if status >= 300:
            raise _refusal(status, told if isinstance(told, dict) else {})
        return told

    def insist(self, tool: str, patience_s: float | None = None, **fields: Any) -> Any:
        """As `call`, tried again with longer and longer pauses while the lab cannot take it, for `patience_s` or for ever.

        A request may have been taken though its answer was lost. Asking again is harmless, as the lab knows the same code,
        the same answers and the same request for a run; a finding is looked for before it is posted again.

        Raises:
            As `call`; Transient once patience is at its end.
        """
        pause_s, waited_s = FIRST_PAUSE_S, 0.0
        while True:
            try:
                if waited_s and tool == "share_finding" and (found := self._posted(fields)):
                    return found
                return self.call(tool, **fields)
            except Transient:
                if patience_s is not None and waited_s + pause_s > patience_s:
                    raise
            self._sleep(pause_s * random.uniform(0.75, 1.25))
            waited_s, pause_s = waited_s + pause_s, min(MOST_PAUSE_S, 2 * pause_s)

    def _posted(self, fields: Mapping[str, Any]) -> dict[str, Any] | None:
        """A finding with exactly these fields."""
        words = " ".join(str(fields["title"]).split())[:200] or "-"
        for found in self.call("search_findings", query=words, limit=20)["findings"]:
            if all(found[name] == value or (not found[name] and not value) for name, value in fields.items()):
                return found
        return None


def _refusal(status: int, told: Mapping[str, Any]) -> AarError:
    """The server says {"error", "whose_move"}; the gateway, of what is not there, {"error": {"message"}}."""
    error = told.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    words = message if isinstance(message, str) else json.dumps(told)[:500]
    if status in LOST_STATUS:
        return Transient(words, status=status)
    if status in (401, 403):
        return Unauthorised(words, status=status)
    return _ERRORS.get(str(told.get("whose_move")), InvalidSubmission if status < 500 else Misconfigured)(words, status=status)
