"""The server, the gateway and the scripted model API of a running fleet: started again when they
end, seen when they hang, and since when one is not there."""

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from aarlab.fleet.service_probe import AnsweringService, ServiceProbe


class Watched(AnsweringService, Protocol):
    """A service of the lab, as a process."""

    pid: int | None

    def revive(self) -> None: ...

    def last_output(self) -> str: ...


class Change(NamedTuple):
    """What happened to a service."""

    event: str
    detail: str
    lost_s: float | None = None  # s for which it was not there; it is back


class ServicesWatch:
    """See the module's docstring."""

    def __init__(self, *services: Watched) -> None:
        self._services = services
        self._probes = {service.name: ServiceProbe(service) for service in services}
        self._down: dict[str, float] = {}  # service -> since when, by the monotonic clock

    def start(self) -> None:
        """Begin to ask them."""
        for probe in self._probes.values():
            probe.start()

    def stop(self) -> None:
        """Ask them no more."""
        for probe in self._probes.values():
            probe.stop()

    @property
    def broken(self) -> str | None:
        """Which are down or hang, or None."""
        return ", ".join(sorted(self._down)) or None

    @property
    def suspect(self) -> bool:
        """Whether one is down, or may hang."""
        return bool(self._down) or any(probe.suspect for probe in self._probes.values())

    @property
    def heard_at(self) -> float:
        """Until when all were there, as far as is known now, by the monotonic clock."""
        return min(probe.heard_at for probe in self._probes.values())

    def tend(self, before: Callable[[], None], note: Callable[[Change], None]) -> None:
        """Start again what has ended. `before` is called before a service is counted as gone, hung
        or back, and `note` after.

        Raises:
            Transient: the system has no room for a process now.
        """
        for service in self._services:
            service.revive()
            hangs = service.up and self._probes[service.name].hangs
            works = service.up and not hangs
            if works == (service.name not in self._down):
                continue
            before()
            if works:
                lost_s = round(time.monotonic() - self._down.pop(service.name), 1)
                note(Change(f"{service.name} is back", f"{lost_s} s", lost_s))
            elif hangs:
                self._down[service.name] = self._probes[service.name].heard_at
                note(Change(f"{service.name} hangs", self._hanging(service)))
            else:
                self._down[service.name] = time.monotonic()
                note(Change(f"{service.name} is down", service.last_output()[:1000]))

    def _hanging(self, service: Watched) -> str:
        silent_s = self._probes[service.name].silent_s
        words = f"process {service.pid} runs and has answered nothing for {silent_s:.0f} s"
        return f"{words}: end it, and it is started again"

    def states(self) -> dict[str, str]:
        """Each service's, in a word."""
        return {
            s.name: "down" if not s.up else "hangs" if s.name in self._down else "up"
            for s in self._services
        }

    def alarms(self) -> list[str]:
        """As text."""
        return [
            f"{s.name} hangs: {self._hanging(s)}" if s.up else f"{s.name} is down"
            for s in self._services
            if s.name in self._down
        ]
