"""What the ledger says of a running campaign to who looks on: told levels, experiments, spends, flags. Nothing exact."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from aarlab.core.records import Entry, Family
from aarlab.diversity.collapse import WINDOW, collapse_alarm
from aarlab.evaluation.follow import View
from aarlab.evaluation.ledger import Ledger
from aarlab.fleet.spends import Tally

LEDGER = Path("server", "ledger.sqlite")  # in a campaign's folder


@dataclass
class Work:
    """What one researcher has done."""

    experiments: int = 0
    improvements: int = 0
    best_pgr: float | None = None  # the highest level that was told it: on the policy's grid, provisional
    best_at: float | None = None  # seconds since 1970
    family: str | None = None  # of its latest experiment
    findings: int = 0
    flags: int = 0
    tally: Tally = field(default_factory=Tally)


class Progress(View):
    """The campaign so far. `look` takes up what was recorded since; do not keep what it returns to compare with later."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.by_name: dict[str, Work] = {}
        self.tally = Tally()
        self.level_pgr: float | None = None  # the label set's told level
        self.released: dict | None = None  # `core.records.Released`, as of the latest receipt
        self.experiments = self.findings = 0
        self.flags: list[Entry] = []
        self.events: list[str] = []  # of the campaign
        self.families: list[Family] = []  # declared, of every experiment in order
        self._alarm: tuple[int, str | None] = (0, None)  # windows of experiments looked at, and what was found

    def look(self) -> "Progress":
        """Itself, up to date.

        Raises:
            Transient: the ledger cannot be read now.
        """
        with self._current():
            return self

    def of(self, name: str) -> Work:
        """What that researcher has done; nothing yet, for one that the ledger does not know."""
        return self.by_name.get(name) or Work()

    def collapse(self) -> str | None:
        """Whether the diversity of ideas has collapsed, in words: over the declared families of all experiments, in order."""
        windows = len(self.families) // WINDOW
        if self._alarm[0] != windows:
            self._alarm = windows, collapse_alarm(self.families)
        return self._alarm[1]

    def _take(self, entry: Entry) -> None:
        if entry.kind == "submission":
            self._submission(entry)
        elif entry.kind == "spend":
            self.tally.add(entry.body)
            self._work(entry.who).tally.add(entry.body)
        elif entry.kind == "finding":
            self.findings += 1
            self._work(entry.who).findings += 1
        elif entry.kind == "flag":
            self.flags.append(entry)
            self._work(str(entry.body["submitter"])).flags += 1
        elif entry.kind == "campaign" and entry.body.get("event"):
            self.events.append(str(entry.body["event"]))

    def _submission(self, entry: Entry) -> None:
        receipt, work = entry.body["receipt"], self._work(entry.who)
        self.experiments += 1
        self.level_pgr, self.released = receipt["level_pgr"], receipt["released"]
        work.experiments += 1
        self.families.append(Family(entry.body["family"]))
        work.family = entry.body["family"]
        if receipt["improved"]:
            work.improvements += 1
            if work.best_pgr is None or receipt["level_pgr"] > work.best_pgr:
                work.best_pgr, work.best_at = receipt["level_pgr"], datetime.fromisoformat(entry.at).timestamp()

    def _work(self, name: str) -> Work:
        return self.by_name.setdefault(name, Work())
