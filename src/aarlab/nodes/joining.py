"""How a machine becomes a node of a lab: its key is made on it and stays there, and the lab signs a
certificate for whoever brings an invitation's token."""

import asyncio
import ssl
from pathlib import Path

from pydantic import TypeAdapter

from aarlab.core.cluster_layout import NodeFolder
from aarlab.core.errors import AarError, Misconfigured, Transient, Unauthorised
from aarlab.core.files import write_whole
from aarlab.core.records import Record
from aarlab.core.strict_json import read_json
from aarlab.nodes.authority import (
    HUB_NAME,
    fingerprint,
    new_key,
    node_context,
    unchecked_context,
)
from aarlab.nodes.framing import OPENING_S, Wire
from aarlab.nodes.hub_socket import HubAddress, address
from aarlab.nodes.messages import MOST_LINE, AskAuthority, Join, Reply

REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)
JOIN_S = 30.0


class Joined(Record):
    """What a node knows of its lab."""

    name: str
    hub: str  # HOST:PORT


async def dial(hub: HubAddress, context: ssl.SSLContext) -> Wire:
    """A connection to the hub.

    Raises:
        Transient: it cannot be reached, or is not the one that it must be; the words say which.
    """
    try:
        async with asyncio.timeout(OPENING_S):
            reader, writer = await asyncio.open_connection(
                hub.host,
                hub.port,
                ssl=context,
                server_hostname=HUB_NAME if context.check_hostname else "",
                ssl_shutdown_timeout=2.0,
                limit=MOST_LINE,
            )
    except ssl.SSLCertVerificationError as error:
        raise Transient(
            f"What answers at {hub} is no hub of this lab ({error.verify_message})."
        ) from error
    except (OSError, TimeoutError) as error:
        raise Transient(f"No hub answers at {hub} ({str(error) or 'in time'}).") from error
    return Wire(reader, writer)


async def asked(wire: Wire, record: Record, within_s: float = OPENING_S) -> Reply:
    """Send a first line; the answer.

    Raises:
        Transient: the connection has failed.
        Unauthorised: it is refused; with the hub's words.
    """
    await wire.send(record)
    reply: Reply = await wire.record(REPLY, within_s)
    if not reply.ok:
        raise Unauthorised(reply.words)
    return reply


def join(hub: HubAddress, token: str, expected: str, folder: NodeFolder) -> Joined:
    """Join the lab whose hub is there, and keep what is needed to serve it.

    Raises:
        Misconfigured: this machine has joined already, the hub is another one, or it refuses.
    """
    if folder.settings.exists():
        before = joined(folder)
        raise Misconfigured(
            f"This machine is the node {before.name} of the lab at {before.hub}. To join again, "
            f"remove {folder.settings} first."
        )
    try:
        return asyncio.run(_join(hub, token, expected.replace(":", "").lower(), folder))
    except (Transient, Unauthorised) as error:
        raise Misconfigured(str(error)) from error


async def _join(hub: HubAddress, token: str, expected: str, folder: NodeFolder) -> Joined:
    wire = await dial(hub, unchecked_context())
    try:
        authority = (await asked(wire, AskAuthority())).certificate
    finally:
        await wire.close()
    if (found := fingerprint(authority)) != expected:
        raise Misconfigured(
            f"What answers at {hub} is another lab: the fingerprint of its certificate is "
            f"{found}, not {expected}. Nothing was sent to it. Compare the line with the one that "
            "`aar node invite` printed."
        )
    wire = await dial(hub, node_context(authority))  # from here on checked
    try:
        reply = await asked(wire, Join(token=token, request=new_key(folder)), JOIN_S)
    finally:
        await wire.close()
    write_whole(folder.authority, authority)
    write_whole(folder.certificate, reply.certificate)
    made = Joined(name=reply.name, hub=str(hub))
    write_whole(folder.settings, made.model_dump_json(indent=1))
    return made


def joined(folder: NodeFolder) -> Joined:
    """What this machine joined.

    Raises:
        Misconfigured: nothing yet, or its file is damaged.
    """
    try:
        found = Joined.model_validate(read_json(folder.settings))
        address(found.hub, str(folder.settings))
    except FileNotFoundError as error:
        raise Misconfigured(
            "This machine is no node yet. `aar node invite NAME` on the lab's machine prints the "
            "line that makes it one."
        ) from error
    except (AarError, ValueError) as error:
        raise Misconfigured(f"{folder.settings} is damaged. Join again.") from error
    return found


def context_of(folder: NodeFolder) -> ssl.SSLContext:
    """TLS as this node. Raises Misconfigured: its files cannot be read."""
    return node_context(_text(folder.authority), folder)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read ({error.strerror}). Join again.") from error
