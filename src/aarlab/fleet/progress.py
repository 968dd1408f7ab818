"""What the ledger says of a running campaign to who looks on: reported levels, experiments, spends,
flags. Nothing exact."""

from dataclasses import dataclass
from datetime import datetime

from aarlab.core.entries import Flag, SpendBody, SubmissionBody
from aarlab.core.records import Entry, Released
from aarlab.core.view import View
from aarlab.diversity.collapse import WINDOW, collapse_alarm
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.views import aside_in, flags_in
from aarlab.fleet.spends import Tally

AFTERWARDS = {"confirmation", "flag", "campaign", "spend"}  # may follow the fleet's end


@dataclass
class Work:
    """What one researcher has done."""

    experiments: int = 0
    improvements: int = 0
    # the highest level that was reported to it: on the policy's grid, provisional
    best_pgr: float | None = None
    best_at: float | None = None  # seconds since 1970
    family: str | None = None  # of its latest experiment
    findings: int = 0
    flags: int = 0


class Progress(View):
    """The campaign so far. `look` reads what was recorded since; do not keep what it returns to
    compare with later."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.by_name: dict[str, Work] = {}
        self.tally = Tally()
        self.level_pgr: float | None = None  # the label set's reported level
        self.released: Released | None = None  # as of the latest receipt
        self.combined = False  # are levels a combined score, and no PGR?
        self.experiments = self.findings = 0
        self.flags: list[Flag] = []
        self.aside: dict[str, str] = {}  # detectors that were set aside, and why
        self.families: list[str] = []  # declared, of every experiment in order
        # windows of experiments looked at, and what was found
        self._alarm: tuple[int, str | None] = (0, None)

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
        """Whether the diversity of ideas has collapsed, as text: over the declared families of all
        experiments, in order."""
        windows = len(self.families) // WINDOW
        if self._alarm[0] != windows:
            self._alarm = windows, collapse_alarm(self.families)
        return self._alarm[1]

    def _take(self, entry: Entry) -> None:
        if entry.kind == "submission":
            self._submission(entry)
        elif entry.kind == "spend":
            self.tally.add(entry.read(SpendBody))
        elif entry.kind == "finding":
            self.findings += 1
            self._work(entry.who).findings += 1
        elif entry.kind == "campaign":
            self.aside = aside_in([entry], self.aside)
        for _, flag in flags_in([entry]):
            self.flags.append(flag)
            self._work(flag.submitter).flags += 1

    def _submission(self, entry: Entry) -> SubmissionBody:
        body, work = entry.read(SubmissionBody), self._work(entry.who)
        receipt = body.receipt
        self.experiments += 1
        # the level only rises; a receipt from memory says where it was when it was first given
        self.level_pgr = max(receipt.level_pgr, self.level_pgr or receipt.level_pgr)
        self.released, self.combined = receipt.released, receipt.combined
        work.experiments += 1
        self.families.append(body.family)
        work.family = body.family
        if receipt.improved:
            work.improvements += 1
            if work.best_pgr is None or receipt.level_pgr > work.best_pgr:
                work.best_pgr, work.best_at = (
                    receipt.level_pgr,
                    datetime.fromisoformat(entry.at).timestamp(),
                )
        return body

    def _work(self, name: str) -> Work:
        return self.by_name.setdefault(name, Work())
