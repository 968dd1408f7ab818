"""The terminal's display: the progress of steps, and the fleet while it runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from aarlab.cli.detail import line_every_s, log_if_verbose, quiet
from aarlab.cli.json_log import logs_json, say_fleet
from aarlab.cli.watch import REDRAW_S, Watcher, draw
from aarlab.core.amounts import duration
from aarlab.core.printable import printable
from aarlab.fleet.state import FleetState


class Show:
    """Progress of named steps: an animated line on a terminal; in a log one line for each step, and
    one every 10 s with an estimate of what is left. `-v` and `-q` say how much of it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._task = None
        self._progress: Progress | None = None
        self._what = ""
        self._last_line = self._started = 0.0
        # when the step's first unit of now was done, and how many were then
        self._since: tuple[float, int] | None = None
        self._kept = 0  # units that were done when the step began
        self._quiet, self._every_s = quiet(), line_every_s()
        log_if_verbose()

    @contextmanager
    def steps(self) -> Iterator["Show"]:
        """The context in which `say` may be called."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        hidden = self._quiet or not self.console.is_terminal
        with Progress(*columns, console=self.console, disable=hidden, transient=True) as progress:
            self._progress = progress
            yield self
            self._close()
        self._progress = None

    def say(self, what: str, done: int, of: int) -> None:
        """Report that step `what` has done `done` of `of` units."""
        if self._progress is None:
            return
        if what != self._what:
            self._close()
            self._what, self._started = what, time.monotonic()
            self._last_line, self._kept, self._since = self._started, done, None
            self._task = self._progress.add_task(what, total=of, completed=done)
        if self._since is None and done > self._kept:
            self._since = time.monotonic(), done
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=of)
        if not self.console.is_terminal and time.monotonic() - self._last_line >= self._every_s:
            self._last_line = time.monotonic()
            self.line(f"  {what}: {done:,} of {of:,}{self._left(done, of)}")

    def _left(self, done: int, of: int) -> str:
        """An estimate of the time that a step still takes, without what it takes to begin; "" where
        nothing is known of it."""
        if self._since is None or not self._since[1] < done < of:
            return ""
        since, first = self._since
        each_s = (time.monotonic() - since) / (done - first)
        return f", about {duration(each_s * (of - done))} left"

    def _close(self) -> None:
        if self._task is not None and self._progress is not None:
            self._progress.remove_task(self._task)
            if not self._quiet:
                self.line(f"  {self._what}: {time.monotonic() - self._started:.1f} s")
        self._task, self._what = None, ""

    def line(self, text: str, *, head: str = "") -> None:
        """Print a line that stays on the terminal. The text may quote a researcher's."""
        self.console.print(Text.assemble((printable(head), "bold"), printable(text)))

    def fleet(self, folder: Path) -> "FleetView":
        """A view of the running fleet of the campaign in `folder`."""
        return FleetView(self.console, folder)


class FleetView:
    """The view of `aar watch` inside `aar demo` and `aar run`; it is redrawn at most twice a
    second."""

    def __init__(self, console: Console, folder: Path) -> None:
        self.console, self._watcher = console, Watcher(folder)
        self._quiet = quiet()
        self._every_s = REDRAW_S if console.is_terminal else line_every_s()
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._last = float("-inf")

    def __enter__(self) -> "FleetView":
        if self.console.is_terminal and not self._quiet:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()
        self._watcher.close()

    def __call__(self, state: FleetState) -> None:
        """Show the state at one tick of the supervisor."""
        now = time.monotonic()
        if self._quiet or now - self._last < self._every_s:
            return
        self._last = now
        if logs_json():
            seen = self._watcher.look(state)
            say_fleet(state, seen.progress, seen.at)
            return
        draw(self.console, self._live, self._watcher.look(state))
