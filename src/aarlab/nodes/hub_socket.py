"""Where the hub is; and this machine's way to it, a unix socket that only the operator's user can
reach."""

import json
import socket
from pathlib import Path
from typing import NamedTuple

from aarlab.core.cluster_layout import NodesFolder
from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.records import Record
from aarlab.nodes.messages import MOST_LINE, AskStatus, HubStatus, LookAgain, line_of, read_hub

DEFAULT_PORT = 8646
ANSWER_S = 10.0


class HubAddress(NamedTuple):
    """HOST:PORT."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def address(text: str, what: str, *, any_port: bool = False) -> HubAddress:
    """From HOST or HOST:PORT; an IPv6 address stands in brackets. `what`: the option, as text.

    Raises:
        Misconfigured: it is none.
    """
    host, port = text.strip(), str(DEFAULT_PORT)
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif ":" in host:
        host, _, port = host.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else -1
    if (
        not host
        or any(c.isspace() or c == "/" for c in host)
        or not (not any_port) <= number < 65536
    ):
        raise Misconfigured(
            f"{what} is {text!r:.80}. Give HOST:PORT, such as lab.example:{DEFAULT_PORT}."
        )
    return HubAddress(host, number)


def control_of(folder: NodesFolder) -> Path:
    """The socket of the hub that runs.

    Raises:
        Misconfigured: none runs.
    """
    try:
        return Path(json.loads(folder.address.read_text())["control"])
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise Misconfigured(
            "No hub of this lab runs. Start it, and leave it running: aar node hub --listen "
            f"HOST:{DEFAULT_PORT}."
        ) from error


def connect(folder: NodesFolder) -> socket.socket:
    """A connection to the hub that runs.

    Raises:
        Misconfigured: none runs.
    """
    path, made = control_of(folder), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(ANSWER_S)
        made.connect(str(path))
    except OSError as error:
        made.close()
        raise Misconfigured(
            f"The hub of this lab does not answer ({error}). Start it again: aar node hub."
        ) from error
    return made


def _asked(folder: NodesFolder, record: Record) -> bytes:
    with connect(folder) as made, made.makefile("rb") as lines:
        try:
            made.sendall(line_of(record))
            answer = lines.readline(MOST_LINE * 16)
        except OSError as error:
            raise Transient(f"The hub does not answer ({error}). Try again.") from error
    if not answer:
        raise Transient("The hub has ended. Try again.")
    return answer


def status(folder: NodesFolder) -> HubStatus:
    """What the hub sees now.

    Raises:
        Misconfigured: none runs.
    """
    return read_hub(HubStatus, _asked(folder, AskStatus()))


def look_again(folder: NodesFolder) -> None:
    """Let it cut the connections of who was revoked. Raises as `status`."""
    _asked(folder, LookAgain())
