"""Processes of ours beside the fleet (the evaluator's server, the gateway): started, watched, started again, stopped."""

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.lifeline import Lifeline
from aarlab.fleet.patience import doubled

START_TIMEOUT_S, STOP_TIMEOUT_S = 30.0, 10.0
MOST_PAUSE_S = 30.0
STABLE_S = 60.0  # a life this long forgives the failures before it
WORDS_BYTES = 1 << 16  # of a log, in which its last line is looked for


class Service:
    """One process that says where it is by writing `address` once it takes requests. It ends when we do, even by kill -9."""

    def __init__(self, name: str, argv: list[str], *, address: Path, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name, self._argv, self.address, self._log = name, argv, address, log
        self._env = None if env is None else dict(env)
        self._process: subprocess.Popen | None = None
        self._lifeline: Lifeline | None = None
        self._failures, self._not_before, self._began = 0, 0.0, 0.0

    def __enter__(self) -> Self:
        self.start()
        self.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and return at once; `wait` waits for it.

        Raises:
            Transient: the system has no process, no file or no disk left for it.
        """
        try:
            self._start()
        except OSError as error:
            self._release()
            raise Transient(f"The {self.name} cannot be started now ({error}). It is tried again.") from error

    def _start(self) -> None:
        self.address.unlink(missing_ok=True)
        self.address.parent.mkdir(parents=True, exist_ok=True)
        self._lifeline = Lifeline()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._argv, "--lifeline", str(self._lifeline.fd)],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self._lifeline.fd],
                start_new_session=True,
            )
        self._lifeline.given()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def up(self) -> bool:
        """Whether it takes requests."""
        return self.alive and self.address.exists()

    def wait(self) -> None:
        """Until it takes requests.

        Raises:
            Misconfigured: it ended instead, or did not within START_TIMEOUT_S; with its last words.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.address.exists():
            if not self.alive or time.monotonic() > deadline:
                self.stop()
                raise Misconfigured(f"The {self.name} did not start. Its last words: {self.last_words()}")
            time.sleep(0.02)

    def revive(self, now: Callable[[], float] = time.monotonic) -> bool:
        """Start it again if it has ended and enough time has passed (1, 2, 4, ... 30 s); True if it was started."""
        if self.alive:
            if self._began and now() - self._began >= STABLE_S:
                self._failures = 0
            return False
        if self._not_before == 0.0:
            self._failures += 1
            self._not_before = now() + doubled(1.0, self._failures - 1, MOST_PAUSE_S)
        if now() < self._not_before:
            return False
        self._not_before, self._began = 0.0, now()
        self._release()
        self.start()
        return True

    def stop(self) -> None:
        """End it, gracefully if it lets us."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._release()

    def _release(self) -> None:
        if self._lifeline is not None:
            self._lifeline.cut()
            self._lifeline = None

    def last_words(self) -> str:
        """The last line of its log."""
        if not self._log.exists():
            return "none"
        with self._log.open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - WORDS_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "none"
