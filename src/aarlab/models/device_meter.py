"""Seconds of a device that somebody's jobs took, in a file that outlives who counts them. A worker
writes it, one at a time, when jobs begin and every BEAT_S meanwhile; the fleet reads it, and writes
beside it how many seconds may be used. No torch.

The file counts from the meter's first job on, so that reading it twice charges nothing twice.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from aarlab.core.errors import InvalidSubmission
from aarlab.core.files import write_whole
from aarlab.core.records import Record

OPERATOR = "operator"  # of baselines and confirmations
BEAT_S = 1.0
SPENT = "Your budget of device time is spent. See my_budget; nothing more runs on the device."


class Counted(Record):
    """What a meter's file says: whose jobs, and their seconds until it was written."""

    who: str
    seconds: float = 0.0
    running: bool = False  # a job was under way


class Allowed(Record):
    """Seconds up to which the same meter may count."""

    seconds: float | None = None  # None: no limit


@dataclass(frozen=True)
class DeviceMeter:
    """Whose jobs are counted, and in which files."""

    who: str
    counted: Path
    allowed: Path

    @property
    def message(self) -> dict[str, str]:
        """For a worker."""
        return {"who": self.who, "counted": str(self.counted), "allowed": str(self.allowed)}

    @classmethod
    def of(cls, message: dict[str, str]) -> "DeviceMeter":
        """In a worker: what `message` was sent of."""
        return cls(message["who"], Path(message["counted"]), Path(message["allowed"]))


def read_counted(path: Path) -> Counted | None:
    """None where there is no such file, or what stands there is none."""
    try:
        return Counted.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def recovered(path: Path) -> Counted | None:
    """As `read_counted`, of a meter whose worker is gone: a job that was under way took at most one
    more BEAT_S, which is counted."""
    found = read_counted(path)
    if found is not None and found.running:
        found = Counted(who=found.who, seconds=found.seconds + BEAT_S)
        write_whole(path, found.model_dump_json())
    return found


class Gauge:
    """A worker's side of one meter. `beat` it every BEAT_S: the file is written then, and when the
    first of some jobs begins, so that short jobs cost no writing each."""

    def __init__(self, meter: DeviceMeter) -> None:
        self.meter = meter
        found = recovered(meter.counted)
        self._before = 0.0 if found is None else found.seconds
        self._began: float | None = None
        self._noted = False  # the file says that a job is under way
        self._closing = False

    @property
    def seconds(self) -> float:
        """Counted so far, a job under way included, to the millisecond, as the file has it."""
        return round(self._exact_s(), 3)

    def _exact_s(self) -> float:
        return self._before + (0.0 if self._began is None else time.monotonic() - self._began)

    def begin(self) -> None:
        """A job begins.

        Raises:
            InvalidSubmission: all that is allowed is used.
        """
        self._require_left()
        self._began = time.monotonic()
        if not self._noted:
            self._write()

    def end(self) -> None:
        """The job is over."""
        self._before, self._began = self._exact_s(), None
        if self._closing:
            self._write()

    def close(self) -> None:
        """Nothing more is counted: a job under way is counted to its end all the same, by whoever
        runs it, and noted then."""
        self._closing = True
        if self._began is None and self._noted:
            self._write()

    def beat(self) -> None:
        """Note how far it is.

        Raises:
            InvalidSubmission: a job is under way, and all that is allowed is used.
        """
        if self._began is not None or self._noted:
            self._write()
        if self._began is not None:
            self._require_left()

    def _require_left(self) -> None:
        try:
            most = Allowed.model_validate_json(self.meter.allowed.read_bytes()).seconds
        except FileNotFoundError:
            return  # no budget was set
        if most is not None and self.seconds >= most:
            raise InvalidSubmission(SPENT, field="budget")

    def _write(self) -> None:
        self._noted = self._began is not None
        now = Counted(who=self.meter.who, seconds=self.seconds, running=self._noted)
        write_whole(self.meter.counted, now.model_dump_json())
