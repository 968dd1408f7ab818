"""Does a service of the lab answer? It is asked again and again, in a thread that nobody waits for:
a process that runs may hang."""

import threading
import time
from typing import Protocol

EVERY_S = 2.0  # between two questions
ANSWER_S = 10.0  # for one answer
SUSPECT_S = 10.0  # of silence, in which a researcher that ends may have met the fault
HUNG_S = 30.0  # of silence, after which it hangs


class AnsweringService(Protocol):
    """A service that can be asked."""

    name: str

    @property
    def up(self) -> bool:
        """Whether its process runs, and has taken requests."""
        ...

    def answers(self, within_s: float) -> bool:
        """Whether it answers a request in that time."""
        ...


class ServiceProbe:
    """When a service was last heard, by the monotonic clock."""

    def __init__(self, service: AnsweringService) -> None:
        self._service, self.heard_at = service, time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._ask, daemon=True, name=f"probe of {service.name}"
        )

    def start(self) -> None:
        """Begin to ask."""
        self.heard_at = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _ask(self) -> None:
        while not self._stop.wait(EVERY_S):
            # one that does not run is not silent: others see that it is down
            if not self._service.up or self._service.answers(ANSWER_S):
                self.heard_at = time.monotonic()

    @property
    def silent_s(self) -> float:
        """Seconds since it was heard."""
        return time.monotonic() - self.heard_at

    @property
    def suspect(self) -> bool:
        """Whether it may hang."""
        return self.silent_s >= SUSPECT_S

    @property
    def hangs(self) -> bool:
        """Whether its process runs and answers nothing."""
        return self.silent_s >= HUNG_S
