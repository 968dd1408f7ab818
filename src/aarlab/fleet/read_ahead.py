"""`python -m aarlab.fleet.read_ahead`: the student reads a testbed's `final` items into the cache
while the campaign runs, at the lowest priority. Whoever needs them reads what is left."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from aarlab.core.layout import CampaignFolder
from aarlab.core.parent_pipe import end_with_parent
from aarlab.core.process import Child
from aarlab.core.settings import Home
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.display import Display
from aarlab.fleet.prepare import reader_of
from aarlab.problems import PROBLEMS
from aarlab.problems.publish import read_private_items
from aarlab.testbeds.set_up import SetUp, code_for
from aarlab.testbeds.students import student_of
from aarlab.testbeds.testbed import Testbed

LOWEST = 19  # nice(2)


@contextlib.contextmanager
def reading_ahead(campaign: Campaign, bed: Testbed, home: Home, show: Display) -> Iterator[None]:
    """While the context is open another process reads the `final` items of a testbed that lacks
    them. What it read is kept.

    Raises:
        Transient: the process cannot be started now.
    """
    if bed.whole or not reader_of(campaign, home, show).reads_ahead:
        yield
        return
    argv = [sys.executable, "-m", __name__, "--home", str(home.root), "--testbed", str(bed.folder)]
    argv += ["--problem", campaign.problem, "--data-seed", str(campaign.data_seed)]
    argv += ["--student", campaign.student, "--workers", str(campaign.workers)]
    log = CampaignFolder(home.campaigns / campaign.name).read_log
    reader = Child("process that reads ahead", argv, log=log)
    reader.start()
    try:
        yield
    finally:
        if not reader.alive and reader.join():
            show.line(f"  the final items were not read ahead ({reader.last_output()})")
        reader.stop()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--home", "--testbed", "--problem", "--student"):
        parser.add_argument(name, required=True)
    for name in ("--data-seed", "--workers", "--parent-pipe"):
        parser.add_argument(name, type=int, required=True)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    end_with_parent(given.parent_pipe)
    _yield_processors()

    def quiet(what: str, done: int, of: int) -> None:
        """Nobody looks on."""

    home, bed = Home(Path(given.home)), Testbed(Path(given.testbed), from_cache=True)
    student = student_of(given.student, home, workers=given.workers, progress=quiet)
    problem, code = PROBLEMS[given.problem], code_for(given.problem, student)
    set_up = SetUp(problem, student, bed, given.data_seed, code, quiet)
    set_up.read_final(read_private_items(bed.folder))


def _end(*_: object) -> None:
    """As an error, which ends the processes that read; asked a second time, it goes on ending."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def _yield_processors() -> None:
    """Let all other processes go first, also where the kernel shares time among sessions
    (autogroup, sched(7))."""
    os.nice(LOWEST)
    with contextlib.suppress(OSError):  # there is no autogroup
        Path("/proc/self/autogroup").write_text(str(LOWEST))


if __name__ == "__main__":
    main()
