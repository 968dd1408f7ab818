"""Kind `claude_code`: Anthropic's Claude Code CLI, as claude-agent-sdk brings it, unattended and
with the lab's tools.

Kind `scripted`: the same, driven by a model API that plays a script (`scripted_api`).
"""

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import BriefFolder
from aarlab.researchers.bridge_config import bridge_server
from aarlab.researchers.researcher import (
    RESEARCHERS,
    Brief,
    Ended,
    EndedBefore,
    IncarnationStart,
    Inside,
    Launch,
    Options,
)
from aarlab.researchers.script import default_script, load_script
from aarlab.sandbox.sandbox import Mount

BUILT_IN = "Bash,Read,Edit,Write,Glob,Grep"
GO_ON = "Continue your research from where you stopped."
NOTES: dict[EndedBefore, str] = {
    "again": "Your turn had ended.",
    "crashed": (
        "You were interrupted: your program ended unexpectedly. A running command did not finish."
    ),
    "outage": (
        "You were interrupted: the lab or the model could not be reached. This was not your fault."
    ),
    "refused": (
        "This is not your first session: the model API refused to go on with the one before, so it "
        "was left. What you did then is in your home folder and in the lab: look there first."
    ),
}
OUTAGE_STATUS = (408, 429, *range(500, 600))
SETTINGS = {"cleanupPeriodDays": 3650, "includeCoAuthoredBy": False}
ENV = {
    "ANTHROPIC_BASE_URL": "{gate}",
    "ANTHROPIC_API_KEY": "the-gateway-puts-it-in",
    "ENABLE_TOOL_SEARCH": "false",  # all tools are named in the first request
    "CLAUDE_CODE_RETRY_WATCHDOG": "1",  # 429 and 529 are waited out for ever
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    # no first turn without the lab's tools on a busy machine
    "MCP_CONNECTION_NONBLOCKING": "false",
    "MCP_TIMEOUT": "300000",
    "MCP_CONNECT_TIMEOUT_MS": "300000",
    "MCP_TOOL_TIMEOUT": "600000",
    "BASH_DEFAULT_TIMEOUT_MS": "600000",
    "BASH_MAX_TIMEOUT_MS": "7200000",
}
MODEL_NAMES = (
    "ANTHROPIC_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)


def bundled_cli() -> Path:
    """The CLI in the wheel of claude-agent-sdk.

    Raises:
        Misconfigured: it is not installed.
    """
    found = importlib.util.find_spec("claude_agent_sdk")
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (cli := Path(folder) / "_bundled" / "claude").is_file():
            return cli
    raise Misconfigured(
        "Researchers of kind claude_code need the Claude Code CLI. Install it: pip install "
        "'aarlab[claude]'."
    )


class ClaudeCode:
    """See the module's docstring."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def require(self) -> None:
        """Raises Misconfigured if the CLI is missing. The gateway checks the API key."""
        bundled_cli()

    def mounts(self) -> tuple[Mount, ...]:
        """The CLI."""
        return (Mount(bundled_cli(), str(bundled_cli())),)

    def prepare(self, folder: Path, brief: Brief) -> None:
        """The prompts, and the configuration of the lab's tools."""
        made = write_brief(folder, brief)
        made.settings.write_text(json.dumps(SETTINGS))

    def launch(self, inside: Inside, start: IncarnationStart) -> Launch:
        """The CLI in print mode; `claude_session` decides whether to begin or to resume the
        session."""
        brief = Path(inside.brief)
        files = BriefFolder(brief)
        session = (
            "--session",
            start.session,
            "--first",
            str(files.prompt),
            "--again",
            str(files.go_on),
        )
        note = ("--note", NOTES.get(start.ended, "")) if start.ended else ()
        limits = ("--max-turns", str(self._options.max_turns)) if self._options.max_turns else ()
        cli = (
            str(bundled_cli()),
            "-p",
            *("--output-format", "stream-json", "--verbose"),
            *("--model", self._options.model, *limits),
            *("--permission-mode", "bypassPermissions", "--tools", BUILT_IN),
            *("--setting-sources", "", "--settings", str(files.settings)),
            *("--mcp-config", str(files.mcp), "--strict-mcp-config"),
        )
        module = (sys.executable, "-m", "aarlab.researchers.claude_session", *session, *note, "--")
        return Launch(argv=(*module, *cli), env=self._env(inside))

    def _env(self, inside: Inside) -> dict[str, str]:
        named = dict.fromkeys(MODEL_NAMES, self._options.model)
        return {**ENV, **named, **inside_env(inside)}

    def ended(self, returncode: int, tail: str) -> Ended:
        """From the last lines of `--output-format stream-json`."""
        events = list(_events(tail))
        result = next((e for e in reversed(events) if e.get("type") == "result"), None)
        init = next((e for e in reversed(events) if e.get("subtype") == "init"), {})
        servers = init.get("mcp_servers")
        if isinstance(servers, list) and any(
            isinstance(s, dict) and s.get("status") == "failed" for s in servers
        ):
            return "outage"  # the CLI would continue without the lab's tools
        if result is None:
            return "crashed"
        status = result.get("api_error_status")
        if status == 402:
            return "spent"
        if status in OUTAGE_STATUS or (
            result.get("terminal_reason") == "api_error" and status is None
        ):
            return "outage"
        return (
            "crashed"
            if result.get("terminal_reason") == "api_error" or returncode not in (0, 1)
            else "again"
        )


class Scripted(ClaudeCode):
    """Claude Code driven by a scripted model API, which the fleet starts with `Options.script`."""

    def require(self) -> None:
        """Raises Misconfigured if the CLI is missing or the script cannot be read."""
        super().require()
        load_script(Path(self._options.script) if self._options.script else default_script())


RESEARCHERS.add("claude_code")(ClaudeCode)
RESEARCHERS.add("scripted")(Scripted)


def write_brief(folder: Path, brief: Brief) -> BriefFolder:
    """What any agent CLI is given: the brief, the two prompts, and an MCP configuration in the
    usual form."""
    made = BriefFolder(folder)
    made.brief.write_text(brief.model_dump_json(indent=1))
    made.prompt.write_text(brief.prompt or brief.direction)
    made.go_on.write_text(brief.go_on or GO_ON)
    made.mcp.write_text(json.dumps({"mcpServers": bridge_server()}, indent=1))
    return made


def inside_env(inside: Inside) -> dict[str, str]:
    """Environment of a program in the sandbox: home, lab socket, data, and `python` and `aar` on
    PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
    return {
        "HOME": inside.home,
        "AAR_GATE_SOCKET": inside.socket,
        "LAB_DATA": inside.data,
        "PATH": path,
    }


def _events(tail: str) -> Iterator[dict[str, Any]]:
    for line in tail.splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):  # the first line of a tail is cut
            continue
        if isinstance(event, dict):
            yield event
