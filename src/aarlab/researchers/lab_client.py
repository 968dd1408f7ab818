"""HTTP client of the lab for one researcher. The unix socket identifies the researcher."""

import http.client
import json
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aarlab.core.errors import InvalidSubmission, Transient
from aarlab.core.http_errors import error_of
from aarlab.core.operations import OPERATIONS

TIMEOUT_S = 120.0  # of one request
FIRST_PAUSE_S, MOST_PAUSE_S = 0.25, 15.0


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("lab", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Lab:
    """The lab behind a unix socket. Every request opens a new connection, so that a restarted
    gateway or server is reached."""

    def __init__(self, path: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._path, self._sleep = path, sleep

    def _connection(self) -> http.client.HTTPConnection:
        """A new one, for one request."""
        return _Connection(self._path)

    def _headers(self) -> dict[str, str]:
        """Of each request."""
        return {"Content-Type": "application/json"}

    def call(self, operation: str, **fields: Any) -> Any:
        """Call one operation once and return its answer.

        Raises:
            InvalidSubmission: the lab refused the request; its message says what to change.
            Unauthorised: this socket no longer belongs to a researcher.
            Transient: the lab did not answer, or cannot process the request now.
            Misconfigured: the lab itself is at fault.
        """
        return self.request(*OPERATIONS[operation].request(fields))

    def usage(self) -> dict[str, Any]:
        """What this researcher has spent, as the gateway meters it, and what is left. Raises as
        `call`."""
        return self.request("GET", "/usage")

    def request(self, verb: str, target: str, body: Any = None) -> Any:
        """Send one request and return the JSON of its answer. Raises as `call`."""
        sent = None if body is None else json.dumps(body).encode()
        connection = self._connection()
        try:
            connection.request(verb, target, body=sent, headers=self._headers())
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Transient(
                f"The lab does not answer ({type(error).__name__}: {error}). Try again."
            ) from error
        finally:
            connection.close()
        if status >= 300:
            raise error_of(status, content)
        try:
            return json.loads(content)
        except ValueError as error:
            raise Transient(
                f"The lab's answer (status {status}) is not JSON. Try again."
            ) from error

    def insist(self, operation: str, patience_s: float | None = None, **fields: Any) -> Any:
        """Call one operation; on a temporary failure retry with growing pauses, for `patience_s`
        seconds (None: without limit).

        The lab may have processed a request although its answer was lost. A retry is harmless: the
        lab recognises the same code, answers, finding and request for a run of the same
        researcher.

        Raises:
            As `call`; Transient after `patience_s` seconds.
        """
        pause_s, waited_s = FIRST_PAUSE_S, 0.0
        while True:
            try:
                return self.call(operation, **fields)
            except Transient:
                if patience_s is not None and waited_s + pause_s > patience_s:
                    raise
            self._sleep(pause_s * random.uniform(0.75, 1.25))
            waited_s, pause_s = waited_s + pause_s, min(MOST_PAUSE_S, 2 * pause_s)


class LabAt(Lab):
    """The lab at an address, for whoever has a researcher's token."""

    def __init__(
        self, address: str, token: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """`address`: `http://127.0.0.1:8000`, as `aar evaluator` prints it.

        Raises:
            InvalidSubmission: that is no address, or no token.
        """
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidSubmission(
                f"'{address[:80]}' is no address of a lab. Give the one that `aar evaluator` "
                "prints, such as http://127.0.0.1:8000."
            )
        if not token.strip() or not token.strip().isascii():
            raise InvalidSubmission(
                "The token is no token. `aar token NAME` prints a researcher's."
            )
        super().__init__(Path(parts.netloc), sleep=sleep)
        self._parts, self._token = parts, token.strip()

    def _connection(self) -> http.client.HTTPConnection:
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT_S)

    def _headers(self) -> dict[str, str]:
        return super()._headers() | {"Authorization": f"Bearer {self._token}"}
