"""Why a run left no answers: a fault of its code, which the author must fix, or of the machine,
which is no evidence.

The machine ended a run if it died by a signal (SIGKILL by an operator, the kernel or a scheduler; a
crash), if memory or disk was full, or if it timed out while other processes left it less than one
processor. Code can cause most of these on purpose, but gains nothing: the run is repeated once,
exclusively, on the same seeds; if the machine ends it again, it has no result.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.errors import OUT_OF_MEMORY
from aarlab.core.records import NO_RESULT, Failure
from aarlab.sandbox.sandbox import GIB, MIB, Completed, Limits

# 128 + signal number: exit status of a shell and bwrap after a death by signal
SIGNALS = range(129, 193)
FREE_BYTES = 64 * MIB  # free disk under a run's folders: with less, writing may have failed
ENOUGH = 0.9  # processors that a run must have had for a time-out to be its own fault
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Ending:
    """Why a run left no answers. If the machine ended it, the message holds nothing that the
    code printed."""

    failure: Failure
    message: str

    @property
    def by_machine(self) -> bool:
        """True if the machine ended the run, so that it has no result."""
        return self.failure in NO_RESULT


@dataclass(frozen=True)
class MachineState:
    """The state of the machine when a run ended."""

    begun: bool  # True if the method's code was started
    free_bytes: int  # free disk under its folders
    left: float  # processors available to it on average (see `Processors`)
    together_bytes: int | None  # memory limit of all its processes together


def ending_of(done: Completed, limits: Limits, around: MachineState) -> Ending:
    """Classify the ending of a run without answers."""
    if words := _out_of_memory(done, limits, around):
        return Ending("out of memory", words)
    if words := _by_machine(done, limits, around):
        return Ending("ended by the machine", words)
    if done.timed_out:
        return Ending(
            "timed out",
            f"The method did not finish within {limits.timeout_s:.0f} s. Make it faster.",
        )
    last = done.output.strip().splitlines()[-1:] or ["it printed nothing"]
    words = f"The method ended with status {done.returncode} and wrote no answers: {last[0][:500]}"
    return Ending("ended with an error" if done.returncode else "wrote no answers", words)


def _out_of_memory(done: Completed, limits: Limits, around: MachineState) -> str | None:
    if done.limit != "memory" and done.returncode != OUT_OF_MEMORY:
        return None
    together = (
        "" if around.together_bytes is None else f", {around.together_bytes / GIB:.1f} GiB together"
    )
    return f"memory was spent (limits: {limits.memory_bytes / GIB:.1f} GiB a process{together})"


def _by_machine(done: Completed, limits: Limits, around: MachineState) -> str | None:
    if done.limit is not None:
        return f"the {done.limit} limit of its sandbox was passed"
    if done.timed_out:
        late = (
            f"it did not finish within {limits.timeout_s:.0f} s, and others left it "
            f"{around.left:.2f} processors"
        )
        return late if around.left < ENOUGH else None
    if done.returncode < 0 or done.returncode in SIGNALS:
        return f"it was ended by signal {abs(done.returncode) % 128}"
    if around.free_bytes < FREE_BYTES:
        return f"the disk under it was full ({around.free_bytes / MIB:.0f} MiB were left)"
    return None if around.begun else f"it did not begin (status {done.returncode})"


class Processors:
    """Measures, from its creation on, how busy this process's processors are. `busy_s`: their
    busy seconds since boot, summed."""

    def __init__(self, busy_s: Callable[[], float] | None = None) -> None:
        self._busy_s = busy_s or _busy_s
        self._since, self._before, self.count = (
            time.monotonic(),
            self._busy_s(),
            len(os.sched_getaffinity(0)),
        )

    def left(self, own_s: float) -> float:
        """Average number of processors that were available to a run which used `own_s` processor
        seconds."""
        wall_s = max(time.monotonic() - self._since, 1e-9)
        return max(own_s, self.count * wall_s - (self._busy_s() - self._before - own_s)) / wall_s


def _busy_s() -> float:
    """Seconds since boot in which this process's processors were busy, or taken away by the
    machine's host."""
    ours, busy = os.sched_getaffinity(0), 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in ours:
            user, nice, system, _, _, irq, softirq, steal = map(int, ticks[:8])
            busy += user + nice + system + irq + softirq + steal
    return busy / TICKS
