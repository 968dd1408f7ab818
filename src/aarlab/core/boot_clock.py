"""What is left of a time, on disk: counted by a clock that is not set, stands still while the
machine sleeps, and is the same for all processes of one start of the machine."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from aarlab.core.files import write_whole

BOOT = Path("/proc/sys/kernel/random/boot_id")  # another one: the clock began again


def write_left(path: Path, left_s: float) -> None:
    """Note that `left_s` seconds are left from now on."""
    noted = {"left_s": left_s, "clock_s": time.monotonic(), "boot": _boot()}
    write_whole(path, json.dumps(noted))


def read_left(path: Path) -> float | None:
    """Seconds that are left, 0 when none is, None where nothing was noted. After a start of the
    machine as many as were noted: nobody has used any."""
    try:
        noted = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    if "deadline" in noted:  # of version 0.1.0
        left_s = (datetime.fromisoformat(noted["deadline"]) - datetime.now(UTC)).total_seconds()
    else:
        used_s = time.monotonic() - noted["clock_s"] if noted["boot"] == _boot() else 0.0
        left_s = noted["left_s"] - used_s
    return max(0.0, round(left_s, 1))


def _boot() -> str:
    try:
        return BOOT.read_text().strip()
    except OSError:
        return ""
