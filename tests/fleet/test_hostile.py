"""What code inside a sandbox, or an unlucky operator, may do to a fleet: it ends no other
researcher and hides no spending."""

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aarlab.core.budget import Budget
from aarlab.core.errors import Misconfigured, Transient
from aarlab.fleet import charging, outbox, service_probe, supervisor, transcripts
from aarlab.fleet.charging import RETRY_S
from aarlab.fleet.code_mode import CodeWorker, EngineRuns
from aarlab.fleet.state import FleetState, read_state
from aarlab.fleet.transcripts import Parser, last_action
from aarlab.gateway import call_health
from aarlab.gateway.journal import Journal
from aarlab.researchers.claude_code import ClaudeCode
from aarlab.researchers.researcher import Options
from aarlab.sandbox import Bubblewrap, Directory, volume
from tests.fleet.programs import Program, events, quicken, run_fleet

fixed = pytest.mark.skipif(
    not volume.possible(), reason="this machine can mount no image; limits_held says so"
)
ODD = (5, True, "x", {"a": 1}, [5], [[1]], 1e400, float("nan"), None, "\ud800", 10**400)
FIELDS = (
    "mcp_servers",
    "model",
    "subtype",
    "api_error_status",
    "terminal_reason",
    "result",
    "is_error",
    "timestamp",
    "message",
)


@pytest.mark.parametrize("kind", ["system", "result", "assistant", "user"])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:12])
def test_no_line_that_a_researcher_prints_is_an_error_of_ours(tmp_path, kind, field, value):
    line = json.dumps({"type": kind, "subtype": "init", field: value})
    (tmp_path / "001.jsonl").write_text(line + "\n")
    assert last_action(tmp_path / "001.jsonl")[1].encode(), (
        "it can be written to a file and a terminal"
    )
    assert ClaudeCode(Options()).ended(0, line) in {"crashed", "again", "outage", "spent"}
    blocks = [
        {"type": t, "text": value, "name": value, "input": value, "content": value}
        for t in ("text", "tool_use")
    ]
    said = json.dumps(
        {
            "type": kind,
            "message": {"id": "m", "content": [*blocks, {"type": "tool_result", "content": value}]},
        }
    )
    assert all(step.text.encode() is not None for step in Parser().steps(said.encode()))


def test_last_action_is_found_by_reading_few_lines(tmp_path, monkeypatch):
    read = []
    real = Parser.steps
    monkeypatch.setattr(Parser, "steps", lambda self, line: read.append(line) or real(self, line))
    (tmp_path / "001.jsonl").write_bytes(b'{"type":"a"}\n' * 1_000_000)
    assert last_action(tmp_path / "001.jsonl")[1] == "prints a long line"
    assert 0 < len(read) <= 2 * transcripts._TAIL_LINES


@pytest.mark.long
@pytest.mark.process
def test_a_line_that_one_prints_does_not_end_the_fleet(bed, tmp_path, monkeypatch):
    quicken(monkeypatch)
    code = (
        'import json; print(json.dumps({"type": "system", "subtype": "init", "mcp_servers": 5}), '
        "flush=True)"
    )
    why, entries = run_fleet(
        bed,
        tmp_path / "campaign",
        Program(code, ClaudeCode(Options()).ended),
        seconds=60,
        researchers=1,
    )
    assert why == "all have ended"
    assert events(entries)[-2:] == ["ended: crashed", "gave up"]


HIDES = """
import itertools, os, time
kept = []
try:
    for n in range(96):
        kept.append(open(f'f{n}', 'wb', buffering=0))
        os.remove(f'f{n}')
        kept[-1].write(b'x' * (1 << 20))
    time.sleep(60)
finally:
    open('note', 'a').write('a incarnation\\n')
"""


@pytest.mark.process
@pytest.mark.parametrize("possible", [pytest.param(True, marks=fixed), False])
def test_deleted_open_files_count_against_the_home_quota(bed, tmp_path, monkeypatch, possible):
    """Where the kernel holds the size its writes fail; else it is ended, and the ledger and an
    alarm say why."""
    quicken(monkeypatch)
    if not possible:
        monkeypatch.setattr(supervisor, "DRAIN_S", 2.0)  # a machine that others keep busy
        monkeypatch.setattr(volume, "possible", lambda: False)
    alarms = set()
    why, entries = run_fleet(
        bed,
        tmp_path / "campaign",
        Program(HIDES, "crashed" if possible else "finished"),
        seconds=120,
        researchers=1,
        make_sandbox=Bubblewrap,
        limits={"disk_gib": 16 / 1024},
        act=lambda state, *_: alarms.update(state.alarms),
    )
    home = tmp_path / "campaign" / "work" / "researcher-1"
    assert why == "all have ended"
    assert not os.path.ismount(home)
    if possible:
        # kept over its incarnations
        assert (home / "note").read_text().count("a incarnation") == events(entries).count(
            "ended: crashed"
        )
    else:
        ended = [
            e.body["detail"]
            for e in entries
            if e.kind == "researcher" and e.body["event"] == "ended: finished"
        ]
        assert ended[0].startswith("ended at a limit of its sandbox: disk: ")
        assert any(
            "researcher-1 was ended at a limit of its sandbox: disk: " in words for words in alarms
        )


# --- an unlucky operator --------------------------------------------------------------------------


SLEEPS = Program("import time; time.sleep(600)", "crashed")


@pytest.fixture
def fleet(starts_processes, bed, tmp_path, monkeypatch):
    """A way to run a fleet: (why it ended, entries of the ledger, its folder)."""
    quicken(monkeypatch)
    return lambda program, **given: (
        *run_fleet(bed, tmp_path / "campaign", program, **given),
        tmp_path / "campaign",
    )


def once(act):
    """`act`, at the first state in which all run."""
    done = []

    def look(state, parts, running):
        if not done and all(m.state == "running" for m in state.members):
            done.append(act(state, parts, running))

    return look


def test_row_refused_by_the_ledger_does_not_block_later_rows(fleet):
    def bad(state, parts, running):
        parts.journal.note("researcher", "researcher-1", {"event": "x", "lost_s": -3600.0})
        parts.journal.note("researcher", "researcher-1", {"event": "behind it"})

    why, entries, folder = fleet(SLEEPS, seconds=3, act=once(bad), researchers=1)
    assert why == "1.5 minutes are spent"
    assert "behind it" in events(entries)
    assert "x" not in events(entries)
    assert read_state(folder).alarms == (
        "the ledger refuses 1 rows, which are kept in the journal",
    )


@pytest.mark.long
def test_a_start_that_fails_is_tried_again_and_ends_nobody_else(fleet):
    class Fails(Directory):
        left = 2

        def start(self, argv, log):
            if self.spec.name == "researcher-2" and Fails.left:
                Fails.left -= 1
                raise subprocess.CalledProcessError(1, ["chown"])
            return super().start(argv, log)

    seen = []
    _, entries, _ = fleet(
        SLEEPS,
        seconds=8,
        make_sandbox=Fails,
        act=lambda state, parts, running: seen.append(state),
        researchers=2,
    )
    assert events(entries) == ["enrolled", "running", "stopped"]
    assert events(entries, "researcher-2") == [
        "enrolled",
        *["could not be started"] * 2,
        "running",
        "stopped",
    ], "no incarnation was begun before"
    assert any(
        "researcher-2 cannot be started" in alarm for state in seen for alarm in state.alarms
    )


def test_failure_of_the_first_start_reaches_the_operator(fleet):
    class Fails(Directory):
        def start(self, argv, log):
            raise Misconfigured("There is no device /dev/x.")

    with pytest.raises(Misconfigured, match="researcher-1 cannot be started: There is no device"):
        fleet(SLEEPS, seconds=30, make_sandbox=Fails, researchers=2)


@pytest.mark.parametrize("step_s", [pytest.param(-3600.0, marks=pytest.mark.long), 3600.0])
def test_clock_change_charges_nothing_and_stalls_nobody(fleet, monkeypatch, step_s):
    real, moved = time.time, []

    def failing_and_set(state, parts, running):
        with parts.journal._transaction() as db:
            call_health.note_end_of_call(db, "researcher-1", well=False)
        moved.append(step_s)

    monkeypatch.setattr(charging, "RETRY_S", 0.5)
    monkeypatch.setattr(time, "time", lambda: real() + sum(moved))
    why, entries, _ = fleet(SLEEPS, seconds=4, act=once(failing_and_set), researchers=1)
    assert moved
    assert why == "1.5 minutes are spent"
    assert events(entries) == ["enrolled", "running", "stopped"]
    charged = [e.body["wall_s"] for e in entries if e.kind == "spend"]
    assert 0 < sum(charged) <= 5
    assert min(charged) >= 0


@pytest.mark.long
def test_one_failed_call_does_not_make_the_hours_after_it_free(fleet):
    def failed_long_ago(state, parts, running):
        with parts.journal._transaction() as db:
            db.execute(
                "INSERT INTO health VALUES ('researcher-1', ?1, ?1)", [time.time() - 2 * RETRY_S]
            )

    why, entries, _ = fleet(
        SLEEPS, seconds=30, act=once(failed_long_ago), researchers=1, budget=Budget(hours=1 / 3600)
    )
    assert why == "all have ended"
    assert events(entries)[-1] == "spent"


@pytest.mark.long
def test_unwritable_journal_loses_no_charge_and_ends_nobody(fleet, monkeypatch):
    real, full, seen = Journal.charge, [], []

    def charge(self, who, **spent):
        if full:
            full.pop()
            raise Transient(
                "The journal could not be written (database or disk is full). Try again."
            )
        real(self, who, **spent)

    monkeypatch.setattr(Journal, "charge", charge)
    act = once(lambda state, parts, running: full.extend([1] * 5))
    why, entries, _ = fleet(
        SLEEPS, seconds=5, act=lambda *given: (act(*given), seen.append(given[0])), researchers=1
    )
    assert why == "1.5 minutes are spent"
    assert any("disk is full" in alarm for state in seen for alarm in state.alarms)
    charged = sum(e.body["wall_s"] for e in entries if e.kind == "spend")
    lived = [e.body["at"] for e in entries if e.body.get("event") in {"running", "stopped"}]
    assert charged == pytest.approx(lived[1] - lived[0], abs=0.5)


@pytest.mark.long
def test_a_state_that_cannot_be_written_ends_nobody(fleet, monkeypatch):
    def full(self, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FleetState, "write", full)
    seen = []
    why, _, _ = fleet(SLEEPS, seconds=2, act=lambda state, *rest: seen.append(state), researchers=1)
    assert why == "1.5 minutes are spent"
    assert "fleet.json cannot be written: No space left on device" in seen[-1].alarms


@pytest.mark.parametrize("name", ["server", pytest.param("gateway", marks=pytest.mark.long)])
def test_a_service_that_hangs_is_seen_and_its_time_is_charged_to_nobody(fleet, monkeypatch, name):
    """SIGSTOP: it takes connections and never answers."""
    monkeypatch.setattr(outbox, "ANSWER_S", 0.3)
    monkeypatch.setattr(supervisor, "ASK_S", 0.3)
    for constant, seconds in {"EVERY_S": 0.1, "ANSWER_S": 1.0, "HUNG_S": 2.0}.items():
        monkeypatch.setattr(service_probe, constant, seconds)
    seen, stopped = [], []

    def act(state, parts, running):
        service = parts.gateway if name == "gateway" else parts.evaluator
        seen.append(state)
        if not stopped:
            if all(m.state == "running" for m in state.members):
                stopped.append(service.pid)
                os.kill(service.pid, signal.SIGSTOP)
        elif any(f"{name} hangs: process {stopped[0]}" in alarm for alarm in state.alarms):
            os.kill(service.pid, signal.SIGCONT)
        elif "hangs" in {s.services[name] for s in seen} and state.services[name] == "up":
            running._orders.clock.start(0)

    why, entries, _ = fleet(SLEEPS, seconds=120, act=act, researchers=1)
    assert why == "1.5 minutes are spent"
    assert "hangs" in {state.services[name] for state in seen}
    reported = {e.body["event"]: e.body.get("lost_s") for e in entries if e.kind == "campaign"}
    assert reported[f"{name} hangs"] is None
    assert reported[f"{name} is back"] >= 2.0
    assert events(entries) == ["enrolled", "running", "stopped"], "nobody is ended for it"
    lived = [e.body["at"] for e in entries if e.body.get("event") in {"running", "stopped"}]
    charged = sum(e.body["wall_s"] for e in entries if e.kind == "spend")
    assert charged <= lived[1] - lived[0] - reported[f"{name} is back"] + 0.5


def test_ledger_rows_are_sent_in_portions_between_fleet_checks(tmp_path):
    class Server:
        def __init__(self):
            self.taken = []

        def call(self, operation, given, *, timeout_s):
            self.taken.append(given["id"])

    journal, server = Journal(tmp_path / "journal.sqlite"), Server()
    ids = [
        journal.note("campaign", "operator", {"event": str(n)}) for n in range(2 * outbox.BATCH + 1)
    ]
    assert outbox.post(journal, server)
    assert server.taken == ids[: outbox.BATCH]
    assert outbox.post_all(journal, server, within_s=60)
    assert server.taken == ids
    journal.close()


def test_code_waits_while_the_disk_is_full():
    class Full:
        pool = ThreadPoolExecutor(1)

        def run(self, files, split, seeds, **asked):
            raise OSError(28, "No space left on device")

    class Server:
        def call(self, operation, given=None):
            if operation == "waiting_requests":
                waits = {"ticket": "t-1", "who": "ann", "snapshot": "s", "seeds": [1]}
                return {"requests": [waits]}
            assert operation == "download_code", "nothing is handed back"
            return {"files": {}}

    worker = CodeWorker(Server(), EngineRuns(Full(), Full()), at_once=1)
    worker.step()
    Full.pool.shutdown()
    with pytest.raises(Transient, match="t-1 could not be run now .*No space left"):
        worker.step()
    assert not worker._running, "it is taken up again"
