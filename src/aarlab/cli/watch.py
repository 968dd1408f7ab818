"""`aar watch`: show a fleet's current state from fleet.json and the ledger, also when nothing
runs."""

import select
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from aarlab.cli.detail import line_every_s
from aarlab.cli.frame import Seen, frame, summary
from aarlab.core.errors import Transient
from aarlab.core.hold import holder
from aarlab.core.layout import CampaignFolder
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.places import has_ledger
from aarlab.fleet.alarms import ended
from aarlab.fleet.campaign import begun
from aarlab.fleet.progress import Progress
from aarlab.fleet.state import FleetState, read_state

REDRAW_S = 0.5  # shortest time between two frames


class Watcher:
    """Reads a campaign's folder. It writes nothing and calls no server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ledger: Ledger | None = None
        self._progress: Progress | None = None

    def look(self, state: FleetState | None = None) -> Seen:
        """The current state of the campaign. `state`: given by the supervisor; None: read from
        fleet.json.

        Raises:
            Misconfigured: fleet.json is damaged.
        """
        return Seen(self.folder.name, state or read_state(self.folder), self._read(), time.time())

    def _read(self) -> Progress | None:
        """What the ledger says; where it cannot be read just now, what it said before. The file is
        open here alone: otherwise the evaluator cannot close it in order, as one file."""
        try:
            path = CampaignFolder(self.folder).server.ledger
            if self._progress is None and has_ledger(path):
                self._ledger = Ledger(path, read_only=True)
                self._progress = Progress(self._ledger)
            return self._progress.look() if self._progress else None
        except Transient:
            return self._progress
        finally:
            self.close()

    def close(self) -> None:
        """Close the ledger."""
        if self._ledger:
            self._ledger.close()


def watch(folder: Path, console: Console, *, once: bool) -> None:
    """Show a campaign until q or Ctrl-C, or one frame if `once`. Without a terminal, print a line
    every 15 s, until it has ended and nobody runs it.

    A campaign that is being set up is waited for.

    Raises:
        Misconfigured: there is no such campaign, or its fleet.json is damaged.
    """
    if not once:
        _await(folder, console)
    begun(folder.parent, folder.name)
    watcher = Watcher(folder)
    try:
        if once:
            console.print(frame(watcher.look(), width=console.width))
            return
        with (
            _interrupts() as interrupted,
            Live(console=console, screen=console.is_terminal, auto_refresh=False) as live,
            _keys() as pressed,
        ):
            while not interrupted.is_set():
                seen = watcher.look()
                draw(console, live, seen)
                over = seen.state is not None and ended(seen.state)
                if over and not console.is_terminal and not holder(CampaignFolder(folder).lock):
                    return
                if pressed(REDRAW_S if console.is_terminal else line_every_s()) in {"q", "Q"}:
                    return
    except KeyboardInterrupt:
        return
    finally:
        watcher.close()


def _await(folder: Path, console: Console) -> None:
    """Wait until a campaign is set up, or nobody does so any more."""
    place, said = CampaignFolder(folder), False
    while not place.settings.exists() and (runs := holder(place.lock)):
        if not said:
            console.print(f"{folder.name} is being set up by process {runs}.", soft_wrap=True)
            said = True
        time.sleep(REDRAW_S)


def draw(console: Console, live: Live, seen: Seen) -> None:
    """Draw a frame on a terminal, or a line in a log."""
    if console.is_terminal:
        live.update(frame(seen, width=console.width, rows=console.height), refresh=True)
    else:
        console.print(Text(f"  {summary(seen)}"), soft_wrap=True)


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Ctrl-C raises KeyboardInterrupt and sets the event: Python drops an exception that is raised
    while it finalises an object, and the key would be lost."""
    interrupted = threading.Event()

    def stop(*_: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits the given seconds for a key and returns it, or "". Without a
    terminal it only waits."""
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
