"""What operators asked of a campaign, as its fleet reads it from the ledger: whether it is paused,
and the limits that were raised. So it is known also after a kill."""

import time
from pathlib import Path

from aarlab.core.boot_clock import write_left
from aarlab.core.budget import Budget
from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder
from aarlab.core.orders import CampaignEntries, Orders
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet.campaign import Campaign

LOOK_S = 1.0  # between two looks at the ledger
WHOLE = frozenset({"minutes", "experiments"})  # fields of a campaign that may be raised
PARTS = ("budget", "campaign_budget")  # those that have limits of their own


class OrderReader:
    """What is asked of one campaign, read as an onlooker reads."""

    def __init__(self, folder: Path) -> None:
        self._path = CampaignFolder(folder).server.ledger
        self._ledger: Ledger | None = None
        self._orders: Orders | None = None

    def now(self) -> Orders | None:
        """All of it; None before there is a ledger. The file is open during the call alone.

        Raises:
            Transient: the ledger cannot be read now.
        """
        if self._orders is None or self._ledger is None:
            if not self._path.exists():
                return None
            self._ledger = Ledger(self._path, read_only=True)
            self._orders = Orders(CampaignEntries(self._ledger))
        try:
            return self._orders.now()
        finally:
            self._ledger.close()


def names_of_limits() -> list[str]:
    """What may be raised, by the names of the campaign's fields."""
    return [*sorted(WHOLE), *(f"{part}.{name}" for part in PARTS for name in Budget.model_fields)]


def limit_of(campaign: Campaign, name: str) -> float | None:
    """The limit of that name now; None where there is none.

    Raises:
        Misconfigured: nothing of that name is a limit.
    """
    if name not in names_of_limits():
        known = ", ".join(names_of_limits())
        raise Misconfigured(f"'{name[:40]}' is no limit of a campaign. There are: {known}.")
    part, _, field = name.rpartition(".")
    return getattr(getattr(campaign, part) if part else campaign, field)


def extended(campaign: Campaign, orders: Orders | None) -> Campaign:
    """The campaign with the limits that operators raised; none is lowered."""
    made: dict[str, object] = campaign.model_dump()
    for name, value in (orders.limits if orders else {}).items():
        before = limit_of(campaign, name)
        if before is None or value <= before:
            continue
        part, _, field = name.rpartition(".")
        place = made[part] if part else made
        assert isinstance(place, dict)
        place[field] = int(value) if isinstance(before, int) else value
    return Campaign.model_validate(made)


def with_limits_of_ledger(campaign: Campaign, folder: Path) -> Campaign:
    """The same, by the campaign's ledger."""
    return extended(campaign, OrderReader(folder).now())


class FleetClock:
    """The wall clock of a fleet that runs: what is left of it, for the lab, too. It stands still
    while the fleet is paused."""

    def __init__(self, folder: Path) -> None:
        self._path, self._ends = CampaignFolder(folder).server.budget, 0.0
        self._stood: float | None = None  # since when, by the monotonic clock

    @property
    def left_s(self) -> float:
        """Seconds."""
        return self._ends - (time.monotonic() if self._stood is None else self._stood)

    def start(self, seconds: float) -> None:
        """That much is left from now on."""
        self._ends, self._stood = time.monotonic() + seconds, None
        write_left(self._path, seconds)

    def stand(self) -> None:
        """Stop, where it runs."""
        if self._stood is None:
            self._stood = time.monotonic()

    def go_on(self) -> None:
        """Run, where it stands."""
        if self._stood is not None:
            self.start(self.left_s)

    def add(self, seconds: float) -> None:
        """More is left."""
        self._ends += seconds
        write_left(self._path, self.left_s)
