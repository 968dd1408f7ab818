"""A real server process under attack, and raw requests to it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from aarlab.core.layout import CampaignFolder
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.redteam.on_evaluator import Answers, bits, same_seeds
from aarlab.redteam.system import write_problem

API, POLICY = "/api/v1", "default"
MCP = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


class Served:
    """A server process on a problem: the operator's client of it (`http`), and others'. To be
    closed by `with`."""

    def __init__(self, process: EvaluatorProcess) -> None:
        self.call, server = process.call, CampaignFolder(process.campaign).server
        address = json.loads(server.address.read_text())
        self.url, self.pid = address["url"], address["pid"]
        self.http = self.client(server.operator_token.read_text().strip())

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *exc: object) -> None:
        self.http.close()

    def token(self, name: str, **more: Any) -> str:
        """A new token of a name."""
        return self.call("issue_token", {"name": name, **more})["token"]

    def client(self, token: str | None) -> httpx.Client:
        """Whoever holds that token, or nobody."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def entries(self) -> dict[str, int]:
        """How many entries of each kind the ledger has."""
        return self.call("ledger_summary")["by_kind"]


@contextmanager
def served(folder: Path, labels_M: Answers) -> Iterator[Served]:
    """A server on new labels in a folder of its own."""
    problem = write_problem(folder / "problem", labels_M)
    with (
        EvaluatorProcess(problem, same_seeds(folder), policy=POLICY, sockets=[]) as process,
        Served(process) as server,
    ):
        yield server


def commit(client: httpx.Client, text: str = "# eve") -> dict[str, Any]:
    """A snapshot and its seeds."""
    return client.post(f"{API}/code", json={"files": {"method.py": text}, "family": "other"}).json()


def body(code: dict[str, Any], answers_M: Answers) -> dict[str, Any]:
    """A submission of the same answers on every seed."""
    row = bits(answers_M)
    return {
        "snapshot": code["snapshot"],
        "family": "other",
        "predictions": {str(s): row for s in code["seeds"]},
    }


def tool(client: httpx.Client, name: str, arguments: dict[str, Any]) -> httpx.Response:
    """One call of an MCP tool, raw."""
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": name, "arguments": arguments},
    }
    return client.post("/mcp", json=call, headers=MCP)
