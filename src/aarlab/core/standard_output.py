"""What only shows something never ends the work that it shows.

A standard stream may be closed, full, a pipe that nobody reads any more, or unable to take a
character. The work goes on, and what cannot be shown is left out.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


def open_streams() -> None:
    """Make sure that descriptors 0 to 2 are open, on /dev/null where they were closed: a file that
    is opened next would take their place, and be written to. Characters that an encoding lacks are
    shown as question marks."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")


class _Shown:
    """A text stream whose first error of writing is kept, and which is silent from then on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lost(error)
            return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        """What waits in the stream's buffer goes nowhere, and so does all that follows."""
        self.error = self.error or error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)


@contextmanager
def only_showing() -> Iterator[None]:
    """A context in which standard output and error may fail without an error. At its end, stderr
    says so of standard output."""
    before = sys.stdout, sys.stderr
    out, err = _Shown(sys.stdout), _Shown(sys.stderr)
    sys.stdout, sys.stderr = out, err  # type: ignore[assignment]
    try:
        yield
    finally:
        out.flush()
        if out.error is not None:
            what = out.error.strerror or out.error
            print(
                f"Standard output failed ({what}): not all was shown, but the work went on.",
                file=err,
            )
        err.flush()
        sys.stdout, sys.stderr = before
