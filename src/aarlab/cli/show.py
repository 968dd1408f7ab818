"""What the terminal shows: one progress display for all steps, and the live table of the fleet."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.fleet.supervisor import Member

PLAIN_EVERY_S = 15.0  # without a terminal, a line at most this often


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
    """The live table of a running fleet: what each does, best told so far, time left."""

    def __init__(self, console: Console, evaluator: EvaluatorProcess) -> None:
        self.console, self.evaluator = console, evaluator
        self._live = Live(console=console, refresh_per_second=2, transient=True, auto_refresh=False)
        self._last = 0.0

    def __enter__(self) -> "FleetView":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def __call__(self, members: list[Member], left_s: float) -> None:
        """One tick of the supervisor."""
        wait = 1.0 if self.console.is_terminal else PLAIN_EVERY_S
        if time.monotonic() - self._last < wait:
            return
        self._last = time.monotonic()
        board = self.evaluator.call("GET", "/operator/board")
        level = f"told level: PGR {board['level_pgr']:.2f} (provisional), {released(board['released'])}"
        if not self.console.is_terminal:
            self.console.print(f"  {board['submissions']} experiments, {level}, {left_s:.0f} s left")
            return
        self._live.update(Group(_table(members, board), f"{level} · {left_s:.0f} s left · Ctrl-C stops and keeps all"))
        self._live.refresh()


def released(found: dict) -> str:
    """`41.2 of 140.0 bits released (3.3 % of the labels), a level is at most 0.11 too high`."""
    cap = "" if found["cap_bits"] is None else f" of {found['cap_bits']:.1f}"
    share, bound = found["share_of_labels"], found["inflation_bound"]
    return f"{found['bits']:.1f}{cap} bits released ({share:.1%} of the labels), a level is at most {bound:.2f} too high"


def _table(members: list[Member], board: dict) -> Table:
    table = Table("researcher", "direction", "status", "experiments", "improvements", "latest")
    for member in members:
        mine = board["by_submitter"].get(member.brief.name, {})
        family = member.brief.family.value if member.brief.family else "undirected"
        cells = (str(mine.get("submissions", 0)), str(mine.get("improvements", 0)), mine.get("latest_family", "-"))
        table.add_row(member.brief.name, family, member.status, *cells)
    return table
