"""Folders of a fixed size: an ext4 image beside the folder is mounted on it, so that the kernel
enforces the size.

It needs root, a loop device, mke2fs and mount; `possible` tries it. Before its first sandbox and
after its last one, the folder is a plain folder. While the image exists, the image alone holds the
content. A process that is killed leaves the image, mounted or (after a restart of the machine) not
mounted; the next process that uses the folder continues with it. Any aarlab process that makes a
volume first turns the mounted folders of dead processes back into plain folders.
"""

import atexit
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from functools import cache
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.hold import lock_now
from aarlab.sandbox.disk_usage import FILE_BYTES, GRACE_BYTES, du, remove
from aarlab.sandbox.sandbox import MIB

SUFFIX = ".aar-disk"
FIXED = "a file system of fixed size (a loop image)"
OPTIONS = "loop,nosuid,nodev,noatime,discard,noinit_itable"
INODE_BYTES = 8192  # of the image for each file that it can hold
JOURNAL_FROM, JOURNAL_MIB = 256 * MIB, 8
BUSY_S = 5.0
COPY = ("cp", "-dR", "--preserve=mode,ownership,timestamps,links,xattr", "--sparse=always")
_lock = threading.RLock()
_taken: dict[Path, "Volume"] = {}


class Volume:
    """One folder of a fixed size, for as long as somebody of this process uses it. Without a
    `limit`, one that has its image already.

    Raises:
        Misconfigured: another process uses the folder, or the image cannot be made or mounted.
        FileNotFoundError: there is no image, and no limit to make one of.
    """

    def __init__(self, folder: Path, limit: int | None) -> None:
        self.folder, self.image, self.users, self.kept = folder, image_of(folder), 0, False
        self._new, self._aside = (
            self.image.with_name(self.image.name + "-new"),
            self.image.with_name(self.image.name + "-aside"),
        )
        new = limit is not None and not self.image.exists()
        self._fd = self._lock(self._new, os.O_CREAT) if new else self._lock(self.image)
        try:
            if limit is not None and not self.image.exists():
                self._make(limit)
            self.image.stat()
            if not os.path.ismount(folder):
                folder.mkdir(exist_ok=True)
                before = folder.stat()
                try:
                    _mount(self.image, folder)
                except Misconfigured as error:
                    words = (
                        f"{self.image} holds the content of {folder} and cannot be mounted. Repair "
                        "it (e2fsck -f), restore it "
                    )
                    raise Misconfigured(
                        f"{words}from a copy, or delete it, and with it that content. {error}"
                    ) from error
                os.chown(folder, before.st_uid, before.st_gid)
                folder.chmod(before.st_mode & 0o7777)
        except BaseException:
            os.close(self._fd)
            raise

    def _lock(self, path: Path, create: int = 0) -> int:
        fd = os.open(path, os.O_RDWR | create | os.O_NOFOLLOW, 0o600)
        if not lock_now(fd):
            os.close(fd)
            raise Misconfigured(
                f"{self.folder} is the writable folder of a sandbox of another process. Stop that "
                "process first."
            )
        return fd

    def _make(self, limit: int) -> None:
        """An image of the limit's size, or of what the folder holds and room to tidy up; it counts
        once it has its name."""
        empty = not any(self.folder.iterdir())
        held, names = (0, 0) if empty else (du([self.folder]), du([self.folder], "--inodes"))
        need = max(held, INODE_BYTES * names) * 9 // 8
        os.truncate(self._fd, 0)
        os.truncate(self._fd, size := limit if need <= limit else need + GRACE_BYTES)
        journal = ["-J", f"size={JOURNAL_MIB}"] if size >= JOURNAL_FROM else ["-O", "^has_journal"]
        words = [
            "-m",
            "0",
            "-b",
            "4096",
            "-i",
            str(INODE_BYTES),
            *journal,
            "-E",
            "lazy_itable_init=1,nodiscard",
        ]
        _run("mke2fs", "-q", "-F", "-t", "ext4", *words, str(self._new))
        if not empty:
            with tempfile.TemporaryDirectory(
                prefix=f"{self.image.name}-in", dir=self.folder.parent
            ) as made:
                _mount(self._new, Path(made))
                try:
                    _run(*COPY, "--", f"{self.folder}/.", made)
                finally:
                    _umount(Path(made))
        self._new.rename(self.image)
        _empty(self.folder)

    def used(self) -> int:
        """Bytes in use, deleted files that are still open included; a file counts as FILE_BYTES at
        least."""
        s = os.statvfs(self.folder)
        return max((s.f_blocks - s.f_bfree) * s.f_frsize, (s.f_files - s.f_ffree) * FILE_BYTES)

    def release(self) -> None:
        """Make it a plain folder again. What cannot be copied stays in the image, and a note in the
        folder says so."""
        if self._aside.exists():  # of a release that was cut off
            remove(self._aside)
        copied = subprocess.run(
            [*COPY, "--", str(self.folder), str(self._aside)],
            check=False,
            capture_output=True,
            text=True,
        )
        _umount(self.folder)
        _empty(self.folder)
        if copied.returncode == 0:
            self.folder.rmdir()
            self._aside.rename(self.folder)
            os.truncate(self._fd, 0)  # a name space that still has the mount holds no room
            self.image.unlink()
        else:
            remove(self._aside)
            words = (
                f"The content of this folder is in {self.image} (mount -o loop,ro shows "
                f"it).\n{copied.stderr[:2000]}"
            )
            (self.folder / "READ-ME-aar").write_text(words)
        os.close(self._fd)


def image_of(folder: Path) -> Path:
    """Where the image of a folder is."""
    return folder.parent / f".{folder.name}{SUFFIX}"


def foreign(folder: Path) -> bool:
    """Whether something else is mounted there, so that the folder cannot be put in place of
    another."""
    return (
        os.path.ismount(folder) and (image_of(folder.resolve()), folder.resolve()) not in _mounted()
    )


def take(folder: Path, limit: int, *, keep: bool = False) -> Volume:
    """The folder, of a fixed size. `keep`: also without a user, until `let_go`.

    Raises:
        Misconfigured: see `Volume`.
    """
    _sweep()
    folder = folder.resolve()
    with _lock:
        volume = _taken.get(folder) or Volume(folder, limit)
        _taken[folder] = volume
        volume.users += 1
        volume.kept |= keep
        return volume


def give_back(volume: Volume) -> None:
    """One user less; without one, and not kept, it becomes a plain folder."""
    with _lock:
        volume.users -= 1
        _settle(volume)


def let_go(folder: Path) -> None:
    """Keep it no longer; nothing where it is no volume."""
    with _lock:
        if volume := _taken.get(folder.resolve()):
            volume.kept = False
            _settle(volume)


def _settle(volume: Volume) -> None:
    if volume.users <= 0 and not volume.kept and _taken.pop(volume.folder, None):
        volume.release()


@atexit.register
def _settle_all() -> None:
    with _lock:
        for folder in list(_taken):
            _taken.pop(folder).release()


@cache
def possible() -> bool:
    """Can this process make and mount such an image? Tried once."""
    if os.geteuid() != 0 or any(
        shutil.which(tool) is None for tool in ("mke2fs", "mount", "umount")
    ):
        return False
    with tempfile.TemporaryDirectory(prefix="aar-volume-") as made:
        folder = Path(made, "tried")
        folder.mkdir()
        try:
            Volume(folder, MIB).release()
        except (Misconfigured, OSError):
            return False
    return True


def recover() -> None:
    """Make plain folders of those whose holder was killed, before their content is looked at."""
    _sweep()


@cache
def _sweep() -> None:
    """Make plain folders of those whose holder is dead, once a process."""
    for image, point in _mounted():
        if image.name.endswith(" (deleted)") or (image.name.endswith("-new") and not _held(image)):
            _umount(point)  # of a folder that is gone, or was never in use
        elif image == image_of(point):
            # its holder lives, or another process does this at the same time
            with contextlib.suppress(Misconfigured, FileNotFoundError):
                Volume(point, None).release()


def _held(image: Path) -> bool:
    """Whether a process has locked an image."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(image, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            return not lock_now(fd)
        finally:
            os.close(fd)
    return False


def _mounted() -> list[tuple[Path, Path]]:
    """(image, mount point) of each mounted image of aarlab."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        device, point = (
            Path(after.split()[1]),
            re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), before.split()[4]),
        )
        backing = Path("/sys/block", device.name, "loop", "backing_file")
        if (
            device.name.startswith("loop")
            and backing.exists()
            and SUFFIX in (name := backing.read_text().rstrip("\n"))
        ):
            found.append((Path(name), Path(point)))
    return found


def _mount(image: Path, folder: Path) -> None:
    _run("mount", "-t", "ext4", "-o", OPTIONS, str(image), str(folder))
    with contextlib.suppress(OSError):  # it is not there, or holds something
        (folder / "lost+found").rmdir()


def _umount(folder: Path) -> None:
    """Unmount; what still has a file open there a moment after its end must not keep us."""
    until = time.monotonic() + BUSY_S
    while subprocess.run(
        ["umount", str(folder)], capture_output=True, check=False
    ).returncode and os.path.ismount(folder):
        if time.monotonic() > until:
            _run("umount", "--lazy", str(folder))
            return
        time.sleep(0.02)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        remove(path)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Misconfigured(
            f"A folder of fixed size cannot be made: {words[0]} says: {done.stderr.strip()[:500]}."
        )
