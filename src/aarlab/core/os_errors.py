"""An error of the operating system as one sentence that names the path and says what to do."""

import errno
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.settings import home

_REMEDIES = {
    errno.ENOSPC: "Free some disk space, or set AAR_HOME to a folder on another disk",
    errno.EDQUOT: "Your quota is used up: free some, or set AAR_HOME elsewhere",
    errno.EROFS: "Set AAR_HOME to a folder on a disk that can be written to",
    errno.EACCES: "Use a path that your user may read and write, or set AAR_HOME to one",
    errno.EPERM: "Use a path that your user may read and write, or set AAR_HOME to one",
    errno.ENOTDIR: "A part of this path is a file: give a folder, or set AAR_HOME to one",
    errno.EEXIST: "Something else is in its place: move it away, or set AAR_HOME elsewhere",
    errno.EISDIR: "It is a folder: give a file",
    errno.ENOENT: "Give a path that exists, or make its folder",
    errno.ENAMETOOLONG: "Choose a shorter name, AAR_HOME or TMPDIR",
    errno.EMFILE: "Raise the limit on open files: ulimit -n",
    errno.ENFILE: "The machine has too many open files: end some programs",
    errno.ENOMEM: "Free some memory, or start fewer researchers",
    errno.EAGAIN: "The machine has no process left: end some, or raise ulimit -u",
    errno.EADDRINUSE: "Another program has this address: end it, or choose another port",
}
_OTHERS = "Look at the disk and the path, then run the same command again"


def as_misconfigured(error: OSError | sqlite3.Error) -> Misconfigured:
    """The same as one of our errors, for the operator: what failed, where, and what to do. An error
    that names no path (a full disk while writing) is put down to AAR_HOME."""
    if isinstance(error, sqlite3.Error):
        return Misconfigured(
            f"A database under {home().root} cannot be used: {error}. Look at the disk (`aar "
            "doctor`), then run the same command again."
        )
    path = " and ".join(
        os.fsdecode(name) if isinstance(name, (str, bytes)) else str(name)
        for name in (error.filename, error.filename2)
        if name is not None
    )
    remedy = _REMEDIES.get(error.errno or 0, _OTHERS)
    what = error.strerror or str(error) or type(error).__name__
    return Misconfigured(f"{path or f'{home().root} (state)'}: {what}. {remedy}.")


@contextmanager
def exits_with_message() -> Iterator[None]:
    """What a service's process runs in: one of our errors, or the system's, ends it with one
    sentence on stderr and status 1."""
    try:
        yield
    except AarError as error:
        sys.exit(str(error))
    except (OSError, sqlite3.Error) as error:
        sys.exit(str(as_misconfigured(error)))
