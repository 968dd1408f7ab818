"""A transcript in pages of as many lines. Where each page begins is found without a look at what
the lines say, so that a long one is opened in milliseconds."""

import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from aarlab.fleet.transcripts import Parser, Step, TranscriptReader, comes_whole_later
from aarlab.web.shown_text import block, line

LINES = 100  # of one page, without parts of messages that come whole later
MOST = 200  # transcripts whose places are remembered
OF_A_LINE = Step("prints", "")  # stands for what a line says that is only counted


class Mark(NamedTuple):
    """Where a page begins: see `TranscriptReader`."""

    part: int
    offset: int


class ShownPage(NamedTuple):
    """One page: its steps, each with its number, which is that of its line; the page's own number,
    how many there are, and how many lines in all."""

    steps: list[tuple[str, Step]]
    page: int
    pages: int
    lines: int


class Numbered(Parser):
    """Counts the lines; what those after line `first` say is read, up to line `last`."""

    def __init__(self, lines: int, first: int, last: int) -> None:
        super().__init__()
        self.lines, self._first, self._last = lines, first, last

    def steps(self, line: bytes) -> list[Step]:
        if comes_whole_later(line):
            return []
        self.lines += 1
        return super().steps(line) if self._first < self.lines <= self._last else [OF_A_LINE]


class TranscriptPages:
    """Pages of all transcripts; threads may ask at once."""

    def __init__(self) -> None:
        self._marks: dict[Path, list[Mark]] = {}
        self._mutex = threading.Lock()

    def page(self, path: Path, wanted: int | None) -> ShownPage:
        """One page (from 1; None: the last).

        Raises:
            FileNotFoundError: there is no such transcript.
        """
        with self._mutex:
            marks = self._known(path)
            lines = _to_the_end(path, marks)
            number = min(wanted or len(marks), len(marks))
            return ShownPage(_read(path, marks, number), number, len(marks), lines)

    def find(self, path: Path, after: int, wanted: Callable[[Step], bool]) -> int | None:
        """The first line after line `after` with such a step; None where none comes.

        Raises:
            FileNotFoundError: there is no such transcript.
        """
        with self._mutex:
            marks = self._known(path)
            _to_the_end(path, marks)
            page = min(after // LINES, len(marks) - 1)
            at = marks[page]
        reader = TranscriptReader(path, offset=at.offset, part=at.part)
        reader.parser = numbered = Numbered(page * LINES, after, sys.maxsize)
        return next((numbered.lines for step in reader.new(whole=False) if wanted(step)), None)

    def _known(self, path: Path) -> list[Mark]:
        if len(self._marks) > MOST:
            self._marks.clear()
        marks = self._marks.setdefault(path, [Mark(0, 0)])
        if len(marks) > 1 and path.stat().st_size < marks[-1].offset:  # a part was put aside
            marks[:] = [Mark(0, 0)]
        return marks


def _to_the_end(path: Path, marks: list[Mark]) -> int:
    """Remember where every page begins; how many lines there are."""
    at = marks[-1]
    reader, before = (
        TranscriptReader(path, offset=at.offset, part=at.part),
        (len(marks) - 1) * LINES,
    )
    reader.parser = counted = Numbered(before, 0, 0)
    for _ in reader.new(whole=False):
        if counted.lines > len(marks) * LINES:
            marks.append(at)
        at = Mark(*reader.at)
    return counted.lines


def _read(path: Path, marks: list[Mark], number: int) -> list[tuple[str, Step]]:
    """The steps of one page. The page before it is read as well: an agent prints some blocks
    again, and they are steps once."""
    earlier, last = max(0, number - 2), number * LINES
    at = marks[earlier]
    reader = TranscriptReader(path, offset=at.offset, part=at.part)
    reader.parser = numbered = Numbered(earlier * LINES, earlier * LINES, last)
    found: list[tuple[str, Step]] = []
    at_line = of_line = 0
    for step in reader.new(whole=False):
        if numbered.lines > last:
            break
        of_line = of_line + 1 if numbered.lines == at_line else 1
        at_line = numbered.lines
        if at_line > last - LINES:
            found.append((f"{at_line}.{of_line}" if of_line > 1 else str(at_line), step))
    return found


def folded(steps: list[tuple[str, Step]]) -> list[dict[str, Any]]:
    """Steps as a page shows them: what a tool answered is inside its call, in the order of the
    calls."""
    shown: list[dict[str, Any]] = []
    waiting: deque[dict[str, Any]] = deque()
    for number, step in steps:
        made = {
            "number": number,
            "kind": step.kind,
            "at": line(step.at, 32),
            "words": line(next(iter(step.text.split("\n")), "")),
            "text": block(step.text),
            "outputs": [],
        }
        if step.kind in {"gets", "fails"} and waiting:
            waiting.popleft()["outputs"].append(made)
            continue
        if step.kind == "calls":
            waiting.append(made)
        shown.append(made)
    return shown
