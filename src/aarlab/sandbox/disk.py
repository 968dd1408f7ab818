"""Folders that untrusted code may write: how much they take, and their end. Nothing here follows a link or recurses.

How much is measured seldom: when the file system has lost so much that they could be the cause, and from time to time.
"""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aarlab.sandbox.sandbox import DISK_EVERY_S, MIB

FILE_BYTES = 4096  # a file counts as so much at least: its inode is not free either
GRACE_BYTES = 64 * MIB  # for who starts beyond its limit: room to write down that it tidies up


class Disk:
    """The folders that one sandbox may write."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.bytes = 0
        self._measured_at = -DISK_EVERY_S
        self._free = 0
        self._lock = threading.Lock()

    def measure(self) -> int:
        """Bytes on disk: blocks, or 4 KiB a file if that is more. Robust against whatever code inside may build."""
        with self._lock:
            self._free = self._left()
            self.bytes = max(du(self.folders), FILE_BYTES * du(self.folders, "--inodes")) if self.folders else 0
            self._measured_at = time.monotonic()
            return self.bytes

    def allowed(self, limit: int | None) -> float:
        """The limit, or somewhat more than now where it is already passed, so that its owner can tidy up."""
        if limit is None:
            return float("inf")
        now = self.measure()
        return limit if now <= limit else now + GRACE_BYTES

    def beyond(self, allowed: float) -> bool:
        """Is more in use than allowed? Measures when that is possible at all, and from time to time."""
        if allowed == float("inf") or not self.folders:
            return False
        late = time.monotonic() - self._measured_at > DISK_EVERY_S
        if late or self.bytes + self._free - self._left() > allowed:
            self.measure()
        return self.bytes > allowed

    def _left(self) -> int:
        """What the file systems have left, an inode counted as 4 KiB."""
        found = {(s.f_fsid, s.f_blocks): s for s in (os.statvfs(f) for f in self.folders)}
        return sum(s.f_bavail * s.f_frsize + s.f_favail * FILE_BYTES for s in found.values())


def du(folders: Sequence[Path], *options: str) -> int:
    """The sum over folders, by `du`, which follows no link, counts hard links once and walks trees of any depth."""
    words = ["du", "--summarize", "--total", "--one-file-system", *(options or ("--block-size=1",)), "--", *map(str, folders)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # complains about what vanishes meanwhile
    return int(done.stdout.rsplit(b"\n", 2)[-2].split(b"\t")[0])


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A temporary folder that goes by `rm`, whatever was built in it: Python's own removal fails at 1,000 nested folders."""
    folder = tempfile.mkdtemp(prefix=prefix)
    try:
        yield Path(folder)
    finally:
        subprocess.run(["rm", "-rf", "--", folder], check=False, stderr=subprocess.DEVNULL)
