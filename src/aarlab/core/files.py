"""Files and folders that appear whole or not at all, also where the process is killed; files also
where the machine stops."""

import errno
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

READABLE = 0o644
OWNER_ONLY = 0o600
OTHERS_READ = 0o005  # and search folders


def write_whole(path: Path, content: bytes | memoryview | str, *, mode: int = READABLE) -> None:
    """Write a file, text in UTF-8, and replace the one that is there; folders are made as needed.

    Raises:
        OSError: it could not be written; what was there before is still there.
    """
    with open_whole(path, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def widen_umask(state: Path | None = None) -> None:
    """As root, a sandbox runs code under a uid of its own, which reads what this process writes
    for it: a umask that hides everything from others is widened. What nobody may read has a mode of
    its own. `state`: a folder that such a umask keeps closed, if it is not there yet."""
    before = os.umask(OWNER_ONLY)
    hides = os.geteuid() == 0 and before & OTHERS_READ
    os.umask(before & ~OTHERS_READ if hides else before)
    if hides and state is not None and not os.path.lexists(state):
        state.mkdir(mode=0o777 & ~before, parents=True)


def nearest(path: Path) -> Path:
    """The path, or what there is nearest above it."""
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def require_writable(folder: Path) -> None:
    """Write, lock and remove a file in a folder, and in those that lie in it; in the nearest folder
    above where it is not there yet. Nothing is left.

    Raises:
        OSError: it is read-only, full or no folder, or its disk has no locks; with the path.
    """
    there = nearest(folder)
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    inside = sorted(there.iterdir()) if there == folder else []
    for place in (there, *(p for p in inside if p.is_dir() and not p.is_symlink())):
        probe = place / f".probe-{secrets.token_hex(4)}"
        try:
            with probe.open("xb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(place)) from error
        finally:
            with suppress(OSError):
                probe.unlink()


@contextmanager
def open_whole(path: Path, *, mode: int = READABLE) -> Iterator[BinaryIO]:
    """The same for a writer that wants a file object. The file gets its name, synced to disk, if
    the block ends without error.

    Several processes and threads may write the same path at once: each has a temporary file of its
    own, and the last one to end its block wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk names no file
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def folder_whole(path: Path) -> Iterator[Path]:
    """A new folder, which gets its name if the block ends without error. Where another process was
    faster its folder stays, which is to hold the same.

    Raises:
        OSError: it cannot be made; nothing is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=path.parent))
    try:
        yield partial
        try:
            partial.replace(path)
        except OSError:  # a folder that holds something is not replaced
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
