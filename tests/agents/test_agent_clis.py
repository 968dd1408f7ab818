"""The real agent CLIs of the presets, each driven by the scripted model API through a session: it
commits code, runs it, submits, shares a finding, is started again and stops at its budget.

`make test-agents` installs them; a program that is not on the path is skipped, and said to be.
"""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.fleet.transcripts import steps_of, transcript_paths
from aarlab.researchers.command import PRESETS, preset
from aarlab.researchers.script import default_script
from tests.faults.test_kill_fleet import entries
from tests.researchers.world import ScriptedApi

pytestmark = [pytest.mark.agents, pytest.mark.process, pytest.mark.timeout(600)]
AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]
OTHER_FORMATS = "tests.researchers.other_formats"
SHELL_ONLY = Path(__file__).with_name("shell_only.yaml")
# preset -> (model, dollars: a session and a part of the next, script)
AGENTS = {
    "claude": ("claude-haiku-4-5", 0.4, None),
    "codex": ("gpt-5-mini", 0.035, None),
    "gemini": ("gemini-2.5-flash", 0.05, None),
    "opencode": ("gpt-5-mini", 0.035, None),
    "mini-swe-agent": ("gpt-5-mini", 0.01, SHELL_ONLY),
}
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY")


@contextmanager
def api(folder: Path, script: Path | None):
    folder.mkdir()
    with ScriptedApi(folder, script or default_script(), OTHER_FORMATS) as started:
        yield started.url


@pytest.fixture(scope="module", params=sorted(AGENTS))
def session(request, module_home, module_bed, tmp_path_factory):
    """(preset, campaign's folder, budget): a campaign of one researcher, run to its end."""
    name = request.param
    if shutil.which(preset(name).argv[0]) is None:
        pytest.skip(f"{preset(name).argv[0]} is not installed: make test-agents")
    model, usd, script = AGENTS[name]
    env = {**os.environ, "AAR_HOME": str(module_home.root), **dict.fromkeys(KEYS, "no-key")}
    with api(tmp_path_factory.mktemp("api") / "of", script) as url:
        given = {
            "problem": "generated-chat",
            "student": "double",
            "kind": "command",
            "command": name,
            "model": model,
            "researchers": 1,
            "minutes": 6,
            "confirm": 1,
            "budget": f"{{usd: {usd}}}",
            "usd_per_researcher_hour": 0.0,
            "providers": f"{{anthropic: {url}, openai: {url}, google: {url}}}",
            "name": name,
        }
        words = [x for key, value in given.items() for x in ("--set", f"{key}={value}")]
        done = subprocess.run(
            [*AAR, "demo", *words], env=env, capture_output=True, text=True, timeout=580
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return name, module_home.root / "campaigns" / name, usd


def test_every_preset_is_driven():
    assert set(AGENTS) == {path.stem for path in PRESETS.glob("*.yaml")}


def test_it_commits_runs_submits_and_shares(session):
    _, folder, _ = session
    assert entries(folder, "code")
    receipts = {e.body["receipt"]["id"] for e in entries(folder, "submission")}
    findings = entries(folder, "finding")
    assert findings
    assert {r for e in findings for r in e.body["receipts"]} <= receipts


def test_it_is_started_again_and_goes_on(session):
    name, folder, _ = session
    assert len(transcript_paths(folder / "transcripts" / "researcher-1")) >= 2
    events = [e.body["event"] for e in entries(folder, "researcher")]
    assert "ended: again" in events
    assert "ended: crashed" not in events
    if (
        preset(name).resume_argv is not None
    ):  # what it did in its first incarnation, it does not do again
        assert len({json.dumps(e.body["snapshot"]) for e in entries(folder, "code")}) == len(
            entries(folder, "code")
        )


def test_it_stops_at_its_budget_to_the_cent(session):
    _, folder, usd = session
    calls = [e.body["usd"] for e in entries(folder, "spend") if e.body.get("call")]
    assert usd <= sum(calls) < usd + max(calls)
    assert entries(folder, "researcher")[-1].body["event"] == "spent"


def test_its_transcript_is_read_as_steps(session):
    name, folder, _ = session
    steps = list(steps_of(transcript_paths(folder / "transcripts" / "researcher-1")[1]))
    if name == "mini-swe-agent":  # it prints for people
        assert any("aar lab submit" in step.text for step in steps)
        return
    calls = [step.words for step in steps if step.kind == "calls"]
    assert any(words.startswith("commit_code") for words in calls)
    assert any("aarlab.runs.execute" in step.text for step in steps if step.kind == "calls")
    assert any("Receipt r-" in step.text for step in steps if step.kind == "gets")


def test_the_record_of_it_holds(session, module_bed):
    _, folder, _ = session
    key = load_key(folder / "checkpoints" / "key.pub")
    assert audit(Files(folder, module_bed.folder), key).faults == ()
