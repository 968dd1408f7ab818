"""`aar ls`, `aar stop`, `aar rm`, and flags beside a campaign's file."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from aarlab.cli.main import GROUPS, app
from aarlab.core.budget import Budget, Spent
from aarlab.core.errors import Misconfigured
from aarlab.core.hold import Hold, holder
from aarlab.core.layout import CampaignFolder, Home, ReportFolder
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.campaign_list import state_of
from aarlab.fleet.lease import lease
from aarlab.fleet.state import FleetState

AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]
HOLDS = """
import signal, sys
from pathlib import Path
from aarlab.fleet.lease import lease
from aarlab.fleet.state import FleetState
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with lease(Path(sys.argv[1])):
    print("held", flush=True)
    signal.pause()
"""


@pytest.fixture
def one(tmp_path, monkeypatch):
    """The folder of the campaign `one`, whose fleet was never started."""
    monkeypatch.setenv("AAR_HOME", str(tmp_path))
    folder = Home(tmp_path).campaigns / "one"
    Campaign(name="one", problem="generated-chat").save(folder)
    return folder


def aar(*words):
    done = CliRunner().invoke(app, words)
    if isinstance(done.exception, Misconfigured):
        raise done.exception
    return done.output


def test_every_command_is_in_one_group_of_the_help():
    grouped = [name for names in GROUPS.values() for name in names]
    said = aar("-h")
    assert sorted(grouped) == sorted(app_commands())
    assert "..." not in said.partition("Run:")[2]
    assert all(f"  {name} " in said for name in grouped)


def app_commands():
    from typer.main import get_command

    return get_command(app).commands


def test_campaigns_are_listed_and_the_state_folder_is_said(one):
    said = aar("ls")
    assert f"state: {one.parents[1]}" in said
    assert "no fleet was started" in said
    (row,) = json.loads(aar("ls", "--json"))
    assert (row["name"], row["problem"], row["researchers"]) == ("one", "generated-chat", 9)
    with lease(one):
        assert json.loads(aar("ls", "--json"))[0]["state"].startswith("running (process ")


def test_a_damaged_campaign_hides_no_other(one):
    two = CampaignFolder(one.with_name("two")).settings
    two.parent.mkdir()
    two.write_text("name: [")
    states = {row["name"]: row["state"] for row in json.loads(aar("ls", "--json"))}
    assert states["one"] == "no fleet was started"
    assert states["two"].startswith("damaged: ")
    assert str(two) in states["two"]


def test_a_campaign_that_is_being_set_up_is_listed(one):
    with lease(one.with_name("two")):
        row = next(row for row in json.loads(aar("ls", "--json")) if row["name"] == "two")
        assert row["state"].startswith("being set up (process ")
        assert row["problem"] is None
        assert "being set up" in aar("ls")
    assert "two" not in aar("ls")  # set-up left nothing to resume


def test_a_campaign_that_is_run_is_not_deleted_and_one_that_is_not_is(one):
    with lease(one), pytest.raises(Misconfigured, match="Stop it first"):
        aar("rm", "one", "--yes")
    assert CampaignFolder(one).settings.exists()
    assert aar("rm", "one", "--yes").startswith(f"deleted: {one}")
    assert not one.exists()
    with pytest.raises(Misconfigured, match="no campaign 'one'"):
        aar("rm", "one", "--yes")


@pytest.mark.process
def test_whoever_runs_a_campaign_is_stopped_and_waited_for(one):
    with pytest.raises(Misconfigured, match="Nobody runs the campaign 'one'"):
        aar("stop", "one")
    argv = [sys.executable, "-c", HOLDS, str(one)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert aar("stop", "one").startswith(
            "stopped: one. Nothing is lost; resume with `aar run --resume one`."
        )
        assert holder(CampaignFolder(one).lock) is None
        assert process.wait() == 143


@pytest.mark.long
@pytest.mark.process
def test_a_detached_run_outlives_its_starter_and_writes_what_it_says_to_a_log(tmp_path):
    fields = [f"-s{field}" for field in ("student=double", "problem=generated-chat")]
    argv = [*AAR, "demo", "--name", "one", *fields, "-qd"]
    env = os.environ | {"AAR_HOME": str(tmp_path)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    pid = int(re.match(r"started: one \(process (\d+), output in .*run\.log\)", done.stdout)[1])
    folder = CampaignFolder(Home(tmp_path).campaigns / "one")
    try:
        while "1 testbed\n" not in folder.run_log.read_text():
            os.kill(pid, 0)
            time.sleep(0.05)
        assert os.getsid(pid) == pid
        assert (holder(folder.lock) or "").startswith(f"{pid} ")
    finally:
        os.kill(pid, signal.SIGTERM)
    while holder(folder.lock):
        time.sleep(0.05)
    log = folder.run_log.read_text()
    assert log.startswith(f"state: {tmp_path}\n1 testbed\n")
    assert not folder.settings.exists()
    assert "Stopped. Nothing is lost; it was being set up, so start it by the same command" in log


def test_asking_who_holds_a_lock_keeps_nobody_out(tmp_path):
    path = tmp_path / "lock"
    assert holder(path) is None
    with Hold(path, str):
        assert "started by process" in holder(path)
    assert holder(path) is None


def test_a_resumed_campaign_takes_changed_budgets_and_no_other_problem(one, monkeypatch):
    walked = []
    monkeypatch.setattr(
        "aarlab.cli.run_command._walk", lambda campaign, **_: walked.append(campaign)
    )
    aar("run", "--resume", "one", "--minutes", "3", "-s", "budget={usd: 2}")
    assert (walked[0].minutes, walked[0].budget.usd) == (3.0, 2.0)
    walked[0].require_same(one)
    aar("run", "--resume", "one", "--problem", "small-chat")
    with pytest.raises(Misconfigured, match="begun with problem='generated-chat'"):
        walked[1].require_same(one)


def test_watch_waits_while_a_campaign_is_set_up_and_ends_with_it(tmp_path, monkeypatch):
    monkeypatch.setenv("AAR_HOME", str(tmp_path))
    folder, slept = Home(tmp_path).campaigns / "one", []
    held = lease(folder)

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            held.release()

    monkeypatch.setattr("aarlab.cli.watch.time.sleep", sleep)
    with pytest.raises(Misconfigured, match="no campaign 'one'"):
        aar("watch", "one")
    assert len(slept) == 2


def test_a_campaign_is_finished_once_its_report_is_newer_than_its_fleet(one):
    fleet, report = CampaignFolder(one).fleet, ReportFolder(CampaignFolder(one).report).record
    assert state_of(one) == "no fleet was started"
    FleetState(
        campaign="one",
        at=0.0,
        pid=1,
        ends_at=0.0,
        researcher_budget=Budget(),
        campaign_budget=Budget(),
        spent=Spent(),
        members=(),
        services={},
    ).write(one)
    assert state_of(one) == "stopped: aar run --resume one"
    report.parent.mkdir()
    report.write_text("{}")
    assert state_of(one) == "finished"
    os.utime(fleet, (report.stat().st_mtime + 1,) * 2)
    assert state_of(one).startswith("stopped")
