"""Runs that are cancelled once they have begun: their sandboxes end, and nothing is kept."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aarlab.core.errors import Transient
from aarlab.runs.engine import METHOD_FILE, LocalEngine
from aarlab.runs.engine_contract import ended, finished, shell
from aarlab.runs.local_pool import LocalPool
from aarlab.runs.run_jobs import JobResources, opened
from aarlab.runs.shared_engine import SharedEngine
from aarlab.sandbox import Bubblewrap
from aarlab.sandbox.directory import Directory
from aarlab.sandbox.endable import Endable
from aarlab.sandbox.sandbox import Limits, SandboxSpec
from tests.processes import running
from tests.waiting import waited_for

pytestmark = pytest.mark.process
MARK = f"sleep 500.{os.getpid()}"
WAITS = f"import subprocess\n\ndef run(task, seed):\n    subprocess.run('{MARK}'.split())\n"


@pytest.fixture
def pool(tmp_path):
    made = LocalPool(Bubblewrap, tmp_path, workers=1)
    yield made
    made.close()


def test_a_run_that_has_begun_ends_when_it_is_cancelled(pool):
    key = pool.submit(shell(MARK, "begun", timeout_s=400), JobResources())
    waited_for(lambda: running(MARK))
    pool.cancel(key)
    waited_for(lambda: not running(MARK))
    with pytest.raises(Transient):
        pool.poll(key, 1.0)
    # the only worker is free, also for the same job
    again = shell("printf x > result", "begun")
    assert opened(finished(pool, again))[1] == b"x"


def test_a_run_goes_on_while_another_one_waits_for_it(pool):
    job = shell(MARK, "for two", timeout_s=400)
    keys = [pool.submit(job, JobResources()) for _ in range(2)]
    waited_for(lambda: running(MARK))
    pool.cancel(keys[0])
    assert pool.poll(keys[1], 1.0) is None
    assert running(MARK)
    pool.cancel(keys[1])
    waited_for(lambda: not running(MARK))


def test_who_waits_is_answered_when_the_pool_is_closed(pool):
    jobs = [shell(MARK, f"closed {n}", timeout_s=400) for n in range(2)]  # the second has to wait
    with ThreadPoolExecutor(2) as waiting:
        both = [waiting.submit(ended, pool, pool.submit(job, JobResources())) for job in jobs]
        waited_for(lambda: running(MARK))
        pool.close()
        assert not running(MARK)
        with pytest.raises(Transient, match="has no result. It may be run again"):
            opened(both[0].result(30))
        with pytest.raises(Transient, match="cancelled"):
            both[1].result(30)
    with pytest.raises(Transient, match="closed"):
        pool.submit(jobs[0], JobResources())


def test_nothing_is_kept_of_a_run_whose_engine_is_closed(bed, tmp_path):
    cache = tmp_path / "runs"
    engine = LocalEngine(bed, cache, Bubblewrap, workers=2, timeout_s=400)
    job = engine.pool.submit(engine.run, {METHOD_FILE: WAITS}, "feedback", (1,))
    waited_for(lambda: running(MARK))
    engine.close()
    with pytest.raises(Transient, match="has no result"):
        job.result(30)
    assert not running(MARK)
    assert cache.is_dir()
    assert not list(cache.rglob("*.json"))


def test_who_closes_a_shared_engine_ends_its_own_runs_alone(tmp_path):
    def make():
        return LocalPool(Bubblewrap, tmp_path, workers=2)

    first, second = SharedEngine.of("runs", make), SharedEngine.of("runs", make)
    kept = f"{MARK}1"
    first.submit(shell(MARK, "of the first", timeout_s=400), JobResources())
    other = second.submit(shell(kept, "of the second", timeout_s=400), JobResources())
    waited_for(lambda: running(MARK) and running(kept))
    first.close()
    waited_for(lambda: not running(MARK))
    assert second.poll(other, 0.5) is None
    assert running(kept)
    second.close()
    assert not running(kept)


@pytest.mark.parametrize("kind", [Bubblewrap, Directory])
def test_what_is_started_in_a_sandbox_that_was_ended_ends_at_once(kind):
    made = Endable(kind)
    sandbox = made(SandboxSpec(name="ended", mounts=()))
    made.end()
    began = time.monotonic()
    with pytest.raises(Transient, match="stopped before its end"):
        sandbox.exec(["/bin/sh", "-c", MARK], Limits(timeout_s=300))
    assert time.monotonic() - began < 150
    assert not running(MARK)
    with pytest.raises(Transient, match="stopped before its end"):
        made(SandboxSpec(name="later", mounts=()))
