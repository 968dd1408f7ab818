"""What a step of a campaign shows to whoever started it: lines that stay, progress, and the fleet
while it runs."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from aarlab.fleet.state import FleetState


class Display(Protocol):
    """A terminal, in the end (`aarlab.cli.show.Show`)."""

    def line(self, text: str, *, head: str = "") -> None:
        """Print a line that stays: `head`, which stands out, and the text. Neither is markup."""
        ...

    def steps(self) -> AbstractContextManager[object]:
        """Show progress while the context is open."""
        ...

    def say(self, what: str, done: int, of: int) -> None:
        """Show that step `what` has done `done` of `of`."""
        ...

    def fleet(self, folder: Path) -> AbstractContextManager[Callable[[FleetState], None]]:
        """Show the fleet of the campaign in `folder`; what the context gives is called at every
        tick of the supervisor."""
        ...
