"""The hub as a process, and this machine's way to it: a unix socket that only the operator's user
can reach."""

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.files import write_whole
from aarlab.core.held_folder import HeldFolder
from aarlab.core.hold import Hold
from aarlab.core.http import BACKLOG, allow_connections
from aarlab.core.layout import NodesFolder
from aarlab.core.records import Record
from aarlab.core.unix_sockets import listening
from aarlab.gateway.rate_limited_log import Seldom
from aarlab.nodes.framing import OPENING_S
from aarlab.nodes.messages import MOST_LINE, AskStatus, HubStatus, LookAgain, line_of, read_hub
from aarlab.nodes.node_hub import NodeHub

DEFAULT_PORT = 8646


class Address(NamedTuple):
    """HOST:PORT."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def address(text: str, what: str, *, any_port: bool = False) -> Address:
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
    return Address(host, number)


def run_hub(folder: NodesFolder, listen: Address, ready: Callable[[Address], None]) -> None:
    """Serve nodes until SIGTERM or SIGINT. `ready` is called with the address once it does.

    Raises:
        Misconfigured: another hub runs, or the address cannot be used.
    """

    def busy(holder: str) -> str:
        return f"A hub of this lab runs already: process {holder}."

    written = logging.StreamHandler()
    written.addFilter(Seldom())
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", handlers=[written])
    allow_connections()
    folder.root.mkdir(parents=True, exist_ok=True)
    with Hold(folder.hub_lock, busy), HeldFolder() as held:
        asyncio.run(_serve(folder, listen, held.path / "hub.sock", ready))


async def _serve(
    folder: NodesFolder, listen: Address, control: Path, ready: Callable[[Address], None]
) -> None:
    hub, told, loop = NodeHub(folder), asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    try:
        nodes = await asyncio.start_server(
            hub.connected,
            listen.host,
            listen.port,
            ssl=hub.context(),
            ssl_handshake_timeout=OPENING_S,
            ssl_shutdown_timeout=2.0,
            limit=MOST_LINE,
            backlog=BACKLOG,
        )
    except OSError as error:
        raise Misconfigured(
            f"The hub cannot listen at {listen} ({error.strerror or error}). Choose another "
            "address: --listen HOST:PORT."
        ) from error
    found = listen._replace(port=nodes.sockets[0].getsockname()[1])
    hub.listen = str(found)
    local = await asyncio.start_unix_server(
        hub.local, sock=listening(control, 0o600, BACKLOG), limit=MOST_LINE
    )
    looking = asyncio.create_task(hub.look_often())
    said = {"control": str(control), "listen": str(found), "pid": os.getpid()}
    try:
        write_whole(folder.address, json.dumps(said))
        ready(found)
        stopped = asyncio.create_task(told.wait())
        await asyncio.wait([looking, stopped], return_when=asyncio.FIRST_COMPLETED)
        if looking.done():
            looking.result()
    finally:
        folder.address.unlink(missing_ok=True)
        looking.cancel()
        nodes.close()
        local.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


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
        made.settimeout(OPENING_S)
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
