"""`aar watch`: a fleet as it is now, from fleet.json and the ledger; works whether or not anything runs."""

import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from aarlab.cli.frame import Seen, frame, summary
from aarlab.core.errors import Misconfigured, Transient
from aarlab.evaluation.ledger import Ledger
from aarlab.fleet.progress import LEDGER, Progress
from aarlab.fleet.state import FleetState, read_state

REDRAW_S = 0.5  # at most so often
PLAIN_EVERY_S = 15.0  # without a terminal, a line at most this often


class Watcher:
    """Reads a campaign's folder. It writes nothing there and asks no server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ledger: Ledger | None = None
        self._progress: Progress | None = None

    def look(self, state: FleetState | None = None) -> Seen:
        """What is to be seen now; `state` as the supervisor itself knows it, else as it last said.

        Raises:
            Misconfigured: fleet.json is damaged.
        """
        return Seen(self.folder.name, state or read_state(self.folder), self._read(), time.time())

    def _read(self) -> Progress | None:
        """What the ledger says; where it cannot be read just now, what it said before."""
        if self._progress is None and (self.folder / LEDGER).exists():
            self._ledger = Ledger(self.folder / LEDGER, read_only=True)
            self._progress = Progress(self._ledger)
        try:
            return self._progress.look() if self._progress else None
        except Transient:
            return self._progress

    def close(self) -> None:
        """Let go of the ledger."""
        if self._ledger:
            self._ledger.close()


def watch(folder: Path, console: Console, *, once: bool) -> None:
    """Show a campaign until q or Ctrl-C; one frame if `once`; without a terminal a line every 15 seconds.

    Raises:
        Misconfigured: there is no such campaign, or its fleet.json is damaged.
    """
    if not (folder / "campaign.yaml").exists():
        raise Misconfigured(f"There is no campaign in {folder}. `aar watch NAME` looks under AAR_HOME/campaigns.")
    watcher = Watcher(folder)
    try:
        if once:
            console.print(frame(watcher.look(), width=console.width))
            return
        with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live, _keys() as pressed:
            while True:
                draw(console, live, watcher.look())
                if pressed(REDRAW_S if console.is_terminal else PLAIN_EVERY_S) in {"q", "Q"}:
                    return
    except KeyboardInterrupt:
        return
    finally:
        watcher.close()


def draw(console: Console, live: Live, seen: Seen) -> None:
    """A frame on a terminal, a line in a log."""
    if console.is_terminal:
        live.update(frame(seen, width=console.width, rows=console.height), refresh=True)
    else:
        console.print(Text(f"  {summary(seen)}"), soft_wrap=True)


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits so many seconds for a key, "" if none came. Without a terminal it only waits."""
    if not sys.stdin.isatty():
        yield lambda wait_s: time.sleep(wait_s) or ""
        return
    before = termios.tcgetattr(sys.stdin)

    def pressed(wait_s: float) -> str:
        return sys.stdin.read(1) if select.select([sys.stdin], [], [], wait_s)[0] else ""

    try:
        tty.setcbreak(sys.stdin)
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
