"""The hub as a process."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

from aarlab.core.cluster_layout import NodesFolder
from aarlab.core.connections import cancelled_in_silence
from aarlab.core.errors import Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.held_folder import HeldFolder
from aarlab.core.hold import Hold
from aarlab.core.http import BACKLOG, allow_connections
from aarlab.core.layout import Home
from aarlab.core.unix_sockets import listening
from aarlab.gateway.rate_limited_log import RepeatFilter
from aarlab.nodes.hub_port import HubPort
from aarlab.nodes.hub_socket import HubAddress
from aarlab.nodes.kept_homes import remove_arriving
from aarlab.nodes.messages import MOST_LINE
from aarlab.nodes.node_hub import NodeHub


def run_hub(home: Home, listen: HubAddress, ready: Callable[[HubAddress], None]) -> None:
    """Serve nodes until SIGTERM or SIGINT. `ready` is called with the address once it does.

    Raises:
        Misconfigured: another hub runs, or the address cannot be used.
    """

    def busy(holder: str) -> str:
        return f"A hub of this lab runs already: process {holder}."

    written = logging.StreamHandler()
    written.addFilter(RepeatFilter())
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", handlers=[written])
    allow_connections()
    folder = NodesFolder(home.nodes)
    folder.root.mkdir(parents=True, exist_ok=True)
    with Hold(folder.hub_lock, busy), HeldFolder() as held:
        remove_arriving(home.campaigns)
        asyncio.run(_serve(folder, listen, held.path / "hub.sock", ready))


async def _serve(
    folder: NodesFolder, listen: HubAddress, control: Path, ready: Callable[[HubAddress], None]
) -> None:
    hub, stop, loop = NodeHub(folder), asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        port = HubPort(hub.context(), cancelled_in_silence(hub.connected))
        nodes = await loop.create_server(port.protocol, listen.host, listen.port, backlog=BACKLOG)
    except OSError as error:
        raise Misconfigured(
            f"The hub cannot listen at {listen} ({error.strerror or error}). Choose another "
            "address: --listen HOST:PORT."
        ) from error
    found = listen._replace(port=nodes.sockets[0].getsockname()[1])
    hub.listen = str(found)
    local = await asyncio.start_unix_server(
        cancelled_in_silence(hub.local),
        sock=listening(control, 0o600, BACKLOG),
        limit=MOST_LINE,
    )
    looking = asyncio.create_task(hub.look_often())
    said = {"control": str(control), "listen": str(found), "pid": os.getpid()}
    try:
        write_whole(folder.address, json.dumps(said))
        ready(found)
        stopped = asyncio.create_task(stop.wait())
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
