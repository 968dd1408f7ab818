"""`aar doctor`: what is here is found, what is missing is said with its remedy, keys are never
printed."""

import io
import os
import subprocess
import sys

import pytest
import yaml
from rich.console import Console

from aarlab.cli import doctor
from aarlab.cli.doctor import Check, examine, needs
from aarlab.core.budget import Budget
from aarlab.fleet.campaign import Campaign, ResearcherLimits

AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]
SECRET = "sk-never-to-be-seen"


def reported(checks) -> dict[str, bool | None]:
    return {check.what: check.good for check in checks}


def only(checks, words: str) -> Check:
    found = [check for check in checks if words in check.what]
    assert len(found) == 1
    return found[0]


def aar_doctor(tmp_path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    keep = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    given = keep | {"AAR_HOME": str(tmp_path / "home"), "COLUMNS": "200"} | env
    return subprocess.run(
        [*AAR, "doctor", *words],
        env=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def campaign_file(tmp_path, **fields):
    path = tmp_path / "campaign.yaml"
    path.write_text(yaml.safe_dump({"name": "mine"} | fields))
    return str(path)


@pytest.mark.process
def test_this_machine_can_run_the_demo_and_keys_are_named_and_never_shown(tmp_path):
    done = aar_doctor(tmp_path, ANTHROPIC_API_KEY=SECRET)
    assert done.returncode == 0, done.stdout
    assert "ok      sandbox: this Python runs inside" in done.stdout
    assert "ANTHROPIC_API_KEY is set (only the gateway reads it)" in done.stdout
    assert "note    key of openai: OPENAI_API_KEY is not set" in done.stdout
    assert "price of claude-opus-4-6: $5.00 in, $25.00 out" in done.stdout
    assert "limit on memory" in done.stdout
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.process
@pytest.mark.long
def test_a_campaign_is_examined_as_well(tmp_path):
    done = aar_doctor(tmp_path, "--campaign", campaign_file(tmp_path, kind="search"))
    assert done.returncode == 0, done.stdout
    assert "mine\nok      problem small-chat" in done.stdout
    done = aar_doctor(tmp_path, "--campaign", campaign_file(tmp_path, problem="poetry"))
    assert done.returncode == 1
    assert "MISSING problem poetry: There is no problem named 'poetry'" in done.stdout
    done = aar_doctor(tmp_path, "--campaign", str(tmp_path / "none.yaml"))
    assert (done.returncode, "Cannot read" in done.stderr) == (2, True)


def test_a_key_that_a_campaign_needs_is_asked_for(monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    lacking = only(doctor._models(Campaign(kind="claude_code")), "keys of its model APIs")
    assert (lacking.good, "ANTHROPIC_API_KEY" in lacking.remedy) == (False, True)
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    assert only(doctor._models(Campaign(kind="claude_code")), "keys of its model APIs").good


@pytest.mark.process
def test_each_thing_that_a_campaign_lacks_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("AAR_HOME", str(tmp_path))
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    wanted = Campaign(
        problem="poetry",
        kind="no-such-kind",
        model="no-such-model",
        devices=("/dev/no-such-device",),
        directions=str(tmp_path / "none.yaml"),
        researchers=256,
        limits=ResearcherLimits(memory_gib=64.0, disk_gib=10_000.0),
    )
    found = list(needs(wanted))
    lacking = [check.what for check in found if check.good is False]
    for words in (
        "problem poetry",
        "researchers: no-such-kind",
        "price of no-such-model",
        "device /dev/no-such-device",
        "directions: ",
    ):
        assert any(what.startswith(words) for what in lacking), words
        assert only(found, words).remedy
    assert only(found, "no budget in dollars").good is None
    assert "exceeds the" in only(found, "256 x 64 GiB").what
    assert only(found, "256 x 10000 GiB").good is None


@pytest.mark.process
def test_a_campaign_that_has_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("AAR_HOME", str(tmp_path))
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    wanted = Campaign(
        researchers=2, budget=Budget(usd=5.0), limits=ResearcherLimits(memory_gib=1.0, disk_gib=1.0)
    )
    found = list(needs(wanted))
    assert {check.good for check in found} == {True}
    assert "price of claude-opus-4-6" not in reported(found), "a search calls no model"


def test_memory_is_what_the_kernel_says_and_holds_fewer_large_researchers():
    assert 1 << 28 < doctor.available_bytes() < 1 << 45
    assert doctor.room("search") >= doctor.room("claude_code") >= 0
    few = next(
        c
        for c in doctor._space(Campaign(researchers=1, kind="search"))
        if c.what.startswith("memory: 1 x search")
    )
    assert few.good is True


@pytest.mark.process
@pytest.mark.parametrize(
    "here", ["", "#!/bin/sh\necho 'no daemon\033[31m' >&2; exit 1\n", "#!/bin/sh\necho 27.1\n"]
)
def test_docker_is_asked_and_its_absence_is_a_note(tmp_path, monkeypatch, here):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin" if here else str(tmp_path))
    if here:
        (tmp_path / "docker").write_text(here)
        (tmp_path / "docker").chmod(0o755)
    found = doctor.docker()
    assert found.good is (True if "27.1" in here else None)
    assert "\x1b" not in doctor._line(found).plain


@pytest.mark.process
def test_a_claude_code_that_is_not_there_is_a_note(monkeypatch):
    assert doctor.claude_code().good is True
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert doctor.claude_code().good is None
    assert "aarlab[claude]" in doctor.claude_code().remedy


def test_what_is_missing_makes_the_examination_fail(monkeypatch):
    monkeypatch.setattr(doctor, "demo", lambda: iter([Check(False, "[bold]x", "mend \x1b[31mit")]))
    monkeypatch.setattr(doctor, "agents", lambda: iter([Check(None, "docker")]))
    console = Console(file=io.StringIO(), width=80)
    assert not examine(console)
    assert "MISSING [bold]x: mend it" in console.file.getvalue()
    assert "note    docker" in console.file.getvalue()
