"""Device time is charged to who asked: a researcher, or the operator (baselines, confirmations).
Workers count the seconds (`models.device_meter`); here they become spends at the campaign's price,
and it is said how many more may be used of both budgets.

A count is charged by how much it rose, so nothing is charged twice or lost, whoever is killed. What
is used beyond a budget is at most what all workers use between two looks, and a step of a job.
"""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from aarlab.core.budget import Budget, Spent
from aarlab.core.files import write_whole
from aarlab.core.layout import CampaignFolder, DeviceFolder
from aarlab.fleet.campaign import Campaign
from aarlab.gateway.journal import Journal
from aarlab.models.device_meter import (
    OPERATOR,
    Allowed,
    Counted,
    DeviceMeter,
    read_counted,
    recovered,
)

LOOK_EVERY_S = 1.0


class DeviceHours:
    """Those of one campaign. `recover` once, before workers count."""

    def __init__(self, campaign: Campaign, folder: Path, journal: Journal) -> None:
        self._journal, self._usd = journal, campaign.usd_per_device_hour
        self._folder = meters_of(folder)
        self._seen: dict[Path, tuple[int, Counted]] = {}
        self._written: dict[Path, float | None] = {}  # how far each may count
        self._looked_at = 0.0
        self._left: dict[str, float | None] = {}  # seconds, of who has used a device

    def recover(self) -> None:
        """Charge what an earlier run counted and did not charge; its workers are gone."""
        for path in self._files():
            if (found := recovered(path)) is not None:
                self._charge(path, found)

    def look(self, campaign: Campaign) -> None:
        """`step`, if it is time."""
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            self.step(campaign)

    def step(self, campaign: Campaign) -> None:
        """Charge what was counted since the last look, and say what may still be used."""
        for path in self._files():
            at = path.stat().st_mtime_ns
            if self._seen.get(path, (0, None))[0] != at and (found := read_counted(path)):
                self._charge(path, found)
                self._seen[path] = at, found
        self.allow(campaign)

    def allow(self, campaign: Campaign) -> None:
        """Say, beside each count, up to which number it may go."""
        everybodys = left_s(campaign.campaign_budget, self._journal.spent(None), self._usd)
        counts = [(p, c) for p, (_, c) in self._seen.items() if c.who != OPERATOR]
        for who in {found.who for _, found in counts}:
            mine = left_s(campaign.budget, self._journal.spent(who), self._usd)
            both = [seconds for seconds in (mine, everybodys) if seconds is not None]
            self._left[who] = min(both, default=None)
        for path, found in counts:
            most = self._left[found.who]
            self._write(path, None if most is None else round(found.seconds + most, 3))

    @property
    def spent(self) -> set[str]:
        """Who may use no device any more."""
        return {who for who, seconds in self._left.items() if seconds is not None and seconds <= 0}

    def _write(self, counted: Path, seconds: float | None) -> None:
        if self._written.get(counted, -1.0) != seconds:
            path = DeviceFolder(counted.parent).allowed(counted.stem)
            write_whole(path, Allowed(seconds=seconds).model_dump_json())
            self._written[counted] = seconds

    def _charge(self, path: Path, found: Counted) -> None:
        self._journal.charge_device(
            path.stem, found.who, seconds=found.seconds, usd_per_hour=self._usd
        )

    def _files(self) -> Iterator[Path]:
        return iter(sorted(self._folder.counts()))

    def open(self, campaign: Campaign, who: str, slot: str | None = None) -> DeviceMeter:
        """A meter for someone's jobs, with a limit from the beginning; `slot`: its name, else a
        new one."""
        made = meter_in(self._folder, who, slot)
        if read_counted(made.counted) is None:
            write_whole(made.counted, Counted(who=who).model_dump_json())
        self.step(campaign)
        return made


def meters_of(campaign: Path) -> DeviceFolder:
    """Where a campaign's meters are."""
    folder = CampaignFolder(campaign).gateway.devices
    folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def meter_in(folder: DeviceFolder, who: str, slot: str | None = None) -> DeviceMeter:
    """A meter for someone's jobs; `slot`: its name, else a new one. It has a limit as soon as the
    fleet has seen it count."""
    name = slot or f"{who}-{secrets.token_hex(6)}"
    return DeviceMeter(who, folder.counted(name), folder.allowed(name))


def left_s(budget: Budget, spent: Spent, usd_per_hour: float | None) -> float | None:
    """Seconds of a device that a budget still allows; None: it has no limit of them."""
    found = []
    if budget.device_hours is not None:
        found.append(budget.device_hours * 3600 - spent.device_s)
    if budget.usd is not None and usd_per_hour:
        found.append((budget.usd - spent.usd) / usd_per_hour * 3600)
    return max(0.0, min(found)) if found else None
