"""More than its share: processes, memory, processor time, disk, files, output. Each is bounded, so
that it can be let run."""

import itertools
import os
import sys
import time

from aarlab.redteam.inside import Hints, program, say, trying

FORKS, HOGS, HOG_MIB, SECONDS = 400, 3, 100, 1.5
FILL_MIB, FILES, FLOOD_MIB = 144, 32_000, 24
BLOCK = os.urandom(1 << 20)  # takes room even on a file system that compresses


@program("fork bomb")
def forks(hints: Hints) -> None:
    """Children that wait, until there are no more to be had."""
    made = 0
    with trying():
        while made < FORKS:
            if os.fork() == 0:
                time.sleep(SECONDS)
                os._exit(0)
            made += 1
    say("forked", made)
    time.sleep(1)


@program("memory hog")
def memory(hints: Hints) -> None:
    """Several processes that take memory at once; each alone would be allowed to."""
    for _ in range(HOGS):
        if os.fork() == 0:
            held = [bytearray(os.urandom(1)) * (1 << 20) for _ in range(HOG_MIB)]
            time.sleep(SECONDS)
            os._exit(len(held) and 7)
    ended = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(HOGS)]
    say("hogs that had all they wanted:", ended.count(7))


@program("processor hog")
def processor(hints: Hints) -> None:
    """Two processes that compute for two seconds."""
    if os.fork() == 0:
        _compute()
        os._exit(0)
    _compute()
    os.wait()
    say("computed")


def _compute() -> None:
    end = time.monotonic() + 2
    while time.monotonic() < end:
        pass


@program("filling its home")
def fill(hints: Hints) -> None:
    """File after file, each of an allowed size."""
    for n in range(FILL_MIB // 4):
        with open(f"{hints['home']}/fill-{n}", "wb") as file:
            file.write(BLOCK * 4)
        time.sleep(0.02)
    say("filled")


@program("empty files")
def inodes(hints: Hints) -> None:
    """Files without content: they cost inodes."""
    for n in range(FILES):
        os.close(os.open(f"{hints['home']}/empty-{n}", os.O_CREAT))
    time.sleep(1)
    say("made", FILES, "files")


@program("one sparse file")
def sparse(hints: Hints) -> None:
    """A terabyte that takes no room, yet; and one that does."""
    with trying():
        os.truncate(os.open(f"{hints['home']}/sparse", os.O_CREAT | os.O_WRONLY), 1 << 40)
        say("made a terabyte")
    with trying(), open(f"{hints['home']}/dense", "wb") as file:
        for _ in range(FILL_MIB):
            file.write(BLOCK)
        say("filled")


@program("filling what is not its home")
def elsewhere(hints: Hints) -> None:
    """/tmp, /dev/shm, /run and /dev, which are memory."""
    for folder in ("/tmp", "/dev/shm", "/run", "/dev", "/var/tmp", "/"):
        with trying(), open(f"{folder}/fill", "wb") as file:
            for _ in range(FILL_MIB):
                file.write(BLOCK)
            say("filled", folder)
    time.sleep(1)


@program("flood of output")
def flood(hints: Hints) -> None:
    """More than the log takes."""
    line = "x" * 1023 + "\n"
    for _ in itertools.repeat(None, FLOOD_MIB << 10):
        sys.stdout.write(line)
    say("flooded")
