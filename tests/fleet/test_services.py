"""Processes of ours: started again when they end, ended when their starter ends; one supervisor a
campaign."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.process import MAX_PAUSE_S, STABLE_S, BackOff, Child, Service
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.fleet.launch import ScriptedApi
from aarlab.fleet.lease import lease
from tests.processes import gone
from tests.waiting import waited_for

pytestmark = pytest.mark.process

WRITES = (
    "import asyncio, sys, pathlib; from aarlab.core.parent_pipe import when_parent_ends\n"
    "async def main():\n"
    "    done = asyncio.Event(); when_parent_ends(int(sys.argv[-1]), done.set)\n"
    "    pathlib.Path(sys.argv[1]).write_text('here'); await done.wait()\n"
    "asyncio.run(main())"
)


@pytest.fixture
def service(tmp_path):
    made = Service(
        "thing",
        [sys.executable, "-c", WRITES, str(tmp_path / "at")],
        address=tmp_path / "at",
        log=tmp_path / "log",
    )
    yield made
    made.stop()


def test_a_service_that_is_killed_is_started_again(service):
    service.start()
    service.wait()
    first = service.pid
    assert not service.revive()
    os.kill(first, signal.SIGKILL)
    service.join()
    assert not service.up
    assert not service.revive(lambda: 100.0), "a second's pause comes first"
    assert not service.revive(lambda: 100.9)
    assert service.revive(lambda: 101.0)
    service.wait()
    assert service.pid != first


def test_each_failure_pauses_longer_up_to_a_limit(tmp_path):
    service = Service(
        "bad", [sys.executable, "-c", "1/0"], address=tmp_path / "at", log=tmp_path / "log"
    )
    with pytest.raises(Misconfigured, match="division by zero"):
        service.start(), service.wait()
    now, pauses = 0.0, []
    for _ in range(8):
        start = now
        while not service.revive(lambda now=now: now):
            now += 0.5
        service.join()
        pauses.append(now - start)
    assert pauses == [1, 2, 4, 8, 16, MAX_PAUSE_S, MAX_PAUSE_S, MAX_PAUSE_S]


def test_backoff_has_no_overflow_and_resets_after_a_long_run():
    back_off = BackOff(failures=5000)
    assert back_off.after(STABLE_S - 0.1) == MAX_PAUSE_S
    assert back_off.after(STABLE_S) == 1.0, "as after a first failure"
    assert back_off.after(0.0) == 2.0


def test_a_service_that_was_seen_alive_for_long_is_started_again_as_after_a_first_failure(service):
    service.start()
    service.wait()
    for at, pause in ((100.0, 1.0), (101.0, 2.0), (103.0 + STABLE_S, 1.0)):
        assert not service.revive(partial(float, at)), "it is alive"
        os.kill(service.pid, signal.SIGKILL)
        service.join()
        assert not service.revive(partial(float, at))
        assert not service.revive(partial(float, at + pause - 0.1))
        assert service.revive(partial(float, at + pause))
        service.wait()


STARTS = (
    "import pathlib, sys, time\n"
    "until = time.process_time() + float(sys.argv[2])\n"
    "while time.process_time() < until: pass\n"
    "time.sleep(float(sys.argv[3]))\n"
    "pathlib.Path(sys.argv[1]).write_text('here'); time.sleep(600)"
)


@pytest.mark.long
@pytest.mark.parametrize(
    ("works_s", "sleeps_s", "starts"), [("0.9", "0", True), ("0", "600", False)]
)
def test_a_service_that_reads_days_of_records_is_waited_for_and_one_that_hangs_is_not(
    tmp_path, monkeypatch, works_s, sleeps_s, starts
):
    monkeypatch.setattr("aarlab.core.process.START_TIMEOUT_S", 0.4)
    argv = [sys.executable, "-c", STARTS, str(tmp_path / "at"), works_s, sleeps_s]
    made = Service("reader", argv, address=tmp_path / "at", log=tmp_path / "log")
    made.start()
    try:
        if starts:
            made.wait()
        else:
            with pytest.raises(Misconfigured, match=r"did not start in \d+ s"):
                made.wait()
        assert made.up == starts
    finally:
        made.stop()


SPINS = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\nwhile True: pass"
STARVED = f"import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\n{SPINS}"


@pytest.mark.long
def test_a_process_that_others_keep_from_the_processor_is_seen_to_work(tmp_path):
    others = subprocess.Popen([sys.executable, "-c", SPINS])
    made = Child("starved", [sys.executable, "-c", STARVED], log=tmp_path / "log")
    made.start()
    try:
        before, began = made._work(), time.monotonic()
        while (now := made._work()).cpu_s - before.cpu_s < 1.0:
            assert made.alive
        assert now.shows(before, time.monotonic() - began)
    finally:
        made.stop()
        others.kill()
        others.wait()


DEAF = (
    "import signal, sys, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "pathlib.Path(sys.argv[1]).write_text('here'); time.sleep(600)"
)


@pytest.mark.parametrize("kind", [Child, Service])
def test_a_process_that_heeds_neither_pipe_nor_sigterm_is_killed(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("aarlab.core.process.STOP_TIMEOUT_S", 0.2)
    argv, at = [sys.executable, "-c", DEAF, str(tmp_path / "at")], tmp_path / "at"
    more = {"address": at} if kind is Service else {}
    made = kind("deaf", argv, log=tmp_path / "log", **more)
    made.start()
    made.wait_until(at.exists, 20.0)
    made.stop()
    assert made.join() == -signal.SIGKILL
    assert made.last_output() == "none; it ended by signal 9"


def test_a_service_is_stopped_by_its_pipe_without_a_signal(service):
    service.start()
    service.wait()
    service.stop()
    assert service.join() == 0, "SIGTERM would have ended it with -15"


def test_a_service_for_which_the_system_has_no_room_is_tried_again(service, monkeypatch):
    def full(*given, **more):
        raise OSError(11, "Resource temporarily unavailable")

    service.start()
    service.wait()
    os.kill(service.pid, signal.SIGKILL)
    service.join()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as there:
        there.setattr(subprocess, "Popen", full)
        for now in (0.0, 10.0):
            service.revive(lambda now=now: now - 5.0)
            with pytest.raises(Transient, match="temporarily unavailable"):
                service.revive(lambda now=now: now)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before, "no pipe is left open"
    service.revive(lambda: 20.0)
    assert service.revive(lambda: 30.0)
    service.wait()


def test_the_last_words_are_found_in_a_large_log_and_are_of_the_present_start_alone(service):
    service.log.write_bytes(b"x" * 1_000_000 + b"\nthe last\n")
    assert service.last_output() == "the last"
    service.start()
    assert service.last_output() == "none"


CHILD = (
    "import sys, time; from aarlab.core.parent_pipe import end_with_parent; "
    "end_with_parent(int(sys.argv[-1])); time.sleep(600)"
)
CHILDS_STARTER = (
    "import sys, time, pathlib; from aarlab.core.process import Child\n"
    "c = Child('thing', [sys.executable, '-c', sys.argv[2]], log=pathlib.Path(sys.argv[1], "
    "'log'))\n"
    "c.start(); print(c.pid, flush=True); time.sleep(600)"
)


def test_a_child_without_an_event_loop_ends_with_its_starter_even_by_kill_9(tmp_path):
    argv = [sys.executable, "-c", CHILDS_STARTER, str(tmp_path), CHILD]
    starter = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    pid = int(starter.stdout.readline())
    starter.kill()
    starter.wait()
    starter.stdout.close()
    waited_for(lambda: gone(pid))


STARTER = (
    "import sys, time, pathlib; from aarlab.core.process import Service\n"
    "place = pathlib.Path(sys.argv[1])\n"
    "s = Service('thing', [sys.executable, '-c', sys.argv[2], str(place / 'at')], address=place / "
    "'at', log=place / 'log')\n"
    "s.start(); s.wait(); print(s.pid, flush=True); time.sleep(600)"
)


def test_a_service_ends_with_its_starter_even_by_kill_9(tmp_path):
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path), WRITES], stdout=subprocess.PIPE, text=True
    )
    pid = int(starter.stdout.readline())
    starter.kill()
    starter.wait()
    starter.stdout.close()
    waited_for(lambda: gone(pid))


@pytest.mark.parametrize("part", ["evaluator", pytest.param("lab", marks=pytest.mark.long)])
def test_an_evaluator_or_a_lab_that_was_killed_is_spoken_to_where_it_is_now(bed, tmp_path, part):
    event = {"kind": "campaign", "who": "operator", "id": "j-1", "body": {"event": "once"}}
    with EvaluatorProcess(bed.folder, tmp_path / "campaign", policy="default") as process:
        first = process.call("add_entry", event)
        pids = {name: getattr(process, name).pid for name in ("evaluator", "lab")}
        os.kill(pids[part], signal.SIGKILL)
        getattr(process, part).join()
        assert not process.up
        with pytest.raises(Transient):
            process.call("operator_campaign")
        waited_for(process.revive)
        process.wait()
        assert process.call("add_entry", event) == first, "sent again, it is the same entry"
        started = ["server started", "once", *(["server started"] if part == "evaluator" else [])]
        assert process.call("operator_campaign")["events"] == started
        other = "lab" if part == "evaluator" else "evaluator"
        assert getattr(process, other).pid == pids[other], "the other one went on"


def test_a_campaign_has_one_supervisor(tmp_path):
    with lease(tmp_path):
        code = (
            "from pathlib import Path; from aarlab.fleet.lease import lease\nwith "
            f"lease(Path({str(tmp_path)!r})): pass"
        )
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert other.returncode == 1
        assert f"is being run by process {os.getpid()}" in other.stderr
    with lease(tmp_path):
        pass


def test_a_killed_supervisor_leaves_no_lock(tmp_path):
    code = (
        f"import time; from pathlib import Path; from aarlab.fleet.lease import lease\n"
        f"with lease(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with lease(tmp_path):
        pass


def test_the_scripted_model_api_is_started_again_where_it_was(tmp_path):
    with ScriptedApi(tmp_path, None) as api:
        url = api.url
        os.kill(api.pid, signal.SIGKILL)
        waited_for(api.revive)
        api.wait()
        assert api.url == url
