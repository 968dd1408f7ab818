"""Every engine against the examination of its contract, and runs of a testbed through each of
them: on this machine, and in a real Ray cluster with token authentication."""

import os
import subprocess
import sys
import time
from contextlib import closing

import pytest

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.own_code import this_build
from aarlab.core.settings import Home, ray_address
from aarlab.methods.baselines import source_of
from aarlab.runs import cluster_status, ray_nodes
from aarlab.runs.engine import LocalEngine
from aarlab.runs.engine_contract import check_engine, finished, shell
from aarlab.runs.local_pool import LocalPool
from aarlab.runs.ray_engine import RayEngine
from aarlab.runs.run_jobs import JobHead, JobResources, opened, packed
from aarlab.runs.shared_engine import SharedEngine
from aarlab.sandbox import Bubblewrap
from tests.processes import running
from tests.ray_cluster import RayCluster
from tests.runs.placed_problems import graders_at, measured_by
from tests.waiting import waited_for

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def cluster():
    with closing(RayCluster()) as made:
        yield made


@pytest.fixture
def joined(cluster, monkeypatch):
    """The cluster, with what is needed to join it in the environment."""
    cluster.join(monkeypatch)
    return cluster


@pytest.fixture(scope="module")
def ray_engine(cluster):
    before = dict(os.environ)
    os.environ.update(cluster.environment)
    made = RayEngine(cluster.address)
    os.environ.clear()
    os.environ.update(before)
    yield made
    made.close()


@pytest.fixture
def local_engine(tmp_path):
    made = LocalPool(Bubblewrap, tmp_path, workers=2)
    yield made
    made.close()


def test_the_local_engine_passes_the_examination(local_engine):
    assert check_engine(local_engine) == []


@pytest.mark.cluster
def test_ray_passes_the_examination_and_its_jobs_see_nothing_of_it(ray_engine, cluster):
    secrets = [cluster.token, str(cluster.folder), str(cluster.port), "RAY_", "plasma_store"]
    assert check_engine(ray_engine, secrets) == []


class Broken(LocalPool):
    """An engine that does everything wrong that the examination looks at."""

    def poll(self, key, wait_s=0.0):
        found = super().poll(key, wait_s)
        if found is None:
            return None
        try:
            head, result = opened(found)
        except InvalidSubmission:
            return packed(JobHead(size=0))
        head = head.model_copy(update={"timed_out": False, "misshapen": False, "size": 3})
        return packed(head, b"tok" if result is None else result[:1] + b"ok")

    def cancel(self, key):
        """Nothing."""


@pytest.mark.long
def test_the_examination_finds_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr("aarlab.runs.engine_contract.AT_MOST_S", 5.0)
    broken = Broken(Bubblewrap, tmp_path, workers=8)
    found = check_engine(broken, ["tok", "ok"])
    named = {words.partition(":")[0] for words in found}
    assert named >= {"result", "none", "limit", "link", "twice", "refusal", "sight", "cancel"}
    broken.close()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x00\x00\x05{}",
        b"\xff\xff\xff\xff{}",
        packed(JobHead(size=4), b"abc"),
        packed(JobHead(), b"abc"),
        b'\x00\x00\x00\x0b{"size": -1}',
        b"\x80\x04\x95\x00cos\nsystem\n",
    ],
)
def test_what_is_no_result_is_not_taken(data):
    with pytest.raises(Transient, match="what is no result"):
        opened(data)


def run_through(engine, bed, cache):
    runs = LocalEngine(bed, cache, Bubblewrap, workers=2, timeout_s=60, engine=engine)
    try:
        found = runs.run({"method.py": source_of("naive")}, "feedback", (1, 2))
        final = runs.run({"method.py": source_of("naive")}, "final", (1,))
        with pytest.raises(InvalidSubmission, match="RuntimeError: mine"):
            runs.run(
                {"method.py": "def run(task, seed):\n    raise RuntimeError('mine')"},
                "feedback",
                (1,),
            )
        return found, final
    finally:
        runs.pool.shutdown()


def test_a_run_has_the_same_result_wherever_it_is_placed_and_data_travel_once(
    bed, tmp_path, ray_engine, local_engine, cluster
):
    here = run_through(local_engine, bed, tmp_path / "here")
    there = run_through(ray_engine, bed, tmp_path / "there")
    assert [r.answers for r in here] == [r.answers for r in there]
    assert not any(r.from_cache for r in (*here, *there))
    data = cluster.home / "node" / "data"
    kept = {path.name: path.stat().st_ino for path in data.iterdir()}
    assert sorted(map(len, kept)) == [len(".lock"), 64, 64], "public, and the inputs of final"
    again = LocalEngine(bed, tmp_path / "again", Bubblewrap, workers=1, engine=ray_engine)
    assert again.run({"method.py": source_of("naive")}, "feedback", (3,)).answers
    again.pool.shutdown()
    assert {path.name: path.stat().st_ino for path in data.iterdir()} == kept


@pytest.mark.cluster
def test_what_code_submits_is_the_same_in_ray(tmp_path, ray_engine):
    for problem, prepared, codes in graders_at(tmp_path).values():
        for name in ("by number", "a link", "files", "raises"):
            if name in codes:
                here = measured_by(None, problem, prepared, codes[name])
                assert measured_by(ray_engine, problem, prepared, codes[name]) == here, name


@pytest.mark.cluster
def test_a_worker_that_is_killed_has_its_job_run_again_and_leaves_no_orphan(
    ray_engine, cluster, tmp_path
):
    mark = f"sleep 7.{os.getpid()}"
    job = shell(f"{mark}; printf done > result", "killed", timeout_s=60)
    key = ray_engine.submit(job, JobResources())
    first = waited_for(lambda: running(mark))
    assert cluster.kill(words="ray::aar run") >= 1
    again = waited_for(lambda: running(mark) - first)
    assert not (running(mark) & first), "the sandbox has ended with its worker"
    assert opened(ray_engine.poll(key, 60) or b"")[1] == b"done"
    assert again


@pytest.mark.cluster
def test_a_driver_that_is_killed_is_started_again_and_loses_no_job(ray_engine):
    job = shell("sleep 3; printf x > result", "driver lost", timeout_s=60)
    key = ray_engine.submit(job, JobResources())
    time.sleep(1.0)
    ray_engine._process.kill()
    assert opened(ray_engine.poll(key, 60) or b"")[1] == b"x"


def test_a_cancelled_job_ends_at_once(ray_engine):
    mark = f"sleep 99.{os.getpid()}"
    key = ray_engine.submit(shell(mark, "cancelled soon", timeout_s=200), JobResources())
    waited_for(lambda: running(mark))
    ray_engine.cancel(key)
    waited_for(lambda: not running(mark), within_s=20)


@pytest.mark.cluster
def test_the_nodes_of_ray_say_what_they_are(ray_engine, joined):
    (node,) = ray_nodes.seen(joined.address)
    build = this_build()
    assert (node["state"], node["cpus"]) == ("alive", 2.0)
    assert node["aarlab"] == (f"{build.version} {build.source[:12]}",)
    assert node["nice"] == os.getpriority(os.PRIO_PROCESS, 0)
    key = ray_engine.submit(shell("printf x > result", "by whom"), JobResources())
    assert opened(ray_engine.poll(key, 60) or b"")[1] == b"x"
    answered = ray_engine.answered_by(key)
    assert answered[:12] == node["name"].split()[-1]
    again = ray_engine.submit(shell("printf x > result", "by whom"), JobResources(only=answered))
    assert opened(ray_engine.poll(again, 60) or b"")[1] == b"x"
    assert ray_engine.answered_by(again) == answered
    apart = ray_engine.submit(shell("true", "apart"), JobResources(apart=answered))
    with pytest.raises(Misconfigured, match="There is no other node"):
        ray_engine.poll(apart, 60)
    gone = ray_engine.submit(shell("true", "gone"), JobResources(only="0" * 56))
    with pytest.raises(Misconfigured, match="There is no such node"):
        ray_engine.poll(gone, 60)


def test_a_node_of_ray_whose_runs_come_behind_all_else_is_said(tmp_path, monkeypatch):
    """As Ray has it if nobody says otherwise. A head without processors runs none."""
    nodes = [
        cluster_status.NodeSeen(engine="ray", name=name, state="alive", cpus=cpus, nice=nice)
        for name, cpus, nice in (("head", 0.0, 15), ("one", 2.0, 0), ("two", 2.0, 15))
    ]
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    monkeypatch.setattr(cluster_status, "_ray", lambda: nodes)
    found = cluster_status.cluster_status(Home(tmp_path)).troubles
    (said,) = [one.words for one in found if "nice" in one.words]
    assert said.startswith("two runs at nice 15, behind all else")
    assert "RAY_worker_niceness=0" in said


def test_another_version_of_aarlab_is_refused(ray_engine):
    job = shell("true", "other version").model_copy(update={"code": "0" * 64})
    with pytest.raises(Misconfigured, match="another version of aarlab"):
        opened(finished(ray_engine, job))


def test_a_wrong_token_and_a_cluster_that_is_not_there_are_refused(joined, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    with pytest.raises(Misconfigured, match="refuses the token") as refused:
        RayEngine(joined.address)
    assert "f" * 64 not in str(refused.value)
    with pytest.raises(Misconfigured, match="does not answer"):
        RayEngine("127.0.0.1:9")
    with pytest.raises(Misconfigured, match="sandbox must isolate"):
        RayEngine(joined.address, sandbox="directory")
    monkeypatch.setenv("RAY_ADDRESS", "ray://x")
    with pytest.raises(Misconfigured, match="HOST:PORT"):
        ray_address()


def test_those_who_share_an_engine_close_it_together(tmp_path):
    made = []

    def make():
        made.append(LocalPool(Bubblewrap, tmp_path, workers=1))
        return made[-1]

    first, second = SharedEngine.of("one", make), SharedEngine.of("one", make)
    assert len(made) == 1
    first.close()
    assert opened(finished(second, shell("printf y > result", "shared")))[1] == b"y"
    second.close()
    with pytest.raises(Transient, match="closed"):
        finished(second, shell("true", "closed"))
    again = SharedEngine.of("one", make)
    assert len(made) == 2
    again.close()


def test_a_worker_that_is_frozen_is_killed_beyond_its_limit():
    words = (
        "import os, signal\nfrom aarlab.runs.node_worker import killed_after\n"
        "with killed_after(60):\n    print('done', flush=True)\n"
        "with killed_after(0.3):\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    argv = [sys.executable, "-c", words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (-9, "done\n"), done.stderr
