"""When what is derived from the ledger is kept for the next start: after many submissions, and not
too often, since nobody is answered meanwhile."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aarlab.core.errors import AarError
from aarlab.evaluation.derived import write
from aarlab.evaluation.ledger.ledger import Ledger, Read
from aarlab.evaluation.scoring.meter import Reached

# entries after which what is derived is kept; seconds between two times; share of the time
KEEP_EVERY, KEEP_WITHIN_S, KEEP_SHARE = 1_000, 30.0, 0.005
log = logging.getLogger("aarlab.evaluation")


class StateToKeep(NamedTuple):
    """All that is derived, packed (None: it cannot be), with the ledger and the meter as they were
    read for it."""

    packed: bytes | None
    ledger: Read
    meter: Reached


class StateKeeper:
    """Keeps what `take` gives; `at`: entries of the ledger when that was done last. `take` gives
    None where nothing is new since, or where a start from it would leave something out."""

    def __init__(
        self, folder: Path, made_by: str, ledger: Ledger, take: Callable[[int], StateToKeep | None]
    ) -> None:
        self._folder, self._made_by, self._ledger, self._take = folder, made_by, ledger, take
        self.at = 0
        self.kept_s, self._within_s = 0.0, KEEP_WITHIN_S

    def keep(self) -> None:
        """Keep what is derived, for the next start. What cannot be kept, or not now, is derived
        again then."""
        try:
            if (found := self._take(self.at)) is None:
                return
            self.at, self.kept_s = found.ledger.size, time.monotonic()
            if found.packed is not None:
                write(self._folder, self._made_by, found.packed, found.ledger, found.meter)
        except (OSError, AarError) as error:
            log.warning("What is derived from the ledger cannot be kept now: %s", error)

    def keep_if_due(self) -> None:
        """As `keep`, where much was submitted since, and not too often."""
        new, began = self._ledger.count() - self.at, time.monotonic()
        if new >= KEEP_EVERY and began - self.kept_s >= self._within_s:
            self.keep()
            took = time.monotonic() - began
            self._within_s = max(KEEP_WITHIN_S, took / KEEP_SHARE)
