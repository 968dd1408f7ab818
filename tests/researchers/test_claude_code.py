"""The real Claude Code CLI, driven by the scripted model API through `inside` and the bridge to a
real server."""

import json
import os
import signal
from pathlib import Path

import pytest

from aarlab.researchers.claude_code import bundled_cli
from aarlab.researchers.command import preset
from aarlab.researchers.researcher import Options
from aarlab.researchers.script import default_script
from tests.researchers.gate import CUT
from tests.researchers.world import World
from tests.waiting import waited_for

pytest.importorskip("claude_agent_sdk", reason="the CLI comes with pip install 'aarlab[claude]'")
# real processes, on a machine that may be busy
pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]
LAB = "mcp__lab__"
WHOLE = [LAB + "list_findings", LAB + "my_budget", "Bash", LAB + "commit_code", "Bash"]
WHOLE += [LAB + "submit_predictions", LAB + "share_finding"]


@pytest.mark.long
def test_agent_reads_forum_and_shares_findings_across_restarts(bed, tmp_path):
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


def call(tool: str, **given) -> dict:
    return {"tool": tool, "input": given}


def bash(command: str) -> dict:
    return call("Bash", command=command, description="a command")


SHARE = call(
    LAB + "share_finding",
    kind="insight",
    title="<<word>>",
    family="other",
    text="from turn <<turn>>",
)


def pid_in(path: Path) -> int:
    return int(waited_for(lambda: path.exists() and path.read_text().strip()))


@pytest.mark.long
def test_killed_session_resumes_and_repeats_the_cut_action(bed, tmp_path):
    """SIGKILL to the CLI in the middle of a command: no process of it stays, and the session goes
    on."""
    command = (
        "echo $$ > pid; if [ -e again ]; then echo word: done; else touch again; sleep 97 & wait; "
        "fi"
    )
    turns = [{"calls": [bash(command)]}, {"calls": [SHARE]}, {"say": "That is all."}]
    with World(bed, tmp_path, {"turns": turns, "find": {"word": "word: (\\w+)"}}) as world:
        process = world.begin()
        shell = pid_in(world.home / "pid")
        [cli] = [
            int(p)
            for p in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        ]
        os.kill(cli, signal.SIGKILL)
        assert process.wait(30) == 137
        process.stdin.close()
        assert not Path(f"/proc/{shell}").exists()
        assert world.how(137) == "crashed"
        assert world.live("crashed") == (0, "again")
        assert [f["title"] for f in world.findings()] == ["done"]
        assert world.calls(2) == ["Bash", LAB + "share_finding"]
        said = (
            next((world.home / ".claude" / "projects").glob(f"*/{world.session}.jsonl"))
        ).read_text()
        assert "You were interrupted" in said
        assert said.count("You are ann. Begin.") >= 1


@pytest.mark.long
def test_an_incarnation_that_is_asked_to_stop_ends_in_order_and_is_resumed(bed, tmp_path):
    turns = [{"calls": [bash("echo $$ > pid; sleep 96 & wait")]}, {"say": "That is all."}]
    with World(bed, tmp_path, {"turns": turns}) as world:
        process = world.begin()
        shell = pid_in(world.home / "pid")
        process.stdin.close()
        assert process.wait(30) == 0
        # on a busy machine the CLI may end before it has said how
        assert world.how(0) in {"again", "crashed"}, world.log(1).read_text()[-3000:]
        assert not Path(f"/proc/{shell}").exists()


@pytest.mark.long
def test_an_incarnation_that_was_killed_before_it_began_is_begun(bed, tmp_path):
    """A file of the session without a message can be neither resumed nor begun: it is put aside."""
    with World(bed, tmp_path, {"turns": [{"say": "Here I am."}]}) as world:
        projects = world.home / ".claude" / "projects" / "-x"
        projects.mkdir(parents=True)
        (projects / f"{world.session}.jsonl").write_text('{"type":"queue-operation"}\n{"type":"us')
        assert world.live("crashed") == (0, "again")
        assert (
            "You are ann. Begin."
            in next(world.home.glob(f".claude/projects/*/{world.session}.jsonl")).read_text()
        )


STORM = [
    {"turn": 0, "status": 429, "retry_after_s": 1},
    {"turn": 0, "status": 529, "times": 2},
    {"turn": 1, "status": 500},
    {"turn": 1, "kind": "cut"},
    {"turn": 2, "kind": "hang", "seconds": 60},
]


@pytest.mark.long
def test_a_storm_is_waited_out(bed, tmp_path):
    """429, 529, 500, a stream that is cut, a hang: the CLI's own retries bring it through, and
    nothing is done twice."""
    turns = [
        {"calls": [bash("echo x >> did")]},
        {"calls": [SHARE]},
        {"say": "Through. " + "x" * 900},
    ]
    script = {"turns": turns, "faults": STORM, "find": {"word": "(\\w+)"}}
    with World(bed, tmp_path, script) as world:
        assert world.live(API_TIMEOUT_MS="3000") == (0, "again")
        assert (world.home / "did").read_text() == "x\n"
        assert len(world.findings()) == 1
        retried = {e.get("error_status") for e in world.events() if e.get("subtype") == "api_retry"}
        assert {429, 529, 500} <= retried
        assert world.events()[-1]["result"].startswith("Through.")


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "ended"),
    [
        ({"status": 402, "words": "ann: budget of $0.05 is spent"}, "spent"),
        ({"status": 403}, "crashed"),
    ],
)
def test_errors_that_are_not_retried_say_how_the_incarnation_ended(bed, tmp_path, fault, ended):
    with World(
        bed,
        tmp_path,
        {"turns": [{"say": "Never."}], "faults": [fault | {"turn": 0, "times": 1000}]},
    ) as world:
        assert world.live() == (1, ended)
        assert world.events()[-1]["result"]


@pytest.mark.long
def test_a_model_api_that_is_gone_is_an_outage(bed, tmp_path):
    with World(bed, tmp_path, {"turns": [{"say": "Never."}]}) as world:
        world.gate.fault = lambda path: CUT if path.startswith("/v1/") else None
        assert world.live(CLAUDE_CODE_MAX_RETRIES="1") == (1, "outage")


@pytest.mark.long
def test_an_incarnation_without_the_labs_tools_is_an_outage(bed, tmp_path):
    with World(bed, tmp_path, {"turns": [{"say": "I do without."}]}) as world:
        config = json.loads((world.brief / "mcp.json").read_text())
        config["mcpServers"]["lab"]["command"] = "/no/such/python"
        (world.brief / "mcp.json").write_text(json.dumps(config))
        assert world.live() == (0, "outage")


@pytest.mark.long
def test_turns_of_an_incarnation_are_limited_and_it_goes_on(bed, tmp_path):
    turns = [{"calls": [bash(f"echo {n} >> did")]} for n in range(4)]
    with World(bed, tmp_path, {"turns": turns}, options=Options(max_turns=2)) as world:
        assert world.live() == (1, "again")
        assert world.live("again") == (1, "again")
        assert (world.home / "did").read_text() == "0\n1\n2\n3\n"


@pytest.mark.long
def test_another_agent_command_has_the_same_tools_and_is_resumed(bed, tmp_path):
    """The preset `claude`, with the real CLI under that name on the path."""
    template = preset("claude")
    argv, again = (
        (str(bundled_cli()), *words[1:]) for words in (template.argv, template.resume_argv)
    )
    given = template.model_copy(update={"argv": argv, "resume_argv": again})
    script = {
        "turns": [{"calls": [SHARE]}, {"say": "One."}, {"calls": [SHARE]}, {"say": "Two."}],
        "choose": {"word": ["x"]},
    }
    with World(bed, tmp_path, script, kind="command", options=Options(command=given)) as world:
        assert world.live() == (0, "again")
        assert world.live("again") == (0, "again")
        assert [f["text"] for f in world.findings()] == ["from turn 0", "from turn 2"]
        assert world.events(2)[-1]["result"] == "Two."
