"""One supervisor a campaign: whoever holds the lock may start researchers. It ends with its process, however that ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aarlab.core.errors import Misconfigured


@contextmanager
def lease(folder: Path) -> Iterator[None]:
    """Hold the campaign in `folder`.

    Raises:
        Misconfigured: another process holds it; its pid is in the message.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:  # not inherited by what we start
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            words = f"The campaign '{folder.name}' is being run by process {lock.read().strip() or '?'}."
            raise Misconfigured(f"{words} Watch it with `aar watch {folder.name}`, or stop it first.") from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
