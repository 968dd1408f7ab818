"""`aar node`: researchers on other machines. On the lab's machine: `hub`, `invite`, `list`,
`revoke`. On a node: `join`, `serve`."""

import json
import socket
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from aarlab.cli.plain_console import PlainConsole
from aarlab.core.cluster_layout import NodeFolder, NodesFolder
from aarlab.core.errors import Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.printable import one_line
from aarlab.core.settings import home
from aarlab.core.standard_output import only_showing

if TYPE_CHECKING:
    from aarlab.nodes.hub_socket import HubAddress
    from aarlab.nodes.messages import NodeNow
    from aarlab.nodes.node_table import Node, NodeTable

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
# addresses have brackets, and nodes say what they like
console = PlainConsole(soft_wrap=True)
ANYWHERE = {"0.0.0.0", "::"}
NAME_HELP = "the node's name: a-z, 0-9 and -"


def _nodes() -> NodesFolder:
    return NodesFolder(home().nodes)


def _table() -> "NodeTable":
    from aarlab.nodes.node_table import NodeTable

    return NodeTable(_nodes().table)


@app.command()
def hub(
    *,
    listen: Annotated[
        str, typer.Option(help="HOST:PORT at which nodes connect; 0.0.0.0:8646 is every network")
    ] = "127.0.0.1:8646",
    dial: Annotated[
        str | None,
        typer.Option(help="HOST:PORT by which nodes reach it, if that is another [--listen]"),
    ] = None,
) -> None:
    """Serve the nodes of this lab until Ctrl-C. Campaigns with `hosts` need it. Nodes connect by
    mutual TLS; a machine without a certificate can do nothing but join by an invitation."""
    from aarlab.nodes.hub_process import run_hub
    from aarlab.nodes.hub_socket import address

    where = address(listen, "--listen", any_port=True)
    reached = None if dial is None else address(dial, "--dial")

    def ready(found: "HubAddress") -> None:
        own = found if found.host not in ANYWHERE else found._replace(host=socket.getfqdn())
        write_whole(_nodes().dial, json.dumps({"dial": str(reached or own)}))
        with only_showing():
            console.print(f"hub: {found}; nodes dial {reached or own}. Ctrl-C stops.")
            console.print("add a node: aar node invite NAME")

    run_hub(home(), where, ready)


@app.command()
def invite(
    name: Annotated[str, typer.Argument(help=NAME_HELP)],
    *,
    minutes: Annotated[
        float, typer.Option(min=0.01, max=10_080, help="for which the invitation counts")
    ] = 60.0,
    dial: Annotated[
        str | None, typer.Option(help="HOST:PORT by which the node reaches the hub [as of hub]")
    ] = None,
) -> None:
    """Print the line that makes a machine a node of this lab. It counts once, and expires."""
    from aarlab.nodes.authority import Authority
    from aarlab.nodes.hub_socket import address

    _require_name(name)
    where = str(address(dial, "--dial")) if dial is not None else _dialled()
    authority = Authority(_nodes())
    token = _table().invite(name, minutes)
    print(f"aar node join {where} --token {token} --ca-fingerprint {authority.fingerprint}")
    print(
        f"Run this line on {name} within {minutes:g} minutes, once. It is a secret until then.",
        file=sys.stderr,
    )


def _require_name(name: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from aarlab.nodes.messages import HERE, NodeName

    try:
        TypeAdapter(NodeName).validate_python(name)
    except ValidationError as error:
        raise Misconfigured(
            f"A node cannot have the name {name!r:.60}. Use a-z, 0-9 and -, at most 40 characters."
        ) from error
    if name == HERE:
        raise Misconfigured(f"The name {HERE} stands for the lab's own machine. Choose another.")


def _dialled() -> str:
    try:
        return str(json.loads(_nodes().dial.read_text())["dial"])
    except (OSError, ValueError, LookupError) as error:
        raise Misconfigured(
            "The hub's address is not known yet. Start the hub first (aar node hub --listen "
            "HOST:PORT), or give --dial HOST:PORT."
        ) from error


@app.command()
def join(
    where: Annotated[str, typer.Argument(metavar="HOST:PORT", help="of the lab's hub")],
    *,
    token: Annotated[str, typer.Option(help="of the invitation")],
    ca_fingerprint: Annotated[str, typer.Option(help="SHA-256 of the lab's certificate")],
    serve_: Annotated[
        bool, typer.Option("--serve/--no-serve", help="go on as the node's agent, as `serve` does")
    ] = True,
    capacity: Annotated[
        int | None, typer.Option(min=1, max=512, help="researchers at once [processors]")
    ] = None,
) -> None:
    """Make this machine a node of a lab, and serve it. Its key is made here and stays here."""
    from aarlab.nodes.hub_socket import address
    from aarlab.nodes.joining import join as join_

    made = join_(address(where, "HOST:PORT"), token, ca_fingerprint, NodeFolder(home().node))
    console.print(f"This machine is the node {made.name} of the lab at {made.hub}.")
    if serve_:
        serve(capacity=capacity)
    else:
        console.print("Serve it: aar node serve")


@app.command()
def serve(
    *,
    capacity: Annotated[
        int | None, typer.Option(min=1, max=512, help="researchers at once [processors]")
    ] = None,
) -> None:
    """Host researchers of the lab on this machine until Ctrl-C. It dials the hub, and again when
    the connection is lost; it needs no open port."""
    from aarlab.nodes.node_agent import serve as serve_

    def say_line(words: str) -> None:
        with only_showing():
            console.print(one_line(words, 500))

    serve_(home(), capacity, say_line)


@app.command("list")
def list_() -> None:
    """List the lab's nodes: invited, joined, connected or revoked; and who is lost."""
    from aarlab.nodes.hub_socket import status

    known = _table().all()
    try:
        seen, note = {now.name: now for now in status(_nodes()).nodes}, ""
    except Misconfigured as error:
        seen, note = {}, str(error)
    table = Table("node", "state", "researchers", "address", "last seen", box=None, pad_edge=False)
    for node in known:
        table.add_row(*_row(node, seen.get(node.name)))
    if known:
        console.print(table)
    else:
        console.print("This lab has no nodes. Invite one: aar node invite NAME")
    if note:
        console.print(note)


def _row(node: "Node", now: "NodeNow | None") -> tuple[str, ...]:
    attached = now is not None and now.attached
    state = "connected" if attached else "refused" if now and now.refused else node.state
    if state == "joined" and node.seen_at is not None:
        state = "not connected"
    hosted = f"{now.hosted} of {now.capacity}" if now and attached else ""
    when = "" if node.seen_at is None else time.strftime("%F %T UTC", time.gmtime(node.seen_at))
    words = f": {one_line(now.refused, 500)}" if state == "refused" and now else ""
    return node.name, state + words, hosted, node.seen_from or "", "now" if attached else when


@app.command()
def revoke(name: Annotated[str, typer.Argument(help=NAME_HELP)]) -> None:
    """Revoke a node's certificate, or its invitation. Its connections are cut now, and its
    researchers move to other hosts."""
    from aarlab.nodes.hub_socket import look_again

    _table().revoke(name)
    try:
        look_again(_nodes())
        console.print(f"{name} is revoked, and its connections are cut.")
    except Misconfigured:
        console.print(f"{name} is revoked. No hub runs, so that it had no connections.")
