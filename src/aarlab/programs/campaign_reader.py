"""`aarlab.open("demo")`: a campaign as a program or a notebook reads it, while it runs and
afterwards. It takes no lock, holds no file open between two calls, and writes nothing."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from aarlab.core.errors import Misconfigured
from aarlab.core.hold import holder
from aarlab.core.layout import CampaignFolder, ReportFolder
from aarlab.core.settings import expanded, home
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.places import has_ledger
from aarlab.fleet.campaign import Campaign, begun, load
from aarlab.fleet.campaign_list import state_of
from aarlab.programs import campaign_axes
from aarlab.programs.table_rows import COLUMNS, TABLES, Row
from aarlab.report.report_record import Report
from aarlab.report.verified import AnyReport, read_any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

INSTALL = "pandas is not installed. Run `pip install 'aarlab[frames]'`"


class CampaignReader:
    """One campaign. Its tables hold what was released: reported, certified and confirmed scores.
    Exact scores are in the report alone, once nobody runs the campaign."""

    def __init__(self, folder: Path) -> None:
        """Raises Misconfigured where the folder has no campaign."""
        self.folder = folder
        self.settings: Campaign = load(CampaignFolder(folder).settings)

    def __repr__(self) -> str:
        return f"<campaign {self.folder.name}: {self.state}>"

    @property
    def state(self) -> str:
        """What it does now, as text."""
        return state_of(self.folder)

    @property
    def running(self) -> bool:
        """Whether a process runs it, or serves it."""
        place = CampaignFolder(self.folder)
        return any(holder(lock) for lock in (place.lock, place.server.lock))

    # --- tables -----------------------------------------------------------------------------------

    def rows(self, table: str) -> list[Row]:
        """A table as a list of dicts, without pandas: `rows("submissions")`.

        Raises:
            Misconfigured: there is no such table, or no ledger yet.
        """
        if table not in TABLES:
            raise Misconfigured(f"There is no table '{table:.40}'. There are: {', '.join(TABLES)}.")
        with self._ledger() as ledger:
            return list(TABLES[table](ledger))

    def submissions(self) -> "DataFrame":
        """One row a submission: what was reported of it."""
        return self._frame("submissions")

    def receipts(self) -> "DataFrame":
        """Each receipt whole, as its submitter got it."""
        return self._frame("receipts")

    def experiments(self) -> "DataFrame":
        """One row for each code that was committed, and what became of it."""
        return self._frame("experiments")

    def findings(self) -> "DataFrame":
        """One row a post of the forum."""
        return self._frame("findings")

    def reads(self) -> "DataFrame":
        """One row for each finding that a researcher read, or code that it downloaded, first."""
        return self._frame("reads")

    def spends(self) -> "DataFrame":
        """One row a spend; a price that is not known is missing, not 0."""
        return self._frame("spends")

    def confirmations(self) -> "DataFrame":
        """One row a confirmation: verdict, and the score on final as it was released."""
        return self._frame("confirmations")

    def _frame(self, table: str) -> "DataFrame":
        """A table as a pandas frame; times are of type datetime.

        Raises:
            Misconfigured: pandas is not installed, or see `rows`.
        """
        try:
            import pandas as pd
        except ImportError as error:
            words = f"{INSTALL}, or take rows: rows('{table}')."
            raise Misconfigured(words) from error
        frame = pd.DataFrame(self.rows(table), columns=list(COLUMNS[table]))
        frame["at"] = pd.to_datetime(frame["at"], format="ISO8601", utc=True)
        return frame

    # --- the report -------------------------------------------------------------------------------

    def report(self) -> AnyReport:
        """The campaign's report, as `aar report` wrote it last: exact scores with their intervals,
        which are the operator's.

        Raises:
            Misconfigured: the campaign runs, there is no report, or another version wrote it.
        """
        name = self.folder.name
        if self.running:
            raise Misconfigured(
                f"The campaign '{name}' runs. A report has exact scores, which no program gets "
                "while labels are in use: read it when the campaign has ended."
            )
        path = ReportFolder(CampaignFolder(self.folder).report).record
        try:
            return read_any(path)
        except (OSError, ValidationError) as error:
            what = "There is no" if isinstance(error, OSError) else "Another version wrote the"
            words = f"{what} report {path}. Write it again: `aar report {name}`."
            raise Misconfigured(words) from error

    # --- figures ----------------------------------------------------------------------------------

    def plot_level(self, ax: "Axes | None" = None) -> "Axes":
        """The reported level over time with the certified band, and each reported improvement."""
        return campaign_axes.level(self.rows("submissions"), ax)

    def plot_claims(self, ax: "Axes | None" = None) -> "Axes":
        """What was claimed beside what was confirmed, as released: accuracies on a grid."""
        return campaign_axes.claims(self.rows("submissions"), self.rows("confirmations"), ax)

    def plot_report(self, ax: "Axes | None" = None) -> "Axes":
        """PGR with 95 % intervals of baselines and of claims, claimed beside confirmed; raises as
        `report`."""
        found = self.report()
        if not isinstance(found, Report):
            raise Misconfigured(
                "A report of a problem in a folder has no PGR to draw. Use plot_level and "
                "plot_claims."
            )
        return campaign_axes.report(found, ax)

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        """The ledger, open inside alone: as long as somebody has it open, the evaluator cannot
        close it in order."""
        path = CampaignFolder(self.folder).server.ledger
        if not has_ledger(path):
            raise Misconfigured(
                f"The campaign '{self.folder.name}' has no ledger yet: it is being set up. Try "
                "again later."
            )
        with closing(Ledger(path, read_only=True)) as ledger:
            yield ledger


def open_campaign(name: str | Path) -> CampaignReader:
    """The campaign of that name in this process's state folder, or the one in that folder.

    Raises:
        Misconfigured: there is none; the message names those that there are.
    """
    given = expanded(name, "the campaign")
    if CampaignFolder(given).settings.is_file():
        return CampaignReader(given.resolve())
    begun(home().campaigns, str(name))
    return CampaignReader(home().campaigns / name)
