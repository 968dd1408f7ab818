"""The lab's tools for agents, over MCP. Each is one call of the evaluator or the forum, as the token's owner."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import AnyHttpUrl, ValidationError

from aarlab.core.errors import AarError, Unauthorised
from aarlab.core.records import Family, FindingKind
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.leaderboard import told_board
from aarlab.forum.forum import Forum
from aarlab.server.identity import Tokens


class _Verifier:
    """Bearer tokens for the MCP side, from the same list as the HTTP side's."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            identity = self._tokens.who(f"Bearer {token}")
        except Unauthorised:
            return None
        return AccessToken(token=token, client_id=identity.name, scopes=["lab"])


def seconds_left(budget: Path) -> float | None:
    """Seconds until the campaign's deadline, 0 when it has passed, None where there is none."""
    if not budget.exists():
        return None
    deadline = datetime.fromisoformat(json.loads(budget.read_text())["deadline"])
    return max(0.0, round((deadline - datetime.now(UTC)).total_seconds(), 1))


def make_tools(evaluator: Evaluator, forum: Forum, tokens: Tokens, card: Path) -> MCPServer:
    """The MCP server with all tools of a researcher."""
    url = AnyHttpUrl("http://127.0.0.1")
    settings = AuthSettings(issuer_url=url, resource_server_url=None, required_scopes=["lab"])
    server = MCPServer("aarlab", token_verifier=_Verifier(tokens), auth=settings, subscriptions=False)
    _evaluation_tools(server, evaluator, card)
    _forum_tools(server, forum)
    return server


def _me() -> str:
    """The name that the caller's token stands for."""
    token = get_access_token()
    if token is None:
        raise ToolError("No token came with this call.")
    return token.client_id


def _evaluation_tools(server: MCPServer, evaluator: Evaluator, card: Path) -> None:
    @server.tool()
    def get_problem() -> dict[str, Any]:
        """What the problem is, which splits it has and how large they are."""
        return json.loads(card.read_text())

    @server.tool()
    def commit_code(files: dict[str, str], family: Family) -> dict[str, Any]:
        """Upload code ({path: text}; method.py defines run(task, seed)). Answers with its hash and the five seeds on which
        to run it: seeds are issued once the code is fixed."""
        return _told(lambda: evaluator.commit_code(_me(), files, family))

    @server.tool()
    def submit_predictions(snapshot: str, family: Family, predictions: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Submit answers {seed: {feedback item id: 0 or 1}} on the five issued seeds. Unlimited. Answers with a receipt."""
        return _told(lambda: evaluator.submit(_me(), snapshot, predictions, family).model_dump(mode="json"))

    @server.tool()
    def download_code(snapshot: str) -> dict[str, Any]:
        """The files of a snapshot, anybody's."""
        return _told(lambda: {"files": evaluator.code(snapshot)})

    @server.tool()
    def leaderboard(page: int = 0) -> dict[str, Any]:
        """Improvements that the evaluator has told, best first, 20 a page. Levels are provisional."""
        return {"rows": told_board(evaluator, max(0, page))}

    @server.tool()
    def my_budget() -> dict[str, Any]:
        """Seconds left to the campaign (null: no limit), and how many submissions you have made."""
        who = _me()
        mine = sum(e.who == who for e in evaluator.ledger.entries("submission"))
        return {"seconds_left": seconds_left(evaluator.folder / "budget.json"), "submissions": mine}


def _forum_tools(server: MCPServer, forum: Forum) -> None:
    @server.tool()
    def share_finding(
        kind: FindingKind,
        title: str,
        text: str,
        family: Family,
        receipts: list[str],
        snapshot: str | None = None,
        parent: str | None = None,
    ) -> dict[str, Any]:
        """Post to the forum: a result, hypothesis, insight or error. Cite receipts instead of typing figures."""
        given = {"kind": kind, "title": title, "text": text, "family": family, "receipts": receipts}
        return _told(lambda: forum.share(_me(), snapshot=snapshot, parent=parent, **given).model_dump(mode="json"))

    @server.tool()
    def list_findings(after: int = 0, limit: int = 20) -> dict[str, Any]:
        """Findings with a number above `after`, oldest first."""
        return {"findings": [f.model_dump(mode="json") for f in forum.since(after, limit)]}

    @server.tool()
    def read_finding(finding: str) -> dict[str, Any]:
        """One finding by id."""
        return _told(lambda: forum.read(finding).model_dump(mode="json"))

    @server.tool()
    def search_findings(query: str) -> dict[str, Any]:
        """The latest findings that contain every word of the query."""
        return {"findings": [f.model_dump(mode="json") for f in forum.search(query)]}


def _told(act: Any) -> dict[str, Any]:
    """Our errors' words reach the agent; any other error is masked by the SDK."""
    try:
        return act()
    except ValidationError as error:
        raise ToolError("; ".join(f"{e['loc']}: {e['msg']}" for e in error.errors())) from error
    except AarError as error:
        raise ToolError(str(error)) from error
