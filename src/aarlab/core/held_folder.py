"""Temporary folders that go with their owner, however it ends: each is locked (flock(2)) while its
owner runs, and whoever makes the next one removes those that nobody holds."""

import hashlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Self

from aarlab.core.hold import lock_now

NEW_S = 60.0  # within which a folder that has not got its name yet is its maker's
# those of another machine, on a shared disk, are not for this process to look at
PREFIX = f"aarlab-{hashlib.sha256(platform.node().encode()).hexdigest()[:4]}-"
NAME_BYTES = len(PREFIX) + 8


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


class HeldFolder:
    """A folder under TMPDIR, for this process and who is given its path; `close` removes it, and so
    does the end of a `with`."""

    def __init__(self, mode: int = 0o700, *, remove: Callable[[Path], None] = _remove) -> None:
        """Raises OSError: there can be no folder."""
        top = Path(tempfile.gettempdir())
        _sweep(top)
        made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=top))
        made.chmod(mode)
        self._fd = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _locked(self._fd)
        self.path = made.rename(top / made.name[1:])  # from here on others may look at it
        self._remove = remove

    def close(self) -> None:
        """Remove it. A second call does nothing."""
        if self._fd >= 0:
            self._remove(self.path)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@cache
def _sweep(top: Path) -> None:
    """Remove the folders whose owner is gone, once a process."""
    try:
        entries = list(os.scandir(top))
    except PermissionError:  # one may make folders there, and not see those of others
        return
    for entry in entries:
        if not entry.name.removeprefix(".").startswith(PREFIX):
            continue
        try:
            new = entry.name.startswith(".") and time.time() - entry.stat().st_mtime < NEW_S
            # another user's: not ours to remove. As root, that of a sandbox: it is put in place of
            # the folder that its owner has locked when a volume becomes a plain folder again
            if new or entry.stat(follow_symlinks=False).st_uid != os.geteuid():
                continue
            fd = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # gone, or no folder
            continue
        try:
            # where a file system is mounted on it, its owner's lock lies below that and is not seen
            mounted = os.fstat(fd).st_dev != top.stat().st_dev
            if not mounted and _locked(fd):
                _remove(Path(entry.path))
        finally:
            os.close(fd)


def _locked(fd: int) -> bool:
    """Whether this process holds it now. A file system that has no locks says no to all."""
    try:
        return lock_now(fd)
    except OSError:
        return False
