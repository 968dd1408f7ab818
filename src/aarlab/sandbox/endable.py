"""Sandboxes that another thread may end while commands run in them: who runs one is informed that
there is no result."""

import subprocess
import threading
from pathlib import Path

from aarlab.core.errors import Transient
from aarlab.sandbox.sandbox import Completed, Limits, MakeSandbox, Sandbox, SandboxSpec, Usage

WORDS = "The run was stopped before its end, and has no result. It may be run again."


class Endable:
    """Makes sandboxes as `make` does."""

    def __init__(self, make: MakeSandbox) -> None:
        self._make, self._open = make, set[_One]()
        self._mutex, self._over = threading.Lock(), False

    def __call__(self, spec: SandboxSpec) -> Sandbox:
        """One of them.

        Raises:
            Transient: they were ended.
        """
        self.require_going_on()
        made = _One(self._make(spec), self)
        with self._mutex:
            self._open.add(made)
        if self._over:  # since the look above
            made.close()
        return made

    def require_going_on(self) -> None:
        """Raises Transient if they were ended."""
        if self._over:
            raise Transient(WORDS)

    def forget(self, one: "_One") -> None:
        """It is closed."""
        with self._mutex:
            self._open.discard(one)

    def end(self) -> None:
        """Close all there are; none is made from now on."""
        self._over = True
        with self._mutex:
            found = list(self._open)
        for one in found:
            one.close()


class _One:
    """A sandbox that is closed by one thread at a time."""

    def __init__(self, sandbox: Sandbox, of: Endable) -> None:
        self._sandbox, self._of, self._mutex = sandbox, of, threading.Lock()

    def inside(self, target: str) -> str:
        return self._sandbox.inside(target)

    def start(self, argv: list[str], log: Path) -> subprocess.Popen:
        return self._sandbox.start(argv, log)

    def exec(self, argv: list[str], limits: Limits) -> Completed:
        """See `Sandbox.exec`.

        Raises:
            Transient: it was ended meanwhile.
        """
        try:
            done = self._sandbox.exec(argv, limits)
        except OSError:  # parts of it were gone already
            self._of.require_going_on()
            raise
        self._of.require_going_on()
        return done

    def usage(self) -> Usage:
        return self._sandbox.usage()

    def close(self) -> None:
        with self._mutex:
            self._sandbox.close()
        self._of.forget(self)
