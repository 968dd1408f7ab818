"""Runs through a real Slurm of one node: the examination of an engine, the same results as on this
machine, and what is lost with workers, tasks and the controller."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aarlab.cli.main import app
from aarlab.core.cluster_layout import SlurmFolder
from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.files import write_whole
from aarlab.core.layout import Home
from aarlab.runs import slurm_engine, slurm_workers
from aarlab.runs.cluster_status import cluster_status
from aarlab.runs.engine_contract import check_engine, finished, shell
from aarlab.runs.engine_note import Notes
from aarlab.runs.local_pool import LocalPool
from aarlab.runs.run_jobs import JobLimits, JobResources, opened
from aarlab.runs.slurm_commands import ArrayTask, SlurmOptions
from aarlab.runs.slurm_engine import SlurmEngine
from aarlab.runs.slurm_folder import (
    DriverState,
    JobOrder,
    Size,
    WorkerRecord,
    give_back,
    leases,
    make_folder,
    named,
    put,
    record_in,
    sizes_for,
    take,
)
from aarlab.runs.slurm_workers import SlurmWorkers
from aarlab.sandbox import Bubblewrap
from tests.processes import running
from tests.runs.placed_problems import graders_at, measured_by
from tests.runs.test_engines import run_through
from tests.slurm_cluster import SlurmCluster
from tests.waiting import waited_for

pytestmark = [pytest.mark.process, pytest.mark.cluster, pytest.mark.timeout(300)]
SECRET = "aar-test-secret-of-the-submitter"


@pytest.fixture(scope="module")
def slurm_cluster():
    made = SlurmCluster()
    yield made
    made.close()


@pytest.fixture
def at_slurm(slurm_cluster, monkeypatch):
    """It, with what is needed to submit to it in the environment."""
    for name, value in slurm_cluster.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    return slurm_cluster


@pytest.fixture
def said():
    return []


@pytest.fixture
def slurm_placed(at_slurm, said):
    made = SlurmEngine(at_slurm.shared, workers=3, say=lambda words, _: said.append(words))
    yield made
    made.close()
    assert not made.folder.root.exists()


def test_slurm_passes_the_examination_and_its_jobs_see_nothing_of_it(slurm_placed, at_slurm):
    found = check_engine(slurm_placed, [str(at_slurm.folder), "SLURM_", "slurmstepd", SECRET])
    assert found == []
    seen = [Path(f"/proc/{pid}/environ").read_text() for pid in at_slurm.workers()]
    assert seen, "they wait for jobs"
    assert not any(SECRET in environment for environment in seen)


def test_a_run_has_the_same_result_in_slurm(bed, tmp_path, slurm_placed):
    local = LocalPool(Bubblewrap, tmp_path, workers=2)
    here = run_through(local, bed, tmp_path / "here")
    there = run_through(slurm_placed, bed, tmp_path / "there")
    local.close()
    assert [r.answers for r in here] == [r.answers for r in there]
    assert not any(r.from_cache for r in (*here, *there))
    data = (slurm_placed.folder.root / "data").iterdir()
    assert sorted(len(p.name) for p in data) == [64, 64], "public, and the inputs of final"


def test_what_code_submits_is_the_same_in_slurm(tmp_path, slurm_placed):
    for problem, prepared, codes in graders_at(tmp_path).values():
        for name, code in codes.items():
            here = measured_by(None, problem, prepared, code)
            assert measured_by(slurm_placed, problem, prepared, code) == here, name


def test_many_small_jobs_are_one_array_whose_idle_workers_end(at_slurm, monkeypatch):
    arrays = []
    submit = slurm_workers.submit
    monkeypatch.setattr(
        slurm_workers, "submit", lambda *words: arrays.append(words[2]) or submit(*words)
    )
    with closing(SlurmEngine(at_slurm.shared, workers=2, idle_s=1.0)) as engine:
        keys = [
            engine.submit(shell(f"printf {n} > result", f"small {n}"), JobResources())
            for n in range(30)
        ]
        found = [opened(engine.poll(key, 60) or b"")[1] for key in keys]
        assert found == [str(n).encode() for n in range(30)]
        assert sum(arrays) <= 4, arrays
        waited_for(lambda: not at_slurm.workers())
        state = record_in(engine.folder.state, DriverState)
        assert state is not None
        assert state.again == state.lost == 0


def kill(cluster, engine):
    (lease,) = leases(engine.folder)
    record = engine.folder.worker(lease.worker).read_text()
    os.kill(next(pid for pid in cluster.workers() if f'"pid":{pid},' in record), signal.SIGKILL)


def scancel(cluster, engine):
    (lease,) = leases(engine.folder)
    cluster.ask("scancel", lease.worker.rpartition("-")[0])


def node_down(cluster, engine):
    name = "nodename=localhost"
    cluster.ask("scontrol", "update", name, "state=down", "reason=test")
    waited_for(lambda: not cluster.workers())
    cluster.ask("scontrol", "update", name, "state=resume")


@pytest.mark.parametrize("lose", [kill, scancel, node_down])
def test_a_worker_that_is_lost_has_its_job_run_again(at_slurm, slurm_placed, lose):
    mark = f"sleep 6.{os.getpid()}"
    job = shell(f"{mark}; printf done > result", f"lost by {lose.__name__}", timeout_s=60)
    key = slurm_placed.submit(job, JobResources())
    first = waited_for(lambda: running(mark))
    lose(at_slurm, slurm_placed)
    again = waited_for(lambda: running(mark) - first, within_s=60)
    assert not (running(mark) & first), "the sandbox has ended with its worker"
    assert opened(slurm_placed.poll(key, 90) or b"")[1] == b"done"
    assert again


def test_a_worker_that_is_frozen_has_its_job_run_again(at_slurm, slurm_placed, monkeypatch):
    monkeypatch.setattr(slurm_workers, "LOST_S", 6.0)
    mark = f"sleep 5.{os.getpid()}"
    key = slurm_placed.submit(
        shell(f"{mark}; printf x > result", "frozen", timeout_s=100), JobResources()
    )
    first = waited_for(lambda: running(mark))
    (frozen,) = at_slurm.workers()
    os.kill(frozen, signal.SIGSTOP)
    waited_for(lambda: running(mark) - first, within_s=60)
    assert opened(slurm_placed.poll(key, 60) or b"")[1] == b"x"
    waited_for(lambda: frozen not in at_slurm.workers(), within_s=30)


def test_a_job_that_is_lost_too_often_is_given_back(at_slurm, slurm_placed, monkeypatch):
    monkeypatch.setattr(slurm_engine, "AGAIN", 0)
    mark = f"sleep 8.{os.getpid()}"
    key = slurm_placed.submit(shell(mark, "too often", timeout_s=100), JobResources())
    waited_for(lambda: running(mark) and slurm_placed.workers.nodes)
    kill(at_slurm, slurm_placed)
    with pytest.raises(Transient, match="lost the job 1 times .its worker on localhost ended"):
        slurm_placed.poll(key, 60)


def test_while_the_controller_is_down_jobs_wait_and_it_is_said(at_slurm, slurm_placed, said):
    mark = f"sleep 4.{os.getpid()}"
    running_one = shell(f"{mark}; printf a > result", "begun before", timeout_s=60)
    first = slurm_placed.submit(running_one, JobResources())
    waited_for(lambda: running(mark))
    at_slurm.stop("slurmctld")
    second = slurm_placed.submit(
        shell("printf b > result", "while it is down"), JobResources(cpus=2)
    )
    assert opened(slurm_placed.poll(first, 60) or b"")[1] == b"a", "its node goes on"
    waited_for(lambda: said, within_s=60)
    assert "Slurm's controller does not answer" in said[0]
    assert said[0].endswith("Slurm's administrator must act.")
    assert slurm_placed.poll(second, 1.0) is None
    at_slurm.start("slurmctld")
    assert opened(slurm_placed.poll(second, 120) or b"")[1] == b"b"
    waited_for(lambda: said[-1] == "Slurm places runs again.")


def test_the_status_shows_nodes_workers_and_what_is_wrong(at_slurm, slurm_placed, monkeypatch):
    monkeypatch.setenv("AAR_HOME", str(at_slurm.shared.parent))
    home = Home(at_slurm.shared.parent)
    mark = f"sleep 96.{os.getpid()}"
    key = slurm_placed.submit(shell(mark, "seen", timeout_s=100), JobResources())
    waited_for(lambda: running(mark))
    notes = Notes(home.engines, "slurm")
    notes.shut_out("other", "it lied")
    notes.write()
    found = cluster_status(home)
    node = next(n for n in found.nodes if n.engine == "slurm")
    here = found.nodes[0]
    assert (node.name, node.cpus, node.workers) == ("localhost", 4.0, 1)
    assert (node.aarlab, node.python) == (here.aarlab, here.python)
    (queue,) = [q for q in found.queues if q.folder == str(slurm_placed.folder.root)]
    assert (queue.waiting, queue.leased, queue.pid) == (0, 1, os.getpid())
    (trouble,) = found.troubles
    assert "has shut out other: it lied" in trouble.words
    assert trouble.whose == "operator"
    slurm_placed.cancel(key)
    notes.close()
    at_slurm.ask("scontrol", "update", "nodename=localhost", "state=drain", "reason=broken_disk")
    try:
        words = [t.words for t in cluster_status(home).troubles]
        assert len(words) == 1
        assert "Slurm's node localhost is drain" in words[0]
        assert "broken_disk" in words[0]
    finally:
        at_slurm.ask("scontrol", "update", "nodename=localhost", "state=resume")
    shown = CliRunner().invoke(app, ["cluster", "status"])
    assert shown.exit_code == 0, shown.output
    assert "localhost" in shown.output


def test_a_cancelled_job_ends_at_once_in_slurm(at_slurm, slurm_placed):
    mark = f"sleep 98.{os.getpid()}"
    key = slurm_placed.submit(shell(mark, "cancelled soon", timeout_s=200), JobResources())
    waited_for(lambda: running(mark))
    slurm_placed.cancel(key)
    waited_for(lambda: not running(mark), within_s=20)
    waited_for(lambda: not at_slurm.workers(), within_s=20)


def test_a_run_that_no_node_may_have_is_refused_and_holds_up_no_other(at_slurm, slurm_placed):
    """On a cluster of one node, beside runs that wait."""
    waiting = [
        slurm_placed.submit(shell(f"sleep 1; printf {n} > result", f"waits {n}"), JobResources())
        for n in range(12)
    ]
    apart = slurm_placed.submit(shell("true", "apart"), JobResources(apart="localhost"))
    with pytest.raises(Misconfigured, match="Slurm refuses sbatch"):
        slurm_placed.poll(apart, 60)
    on = slurm_placed.submit(shell("printf on > result", "on"), JobResources(only="localhost"))
    assert opened(slurm_placed.poll(on, 60) or b"")[1] == b"on"
    assert slurm_placed.answered_by(on) == "localhost"
    found = [opened(slurm_placed.poll(key, 60) or b"")[1] for key in waiting]
    assert found == [str(n).encode() for n in range(12)]
    state = record_in(slurm_placed.folder.state, DriverState)
    assert state is not None
    assert state.words == ""


@pytest.mark.parametrize(
    "left", ["a link", "no end", "the end of another job", "half an end", "an end by nobody"]
)
def test_what_is_no_end_is_not_taken(at_slurm, slurm_placed, left, tmp_path):
    mark = f"sleep 3.{os.getpid()}"
    job = shell(f"{mark}; printf true > result", f"beside {left}", timeout_s=60)
    key = slurm_placed.submit(job, JobResources())
    waited_for(lambda: running(mark))
    head = '{"key":"%s","worker":"1_0-w","signature":"00"}\n'
    path = slurm_placed.folder.ends / key
    if left == "a link":
        (tmp_path / "private").write_bytes((head % key).encode() + b"\0\0\0\2{}")
        path.symlink_to(tmp_path / "private")
    else:
        words = {"no end": "cos\nsystem\n", "half an end": head % key + "\0\0\0\5{}"}
        words["an end by nobody"] = head % key + "\0\0\0\2{}"
        path.write_text(words.get(left, head % ("0" * 64)))
    assert opened(slurm_placed.poll(key, 90) or b"")[1] == b"true"


@pytest.mark.parametrize(
    ("options", "resources", "words"),
    [
        ({"partition": "nowhere"}, {}, "Slurm refuses sbatch: .*invalid partition.*nowhere"),
        ({}, {"cpus": 500.0}, "Slurm refuses sbatch: .*"),
        ({"args": ("--qos=none", "--bad-option=1")}, {}, "unrecognized option '--bad-option=1'"),
    ],
)
def test_what_slurm_never_starts_is_refused(at_slurm, options, resources, words):
    made = SlurmEngine(at_slurm.shared, SlurmOptions(**options), workers=1)
    with closing(made) as engine, pytest.raises(Misconfigured, match=words):
        finished(engine, shell("true", "refused"), JobResources(**resources))


def test_what_cannot_run_there_is_refused_before_it_is_placed(at_slurm, monkeypatch):
    with pytest.raises(Misconfigured, match="sandbox must isolate"):
        SlurmEngine(at_slurm.shared, sandbox="directory", workers=1)
    with pytest.raises(Misconfigured, match="'--export=ALL'"):
        SlurmEngine(at_slurm.shared, SlurmOptions(args=("--export=ALL",)), workers=1)
    with pytest.raises(Misconfigured, match="'mine.sh'"):
        SlurmEngine(at_slurm.shared, SlurmOptions(args=("mine.sh",)), workers=1)
    engine = SlurmEngine(at_slurm.shared, SlurmOptions(minutes=1), workers=1)
    with pytest.raises(Misconfigured, match="slurm.minutes, 1,"):
        engine.submit(shell("true", "long", timeout_s=20.0), JobResources())
    engine.close()
    open_to_all = at_slurm.folder / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(Misconfigured, match="others may write"):
        SlurmEngine(open_to_all, workers=1)
    monkeypatch.setenv("PATH", str(at_slurm.folder))
    with pytest.raises(Misconfigured, match="needs sbatch, squeue, scancel, sinfo"):
        SlurmEngine(at_slurm.shared, workers=1)


def test_a_node_that_cannot_isolate_says_so_by_its_name(at_slurm):
    """The node's sandbox is docker, and it has no engine: as without user namespaces."""
    words = f"The node {os.uname().nodename} can run nothing"
    made = SlurmEngine(at_slurm.shared, sandbox="docker", workers=1)
    with closing(made) as engine, pytest.raises(Misconfigured, match=words):
        opened(finished(engine, shell("true", "no sandbox")))


def test_workers_that_end_at_once_are_not_started_for_ever(at_slurm, monkeypatch):
    monkeypatch.setattr(slurm_workers, "WORKER", "aarlab.runs.not_on_this_node")
    words = "they end at once: .*not_on_this_node"
    made = SlurmEngine(at_slurm.shared, workers=1)
    with closing(made) as engine, pytest.raises(Misconfigured, match=words):
        finished(engine, shell("true", "never begun", timeout_s=60))


def test_workers_end_when_who_submits_is_killed(at_slurm):
    words = (
        "import sys, time; from pathlib import Path\n"
        "from aarlab.runs import slurm_engine as s, slurm_workers\n"
        "from aarlab.runs.engine_contract import shell\n"
        "from aarlab.runs.run_jobs import JobResources\n"
        "slurm_workers.GONE_S = 5.0\n"
        "engine = s.SlurmEngine(Path(sys.argv[1]), workers=1)\n"
        "engine.submit(shell(sys.argv[2], 'orphan', timeout_s=300), JobResources())\n"
        "time.sleep(300)"
    )
    mark = f"sleep 97.{os.getpid()}"
    process = subprocess.Popen([sys.executable, "-c", words, str(at_slurm.shared), mark])
    try:
        waited_for(lambda: running(mark), within_s=60)
    finally:
        process.kill()
        process.wait()
    waited_for(lambda: not running(mark), within_s=60)
    waited_for(lambda: not at_slurm.workers(), within_s=20)
    made = [SlurmFolder(path) for path in at_slurm.shared.iterdir()]
    assert len(made) == 1
    os.utime(made[0].state, (0, 0))
    make_folder(at_slurm.shared)
    assert not made[0].root.exists(), "the folder of who is gone for a day is removed"


@pytest.fixture
def alone_folder(tmp_path):
    return make_folder(tmp_path / "slurm")


def test_a_job_is_leased_once_and_comes_back(alone_folder):
    job = shell("true", "leased")
    size = Size.of(job, JobResources())
    put(alone_folder, size, JobOrder(key=job.key, sandbox="bubblewrap", packs={}, job=job))
    lease = take(alone_folder, [str(size)], "1_0-ab")
    assert lease is not None
    assert take(alone_folder, [str(size)], "1_1-cd") is None
    assert [one.worker for one in leases(alone_folder)] == ["1_0-ab"]
    assert give_back(alone_folder, lease)
    assert not give_back(alone_folder, lease)
    second = take(alone_folder, [str(size)], "1_1-cd")
    assert second is not None
    order = record_in(second.path, JobOrder)
    assert order is not None
    assert order.job == job


def test_a_folder_in_the_place_of_an_end_holds_up_no_other(alone_folder):
    engine = object.__new__(SlurmEngine)
    engine.folder, engine._placed, engine._mutex = alone_folder, {}, threading.RLock()
    for key in ("0" * 16, "7" * 16, "f" * 16):
        (alone_folder.ends / key).mkdir()
        (alone_folder.ends / key / "more").touch()
        (alone_folder.ends / f"{key}-alone").touch()
    engine._take_ends()
    assert list(alone_folder.ends.iterdir()) == []


def test_a_worker_takes_jobs_that_another_node_must_not_run(alone_folder):
    job = shell("true", "apart")
    size = Size.of(job, JobResources())._replace(apart="two")
    put(alone_folder, size, JobOrder(key=job.key, sandbox="bubblewrap", packs={}, job=job))
    own = str(size.shared)
    assert sizes_for(alone_folder, own, named("two")) == []
    assert sizes_for(alone_folder, own, named("one")) == [str(size)]
    assert sizes_for(alone_folder, "c2-m1024", named("one")) == []


def test_a_worker_takes_jobs_that_its_node_alone_must_run(alone_folder):
    job = shell("true", "on")
    size = Size.of(job, JobResources())._replace(only="two")
    put(alone_folder, size, JobOrder(key=job.key, sandbox="bubblewrap", packs={}, job=job))
    own = str(size.shared)
    assert sizes_for(alone_folder, own, named("one")) == []
    assert sizes_for(alone_folder, own, named("two")) == [str(size)]
    assert (size.may_be_on("one"), size.may_be_on("two")) == (False, True)
    workers = SlurmWorkers(alone_folder, "aar", SlurmOptions(), 1, 20.0)
    assert "--nodelist=two" in workers._asked_for(size)


def said_key(folder, name, public):
    """What a worker, or somebody in its place, says of its key."""
    task = name.rpartition("-")[0]
    about = {"node": "one", "pid": 1, "size": "c1-m1024", "aarlab": "", "code": "", "python": ""}
    record = WorkerRecord(name=name, task=task, public=public, beat=0, **about)
    write_whole(folder.worker(name), record.model_dump_json(), mode=0o600)


@pytest.mark.parametrize("place", ["1_0-aaaa", "1_0-bbbb"])
def test_a_worker_of_which_two_keys_were_said_is_believed_no_more(alone_folder, place):
    """Somebody wrote a key in its place, before it said its own; or beside it."""
    workers = SlurmWorkers(alone_folder, "aar", SlurmOptions(), 1, 20.0)
    said_key(alone_folder, place, "a" * 64)
    assert workers.key_of(place) == "a" * 64
    said_key(alone_folder, "1_1-cccc", "c" * 64)
    assert workers.newly_disputed() == []
    said_key(alone_folder, "1_0-aaaa", "b" * 64)  # the worker's own beat
    assert workers.key_of("1_0-aaaa") == workers.key_of(place) == ""
    assert workers.key_of("1_1-cccc") == "c" * 64
    assert workers.newly_disputed() == ["1_0"]
    assert workers.newly_disputed() == []
    assert workers.to_cancel == ["1_0"]


def test_a_size_is_what_a_job_and_its_worker_need():
    job = shell("true", "size")
    assert str(Size.of(job, JobResources(cpus=1.5, alone=True))) == "c2-m1024-alone"
    limits = JobLimits(**(vars(job.limits) | {"together_bytes": None}))
    assert Size.of(job.model_copy(update={"limits": limits}), JobResources()).mib == 4096 + 512


def test_which_tasks_will_not_begin():
    task = ArrayTask(name="1_0", state="PENDING", node="", reason="PartitionDown")
    assert task.stuck
    assert task.alive
    assert not task.model_copy(update={"reason": "JobResources"}).stuck
    assert not task.model_copy(update={"state": "COMPLETING"}).alive
