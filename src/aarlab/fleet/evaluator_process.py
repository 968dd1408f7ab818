"""The evaluator and its server as a process of its own, and the operator's client of it."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient, Unauthorised

START_TIMEOUT_S = 30.0
_ERRORS = {"submitter": InvalidSubmission, "operator": Misconfigured, "try again": Transient}


class EvaluatorProcess:
    """Started on entry, stopped on exit. `call` speaks to it as the operator."""

    def __init__(self, problem: Path, campaign: Path, *, policy: str, sockets: Sequence[Path]) -> None:
        self.campaign = campaign
        self._argv = [
            sys.executable,
            "-m",
            "aarlab.server.serve",
            "--problem",
            str(problem),
            "--campaign",
            str(campaign),
        ]
        self._argv += ["--policy", policy, *[x for s in sockets for x in ("--socket", str(s))]]

    def __enter__(self) -> "EvaluatorProcess":
        address = self.campaign / "server" / "address.json"
        address.unlink(missing_ok=True)
        self.campaign.mkdir(parents=True, exist_ok=True)
        with (self.campaign / "server.log").open("ab") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not address.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Misconfigured(f"The server did not start. Its last words: {self._last_words()}")
            time.sleep(0.05)
        token = (self.campaign / "server" / "operator.token").read_text().strip()
        self._http = httpx.Client(
            base_url=json.loads(address.read_text())["url"],
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
            trust_env=False,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()
        self.stop()

    def stop(self) -> None:
        """End the process that was started here, gracefully."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_words(self) -> str:
        lines = (self.campaign / "server.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "none"

    def call(self, verb: str, path: str, body: Any = None) -> Any:
        """One request to `/api/v1` as the operator; its JSON.

        Raises:
            One of our errors, as the server named it.
        """
        try:
            answer = self._http.request(verb, f"/api/v1{path}", json=body)
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
