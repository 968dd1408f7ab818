"""`python -m aarlab.server.serve`: one process, on loopback and on one unix socket a researcher."""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from aarlab.core.connection import Patient
from aarlab.core.errors import Misconfigured
from aarlab.core.lifeline import when_cut
from aarlab.evaluation.policies import DEFAULT_POLICY
from aarlab.server.app import create_app

BACKLOG = 1024
STOP_S, KEEP_ALIVE_S = 5, 15  # for requests in work at the end; for a connection between two requests


def listen(port: int, paths: list[Path]) -> list[socket.socket]:
    """Bound sockets: loopback TCP (port 0 picks a free one) first, then the unix sockets, open to every local uid: who
    may reach one is decided by the folder they lie in, and who one is by the token.

    The protocol is named because asyncio switches Nagle's delay (40 ms a reply) off only where it is.

    Raises:
        Misconfigured: the port is taken.
    """
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        tcp.bind(("127.0.0.1", port))
    except OSError as error:
        raise Misconfigured(f"Port {port} cannot be used ({error.strerror}). Choose another, or 0 for a free one.") from error
    tcp.listen(BACKLOG)
    sockets = [tcp]
    for path in paths:
        path.unlink(missing_ok=True)
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        unix.bind(str(path))
        path.chmod(0o666)
        unix.listen(BACKLOG)
        sockets.append(unix)
    return sockets


async def serve(
    app_server: uvicorn.Server,
    sockets: list[socket.socket],
    address: Path,
    ready: Callable[[str], None],
    lifeline: int | None = None,
) -> None:
    """Run until told to stop, or until our starter has ended; `address` is written once requests are taken, and `ready` is
    called with the URL."""
    if lifeline is not None:
        when_cut(lifeline, lambda: setattr(app_server, "should_exit", True))
    task = asyncio.create_task(app_server.serve(sockets=sockets))
    while not app_server.started and not task.done():
        await asyncio.sleep(0.02)
    host, port = sockets[0].getsockname()
    if app_server.started:
        partial = address.with_suffix(".partial")
        partial.write_text(json.dumps({"url": f"http://{host}:{port}", "pid": os.getpid()}))
        partial.replace(address)
        ready(f"http://{host}:{port}")
    await task


def run(
    problem: Path,
    campaign: Path,
    *,
    policy: str = DEFAULT_POLICY,
    port: int = 0,
    paths: list[Path],
    ready: Callable[[str], None] = lambda url: None,
    lifeline: int | None = None,
) -> None:
    """Serve a campaign until SIGTERM or SIGINT.

    Raises:
        Misconfigured: see `create_app`.
    """
    app = create_app(problem, campaign, policy=policy)
    _allow_connections()
    config = uvicorn.Config(
        app,
        http=Patient,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
    )
    address = campaign / "server" / "address.json"
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(uvicorn.Server(config), listen(port, paths), address, ready, lifeline))


def _allow_connections() -> None:
    """As many open connections as the system lets us have: an idle one costs a file and no thread."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problem", type=Path, required=True, help="a published problem's folder")
    parser.add_argument("--campaign", type=Path, required=True, help="the campaign's folder")
    parser.add_argument("--policy", default=DEFAULT_POLICY, help="what a submitter is told about a score")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--socket", type=Path, action="append", default=[], help="a unix socket to listen on as well")
    parser.add_argument("--lifeline", type=int, help="a file descriptor: end when it does")
    a = parser.parse_args()
    run(a.problem, a.campaign, policy=a.policy, port=a.port, paths=a.socket, lifeline=a.lifeline)


if __name__ == "__main__":
    main()
