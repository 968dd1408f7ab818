"""The MCP configuration with which agents start the lab's tools (`bridge`)."""

import sys
from typing import Any

SERVER = "lab"  # the name under which agents know the tools
BRIDGE = ("-m", "aarlab.researchers.bridge")


def bridge_server() -> dict[str, Any]:
    """One entry of an agent's `mcpServers`. The bridge gets the socket's path from the
    environment."""
    socket = "${AAR_GATE_SOCKET:-/run/gate/lab.sock}"
    return {
        SERVER: {"type": "stdio", "command": sys.executable, "args": [*BRIDGE, "--socket", socket]}
    }
