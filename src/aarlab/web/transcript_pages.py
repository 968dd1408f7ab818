"""A transcript in pages. Where each page begins is remembered, so that a later page of a long
one is read without what comes before it."""

import threading
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from aarlab.fleet.transcripts import Reader, Step
from aarlab.web.shown_text import block, line

STEPS = 100  # of one page, at least, unless it is the last
BATCH = 50  # lines that are read at a time
MOST = 200  # transcripts whose places are remembered


class Mark(NamedTuple):
    """Where a page begins: see `Reader`; and how many steps come before it."""

    part: int
    offset: int
    seen: dict[str, list[str]]
    steps: int


class TranscriptPages:
    """Pages of all transcripts; threads may ask at once."""

    def __init__(self) -> None:
        self._marks: dict[Path, list[Mark]] = {}
        self._mutex = threading.Lock()

    def page(self, path: Path, wanted: int | None) -> tuple[list[Step], int, int, int]:
        """The steps of one page (from 1; None: the last), its number, how many pages there are, and
        how many steps come before it.

        Raises:
            FileNotFoundError: there is no such transcript.
        """
        with self._mutex:
            marks = self._known(path)
            steps = _to_the_end(path, marks)
            number = min(wanted or len(marks), len(marks))
            if number < len(marks):
                steps = _read(path, marks[number - 1])[0]
            return steps, number, len(marks), marks[number - 1].steps

    def _known(self, path: Path) -> list[Mark]:
        if len(self._marks) > MOST:
            self._marks.clear()
        marks = self._marks.setdefault(path, [Mark(0, 0, {}, 0)])
        if len(marks) > 1 and path.stat().st_size < marks[-1].offset:  # a part was put aside
            marks[:] = [Mark(0, 0, {}, 0)]
        return marks


def _to_the_end(path: Path, marks: list[Mark]) -> list[Step]:
    """Remember where every page begins; the steps of the last one."""
    steps, after = _read(path, marks[-1])
    while len(steps) >= STEPS:
        later, further = _read(path, after)
        if not later:
            break
        marks.append(after)
        steps, after = later, further
    return steps


def _read(path: Path, mark: Mark) -> tuple[list[Step], Mark]:
    """The steps from a mark on, and where the next page begins."""
    reader = Reader(path, offset=mark.offset, part=mark.part, seen=_copy(mark.seen))
    steps: list[Step] = []
    before = None
    while len(steps) < STEPS and reader.at != before:
        before = reader.at
        steps += reader.new(whole=False, limit=BATCH)
    seen = _copy(reader.parser.seen)
    return steps, Mark(*reader.at, seen, mark.steps + len(steps))


def _copy(seen: Any) -> dict[str, list[str]]:
    return {message: list(digests) for message, digests in seen.items()}


def folded(steps: list[Step], first: int) -> list[dict[str, Any]]:
    """Steps as a page shows them, numbered from `first` + 1: what a tool answered is inside its
    call, in the order of the calls."""
    shown: list[dict[str, Any]] = []
    waiting: deque[dict[str, Any]] = deque()
    for number, step in enumerate(steps, start=first + 1):
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
