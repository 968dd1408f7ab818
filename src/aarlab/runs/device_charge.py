"""Seconds of a node's device, put into a meter of this machine while a run is waited for, and the
meter's limit passed on to the node.

Each attempt to run a job counts from 0, and its node says how far it is: so what a lost node used
is charged up to what it said last, and what is said twice is charged once. What is used between two
looks, BEAT_S, is not charged where a node is lost. Beyond a limit is what one run uses in a second;
of several at once of one person, what each uses until it knows of the others: a few looks,
of the node, of this process and of the fleet. A node that says more than the time since the run was
submitted is charged that time.
"""

import secrets
import time
from collections.abc import Callable

from aarlab.core.errors import AarError
from aarlab.core.files import write_whole
from aarlab.models.device_meter import OPERATOR, Allowed, Counted, DeviceMeter, read_counted
from aarlab.runs.engine_contract import DeviceEngine
from aarlab.runs.run_jobs import (
    ITEMS,
    DeviceCount,
    Job,
    JobResources,
    StrongNeed,
    checked,
    key_of,
)
from aarlab.testbeds.student import ModelsForNode

BEAT_S = 2.0
LIMIT_S = 5.0  # within which the fleet sets a limit to a new meter


class DeviceCharge:
    """Of one run. `meter`: None where nobody is charged."""

    def __init__(
        self, meter: DeviceMeter | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._meter, self._clock, self._began = meter, clock, clock()
        self._by_attempt: dict[str, float] = {}
        self._before = 0.0
        if meter is not None:
            found = read_counted(meter.counted)
            self._before = 0.0 if found is None else found.seconds
            self._write()  # so that whoever sets limits sees that there is one to set

    def note(self, count: DeviceCount | None) -> None:
        """What an attempt has used so far. Less than it said before is no count of it."""
        if count is None or count.seconds <= self._by_attempt.get(count.attempt, 0.0):
            return
        self._by_attempt[count.attempt] = count.seconds
        self._write()

    def left_s(self, attempt: str) -> float | None:
        """Up to how many seconds that attempt may count; None: there is no limit."""
        if self._meter is None:
            return None
        try:
            most = Allowed.model_validate_json(self._meter.allowed.read_bytes()).seconds
        except FileNotFoundError:
            return None
        if most is None:
            return None
        others = sum(s for name, s in self._by_attempt.items() if name != attempt)
        return max(0.0, most - self._before - others)

    def first_s(self) -> float | None:
        """`left_s` of the first attempt, once somebody has set a limit; None where nobody does."""
        if self._meter is None or self._meter.who == OPERATOR:
            return None
        until = time.monotonic() + LIMIT_S
        while not self._meter.allowed.exists() and time.monotonic() < until:
            time.sleep(0.1)
        return self.left_s("")

    def _write(self) -> None:
        if self._meter is not None:
            said, passed = sum(self._by_attempt.values()), self._clock() - self._began
            seconds = round(self._before + min(said, passed), 3)
            now = Counted(who=self._meter.who, seconds=seconds)
            write_whole(self._meter.counted, now.model_dump_json())


def beside_a_device(job: Job, offered: ModelsForNode, who: str) -> Job:
    """The job that asks a strong model of the node on which it runs. No two are the same one: each
    is charged to who asked."""
    devices = offered.preset.hardware.devices
    need = StrongNeed(
        preset=offered.preset.model_dump_json(),
        models=offered.models,
        splits=offered.splits,
        who=who,
        gpus=int(not devices or any(name != "cpu" for name in devices)),
        model_bytes=offered.model_bytes,
    )
    key = key_of(job.key, need.model_dump(), secrets.token_hex(8))
    folders = {**job.folders, ITEMS: offered.items}
    return job.model_copy(update={"strong": need, "folders": folders, "key": key})


def ended_and_charged(
    engine: DeviceEngine, job: Job, resources: JobResources, meter: DeviceMeter | None
) -> bytes:
    """Have a job run and wait for it, and charge what it uses; where that is given up, the job is
    cancelled.

    Raises:
        Transient: see `Engine`.
    """
    assert job.strong is not None
    charge = DeviceCharge(meter)
    first = job.strong.model_copy(update={"allowed_s": charge.first_s()})
    key = engine.submit(job.model_copy(update={"strong": first}), resources)
    try:
        while (found := engine.poll(key, BEAT_S)) is None:
            count = engine.counted(key)
            if count is not None:
                charge.note(count)
                engine.allow(key, count.attempt, charge.left_s(count.attempt))
    except AarError:
        raise
    except BaseException:
        engine.cancel(key)
        raise
    charge.note(checked(found)[0].device)
    return found
