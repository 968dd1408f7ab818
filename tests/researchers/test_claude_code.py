"""The real Claude Code CLI, driven by the scripted model API through `inside` and the bridge to a real server."""


import pytest

from aarlab.researchers.script import default_script
from tests.researchers.world import World

pytest.importorskip("claude_agent_sdk", reason="the CLI comes with pip install 'aarlab[claude]'")
LAB = "mcp__lab__"
WHOLE = [LAB + "list_findings", LAB + "my_budget", "Bash", LAB + "commit_code", "Bash"]
WHOLE += [LAB + "submit_predictions", LAB + "share_finding"]


def test_from_the_forum_to_a_shared_finding_and_another_in_the_next_life(bed, tmp_path):
    with World(bed, tmp_path, default_script()) as world:
        assert world.live() == (0, "again")
        assert world.calls() == WHOLE
        assert world.submissions() == 1
        found = world.findings()
        assert [f["author"] for f in found] == ["ann"]
        assert found[0]["receipts"]
        assert world.live("again") == (0, "again")
        assert world.submissions() == 2
        assert world.findings()[1]["title"].endswith("try 1")
        begun = next(e for e in world.events(2) if e.get("subtype") == "init")
        assert begun["session_id"] == world.session
        assert {s["name"]: s["status"] for s in begun["mcp_servers"]} == {"lab": "connected"}
