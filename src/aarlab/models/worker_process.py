"""One worker as a process: started, asked, and started again when it ends, with all item batches
and sockets that it had. Without torch."""

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aarlab.core.errors import AarError, Misconfigured, Transient
from aarlab.core.process import BackOff, Child
from aarlab.models.head_training import Loss
from aarlab.models.wire import VERSION, ConnectionLost, Heard, Message, ask

START_S, NOTICE_S = 300.0, 5.0  # to import torch on a busy machine; for an end to be noticed
FIRST_PAUSE_S = 0.5
# ends of the worker in one job; starts in a row that led to nothing
MOST_LOST, MOST_FAILURES = 4, 5


@dataclass
class WorkerProcess:
    """See the module's docstring. Nothing is started before it is needed. Its methods may be called
    from any thread."""

    argv: Sequence[str]
    env: Mapping[str, str]
    socket: Path
    log: Path
    jobs: int = 0
    """Under way, as its users count them."""
    sockets: dict[str, Message] = field(default_factory=dict)
    batches: dict[str, Message] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._keeper: threading.Thread | None = None
        self._starts, self._up, self._closed = 0, False, threading.Event()
        self._broken: AarError | None = None
        self._child = Child("worker", self.argv, log=self.log, env=self.env)

    @property
    def started(self) -> bool:
        """Whether it was ever needed."""
        return self._keeper is not None

    @property
    def starts(self) -> int:
        """How often it was started."""
        return self._starts

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return self._child.pid

    def ask(
        self, request: Mapping[str, object], *, loss: Loss | None = None, heard: Heard | None = None
    ) -> Message:
        """Make a request, and again where the worker ended meanwhile: it resumes at its last
        checkpoint.

        Raises:
            Misconfigured: the worker cannot start; with its last output.
            Transient: it ended again and again over this request, or is closed.
            InvalidSubmission: what the worker says of the request.
        """
        for _ in range(MOST_LOST):
            starts = self._ready()
            try:
                return ask(self.socket, request, loss=loss, heard=heard)
            except ConnectionLost:
                with self._changed:
                    self._changed.wait_for(
                        lambda starts=starts: not self._up or self._starts != starts,
                        timeout=NOTICE_S,
                    )
        raise Transient(
            f"The worker ended {MOST_LOST} times over this request. Its last output: "
            f"{self._child.last_output()}"
        )

    def send_and_keep(self, standing: dict[str, Message], name: str, message: Message) -> None:
        """Say what is to hold from now on, also for a worker that is started again (`standing`: its
        item batches or its sockets)."""
        standing[name] = message
        if self.started:
            self.ask(message)

    def _ready(self) -> int:
        """Wait until requests are taken; the number of the start that takes them."""
        with self._changed:
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep, daemon=True)
                self._keeper.start()
            self._changed.wait_for(
                lambda: self._up or self._broken is not None or self._closed.is_set()
            )
            if self._closed.is_set():
                raise Transient("The workers are closed. Open them again, and ask again.")
            if self._broken is not None:
                raise self._broken
            return self._starts

    # --- in the keeper's thread -------------------------------------------------------------------

    def _keep(self) -> None:
        """Start the worker, and again each time that it ends, until closed or until starting has
        failed too often."""
        try:
            self._keep_running()
        except BaseException as error:
            self._set(
                broken=Misconfigured(
                    f"The worker cannot be looked after: {error!r}. This is a fault of aarlab's."
                )
            )
            raise

    def _keep_running(self) -> None:
        back_off = BackOff(FIRST_PAUSE_S)
        while not self._closed.is_set():
            began = time.monotonic()
            try:
                self._start()
            except AarError as error:
                if self._starts == 0 or back_off.failures >= MOST_FAILURES:
                    self._set(broken=error)
                    return
            else:
                self._set(up=True)
                # else `close` may have run before there was a child to end
                if not self._closed.is_set():
                    self._child.join()
                self._set(up=False)
            finally:
                self._child.stop()
            self._closed.wait(back_off.after(time.monotonic() - began))

    def _set(self, *, up: bool = False, broken: AarError | None = None) -> None:
        with self._changed:
            self._up, self._broken, self._starts = up, broken, self._starts + up
            self._changed.notify_all()

    def _start(self) -> None:
        """Until it takes requests and has what it is to have.

        Raises:
            Misconfigured: it ended instead; with its last output.
            Transient: the system has no process left for it.
        """
        self._child.start()
        self._child.wait_until(self._answers, START_S, given_up=self._closed.is_set)
        for message in [*self.batches.values()]:
            self._at_once(message)
        for name, message in [*self.sockets.items()]:
            try:
                self._at_once(message)
            except Misconfigured:  # says the worker: its folder is gone, and who was behind it
                self.sockets.pop(name, None)

    def _answers(self) -> bool:
        with contextlib.suppress(ConnectionLost):
            return ask(self.socket, {"v": VERSION, "op": "hello"})["pid"] == self._child.pid
        return False

    def _at_once(self, message: Message) -> None:
        try:
            ask(self.socket, message)
        except ConnectionLost as error:
            raise Transient(
                f"The worker ended as it began. Its last output: {self._child.last_output()}"
            ) from error

    # ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End it; requests that are under way fail."""
        self._closed.set()
        self._child.terminate()
        with self._changed:
            self._changed.notify_all()
        if self._keeper is not None:
            self._keeper.join()
