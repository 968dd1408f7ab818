"""Listening on a unix socket."""

import os
import socket
import tempfile
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.held_folder import NAME_BYTES, HeldFolder
from aarlab.core.settings import environment

LONGEST_PATH = 107  # bytes of a unix socket's path
MOST_BELOW = len("/0123456789abcdef/lab.sock")  # of a socket's path below a temporary folder


def check_path(path: Path) -> None:
    """Raise where a socket cannot have this path.

    Raises:
        Misconfigured: it is too long.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        temporary = path.is_relative_to(tempfile.gettempdir())
        remedy = "Set TMPDIR to a shorter folder, such as /tmp" if temporary else "Shorten it"
        raise Misconfigured(f"{path} is too long for a socket ({LONGEST_PATH} bytes). {remedy}.")


def require_sockets() -> None:
    """Make a socket where those of a fleet go, under TMPDIR, and remove it.

    Raises:
        Misconfigured: the folder is missing, read-only, too long or without sockets.
    """
    top = tempfile.gettempdir()
    if (said := environment().get("TMPDIR")) and not Path(said).is_dir():
        raise Misconfigured(f"TMPDIR is {said!r:.200}, no folder. Make it, or set TMPDIR to /tmp.")
    if (n := len(os.fsencode(top)) + 1 + NAME_BYTES + MOST_BELOW) > LONGEST_PATH:
        raise Misconfigured(
            f"The temporary folder {top} is too long: sockets under it would have paths of {n} "
            f"bytes, and the system takes {LONGEST_PATH}. Set TMPDIR to a shorter folder."
        )
    try:
        with HeldFolder() as held:
            listening(held.path / "socket", 0o600, 1).close()
    except OSError as error:
        raise Misconfigured(
            f"There can be no folder under {top} ({error.strerror}). Set TMPDIR to a folder that "
            "can be written to."
        ) from error


def listening(path: Path, mode: int, backlog: int) -> socket.socket:
    """A socket that listens at a path, in place of what is there. Who may connect is `mode`, and
    who can reach its folder.

    Raises:
        Misconfigured: the path is too long, or there can be no socket.
    """
    check_path(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        os.fchmod(made.fileno(), 0o600)  # it is bound with this mode: nobody else's before `chmod`
        made.bind(str(path))
        path.chmod(mode)
    except OSError as error:
        made.close()
        raise Misconfigured(
            f"There can be no socket {path} ({error}). Name a folder that exists and is writable."
        ) from error
    made.listen(backlog)
    made.setblocking(False)
    return made
