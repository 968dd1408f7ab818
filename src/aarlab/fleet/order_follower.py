"""What a fleet that runs does about what operators asked."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aarlab.fleet.campaign import Campaign
from aarlab.fleet.gateway_process import GatewayProcess
from aarlab.fleet.member import Member
from aarlab.fleet.raised_limits import LOOK_S, FleetClock, OrderReader, extended


class OrderFollower:
    """Reads the ledger about once a second. `clock` is the fleet's."""

    def __init__(self, folder: Path, members: Sequence[Member], gateway: GatewayProcess) -> None:
        self.clock, self.paused = FleetClock(folder), 0  # the entry that asked for it; 0: none
        self._folder, self._members, self._gateway = folder, members, gateway
        self._asked, self._looked_at = OrderReader(folder), 0.0

    def look(self, campaign: Campaign) -> Campaign:
        """Do what is asked now; the campaign with its present limits.

        Raises:
            Transient: the ledger or the gateway does not answer: to be done again.
        """
        if time.monotonic() - self._looked_at < LOOK_S:
            return campaign
        self._looked_at = time.monotonic()
        orders = self._asked.now()
        if orders is None:
            return campaign
        self.paused = orders.paused or 0
        (self.clock.stand if self.paused else self.clock.go_on)()
        wanted = extended(campaign, orders)
        if wanted != campaign:
            self._gateway.limit(wanted.budgets)
            wanted.save(self._folder)
            self.clock.add(60 * (wanted.minutes - campaign.minutes))
            for member in self._members:
                member.go_further(wanted.experiments)
        return wanted

    def rest(self, member: Member, part: Callable[[Member], None]) -> None:
        """While the fleet is paused: it ends in order, and is started again afterwards. `part`
        closes an incarnation that has ended."""
        if member.process is None:
            member.state, member.not_before = "paused", 0.0
        elif not member.alive:
            part(member)
            member.state = "paused"
        elif member.asked_to_rest():
            member.kill()

    def words(self, name: str) -> list[str]:
        """What whoever looks at the fleet should know."""
        if not self.paused:
            return []
        return [f"paused by the operator (entry {self.paused}): `aar continue {name}` goes on"]
