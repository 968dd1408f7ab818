"""Processes of ours: started again when they end, ended when their starter ends; one supervisor a campaign."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aarlab.core.errors import Misconfigured, Transient
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.fleet.lease import lease
from aarlab.fleet.services import MOST_PAUSE_S, STABLE_S, Service

WRITES = (
    "import asyncio, sys, pathlib; from aarlab.core.lifeline import when_cut\n"
    "async def main():\n"
    "    done = asyncio.Event(); when_cut(int(sys.argv[-1]), done.set)\n"
    "    pathlib.Path(sys.argv[1]).write_text('here'); await done.wait()\n"
    "asyncio.run(main())"
)


def gone(pid: int, within_s: float = 20.0) -> bool:
    """Whether a process that is not our child ends in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def service(tmp_path):
    made = Service("thing", [sys.executable, "-c", WRITES, str(tmp_path / "at")], address=tmp_path / "at", log=tmp_path / "log")
    yield made
    made.stop()


def test_a_service_that_is_killed_is_started_again(service):
    service.start()
    service.wait()
    first = service._process.pid
    assert not service.revive()
    os.kill(first, signal.SIGKILL)
    service._process.wait()
    assert not service.up
    assert not service.revive(lambda: 100.0), "a second's pause comes first"
    assert not service.revive(lambda: 100.9)
    assert service.revive(lambda: 101.0)
    service.wait()
    assert service._process.pid != first


def test_each_failure_pauses_longer_up_to_a_limit(tmp_path):
    service = Service("bad", [sys.executable, "-c", "1/0"], address=tmp_path / "at", log=tmp_path / "log")
    with pytest.raises(Misconfigured, match="division by zero"):
        service.start(), service.wait()
    now, pauses = 0.0, []
    for _ in range(8):
        start = now
        while not service.revive(lambda now=now: now):
            now += 0.5
        service._process.wait()
        pauses.append(now - start)
    assert pauses == [1, 2, 4, 8, 16, MOST_PAUSE_S, MOST_PAUSE_S, MOST_PAUSE_S]


def test_hours_of_failures_are_no_overflow_and_a_long_life_forgives_them(service):
    now = 0.0
    service._failures = 5000
    assert not service.revive(lambda: now), "a pause comes first"
    assert not service.revive(lambda: MOST_PAUSE_S - 0.1)
    assert service.revive(lambda: MOST_PAUSE_S)
    service.wait()
    assert not service.revive(lambda: MOST_PAUSE_S + STABLE_S)
    os.kill(service._process.pid, signal.SIGKILL)
    service._process.wait()
    start = MOST_PAUSE_S + STABLE_S
    assert not service.revive(lambda: start)
    assert service.revive(lambda: start + 1.0), "as after a first failure"


def test_a_service_for_which_the_system_has_no_room_is_tried_again(service, monkeypatch):
    def full(*given, **more):
        raise OSError(11, "Resource temporarily unavailable")

    service.start()
    service.wait()
    os.kill(service._process.pid, signal.SIGKILL)
    service._process.wait()
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


def test_the_last_words_are_found_in_a_large_log(service):
    service._log.write_bytes(b"x" * 1_000_000 + b"\nthe last\n")
    assert service.last_words() == "the last"


STARTER = (
    "import sys, time, pathlib; from aarlab.fleet.services import Service\n"
    "place = pathlib.Path(sys.argv[1])\n"
    "s = Service('thing', [sys.executable, '-c', sys.argv[2], str(place / 'at')], address=place / 'at', log=place / 'log')\n"
    "s.start(); s.wait(); print(s._process.pid, flush=True); time.sleep(600)"
)


def test_a_service_ends_with_its_starter_even_by_kill_9(tmp_path):
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path), WRITES], stdout=subprocess.PIPE, text=True)
    pid = int(starter.stdout.readline())
    starter.kill()
    starter.wait()
    starter.stdout.close()
    assert gone(pid)


def test_a_server_that_was_killed_is_spoken_to_where_it_is_now(bed, tmp_path):
    event = {"kind": "campaign", "who": "operator", "id": "j-1", "body": {"event": "once"}}
    with EvaluatorProcess(bed.folder, tmp_path / "campaign", policy="default") as process:
        first = process.call("POST", "/entries", event)
        os.kill(process._process.pid, signal.SIGKILL)
        process._process.wait()
        until = time.monotonic() + 20
        while not process.revive():
            assert time.monotonic() < until
        process.wait()
        assert process.call("POST", "/entries", event) == first, "sent again, it is the same entry"
        assert process.call("GET", "/operator/campaign")["events"] == ["once"]


def test_a_campaign_has_one_supervisor(tmp_path):
    with lease(tmp_path):
        code = f"from pathlib import Path; from aarlab.fleet.lease import lease\nwith lease(Path({str(tmp_path)!r})): pass"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
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
