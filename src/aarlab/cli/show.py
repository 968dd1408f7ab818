"""What the terminal shows: one progress display for all steps, and the fleet while it runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from aarlab.cli.watch import PLAIN_EVERY_S, REDRAW_S, Watcher, draw
from aarlab.fleet.state import FleetState


class Show:
    """Progress of named steps. On a terminal it moves; in a log it is a line a step."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._task = None
        self._progress: Progress | None = None
        self._what = ""
        self._last_line = 0.0

    @contextmanager
    def steps(self) -> Iterator["Show"]:
        """The span in which `say` may be called."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal, transient=True) as progress:
            self._progress = progress
            yield self
            self._close()
        self._progress = None

    def say(self, what: str, done: int, of: int) -> None:
        """Step `what` has done `done` of `of`."""
        if self._progress is None:
            return
        if what != self._what:
            self._close()
            self._what, self._started = what, time.monotonic()
            self._task = self._progress.add_task(what, total=of)
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=of)

    def _close(self) -> None:
        if self._task is not None and self._progress is not None:
            self._progress.remove_task(self._task)
            self.console.print(f"  {self._what}: {time.monotonic() - self._started:.1f} s")
        self._task, self._what = None, ""

    def line(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text)


class FleetView:
    """The same picture while `aar demo` or `aar run` runs the fleet: called at every tick, it draws at most twice a second."""

    def __init__(self, console: Console, folder: Path) -> None:
        self.console, self._watcher = console, Watcher(folder)
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._last = float("-inf")

    def __enter__(self) -> "FleetView":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()
        self._watcher.close()

    def __call__(self, state: FleetState) -> None:
        """One tick of the supervisor."""
        now = time.monotonic()
        if now - self._last < (REDRAW_S if self.console.is_terminal else PLAIN_EVERY_S):
            return
        self._last = now
        draw(self.console, self._live, self._watcher.look(state))
