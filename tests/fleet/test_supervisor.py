"""The supervisor on real processes: the server, the gateway, and small programs as researchers."""

import errno
import os
import signal
import threading
import time
from collections import Counter

import pytest

from aarlab.core.budget import Budget
from aarlab.fleet import restarts, supervisor
from aarlab.fleet.device_hours import DeviceHours
from aarlab.fleet.state import read_state
from aarlab.gateway.admission import Reserve
from aarlab.sandbox.output import CappedLog
from tests.fleet.programs import Program, events, quicken, run_fleet

pytestmark = pytest.mark.process

SLEEPS = "import time; print('here', flush=True); time.sleep(600)"
STOPS_WHEN_ASKED = (
    "import time\nprint('here', flush=True)\ntry:\n  while True: time.sleep(0.05)\n"
    "except KeyboardInterrupt: print('in order', flush=True)"
)
PRINTED = 300_000  # characters, more than wait in a pipe
KINDS = {
    "crasher": Program("raise SystemExit(3)", "crashed"),
    "sleeper": Program(SLEEPS, "crashed"),
    "stops when asked": Program(STOPS_WHEN_ASKED, "crashed"),
    "done": Program("pass", "finished"),
    "turns": Program("pass", "again"),
    "outage": Program("pass", "outage"),
    "talker": Program("print('x' * 100)", "again"),
    "spent": Program("pass", "spent"),
    "printer": Program(f"import sys; sys.stdout.write('x' * {PRINTED})", "finished"),
    "mixed": Program(
        "import os; raise SystemExit(int(os.environ['LIFE']) < 3)",
        lambda code, _: "crashed" if code else "finished",
    ),
}


@pytest.fixture
def fleet(bed, tmp_path, monkeypatch):
    """A way to run a fleet: (why it ended, entries of the ledger, its folder)."""
    quicken(monkeypatch)

    def run(kind, **given):
        return *run_fleet(bed, tmp_path / "campaign", KINDS[kind], **given), tmp_path / "campaign"

    return run


@pytest.mark.long
def test_what_was_reported_is_in_the_ledger_before_the_first_incarnation(fleet):
    why, entries, _ = fleet("done", researchers=3)
    assert why == "all have ended"
    assert events(entries) == ["enrolled", "running", "ended: finished", "finished"]
    reported = [e.body["detail"] for e in entries if e.body.get("event") == "enrolled"]
    assert len(set(reported)) == 3
    assert all("Your starting direction" in words for words in reported)
    assert [e.body["detail"][:8] for e in entries if e.body.get("event") == "prompts"] == [
        "SHA-256 "
    ]


@pytest.mark.long
def test_who_crashes_again_and_again_is_given_up(fleet):
    why, entries, folder = fleet("crasher", researchers=1)
    assert why == "all have ended"
    assert events(entries).count("restarted") == restarts.MAX_RESTARTS
    assert events(entries)[-1] == "gave up"
    assert [e.body["returncode"] for e in entries if e.body.get("event") == "ended: crashed"] == [
        3
    ] * 6
    assert read_state(folder).alarms == (
        "researcher-1 gave up after 6 restarts. `aar run --resume t` takes it up again",
    )


class Poisoned(Program):
    """A program whose model calls are refused for the same cause in every incarnation."""

    def __init__(self):
        super().__init__("raise SystemExit(1)", self.refused)
        self.starts, self.parts = [], None

    def begin(self, parts):
        self.parts = parts

    def launch(self, inside, start):
        self.starts.append(start)
        return super().launch(inside, start)

    def refused(self, returncode, tail):
        call = f"toolu_{os.urandom(4).hex()}1"
        words = f"anthropic refuses what was asked (400): no tool_result for {call}"
        self.parts.journal.trouble("researcher-1", "refused", words)
        return "crashed"


def test_a_session_that_is_refused_twice_alike_is_left_for_another_in_the_same_home(
    bed, tmp_path, monkeypatch
):
    quicken(monkeypatch)
    program, folder = Poisoned(), tmp_path / "campaign"
    _, entries = run_fleet(bed, folder, program, before=program.begin, researchers=1)
    sessions = [start.session for start in program.starts]
    assert [sessions.index(one) for one in sessions] == [0, 0, 2, 2, 4, 4]
    assert [start.begun for start in program.starts] == [False, True] * 3
    assert [start.ended for start in program.starts][2::2] == ["refused"] * 2
    (gave_up,) = [e.body["detail"] for e in entries if e.body.get("event") == "gave up"]
    assert "no tool_result" in gave_up
    reported = [
        e.body for e in entries if e.kind == "campaign" and "model calls" in e.body["event"]
    ]
    assert [body["event"] for body in reported] == ["model calls refused"]
    first, second = read_state(folder).alarms
    assert first.startswith("6 model calls of researcher-1 were refused: anthropic refuses what")
    assert "gave up after 6 restarts: its model calls were refused, anthropic refuses" in second


@pytest.mark.long
def test_fleet_wide_crashes_open_the_breaker_uncharged(fleet):
    _, entries, folder = fleet("crasher", seconds=3, researchers=4)
    assert "circuit breaker opened" in [e.body["event"] for e in entries if e.kind == "campaign"]
    state = read_state(folder)
    assert any("circuit breaker" in alarm for alarm in state.alarms)
    assert "gave up" not in {m.state for m in state.members}
    assert max(m.incarnation for m in state.members) <= 2, "nobody is started while it is open"


@pytest.mark.long
def test_a_crash_or_two_is_forgotten(fleet):
    why, entries, _ = fleet("mixed", researchers=1)
    assert why == "all have ended"
    starts = [
        e.body["incarnation"] for e in entries if e.body.get("event") in {"running", "restarted"}
    ]
    assert starts == [1, 2, 3]


def test_who_ends_in_order_without_doing_anything_is_finished(fleet):
    why, entries, _ = fleet("turns", researchers=1)
    assert why == "all have ended"
    assert events(entries).count("ended: again") == restarts.IDLE_INCARNATIONS


def call_that_fails(parts):
    """A call of researcher-1 that the model's API does not answer, as the gateway notes it."""
    went = parts.journal.open(
        "researcher-1", "m", Reserve(1, 0.0), researcher=Budget(), campaign=Budget()
    )
    parts.journal.fail(went.call)


def test_an_outage_ends_nobody_and_costs_no_crash(fleet):
    why, entries, folder = fleet("outage", seconds=2.5, before=call_that_fails, researchers=1)
    assert why == "1.5 minutes are spent"
    assert events(entries)[-1] == "stopped"
    assert read_state(folder).members[0].restarts == 0


@pytest.mark.long
def test_an_outage_that_nobody_else_saw_is_a_crash(fleet):
    """Its last words are its own to write."""
    why, entries, _ = fleet("outage", researchers=1)
    assert why == "all have ended"
    assert events(entries)[-1] == "gave up"


@pytest.mark.long
def test_who_floods_its_transcripts_is_given_up(fleet, monkeypatch):
    monkeypatch.setattr(supervisor, "MOST_TRANSCRIPT_BYTES", 50)
    why, entries, _ = fleet("talker", researchers=1)
    assert why == "all have ended"
    assert events(entries).count("restarted") == 0
    (end,) = [e for e in entries if e.body.get("event") == "gave up"]
    assert "floods" in end.body["detail"]


def test_a_budget_that_the_gateway_refused_ends_it(fleet):
    _, entries, _ = fleet("spent", researchers=1)
    assert events(entries) == ["enrolled", "running", "ended: spent", "spent"]


@pytest.mark.long
def test_one_that_stalls_is_started_again(fleet):
    _, entries, _ = fleet("sleeper", seconds=4, researchers=1, stall_minutes=1 / 60)
    assert "stalled" in events(entries)
    assert events(entries).count("restarted") >= 1


def test_a_full_disk_ends_nobody_and_is_charged_to_nobody(fleet, monkeypatch):
    """What it prints waits for room, longer than it may be quiet."""
    full, shown, write = threading.Event(), [], CappedLog.write
    full.set()

    def written(log, chunk):
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        write(log, chunk)

    def act(state, *_):
        shown.extend(words for words in state.alarms if "cannot be written" in words)
        if len(shown) >= 15:  # 0.1 s each
            full.clear()

    monkeypatch.setattr(CappedLog, "write", written)
    _, entries, folder = fleet("printer", researchers=1, stall_minutes=1 / 60, act=act)
    assert events(entries) == ["enrolled", "running", "ended: finished", "finished"]
    assert shown[0] == (
        "what researcher-1 prints cannot be written (No space left on device): it waits, and "
        "nothing is lost. Make room on this disk"
    )
    (log,) = (folder / "transcripts" / "researcher-1").glob("*.jsonl")
    assert log.read_text() == "x" * PRINTED
    (ended,) = (e.body for e in entries if e.body.get("event") == "ended: finished")
    assert ended["lost_s"] > 0.5


class LastRun:
    """A worker of code whose last run ends after all researchers. `looks` at device hours."""

    def __init__(self, looks):
        self.looks, self.seen = looks, 0

    def step(self, spent):
        pass

    def finish(self, say):
        before = len(self.looks)
        say("all researchers have ended; still run: 1")
        self.seen = len(self.looks) - before


def test_device_hours_are_looked_at_while_the_last_runs_of_code_end(fleet, monkeypatch):
    looks = []
    monkeypatch.setattr(DeviceHours, "look", lambda _, campaign: looks.append(campaign))
    worker = LastRun(looks)
    fleet("done", researchers=1, worker=worker)
    assert worker.seen == 1


@pytest.mark.long
def test_hours_that_are_spent_stop_it_in_order(fleet):
    why, entries, folder = fleet("stops when asked", researchers=1, budget=Budget(hours=1 / 3600))
    assert why == "all have ended"
    assert events(entries)[-1] == "spent"
    assert "in order" in (folder / "transcripts" / "researcher-1" / "001.jsonl").read_text()
    wall_s = sum(e.body["wall_s"] for e in entries if e.kind == "spend")
    assert wall_s >= 1


@pytest.mark.long
def test_the_campaigns_budget_stops_all(fleet):
    why, entries, _ = fleet(
        "stops when asked", researchers=3, campaign_budget=Budget(hours=2 / 3600)
    )
    assert why == "budget of 0.000555556 hours is spent"
    assert all(events(entries, f"researcher-{n}")[-1] == "stopped" for n in (1, 2, 3))


@pytest.mark.long
def test_a_spent_researcher_is_not_started_again_in_the_next_run(fleet):
    fleet("stops when asked", researchers=1, budget=Budget(hours=1 / 3600))
    why, entries, _ = fleet("stops when asked", researchers=1, budget=Budget(hours=1 / 3600))
    assert why == "all have ended"
    assert events(entries).count("running") + events(entries).count("restarted") == 1
    assert events(entries).count("enrolled") == 1


@pytest.mark.long
def test_killed_server_and_gateway_lose_and_double_charge_nothing(fleet):
    killed = []

    def act(state, parts, running):
        for service in (parts.evaluator, parts.gateway):
            if service.name not in killed and all(m.state == "running" for m in state.members):
                killed.append(service.name)
                pid = (service.evaluator if service is parts.evaluator else service).pid
                os.kill(pid, signal.SIGKILL)

    _, entries, folder = fleet("sleeper", seconds=8, act=act, researchers=2)
    assert sorted(killed) == ["gateway", "server"]
    reported = Counter(e.body["event"] for e in entries if e.kind == "campaign")
    assert (
        reported["server is down"]
        == reported["server is back"]
        == reported["gateway is down"]
        == reported["gateway is back"]
        == 1
    )
    ids = [e.body["id"] for e in entries if "id" in e.body]
    assert len(ids) == len(set(ids))
    assert events(entries) == ["enrolled", "running", "stopped"], (
        "the researchers went on meanwhile"
    )
    state = read_state(folder)
    assert len(state.members) == 2
    for one in state.members:
        charged = sum(e.body["wall_s"] for e in entries if e.kind == "spend" and e.who == one.name)
        assert charged == pytest.approx(one.spent.wall_s)
        assert charged < 8, "time in which ours was broken is not charged"


def test_the_state_says_who_does_what(fleet):
    seen = []
    fleet("sleeper", seconds=2, act=lambda state, parts, running: seen.append(state), researchers=2)
    state = next(s for s in seen if all(m.state == "running" for m in s.members))
    assert {m.name for m in state.members} == {"researcher-1", "researcher-2"}
    assert state.services == {"server": "up", "gateway": "up"}
    assert state.pid == os.getpid()
    assert abs(state.at - time.time()) < 60
    assert seen[-1].members[0].state == "stopped"
