"""`python -m aarlab.researchers.bridge --socket S`: the lab's tools for an agent, as an MCP server on stdin and stdout.

Its tools take paths of files, so that code and answers do not pass through the model's context. `aar lab` has the same.
"""

import argparse
import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from aarlab.core.errors import AarError
from aarlab.core.settings import gate_socket
from aarlab.researchers.bridge_config import SERVER
from aarlab.researchers.lab import Lab
from aarlab.researchers.lab_tools import LabTools

TOOLS = (
    "get_problem",
    "commit_code",
    "submit_predictions",
    "submit_code",
    "read_receipt",
    "share_finding",
    "list_findings",
    "search_findings",
    "similar_ideas",
    "read_finding",
    "download_code",
    "leaderboard",
    "my_budget",
    "bits_released",
)


def server_of(tools: LabTools) -> MCPServer:
    """The MCP server of one researcher's tools."""
    server = MCPServer(SERVER, subscriptions=False, log_level="WARNING")
    for name in TOOLS:
        tool = getattr(tools, name)
        server.tool(description=inspect.getdoc(tool), structured_output=False)(_told(tool))
    return server


def _told(act: Callable[..., str]) -> Callable[..., str]:
    """The same tool, whose refusals are words for the agent. Any other error is a bug, and is masked by the SDK."""

    @functools.wraps(act)
    def tool(*args: object, **fields: object) -> str:
        try:
            return act(*args, **fields)
        except AarError as error:
            raise ToolError(f"{error} ({error.whose_move})") from error

    return tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, default=gate_socket(), help="the lab's unix socket")
    parser.add_argument("--home", type=Path, help="paths are taken relative to this folder; the working directory if not given")
    a = parser.parse_args()
    if a.home:
        os.chdir(a.home)
    server_of(LabTools(Lab(a.socket))).run("stdio")


if __name__ == "__main__":
    main()
