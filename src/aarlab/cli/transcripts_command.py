"""`aar transcript`: show a researcher's transcript, or search all transcripts."""

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder
from aarlab.core.printable import one_line
from aarlab.fleet.transcript_index import BEGIN, END, Hit, TranscriptIndex
from aarlab.fleet.transcripts import Step, TranscriptReader, steps_of, transcript_paths

STYLES = {
    "says": "bold",
    "calls": "cyan",
    "fails": "red",
    "waits": "yellow",
    "ends": "green",
    "thinks": "dim",
    "gets": "dim",
}
SHORT = 12  # lines of a step without --full
TAIL = 20  # steps
POLL_S = 0.5


def search(campaign: Path, words: str, console: Console) -> None:
    """Print every step of any researcher that contains all the words, best match first.

    Raises:
        Misconfigured: there are no transcripts, or no words.
    """
    index = TranscriptIndex(CampaignFolder(campaign).transcripts)
    index.update()
    hits = index.search(words)
    for hit in hits:
        console.print(_hit(hit), soft_wrap=True)
    console.print(
        Text(f"{len(hits)} steps" + (" (the best; there may be more)" if len(hits) == 50 else ""))
    )


def show(campaign: Path, name: str, console: Console, *, number: int | None, full: bool) -> None:
    """Print the transcript of one incarnation (None: the latest).

    Raises:
        Misconfigured: there is no such researcher or incarnation.
    """
    number, path, latest = _incarnation(campaign, name, number)
    console.print(Text(f"{name}, incarnation {number} of {latest}", style="bold"), soft_wrap=True)
    for step in steps_of(path):
        console.print(_step(step, full=full), soft_wrap=True)


def tail(campaign: Path, name: str, console: Console, *, number: int | None, full: bool) -> None:
    """Print the last steps of an incarnation, then new steps, also of later incarnations, until
    Ctrl-C.

    Raises:
        Misconfigured: there is no such researcher or incarnation.
    """
    number, _, _ = _incarnation(campaign, name, number)
    try:
        for step in _followed(CampaignFolder(campaign).transcripts / name, number):
            console.print(_step(step, full=full), soft_wrap=True)
    except KeyboardInterrupt:
        return


def _incarnation(campaign: Path, name: str, number: int | None) -> tuple[int, Path, int]:
    """Number and file of an incarnation, and the number of the latest."""
    root = CampaignFolder(campaign).transcripts
    known = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    if name not in known:
        raise Misconfigured(
            f"There is no transcript of '{name}'. Transcripts: {', '.join(known) or 'none'}."
        )
    found = transcript_paths(root / name)
    number = max(found, default=0) if number is None else number
    if number not in found:
        raise Misconfigured(
            f"'{name}' has no incarnation {number}. It has: {', '.join(map(str, found)) or 'none'}."
        )
    return number, found[number], max(found)


def _followed(folder: Path, number: int) -> Iterator[Step]:
    """The last steps of an incarnation, then all new steps."""
    reader = TranscriptReader(transcript_paths(folder)[number])
    yield from deque(reader.new(whole=False), maxlen=TAIL)
    while True:
        later = [n for n in transcript_paths(folder) if n > number]
        steps = list(reader.new(whole=bool(later)))
        yield from steps
        if later:
            number = later[0]
            reader = TranscriptReader(transcript_paths(folder)[number])
        elif not steps:
            time.sleep(POLL_S)


def _step(step: Step, *, full: bool) -> Text:
    rows = step.text.split("\n")
    if not full and len(rows) > SHORT:
        rows = [*rows[:SHORT], f"… {len(rows) - SHORT} more lines (--full)"]
    margin = "\n" + " " * 16
    return Text.assemble(
        (f"{step.at[11:19]:8} ", "dim"),
        (f"{step.kind:6} ", STYLES.get(step.kind, "")),
        margin.join(rows),
    )


def _hit(hit: Hit) -> Text:
    found = Text(
        f"{one_line(hit.name, 64)} incarnation {hit.incarnation} {hit.at[:19]} {hit.kind}: "
    )
    for number, part in enumerate(hit.excerpt.replace("\n", " ").replace(END, BEGIN).split(BEGIN)):
        found.append(part, style="bold" if number % 2 else "")
    return found
