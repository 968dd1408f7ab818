"""Which step of a campaign goes on, for those who watch it: CAMPAIGN/step.json, as long as one
does."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from aarlab.core.files import write_whole
from aarlab.core.layout import CampaignFolder
from aarlab.core.records import Record
from aarlab.fleet.display import Display
from aarlab.fleet.state import FleetState

EVERY_S = 2.0  # between two notes of one step


class StepNote(Record):
    """A step that has done `done` of `of` units."""

    what: str
    done: int
    of: int
    began_at: float  # seconds since 1970


class Noted:
    """A display that notes each step in the campaign's folder as well."""

    def __init__(self, show: Display, folder: Path) -> None:
        self._show, self._path = show, CampaignFolder(folder).step
        self._open, self._noted_at = False, 0.0
        self._note = StepNote(what="", done=0, of=0, began_at=0)
        self._path.unlink(missing_ok=True)  # of a run that was killed

    def line(self, text: str, *, head: str = "") -> None:
        self._show.line(text, head=head)

    def fleet(self, folder: Path) -> AbstractContextManager[Callable[[FleetState], None]]:
        return self._show.fleet(folder)

    @contextmanager
    def steps(self) -> Iterator["Noted"]:
        with self._show.steps():
            self._open = True
            try:
                yield self
            finally:
                self._open = False
                self._path.unlink(missing_ok=True)

    def say(self, what: str, done: int, of: int) -> None:
        self._show.say(what, done, of)
        now, new = time.time(), what != self._note.what
        if not self._open or (not new and now - self._noted_at < EVERY_S):
            return
        began_at = now if new else self._note.began_at
        self._note, self._noted_at = StepNote(what=what, done=done, of=of, began_at=began_at), now
        with suppress(OSError):  # what only shows something ends nothing
            write_whole(self._path, self._note.model_dump_json())


def step_of(folder: Path) -> StepNote | None:
    """The step that goes on; None where none does, or the note cannot be read."""
    try:
        return StepNote.model_validate_json(CampaignFolder(folder).step.read_bytes())
    except (OSError, ValidationError):
        return None
