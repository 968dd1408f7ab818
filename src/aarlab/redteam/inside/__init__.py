"""What an attacker runs inside a researcher's sandbox. Standard library alone; each program says
what it got hold of.

The attacker knows the software: `hints` are the host's paths, pids, ports and names as it could
guess them. Whether an attack was held is decided outside (`aarlab.redteam.sandbox`), by secrets
that must not come out and files that must not change.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

Hints = dict[str, Any]
Program = Callable[[Hints], None]
PROGRAMS: dict[str, Program] = {}
SAID_BYTES = 4096  # of one thing that was read


def program(name: str) -> Callable[[Program], Program]:
    """Register a program under the name that `python -m aarlab.redteam.inside NAME HINTS` takes."""

    def add(function: Program) -> Program:
        PROGRAMS[name] = function
        return function

    return add


def say(*words: object) -> None:
    """One line of what was got hold of."""
    text = " ".join(w.decode("utf-8", "replace") if isinstance(w, bytes) else str(w) for w in words)
    sys.stdout.write(
        text[:SAID_BYTES]
        .replace("\0", " ")
        .replace("\n", " ")
        .replace("\r", " ")
        .encode("utf-8", "replace")
        .decode()
        + "\n"
    )
    sys.stdout.flush()


@contextlib.contextmanager
def trying() -> Iterator[None]:
    """What the sandbox refuses is no news."""
    with contextlib.suppress(OSError, ValueError, OverflowError):
        yield
