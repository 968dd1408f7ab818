"""The evaluator and its server as a process of its own, and the operator's client of it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient, Unauthorised
from aarlab.fleet.services import Service

TIMEOUT_S = 60.0
_ERRORS = {"submitter": InvalidSubmission, "operator": Misconfigured, "try again": Transient}


class EvaluatorProcess(Service):
    """Started on entry, stopped on exit. `call` speaks to it as the operator, also after it was started again."""

    def __init__(self, problem: Path, campaign: Path, *, policy: str, sockets: Sequence[Path] = ()) -> None:
        self.campaign = campaign
        argv = [sys.executable, "-m", "aarlab.server.serve", "--problem", str(problem), "--campaign", str(campaign)]
        argv += ["--policy", policy, *[x for s in sockets for x in ("--socket", str(s))]]
        super().__init__("server", argv, address=campaign / "server" / "address.json", log=campaign / "server.log")
        self._client: httpx.Client | None = None
        self._known = ""  # the address that the client was made for

    def __exit__(self, *exc: object) -> None:
        if self._client is not None:
            self._client.close()
        self.stop()

    @property
    def _http(self) -> httpx.Client:
        """A client of the server where it is now, with the operator's token of its present life.

        Raises:
            Transient: it is starting.
        """
        try:
            address = self.address.read_text()
        except FileNotFoundError as error:
            raise Transient("The evaluator is being started. Try again.") from error
        if self._client is None or address != self._known:
            if self._client is not None:
                self._client.close()
            token = (self.campaign / "server" / "operator.token").read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            self._client = httpx.Client(base_url=json.loads(address)["url"], headers=headers, trust_env=False)
            self._known = address
        return self._client

    def call(self, verb: str, path: str, body: Any = None, *, timeout_s: float = TIMEOUT_S) -> Any:
        """One request to `/api/v1` as the operator; its JSON.

        Raises:
            One of our errors, as the server named it.
        """
        try:
            answer = self._http.request(verb, f"/api/v1{path}", json=body, timeout=timeout_s)
        except httpx.TransportError as error:
            raise Transient(f"The evaluator does not answer ({error}). Try again.") from error
        if answer.is_success:
            return answer.json()
        words = _words(answer)
        if answer.status_code in {401, 403}:
            raise Unauthorised(words.get("error", answer.text))
        raise _ERRORS.get(words.get("whose_move", ""), Misconfigured)(words.get("error", answer.text[:500]))


def _words(answer: httpx.Response) -> dict[str, Any]:
    try:
        words = answer.json()
    except json.JSONDecodeError:
        return {}
    return words if isinstance(words, dict) else {}
