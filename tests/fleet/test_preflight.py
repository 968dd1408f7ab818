"""What is wrong with a campaign is said before anything is set up for it, and leaves no campaign
behind."""

import json
import os
import subprocess
import sys

import pytest
from rich.console import Console

from aarlab.cli.show import Show
from aarlab.core.errors import Misconfigured
from aarlab.core.records import validated
from aarlab.core.settings import Home
from aarlab.fleet.campaign import Campaign, begun, load
from aarlab.fleet.preflight import IDLE_BYTES, require
from aarlab.fleet.prepare import prepared
from aarlab.fleet.run_fleet import asked_before

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


@pytest.mark.process
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"problem": "poetry"}, "no problem named 'poetry'"),
        ({"problem": "/no/such/items.jsonl"}, "no file /no/such/items.jsonl"),
        ({"student": "qwem"}, "no preset 'qwem'. Known: qwen"),
        ({"kind": "claud_code"}, "Known: claude_code, command, scripted, search"),
        ({"kind": "claude_code"}, "need ANTHROPIC_API_KEY"),
        ({"kind": "scripted", "model": "claude-opus-99"}, "price of 'claude-opus-99' is unknown"),
        ({"kind": "command"}, "need options.command"),
        ({"kind": "command", "command": "cloude"}, "Use one of claude, codex, gemini"),
        (
            {"kind": "command", "command": {"argv": ["no-such-agent"]}},
            "The program 'no-such-agent' is not installed",
        ),
        ({"kind": "command", "command": {"argv": ["ls", "{promt}"]}}, "Write '{prompt}'"),
        (
            {"kind": "/no/such/mine.py"},
            "/no/such/mine.py of your own researcher kind cannot be read",
        ),
        ({"policy": "laddr"}, "There is no policy named 'laddr'. Known: "),
        ({"policy": "/no/such/mine.py"}, "/no/such/mine.py of your own policy cannot be read"),
        ({"detectors": ("/no/such/d.py",)}, "/no/such/d.py of your own detector cannot be read"),
        ({"directions": "/no/such/own.yaml"}, "Cannot read the directions /no/such/own.yaml"),
        (
            {"kind": "scripted", "limits": {"memory_gib": 0.1}},
            "limits.memory_gib: 0.1 GiB is less than an idle scripted takes",
        ),
        ({"limits": {"disk_gib": 0.0001}}, "limits.disk_gib: 0.0001 GiB holds no file"),
        ({"store": "mysql://x"}, "store is 'mysql://x'. Give postgresql://"),
        ({"store": "postgresql://u:pw@h/d"}, "store 'postgresql://h/d' holds a password"),
        ({"snapshots": "s3://"}, "Give s3://BUCKET/PREFIX"),
    ],
)
def test_each_slip_is_named(fields, words):
    with pytest.raises(Misconfigured) as caught:
        require(campaign(**fields))
    assert words in str(caught.value)


@pytest.mark.process
def test_all_slips_are_named_at_once_and_each_once():
    with pytest.raises(Misconfigured) as caught:
        require(campaign(problem="poetry", policy="laddr", kind="serch"))
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 things are missing or wrong."
    assert [line.split("'")[1] for line in lines[1:]] == ["poetry", "laddr", "serch"]


@pytest.mark.process
def test_a_campaign_takes_no_second_draw_of_a_file(tmp_path):
    items = tmp_path / "mine.jsonl"
    rows = [
        (split, label) for split in ("teacher", "student", "feedback", "final") for label in (0, 1)
    ]
    lines = [{"question": f"{s}?", "choice": f"{s} {n}", "label": n, "split": s} for s, n in rows]
    items.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(Misconfigured, match="Set confirm_on_fresh: false"):
        require(campaign(problem=str(items)))
    require(campaign(problem=str(items), confirm_on_fresh=False))


@pytest.mark.process
def test_what_lacks_nothing_passes(monkeypatch):
    require(campaign())
    require(campaign(kind="scripted", limits={"memory_gib": 1.01 * IDLE_BYTES["scripted"] / 2**30}))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-never-sent")
    require(campaign(kind="claude_code"))
    require(
        campaign(
            kind="command", command={"argv": ["ls", "{prompt}", "awk '{print}'", '{"json": {}}']}
        )
    )
    with pytest.raises(Misconfigured, match=r"at anthropic"):
        require(campaign(kind="claude_code", model="gpt-5"))


@pytest.mark.process
def test_a_kind_of_the_operators_own_is_a_file_and_needs_no_key(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN.format(name="own of this test"))
    require(campaign(kind=str(path)))
    require(campaign(kind=str(path)))  # it registers once
    (tmp_path / "none.py").write_text("")
    with pytest.raises(Misconfigured, match="registers no researcher kind"):
        require(campaign(kind=str(tmp_path / "none.py")))
    (tmp_path / "two.py").write_text(
        OWN.format(name="first of two") + OWN.format(name="second of two")
    )
    with pytest.raises(Misconfigured, match="registers first of two, second of two"):
        require(campaign(kind=str(tmp_path / "two.py")))


@pytest.mark.process
def test_invalid_campaign_file_leaves_no_campaign_folder(tmp_path):
    path = tmp_path / "c.yaml"
    env = os.environ | {"AAR_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
    path.write_text("{name: slip, problem: generated-chat, student: double, kind: serch}")
    done = subprocess.run(
        [*AAR, "run", str(path)], env=env, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 2
    assert "no researcher kind named 'serch'" in done.stderr
    assert not (tmp_path / "home" / "campaigns").exists()


def test_named_files_are_copied_and_campaign_resumes_from_any_folder(tmp_path, monkeypatch):
    path = tmp_path / "c.yaml"
    path.write_text(
        "{name: a, directions: own.yaml, script: /elsewhere/s.yaml, kind: mine.py, problem: "
        "my.jsonl, student: my.yaml}"
    )
    found = load(path)
    assert (found.problem, found.student) == (f"{tmp_path}/my.jsonl", f"{tmp_path}/my.yaml")
    assert (found.directions, found.script, found.kind) == (
        f"{tmp_path}/own.yaml",
        "/elsewhere/s.yaml",
        f"{tmp_path}/mine.py",
    )
    found.save(tmp_path / "campaigns" / "a")
    monkeypatch.chdir("/")
    assert begun(tmp_path / "campaigns", "a") == found
    with pytest.raises(Misconfigured, match=r"no campaign 'b'.*There are: a\."):
        begun(tmp_path / "campaigns", "b")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"campaing_budget": {"usd": 3}},
            "campaing_budget: unknown field, did you mean campaign_budget?",
        ),
        (
            {"budget": {"dollars": 3}},
            "budget.dollars: unknown field, there are hours, tokens, usd, cpu_hours",
        ),
        ({"limits": {"memory": 3}}, "limits.memory: unknown field, did you mean memory_gib?"),
        ({"budget": {"usd": -3}}, "budget.usd: Input should be greater than 0."),
        ({"command": {"args": ["x"]}}, "command.CommandTemplate.args: unknown field"),
    ],
)
def test_a_misspelled_field_answers_with_the_fields_of_its_own_record(fields, words):
    with pytest.raises(Misconfigured) as caught:
        campaign(**fields)
    assert words in str(caught.value)


@pytest.mark.process
def test_own_items_that_no_campaign_can_use_are_refused_at_once(tmp_path):
    def own(name, splits):
        lines = [
            {"question": f"{s}?", "choice": f"{s} {n}", "label": n, "split": s}
            for s in splits
            for n in (0, 1)
        ]
        (tmp_path / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return campaign(problem=str(tmp_path / name), confirm_on_fresh=False, student="smollm2")

    with pytest.raises(Misconfigured, match="transfer only"):
        require(own("unseen.jsonl", ("teacher", "student", "final")))
    with pytest.raises(Misconfigured, match="Set confirm_on_pair: false"):
        require(own("single.jsonl", ("teacher", "student", "feedback", "final")))


@pytest.mark.slow
def test_a_fleet_is_not_started_where_the_anchors_leave_no_gap(tmp_path):
    """Nothing tells the labels of these items, so that teacher and ceiling are chance."""
    lines = [
        {"question": f"{s} {n}?", "choice": f"{s} {n}", "label": n % 2, "split": s}
        for s in ("teacher", "student", "feedback", "final")
        for n in range(60)
    ]
    (tmp_path / "mine.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    made = campaign(problem=str(tmp_path / "mine.jsonl"), confirm_on_fresh=False)
    with pytest.raises(
        Misconfigured,
        match=r"(?s)the gap is .*PGR says nothing.*Nobody was started or paid.*start_anyway: true",
    ):
        prepared(made, Home(tmp_path / "home"), Show(Console(quiet=True)), starting=True)


def test_a_second_campaign_on_the_same_labels_is_reported_where_its_level_begins():
    board = {"submissions": 0, "level_pgr": 0.43, "released": {"bits": 0.05}}
    assert asked_before(board) is None
    board["released"]["bits"] = 12.34
    assert "the level begins at PGR 0.43" in asked_before(board)
    assert "12.3 bits" in asked_before(board)
    of_folder = asked_before(board | {"combined": True})
    assert "begins at the score 0.43, not at the floor, and 12.3" in of_folder
    assert "PGR" not in of_folder
    assert asked_before(board | {"submissions": 1}) is None
