"""When a researcher whose incarnation ended may be started again: back-off for each, and a circuit
breaker for the fleet.

Its own faults count and end in giving it up; faults that are not its own are waited out and cost it
nothing.
"""

from dataclasses import dataclass, field

from aarlab.core.process import doubled
from aarlab.researchers.researcher import Ended

MAX_RESTARTS = 5  # crashes in a row
STABLE_S = 60.0  # an incarnation this long cancels the crashes before it
MOST_CRASH_S, MOST_OUTAGE_S = 60.0, 300.0
IDLE_INCARNATIONS = 3  # in a row, that did nothing in the lab: it has nothing more to do
WINDOW_S, OPEN_S, MOST_OPEN_S = 60.0, 30.0, 480.0
STAND_BACK_S = 10.0  # who has failed a trial lets others be tried first


@dataclass
class Restarts:
    """What to do about one researcher after each of its incarnations."""

    crashes: int = 0  # in a row
    outages: int = 0  # in a row
    idle: int = 0  # in a row
    count: int = 0  # in all, by its own fault

    def after(self, ended: Ended, *, lived_s: float, acted: bool) -> float | str:
        """Seconds to wait until the next incarnation, or the state in which it stays ("finished",
        "spent", "gave up").

        acted: it submitted or posted something in the incarnation that ended.
        """
        if ended in {"finished", "spent"}:
            return ended
        if ended == "outage":
            return self.outage(lived_s)
        self.outages = 0
        if ended == "again":
            self.crashes, self.idle = 0, 0 if acted else self.idle + 1
            return "finished" if self.idle >= IDLE_INCARNATIONS else 0.0
        self.crashes = 1 if lived_s >= STABLE_S else self.crashes + 1
        self.count += 1
        return (
            "gave up"
            if self.crashes > MAX_RESTARTS
            else doubled(1.0, self.crashes - 1, MOST_CRASH_S)
        )

    def outage(self, lived_s: float) -> float:
        """Seconds to wait after a fault that is not its own."""
        self.outages = 1 if lived_s >= STABLE_S else self.outages + 1
        return doubled(1.0, self.outages - 1, MOST_OUTAGE_S)

    def forgive(self) -> None:
        """The last crash was not its own fault after all."""
        self.crashes, self.count = max(0, self.crashes - 1), max(0, self.count - 1)


@dataclass
class Breaker:
    """Opens when half of the fleet (two at least) crashes within a minute: that is no researcher's
    fault.

    While open nobody is started, for 30, 60, ... 480 s; then one is tried, and the others follow
    once it has lived.
    """

    members: int
    _crashed: dict[str, float] = field(default_factory=dict)  # name -> when last
    _until: float | None = None
    _opened: int = 0
    _trial: str | None = None
    _failed: set[str] = field(default_factory=set)  # in their trial: others are tried first

    @property
    def open(self) -> bool:
        return self._until is not None

    def crashed(self, name: str, now: float) -> bool:
        """Take in a crash; True while open, when the crash is forgiven."""
        self._crashed[name] = now
        recent = sum(now - at <= WINDOW_S for at in self._crashed.values())
        if self.open or recent >= max(2, -(-self.members // 2)):
            if not self.open or self._trial == name:
                self._until = now + doubled(OPEN_S, self._opened, MOST_OPEN_S)
                self._opened += 1
            if self._trial == name:
                self._failed.add(name)
            self._trial = None
        return self.open

    def lived(self, name: str) -> None:
        """An incarnation has shown itself (it acted, or ended in order, or is stable)."""
        if not self.open or self._trial == name:
            self._crashed.pop(name, None)
            if self.open:
                self._until, self._opened, self._trial = None, 0, None
                self._crashed.clear()
                self._failed.clear()

    def left(self, name: str) -> None:
        """This one is not started again: if it was the one to be tried, another is."""
        if self._trial == name:
            self._trial = None

    def may_start(self, name: str, now: float) -> bool:
        """Whether this one may be started now; while open and after the wait, one alone."""
        if not self.open:
            return True
        assert self._until is not None
        if now < self._until + STAND_BACK_S * (name in self._failed) or self._trial not in {
            None,
            name,
        }:
            return False
        self._trial = name
        return True
