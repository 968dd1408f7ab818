"""Evaluator and lab, each a process of its own, and the operator's client of the lab.

The evaluator alone reads the testbed's private/, the meter and the ledger. The lab runs in a
sandbox that shows it nothing but Python and the evaluator's socket; where we are root, under a uid
of its own as well. It takes requests on sockets that are made here and handed to it, so it needs no
network and no folder.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import httpx

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.held_folder import HeldFolder
from aarlab.core.hold import TAKEOVER_S
from aarlab.core.http import listen
from aarlab.core.http_errors import error_of
from aarlab.core.layout import CampaignFolder, ServerFolder
from aarlab.core.operations import OPERATIONS
from aarlab.core.process import Service
from aarlab.sandbox.bubblewrap import Bubblewrap, probe
from aarlab.sandbox.sandbox import Mount, SandboxSpec

TIMEOUT_S = 60.0
SOON_S = 5.0  # for an earlier one to end, where somebody waits at a terminal
LOOK_S = 0.2  # between two looks at whether both run


class EvaluatorProcess:
    """Both, started on entry, stopped on exit. `call` speaks to the lab as the operator, also after
    one was started again.

    Raises:
        Misconfigured: there is no sandbox of that kind on this machine.
    """

    name = "server"

    def __init__(
        self,
        problem: Path,
        campaign: Path,
        *,
        policy: str,
        sockets: Sequence[Path] = (),
        port: int = 0,
        takeover_s: float = TAKEOVER_S,
        detectors: Sequence[str] = (),
    ) -> None:
        """`takeover_s`: how long an earlier evaluator of the campaign, whose starter was killed,
        may take to end. `detectors`: Python files of the operator's own."""
        self.campaign = campaign
        self._place = HeldFolder()
        path, address = (
            self._place.path / "evaluator.sock",
            ServerFolder(self._place.path).address,
        )
        argv = [
            sys.executable,
            "-m",
            "aarlab.evaluation.evaluator_service",
            "--problem",
            str(problem),
        ]
        argv += ["--campaign", str(campaign), "--policy", policy, "--socket", str(path)]
        argv += ["--address", str(address), "--takeover-s", str(takeover_s)]
        argv += [word for path in detectors for word in ("--detector", path)]
        place = CampaignFolder(campaign)
        self.evaluator = Service("evaluator", argv, address=path, log=place.server.evaluator_log)
        self.lab = LabService(path, address, place.server_log, port=port, sockets=sockets)
        self._client: httpx.Client | None = None
        self._known = ("", "")  # address and token that the client was made for

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.__exit__)
            self.start()
            self.wait()
            stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        self.stop()
        self.lab.close()
        self._place.close()

    def start(self) -> None:
        """Start both and return at once; `wait` waits for them.

        Raises:
            Transient: the system has no process, no file or no disk left for them.
        """
        server = self.campaign / "server"
        server.mkdir(parents=True, exist_ok=True)
        server.chmod(0o700)  # the evaluator's log lies there
        self.evaluator.start()
        self.lab.start()

    def wait(self) -> None:
        """Until requests are taken.

        Raises:
            Misconfigured: one ended instead, or took too long; with its last output.
        """
        try:
            self.evaluator.wait()
            self.lab.wait()
        except Misconfigured:
            self.stop()
            raise

    def stop(self) -> None:
        """End both, gracefully if they let us."""
        self.lab.stop()
        self.evaluator.stop()

    @property
    def apart(self) -> str:
        """What keeps the lab from the evaluator's files and memory, as text."""
        return self.lab.apart

    @property
    def up(self) -> bool:
        """Whether requests are taken."""
        return self.evaluator.up and self.lab.up

    def revive(self) -> bool:
        """Start again what has ended, as `Service.revive`; True if something was started."""
        return any([self.evaluator.revive(), self.lab.revive()])

    def last_output(self) -> str:
        """The last line of the log of the one that is down, else of the lab's."""
        return (self.lab if self.evaluator.up else self.evaluator).last_output()

    @property
    def _http(self) -> httpx.Client:
        """A client of the lab where it is now, with the operator's present token.

        Raises:
            Transient: it is starting.
        """
        server = CampaignFolder(self.campaign).server
        try:
            known = server.address.read_text(), server.operator_token.read_text().strip()
        except FileNotFoundError as error:
            raise Transient("The evaluator is being started. Try again.") from error
        if self._client is None or known != self._known:
            if self._client is not None:
                self._client.close()
            headers = {"Authorization": f"Bearer {known[1]}"}
            self._client = httpx.Client(
                base_url=json.loads(known[0])["url"], headers=headers, trust_env=False
            )
            self._known = known
        return self._client

    def answers(self, within_s: float) -> bool:
        """Whether both answer the operator in that time. May be asked from another thread."""
        server, (verb, path, _) = (
            CampaignFolder(self.campaign).server,
            OPERATIONS["ledger_summary"].request({}),
        )
        try:
            headers = {"Authorization": f"Bearer {server.operator_token.read_text().strip()}"}
            url = json.loads(server.address.read_text())["url"]
            with httpx.Client(
                base_url=url, headers=headers, timeout=within_s, trust_env=False, verify=False
            ) as client:
                return client.request(verb, path).is_success
        except (OSError, ValueError, httpx.TransportError):
            return False

    @property
    def pid(self) -> int | None:
        """The evaluator's process."""
        return self.evaluator.pid

    def call(
        self,
        operation: str,
        given: Mapping[str, Any] = MappingProxyType({}),
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> Any:
        """The JSON that one operation answers to the operator.

        Raises:
            One of our errors, as the server named it.
        """
        try:
            verb, path, body = OPERATIONS[operation].request(given)
            answer = self._http.request(verb, path, json=body, timeout=timeout_s)
        except httpx.TransportError as error:
            raise Transient(f"The evaluator does not answer ({error}). Try again.") from error
        if answer.is_success:
            return answer.json()
        raise error_of(answer.status_code, answer.content)


def serve_until_stopped(
    server: EvaluatorProcess,
    ready: Callable[[str], None],
    each: Callable[[], None] = lambda: None,
) -> None:
    """Both processes until SIGINT or SIGTERM; one that ends is started again. `ready` is called
    with the lab's URL, `each` several times a second.

    Raises:
        Misconfigured: they cannot be started.
    """
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with server:
            ready(json.loads(server.lab.address.read_text())["url"])
            while not stop.wait(LOOK_S):
                # the system has no room now: it is tried again
                with contextlib.suppress(Transient):
                    server.revive()
                each()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class LabService(Service):
    """The lab's process. `apart` says what keeps it from the evaluator's files and memory."""

    def __init__(
        self, evaluator: Path, address: Path, log: Path, *, port: int, sockets: Sequence[Path]
    ) -> None:
        argv = [sys.executable, "-m", "aarlab.lab.serve", "--evaluator", str(evaluator)]
        super().__init__("lab", argv, address=address, log=log)
        self._port, self._paths = port, sockets
        mounts = (Mount(evaluator.parent, str(evaluator.parent)),)
        why = probe()
        self._box = None if why else Bubblewrap(SandboxSpec(name="lab", mounts=mounts))
        if self._box and self._box.uid is not None:
            os.chown(evaluator.parent, self._box.uid, self._box.uid)
        self.apart = _apart(self._box, why)

    def _command(self, argv: list[str], files: contextlib.ExitStack) -> tuple[list[str], list[int]]:
        listening = [files.enter_context(made).fileno() for made in listen(self._port, self._paths)]
        command, fds = self.inside([*argv, "--listening", *map(str, listening)], files)
        return command, [*fds, *listening]

    def inside(self, argv: list[str], files: contextlib.ExitStack) -> tuple[list[str], list[int]]:
        """The command that runs argv where the lab runs, and the file descriptors that it must be
        handed."""
        return self._box.command(argv, files) if self._box else (argv, [])

    def close(self) -> None:
        """Give its uid back."""
        if self._box:
            self._box.close()


def _apart(box: Bubblewrap | None, why: str | None) -> str:
    """What keeps the lab from the evaluator's files and memory, as text."""
    if box is None:
        return f"NOTHING, both run as one user: there are no namespaces for a sandbox ({why})"
    return "a sandbox" if box.uid is None else "a sandbox and a uid of its own"
