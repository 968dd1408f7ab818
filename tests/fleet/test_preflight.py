"""What is wrong with a campaign is said before anything is set up for it, and leaves no campaign behind."""

import json
import os
import subprocess
import sys

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.records import validated
from aarlab.fleet.campaign import Campaign, begun, load
from aarlab.fleet.preflight import IDLE_BYTES, require

AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]
OWN = """
from aarlab.researchers.researcher import RESEARCHERS

@RESEARCHERS.add("{name}")
class Own:
    def __init__(self, options):
        self.options = options

    def require(self):
        pass
"""


def campaign(**fields) -> Campaign:
    return validated(Campaign, {"problem": "generated-chat", "student": "double"} | fields, "test")


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"problem": "poetry"}, "no problem named 'poetry'"),
        ({"problem": "/no/such/items.jsonl"}, "no file /no/such/items.jsonl"),
        ({"student": "qwem"}, "no preset 'qwem'. Known: qwen"),
        ({"kind": "claud_code"}, "Known: claude_code, command, scripted, search"),
        ({"kind": "claude_code"}, "need ANTHROPIC_API_KEY"),
        ({"kind": "scripted", "model": "claude-opus-99"}, "price of 'claude-opus-99' is unknown"),
        ({"kind": "command"}, "need a command: a preset's name"),
        ({"kind": "command", "command": "cloude"}, "Known: claude, codex, gemini"),
        ({"kind": "command", "command": {"argv": ["no-such-agent"]}}, "no program 'no-such-agent'"),
        ({"kind": "command", "command": {"argv": ["ls", "{promt}"]}}, "Did you mean '{prompt}'?"),
        ({"kind": "/no/such/mine.py"}, "no file /no/such/mine.py"),
        ({"directions": "/no/such/own.yaml"}, "Cannot read the directions /no/such/own.yaml"),
        ({"kind": "scripted", "limits": {"memory_gib": 0.1}}, "limits.memory_gib: 0.1 GiB is less than an idle scripted takes"),
        ({"limits": {"disk_gib": 0.0001}}, "limits.disk_gib: 0.0001 GiB holds no file"),
    ],
)
def test_each_slip_is_named(fields, words):
    with pytest.raises(Misconfigured) as caught:
        require(campaign(**fields))
    assert words in str(caught.value)


def test_a_campaign_takes_no_screening_tier_and_no_second_draw_of_a_file(tmp_path):
    screened = tmp_path / "screened.yaml"
    models = "weak: {name: w, folder: w}, strong: {name: s, folder: s}"
    screened.write_text("{name: t, " + models + ", recipe: {screen_layers: 2}}")
    with pytest.raises(Misconfigured, match="never enters a leaderboard"):
        require(campaign(student=str(screened)))
    items = tmp_path / "mine.jsonl"
    rows = [(split, label) for split in ("teacher", "student", "feedback", "final") for label in (0, 1)]
    lines = [{"question": f"{s}?", "choice": f"{s} {n}", "label": n, "split": s} for s, n in rows]
    items.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(Misconfigured, match="Set confirm_on_fresh: false"):
        require(campaign(problem=str(items)))
    require(campaign(problem=str(items), confirm_on_fresh=False))


def test_what_lacks_nothing_passes(monkeypatch):
    require(campaign())
    require(campaign(kind="scripted", limits={"memory_gib": 1.01 * IDLE_BYTES["scripted"] / 2**30}))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-never-sent")
    require(campaign(kind="claude_code"))
    require(campaign(kind="command", command={"argv": ["ls", "{prompt}", "awk '{print}'", '{"json": {}}']}))
    with pytest.raises(Misconfigured, match=r"at anthropic"):
        require(campaign(kind="claude_code", model="gpt-5"))


def test_a_kind_of_the_operators_own_is_a_file_and_needs_no_key(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN.format(name="own of this test"))
    require(campaign(kind=str(path)))
    require(campaign(kind=str(path)))  # it registers once
    (tmp_path / "none.py").write_text("")
    with pytest.raises(Misconfigured, match="registers no kind of researcher"):
        require(campaign(kind=str(tmp_path / "none.py")))
    (tmp_path / "two.py").write_text(OWN.format(name="first of two") + OWN.format(name="second of two"))
    with pytest.raises(Misconfigured, match="registers first of two, second of two"):
        require(campaign(kind=str(tmp_path / "two.py")))


def test_a_slip_leaves_no_campaign_behind_that_refuses_to_be_mended(tmp_path):
    path = tmp_path / "c.yaml"
    env = os.environ | {"AAR_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
    path.write_text("{name: slip, problem: generated-chat, student: double, kind: serch}")
    done = subprocess.run([*AAR, "run", str(path)], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "no researcher kind named 'serch'" in done.stderr
    assert not (tmp_path / "home" / "campaigns").exists()


def test_files_that_a_campaign_names_lie_beside_it_and_it_goes_on_from_anywhere(tmp_path, monkeypatch):
    path = tmp_path / "c.yaml"
    path.write_text(
        "{name: a, directions: own.yaml, script: /elsewhere/s.yaml, kind: mine.py, problem: my.jsonl, student: my.yaml}"
    )
    found = load(path)
    assert (found.problem, found.student) == (f"{tmp_path}/my.jsonl", f"{tmp_path}/my.yaml")
    assert (found.directions, found.script, found.kind) == (f"{tmp_path}/own.yaml", "/elsewhere/s.yaml", f"{tmp_path}/mine.py")
    found.save(tmp_path / "campaigns" / "a")
    monkeypatch.chdir("/")
    assert begun(tmp_path / "campaigns", "a") == found
    with pytest.raises(Misconfigured, match=r"no campaign 'b'.*There are: a\."):
        begun(tmp_path / "campaigns", "b")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"campaing_budget": {"usd": 3}}, "campaing_budget: unknown field, did you mean campaign_budget?"),
        ({"budget": {"dollars": 3}}, "budget.dollars: unknown field, there are hours, tokens, usd, cpu_hours"),
        ({"limits": {"memory": 3}}, "limits.memory: unknown field, did you mean memory_gib?"),
        ({"budget": {"usd": -3}}, "budget.usd: Input should be greater than 0."),
        ({"command": {"args": ["x"]}}, "command.CommandTemplate.args: unknown field"),
    ],
)
def test_a_misspelled_field_answers_with_the_fields_of_its_own_record(fields, words):
    with pytest.raises(Misconfigured) as caught:
        campaign(**fields)
    assert words in str(caught.value)
