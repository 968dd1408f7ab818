"""Parts of a real Ray of two nodes that are killed while jobs run: what was running is run again,
nothing is doubled in what counts, and no process is left after a minute."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from aarlab.core.errors import Misconfigured, Transient
from aarlab.runs.engine_contract import ended, finished, shell
from aarlab.runs.ray_engine import RayEngine
from aarlab.runs.run_jobs import JobResources, opened
from tests.processes import running
from tests.ray_cluster import RayCluster, two_nodes
from tests.waiting import waited_for

pytestmark = [pytest.mark.process, pytest.mark.cluster, pytest.mark.timeout(300)]
JOBS, FROZEN_S = 4, 15.0


@pytest.fixture
def two(monkeypatch):
    yield from two_nodes(monkeypatch)


@pytest.fixture
def engine(two):
    made = RayEngine(two.address)
    assert made.nodes == 2
    yield made
    made.close()


def on_each(engine):
    """A run on each of two nodes, so that each has a worker; their names."""
    first = engine.submit(shell("true", "on one"), JobResources())
    assert engine.poll(first, 100)
    one = engine.answered_by(first)
    apart = engine.submit(shell("true", "on the other"), JobResources(apart=one))
    assert engine.poll(apart, 100)
    other = engine.answered_by(apart)
    assert other not in (one, None)
    return one, other


def jobs(mark):
    return [shell(f"{mark}; printf {n} > result", f"job {n}", timeout_s=100) for n in range(JOBS)]


@pytest.mark.parametrize("what", ["raylet", "ray::aar run", ""])
def test_a_node_whose_processes_are_killed_loses_no_job(two, engine, what):
    mark = f"sleep 5.{os.getpid()}"
    on_each(engine)
    with ThreadPoolExecutor(JOBS) as pool:
        running_all = [pool.submit(finished, engine, job) for job in jobs(mark)]
        waited_for(lambda: len(running(mark)) == 2)
        assert two.kill(1, what) >= 1
        found = [opened(one.result(200))[1] for one in running_all]
    assert found == [str(n).encode() for n in range(JOBS)]
    waited_for(lambda: not running(mark), within_s=60)


def test_a_node_whose_raylet_is_frozen_loses_no_job(two, engine):
    """It is given up, what it had runs on the other node, and awake it ends what it still has."""
    mark = f"sleep 5.{os.getpid()}"
    on_each(engine)
    with ThreadPoolExecutor(JOBS) as pool:
        running_all = [pool.submit(finished, engine, job) for job in jobs(mark)]
        waited_for(lambda: len(running(mark)) == 2)
        (raylet,) = two.pids(1, "/raylet ")
        os.kill(raylet, signal.SIGSTOP)
        try:
            found = [opened(one.result(200))[1] for one in running_all]
        finally:
            os.kill(raylet, signal.SIGCONT)
    assert found == [str(n).encode() for n in range(JOBS)]
    waited_for(lambda: not running(mark), within_s=60)


def test_a_worker_that_is_frozen_is_killed_beyond_its_limit_and_its_job_run_again(two, engine):
    mark = f"sleep 5.{os.getpid()}"
    on_each(engine)
    with ThreadPoolExecutor(2) as pool:
        two_jobs = [shell(f"{mark}; printf {n} > result", f"frozen {n}", 10) for n in range(2)]
        both = [pool.submit(ended, engine, engine.submit(job, JobResources())) for job in two_jobs]
        waited_for(lambda: len(running(mark)) == 2)
        (worker,) = two.pids(1, "ray::aar run")
        os.kill(worker, signal.SIGSTOP)
        found = [opened(one.result(200))[1] for one in both]
    assert found == [b"0", b"1"]
    waited_for(lambda: not Path(f"/proc/{worker}").exists())
    waited_for(lambda: not running(mark), within_s=60)


def test_a_worker_that_is_frozen_before_its_run_begins_is_killed_and_the_job_run_again(two, engine):
    """Ray gives a job to whichever worker is idle, and does not see that it is frozen."""
    on_each(engine)
    idle = waited_for(lambda: [p for n in (0, 1) for p in two.pids(n, "ray::IDLE")])
    for pid in idle:
        os.kill(pid, signal.SIGSTOP)
    key = engine.submit(shell("printf x > result", "frozen first", timeout_s=5), JobResources())
    waited_for(lambda: not all(Path(f"/proc/{pid}").exists() for pid in idle), within_s=150)
    for pid in idle:  # else the job may be given to the next of them
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    assert opened(ended(engine, key))[1] == b"x"


def test_jobs_that_wait_for_a_processor_are_all_run_once(two, engine):
    """They wait for longer than a frozen worker would be given, and the first is not run again."""
    mark, hold = f"sleep 5.{os.getpid()}", f"sleep 90.{os.getpid()}"
    on_each(engine)
    with ThreadPoolExecutor(JOBS + 2) as pool:
        held = [shell(f"{hold}; printf x > result", f"holds {n}", timeout_s=200) for n in range(2)]
        first = [pool.submit(ended, engine, engine.submit(job, JobResources())) for job in held]
        before = waited_for(lambda: len(running(hold)) == 2 and running(hold))
        keys = [engine.submit(job, JobResources()) for job in jobs(mark)]
        later = [pool.submit(ended, engine, key) for key in keys]
        assert [opened(one.result(200))[1] for one in first] == [b"x", b"x"]
        assert not running(hold) - before
        found = [opened(one.result(200))[1] for one in later]
    assert found == [str(n).encode() for n in range(JOBS)]


def test_a_head_that_is_frozen_for_a_while_loses_no_job(two, engine):
    mark = f"sleep 5.{os.getpid()}"
    on_each(engine)
    (head,) = two.pids(0, "/gcs_server ")
    with ThreadPoolExecutor(JOBS) as pool:
        running_all = [pool.submit(finished, engine, job) for job in jobs(mark)]
        waited_for(lambda: running(mark))
        os.kill(head, signal.SIGSTOP)
        time.sleep(FROZEN_S)
        os.kill(head, signal.SIGCONT)
        found = [opened(one.result(200))[1] for one in running_all]
    assert found == [str(n).encode() for n in range(JOBS)]
    waited_for(lambda: not running(mark), within_s=60)


def test_a_head_that_is_killed_ends_what_runs_and_a_new_one_runs_it_again(two, engine):
    mark = f"sleep 200.{os.getpid()}"
    key = engine.submit(shell(mark, "with the head", timeout_s=300), JobResources())
    waited_for(lambda: running(mark))
    two.kill(0)
    began = time.monotonic()
    waited_for(lambda: not running(mark), within_s=60)
    print(f"no process was left after {time.monotonic() - began:.0f} s")
    with pytest.raises(Transient, match="Start it, or correct RAY_ADDRESS|does not answer"):
        engine.poll(key, 120)
    print(f"who waits was answered after {time.monotonic() - began:.0f} s")
    with pytest.raises(Transient):
        engine.submit(shell("true", "no head"), JobResources())


def test_a_cluster_without_a_token_is_not_joined(monkeypatch):
    with closing(RayCluster(token=False)) as open_to_all:
        open_to_all.join(monkeypatch)
        monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
        with pytest.raises(Misconfigured, match="asks for no token. Anyone who reaches"):
            RayEngine(open_to_all.address)
