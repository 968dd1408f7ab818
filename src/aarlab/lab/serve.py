"""`python -m aarlab.lab.serve`: the lab's process. It serves REST and MCP on sockets that its
starter made, holds no label and no file of its own, and asks the evaluator's process for what it
does not know."""

import argparse
import asyncio
import contextlib
import socket
from pathlib import Path

import uvicorn

from aarlab.core.evaluator_socket import Address, ServingLimits
from aarlab.core.http import allow_connections, configured, prefer_event_loop, serve
from aarlab.core.os_errors import exits_with_message
from aarlab.core.parent_pipe import when_parent_ends
from aarlab.lab.app import create_app
from aarlab.lab.evaluator_client import EvaluatorClient

# for requests in work at the end; for a connection between two requests
STOP_S, KEEP_ALIVE_S = 5, 15


async def run(
    evaluator: Path, sockets: list[socket.socket], parent_pipe: int | None = None
) -> None:
    """Run until asked to stop, or until our starter has ended. The evaluator is informed where we
    are once requests are taken."""
    import aarlab.lab.mcp_tools  # noqa: F401 - takes about as long as the evaluator's start

    client = EvaluatorClient(evaluator)
    asking = asyncio.create_task(client.first("limits"))
    if parent_pipe is not None:
        when_parent_ends(parent_pipe, asking.cancel)
    limits = await asking
    assert isinstance(limits, ServingLimits)
    config = configured(
        create_app(client, limits), lifespan=True, keep_alive_s=KEEP_ALIVE_S, stop_s=STOP_S
    )
    await serve(
        uvicorn.Server(config),
        sockets,
        lambda url: client.first("serving", Address(url=url)),
        parent_pipe,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--evaluator", type=Path, required=True, help="the unix socket of the evaluator's process"
    )
    parser.add_argument(
        "--listening",
        type=int,
        nargs="+",
        required=True,
        help="file descriptors of sockets; TCP first",
    )
    parser.add_argument("--parent-pipe", type=int, help="a file descriptor: end when it does")
    a = parser.parse_args()
    allow_connections()
    prefer_event_loop()
    sockets = [socket.socket(fileno=fd) for fd in a.listening]
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError), exits_with_message():
        asyncio.run(run(a.evaluator, sockets, a.parent_pipe))


if __name__ == "__main__":
    main()
