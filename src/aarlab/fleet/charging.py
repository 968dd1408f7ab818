"""What a researcher's time costs it: the time of the machine, without what was lost to the lab's
services or its model's API."""

import time

from aarlab.fleet.member import Member
from aarlab.fleet.services_watch import ServicesWatch
from aarlab.gateway.journal import Journal

RETRY_S = 600.0  # whose model calls fail tries again within so long, or does not wait for them


class Charging:
    """Charges the members of a fleet; `usd_per_hour`: what an hour of one costs, if that is
    known."""

    def __init__(
        self, journal: Journal, services: ServicesWatch, usd_per_hour: float | None
    ) -> None:
        self._journal, self._services, self._usd_per_hour = journal, services, usd_per_hour
        # of each member, its last call as the journal has it, and when that was first seen
        self._called: dict[str, tuple[float, float]] = {}

    def charge(self, member: Member) -> None:
        """Charge it for the time since it was last charged, without that in which something of the
        lab or its model's API was broken, or this machine's disk was full. Who has an API that
        fails waits for it: the seconds for which it used a processor meanwhile are no loss. It can
        make its calls fail, and go on with its work."""
        now, used_s = time.monotonic(), member.used.cpu_s
        if member.alive and not self._services.broken:  # later is not known yet: something may hang
            now = min(now, self._services.heard_at)
            now = min(now, member.remote.heard_at) if member.remote else now
            now = max(member.charged_until, now)
        seconds = now - member.charged_until
        cpu_s = round(max(0.0, used_s - member.charged_cpu_s), 3)
        unwritten_s = min(seconds, member.unwritten_s)
        lost_s = max(unwritten_s, self._waited_s(member, seconds) - cpu_s)
        lost_s = seconds if self._services.broken else lost_s
        if member.remote:
            lost_s = min(seconds, lost_s + member.remote.away_s(member.charged_until, now))
        wall_s = round(seconds - lost_s, 3)
        if wall_s or cpu_s:
            self._journal.charge(
                member.name,
                wall_s=wall_s,
                cpu_s=cpu_s,
                usd=None if self._usd_per_hour is None else self._usd_per_hour * wall_s / 3600,
            )
        # only now: what could not be written is charged the next time
        member.charged_until, member.charged_cpu_s = now, used_s
        member.lost_s += lost_s
        member.unwritten_s -= unwritten_s

    def _waited_s(self, member: Member, seconds: float) -> float:
        """Of the last `seconds`, those for which its model's API was failing and it went on trying.
        The journal's times are of a clock that may be set: where it was set back, a call is as old
        as it has been known here."""
        failing_since, last_call = (
            self._journal.failing_since(member.name),
            self._journal.last_call(member.name),
        )
        if failing_since is None or last_call is None:
            return 0.0
        now, here = time.time(), time.monotonic()
        if self._called.get(member.name, (None, 0.0))[0] != last_call:
            self._called[member.name] = last_call, here
        age_s = max(now - last_call, here - self._called[member.name][1])
        failing_s = now - failing_since if failing_since <= now else seconds  # it was set back
        return max(0.0, min(seconds, failing_s) - max(0.0, age_s - RETRY_S))
