"""More of the host's disk than its share: by room that is taken without writing, by files that no
folder names, by many hands.

Each keeps what it got for a moment, so that it can be seen from outside, and stops at MOST_MIB, so
that it can be let run.
"""

import array
import contextlib
import ctypes
import fcntl
import mmap
import os
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

from aarlab.redteam.inside import Hints, program, say, trying

MOST_MIB, FILE_MIB, HELD_S = 448, 16, 1.0
BLOCK = os.urandom(1 << 20)  # takes room even on a file system that compresses
RESERVE = 0x4030582A  # FS_IOC_RESVSP64: preallocation by another call than fallocate
NAMES = 6000
CLONE_FILES, PR_SET_DUMPABLE = 0x400, 4


def _files(hints: Hints, kind: str) -> Iterator[int]:
    """Descriptors of new files at home, until it holds as much as it may be let."""
    for n in range(MOST_MIB // FILE_MIB):
        yield os.open(f"{hints['home']}/{kind}-{n}", os.O_CREAT | os.O_RDWR, 0o600)


def _fill(fd: int) -> None:
    for _ in range(FILE_MIB):
        view = memoryview(BLOCK)
        while view:
            view = view[os.write(fd, view) :]


def _hold(got: int) -> None:
    time.sleep(HELD_S)
    say("took", got, "MiB")


@program("room without writing")
def preallocated(hints: Hints) -> None:
    """fallocate, and the older ioctl that does the same: gigabytes within a millisecond."""
    libc, got = ctypes.CDLL(None, use_errno=True), 0
    size = ctypes.c_int64(FILE_MIB << 20)
    for n, fd in enumerate(_files(hints, "room")):
        with trying():
            if n % 2:
                fcntl.ioctl(fd, RESERVE, struct.pack("<hxxxxxxqqiI16x", 0, 0, FILE_MIB << 20, 0, 0))
            elif libc.fallocate(fd, 0, ctypes.c_int64(0), size):
                continue
            got += FILE_MIB
    _hold(got)


@program("files without a name")
def deleted(hints: Hints) -> None:
    """Written, unlinked and kept open: no walk of the folder finds them."""
    got, kept = 0, []
    with trying():
        for n, fd in enumerate(_files(hints, "gone")):
            kept.append(fd)
            os.unlink(f"{hints['home']}/gone-{n}")
            _fill(fd)
            got += FILE_MIB
    _hold(got)


@program("files that never had a name")
def nameless(hints: Hints) -> None:
    """O_TMPFILE."""
    got, kept = 0, []
    with trying():
        while got < MOST_MIB:
            kept.append(os.open(hints["home"], os.O_TMPFILE | os.O_RDWR, 0o600))
            _fill(kept[-1])
            got += FILE_MIB
    _hold(got)


@program("deleted files in memory maps")
def mapped(hints: Hints) -> None:
    """Neither a name nor a descriptor: a map alone keeps them."""
    got, maps = 0, []
    with trying():
        for n, fd in enumerate(_files(hints, "map")):
            os.unlink(f"{hints['home']}/map-{n}")
            _fill(fd)
            maps.append(mmap.mmap(fd, mmap.PAGESIZE))
            os.close(fd)
            got += FILE_MIB
    _hold(got)


@program("deleted files on their way")
def on_their_way(hints: Hints) -> None:
    """Descriptors that wait in a socket: no process has them."""
    got, ends = 0, socket.socketpair()
    with trying(), contextlib.ExitStack() as stack:
        for end in ends:
            stack.enter_context(end)
        for n, fd in enumerate(_files(hints, "sent")):
            os.unlink(f"{hints['home']}/sent-{n}")
            _fill(fd)
            ends[0].sendmsg(
                [b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
            )
            os.close(fd)
            got += FILE_MIB
        time.sleep(HELD_S)
    say("took", got, "MiB")


def _in_other_threads(work: Callable[[], None], count: int) -> None:
    """Each with a table of open files of its own, which /proc/PID/fd does not show."""

    def alone() -> None:
        ctypes.CDLL(None).unshare(CLONE_FILES)
        work()

    threads = [threading.Thread(target=alone) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@program("deleted files of single threads")
def of_threads(hints: Hints) -> None:
    """Open in no table that the process has together."""
    got = []

    def work() -> None:
        with trying():
            for _ in range(MOST_MIB // FILE_MIB // 4):
                _fill(os.open(hints["home"], os.O_TMPFILE | os.O_RDWR, 0o600))
                got.append(FILE_MIB)
        time.sleep(HELD_S)

    _in_other_threads(work, 4)
    say("took", sum(got), "MiB")


@program("deleted files of a process without its first thread")
def without_first(hints: Hints) -> None:
    """The first thread has ended: /proc/PID/fd and /proc/PID/maps are empty. Half of the files are
    kept by maps alone."""

    def work() -> None:
        maps = []
        with trying():
            for n in range(MOST_MIB // FILE_MIB):
                fd = os.open(hints["home"], os.O_TMPFILE | os.O_RDWR, 0o600)
                _fill(fd)
                if n % 2:
                    maps.append(mmap.mmap(fd, mmap.PAGESIZE))
                    os.close(fd)
        _hold(FILE_MIB * (n + 1))
        sys.stdout.flush()
        os._exit(0)

    threading.Thread(target=work).start()
    ctypes.CDLL(None).pthread_exit(None)


@program("what nobody may look at")
def closed(hints: Hints) -> None:
    """A process that is not dumpable, and folders without a mode: an ordinary user's supervisor is
    refused."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)
    got = 0
    os.mkdir(f"{hints['home']}/closed", 0o300)
    with trying():
        for n in range(MOST_MIB // FILE_MIB):
            name = f"{hints['home']}/closed/{n}"
            fd = os.open(name, os.O_CREAT | os.O_RDWR, 0o600)
            if n % 2:
                os.unlink(name)
            _fill(fd)
            got += FILE_MIB
    os.chmod(f"{hints['home']}/closed", 0)
    _hold(got)


@program("many hands")
def many(hints: Hints) -> None:
    """Sixteen processes, each far below the limit."""
    for n in range(16):
        if os.fork() == 0:
            with trying():
                for m in range(MOST_MIB // FILE_MIB // 16 + 1):
                    _fill(os.open(f"{hints['home']}/hand-{n}-{m}", os.O_CREAT | os.O_WRONLY))
            time.sleep(HELD_S)
            os._exit(0)
    for _ in range(16):
        os.wait()
    say("all are done")


@program("holes that are filled later")
def holes(hints: Hints) -> None:
    """Files that take no room when they are measured, filled through a map afterwards."""
    fds = list(_files(hints, "hole"))
    for fd in fds:
        with trying():
            os.truncate(fd, FILE_MIB << 20)
    time.sleep(HELD_S / 2)
    got = 0
    with trying():
        for fd in fds:
            for at in range(FILE_MIB):
                os.pwrite(fd, BLOCK, at << 20)
            got += FILE_MIB
    _hold(got)


@program("names, links and attributes")
def names(hints: Hints) -> None:
    """What takes blocks without being a file's content: long symbolic links, hard links, extended
    attributes, folders."""
    home, made = tempfile.mkdtemp(dir=hints["home"]), 0
    with trying():
        os.close(os.open(f"{home}/one", os.O_CREAT))
        for n in range(NAMES):
            os.symlink("x" * 4000, f"{home}/{'s' * 200}{n}")
            os.link(f"{home}/one", f"{home}/{'h' * 200}{n}")
            os.mkdir(f"{home}/{n}")
            os.close(os.open(f"{home}/{n}/file", os.O_CREAT | os.O_WRONLY))
            with trying():  # not every file system has them
                os.setxattr(f"{home}/{n}/file", "user.filled", BLOCK[:3900])
            made += 4
    time.sleep(HELD_S)
    say("made", made)
