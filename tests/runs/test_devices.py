"""Runs of a student that is fine-tuned, on devices of nodes: the same answers as on this machine,
seconds charged to who asked and within budgets, whatever is killed meanwhile."""

import json
import os
import signal
import threading
from concurrent.futures import Future
from functools import partial

import pytest

from aarlab.core.budget import Budget
from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.layout import CampaignFolder
from aarlab.core.settings import Home
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.device_hours import DeviceHours
from aarlab.gateway.journal import Journal
from aarlab.models.device_meter import read_counted
from aarlab.models.preset import preset
from aarlab.runs import node_worker
from aarlab.runs.engine import METHOD_FILE, LocalEngine
from aarlab.runs.local_pool import LocalPool, WaitingJobs
from aarlab.sandbox import Bubblewrap
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.tuned_student import tuned
from tests.ray_cluster import two_nodes
from tests.slurm_cluster import SlurmCluster
from tests.tuned_scene import OWN_LOSS, tuned_scene
from tests.waiting import waited_for

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(600)]

SLOW = """
import time
from scipy.special import expit
from aarlab.models.head_training import cross_entropy

def slow(logits_b, targets_b, progress):
    time.sleep(0.5)
    return cross_entropy(logits_b, targets_b, progress)

def run(task, seed):
    return expit(task.strong.fine_tune(task.weak_probs_N, seed=seed, loss=slow).test_logits_M)
"""


def quiet(what, done, of):
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    pytest.importorskip("torch")
    return tuned_scene(tmp_path_factory.mktemp("devices"))


@pytest.fixture(scope="module")
def home(place):
    return Home(place / "home")


@pytest.fixture(scope="module")
def student(place, home):
    made = tuned(preset(str(place / "tiny.yaml")), home, quiet)
    yield made
    made.close()


@pytest.fixture(scope="module")
def tuned_bed(place, home, student):
    return prepare(str(place / "mine.jsonl"), 1, home=home, student=student, progress=quiet)


class OneNode:
    """A node as an engine has it: what Ray's and Slurm's workers call, in threads of this
    process."""

    def __init__(self, home):
        from aarlab.runs.node_device import NodeDevice

        self.device, self._waiting, self._home = NodeDevice(home), WaitingJobs(), home
        self.order = None  # how the last job reached the node

    def submit(self, job, resources):
        def start():
            future = Future()
            threading.Thread(target=self._run, args=(job, future)).start()
            return future

        return self._waiting.join(job.key, start)

    def _run(self, job, future):
        from aarlab.runs.data_pack import hash_of, pack

        packs = {target: pack(folder) for target, folder in job.folders.items()}
        names = {target: hash_of(data) for target, data in packs.items()}
        self.order = job.without_folders.model_dump_json().encode()
        found = {hash_of(data): data for data in packs.values()}.__getitem__
        data = self._home.node_data
        data.mkdir(parents=True, exist_ok=True)
        beside = threading.Lock()
        run = partial(self.device.run, job.key)
        future.set_result(
            node_worker.run(self.order, "bubblewrap", names, found, data, beside, device=run)
        )

    def poll(self, key, wait_s=0.0):
        return self._waiting.poll(key, wait_s)

    def counted(self, key):
        return self.device.counts().get(key)

    def allow(self, key, attempt, seconds):
        self.device.allow(key, attempt, seconds)

    def cancel(self, key):
        self.device.cancel(key)

    def close(self):
        self.device.close()


@pytest.fixture
def node(home):
    made = OneNode(home)
    yield made
    made.close()


def engine_on(bed, student, cache, placed=None, **more):
    return LocalEngine(
        bed, cache, Bubblewrap, workers=2, timeout_s=200, student=student, engine=placed, **more
    )


def answers_of_both(bed, student, cache, placed=None):
    """Of a method with a loss of its own, and of one by the shipped loss."""
    engine = engine_on(bed, student, cache, placed)
    try:
        own = engine.run({METHOD_FILE: OWN_LOSS}, "final", (1,)).answers
        return own, engine.run({METHOD_FILE: OWN_LOSS}, "feedback", (1, 2)).answers
    finally:
        engine.pool.shutdown()


def test_a_run_beside_a_nodes_device_has_the_same_answers_as_here(
    tuned_bed, student, node, tmp_path
):
    here = answers_of_both(tuned_bed, student, tmp_path / "here")
    assert answers_of_both(tuned_bed, student, tmp_path / "there", node) == here
    item = json.loads((tuned_bed.public / "feedback.jsonl").read_text().splitlines()[0])
    texts = [text for text in item.values() if isinstance(text, str) and len(text) > 20]
    assert texts
    assert not any(text.encode() in node.order for text in texts), "items travel by their hash"


def test_a_node_with_other_files_of_the_model_is_refused_by_name(
    tuned_bed, student, place, node, tmp_path
):
    engine = engine_on(tuned_bed, student, tmp_path / "runs", node)
    other = place / "strong" / "more.txt"
    offered = student.elsewhere(tuned_bed, "feedback")
    assert set(offered.models) == {"weak", "strong"}
    other.write_text("another file")
    try:
        with pytest.raises(Misconfigured, match="other files of the model tiny-strong .*Copy that"):
            engine.run({METHOD_FILE: OWN_LOSS}, "feedback", (1,))
    finally:
        other.unlink()
        engine.pool.shutdown()


def test_an_engine_without_devices_is_refused_a_student_that_is_fine_tuned(
    tuned_bed, student, tmp_path
):
    pool = LocalPool(Bubblewrap, tmp_path, workers=1)
    with pytest.raises(Misconfigured, match="this engine places nothing on devices"):
        engine_on(tuned_bed, student, tmp_path / "runs", pool)
    pool.close()


def hours_of(tmp_path, **budget):
    campaign = Campaign(usd_per_device_hour=3600.0, budget=Budget(**budget))  # $1 a second
    journal = Journal(CampaignFolder(tmp_path / "c").gateway.journal)
    return campaign, journal, DeviceHours(campaign, tmp_path / "c", journal)


def test_seconds_of_a_node_are_charged_to_who_asked(tuned_bed, student, node, tmp_path):
    campaign, journal, hours = hours_of(tmp_path)
    engine = engine_on(
        tuned_bed,
        student,
        tmp_path / "runs",
        node,
        meters=lambda who: hours.open(campaign, who),
    )
    engine.run({METHOD_FILE: SLOW}, "feedback", (5,), who="ann")
    hours.step(campaign)
    spent = journal.spent("ann")
    assert spent.device_s > 3.0, "each of the steps lasts half a second"
    assert spent.usd == pytest.approx(spent.device_s)
    assert engine.run({METHOD_FILE: SLOW}, "feedback", (5,), who="bob").from_cache
    hours.step(campaign)
    assert journal.spent("bob").device_s == 0.0
    engine.pool.shutdown()


def test_a_budget_that_is_spent_meanwhile_ends_the_job_at_the_device(
    tuned_bed, student, node, tmp_path
):
    slower = SLOW.replace("sleep(0.5)", "sleep(5.0)")
    campaign, journal, hours = hours_of(tmp_path, usd=2.0)
    made = []

    def meter(who):
        made.append(hours.open(campaign, who))
        return made[-1]

    engine = engine_on(tuned_bed, student, tmp_path / "runs", node, meters=meter)
    ended = threading.Event()

    def fleet():
        while not ended.wait(0.3):
            hours.step(campaign)

    thread = threading.Thread(target=fleet)
    thread.start()
    try:
        with pytest.raises(InvalidSubmission, match="budget of device time is spent"):
            engine.run({METHOD_FILE: slower}, "feedback", (6,), who="ann")
    finally:
        ended.set()
        thread.join()
    hours.step(campaign)
    # to its end it would take five seconds for each of its twelve steps
    assert 2.0 <= journal.spent("ann").device_s < 30.0, "the node holds the limit by itself"
    with pytest.raises(InvalidSubmission, match="budget of device time is spent"):
        engine.run({METHOD_FILE: slower}, "feedback", (7,), who="ann")
    engine.pool.shutdown()


def test_a_cancelled_run_ends_at_once_and_its_device_goes_on(tuned_bed, student, node, tmp_path):
    engine = engine_on(tuned_bed, student, tmp_path / "runs", node)
    run = engine.pool.submit(engine.run, {METHOD_FILE: SLOW}, "feedback", (9,))
    (key,) = waited_for(lambda: [k for k, c in node.device.counts().items() if c.seconds > 0.5])
    worker = node.device._workers.processes[0].pid
    node.cancel(key)
    with pytest.raises(Transient, match="was stopped before its end"):
        run.result(20)
    assert engine.run({METHOD_FILE: OWN_LOSS}, "feedback", (3,)).answers
    assert node.device._workers.processes[0].pid == worker
    engine.pool.shutdown()


# --- Ray ------------------------------------------------------------------------------------------


@pytest.fixture
def two(monkeypatch, place):
    """A Ray of two nodes whose devices are processors."""
    yield from two_nodes(monkeypatch, cpus=2, home=place / "home")


@pytest.fixture
def on_ray(two):
    from aarlab.runs.ray_engine import RayEngine

    made = RayEngine(two.address)
    yield made
    made.close()


def both_used(on_ray):
    """Whether two runs are at a device."""
    return sum(count.seconds > 0 for count in list(on_ray._counts.values())) == 2


@pytest.mark.cluster
def test_rays_devices_give_the_same_answers_as_here(tuned_bed, student, on_ray, two, tmp_path):
    here = answers_of_both(tuned_bed, student, tmp_path / "here")
    assert answers_of_both(tuned_bed, student, tmp_path / "there", on_ray) == here
    actors = [pid for n in range(2) for pid in two.pids(n, "ray::DeviceActor")]
    assert len(actors) == 1, "one after the other, they need one device, which is kept"


@pytest.mark.cluster
def test_a_device_that_is_killed_has_its_run_again_and_each_attempt_is_charged(
    tuned_bed, student, on_ray, two, tmp_path
):
    campaign, journal, hours = hours_of(tmp_path)
    plain = engine_on(tuned_bed, student, tmp_path / "here")
    expected = plain.run({METHOD_FILE: SLOW}, "feedback", (8,)).answers
    plain.pool.shutdown()
    meters = []

    def meter(who):
        meters.append(hours.open(campaign, who))
        return meters[-1]

    engine = engine_on(tuned_bed, student, tmp_path / "runs", on_ray, meters=meter)
    run = engine.pool.submit(engine.run, {METHOD_FILE: SLOW}, "feedback", (8,), who="ann")
    waited_for(lambda: meters and read_counted(meters[0].counted).seconds > 1.0)
    before = read_counted(meters[0].counted).seconds
    killed = [pid for n in range(2) for pid in two.pids(n, "ray::DeviceActor")]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert run.result(200).answers == expected
    assert read_counted(meters[0].counted).seconds > before + 2.0, "the second attempt is counted"
    hours.step(campaign)
    assert journal.spent("ann").device_s == read_counted(meters[0].counted).seconds
    engine.pool.shutdown()


@pytest.mark.cluster
def test_a_cancelled_run_leaves_rays_device_to_others(tuned_bed, student, on_ray, two, tmp_path):
    engine = engine_on(tuned_bed, student, tmp_path / "runs", on_ray)
    first = engine.pool.submit(engine.run, {METHOD_FILE: SLOW}, "feedback", (9,))
    (key,) = waited_for(lambda: list(on_ray._counts))
    actors = [pid for n in range(2) for pid in two.pids(n, "ray::DeviceActor")]
    on_ray.cancel(key)
    with pytest.raises(Transient, match="Nobody waits for this job"):
        first.result(20)
    assert engine.run({METHOD_FILE: OWN_LOSS}, "feedback", (3,)).answers
    assert [pid for n in range(2) for pid in two.pids(n, "ray::DeviceActor")] == actors
    engine.pool.shutdown()


@pytest.mark.cluster
def test_two_who_ask_share_devices_of_both_nodes(tuned_bed, student, on_ray, two, tmp_path):
    engine = engine_on(tuned_bed, student, tmp_path / "runs", on_ray)
    runs = [
        engine.pool.submit(engine.run, {METHOD_FILE: SLOW}, "feedback", (seed,)) for seed in (1, 2)
    ]
    waited_for(lambda: both_used(on_ray), within_s=90)
    assert all(two.pids(n, "ray::DeviceActor") for n in range(2))
    assert all(run.result(200).answers for run in runs)
    engine.pool.shutdown()


@pytest.fixture
def scarce(monkeypatch, place):
    """A Ray of two nodes with one device each, and no room for another one."""
    yield from two_nodes(monkeypatch, home=place / "home")


@pytest.mark.cluster
def test_a_run_whose_node_is_lost_goes_to_a_device_that_another_run_has(
    tuned_bed, student, scarce, tmp_path
):
    from aarlab.runs.ray_engine import RayEngine

    on_ray = RayEngine(scarce.address)
    engine = engine_on(tuned_bed, student, tmp_path / "runs", on_ray)
    runs = [
        engine.pool.submit(engine.run, {METHOD_FILE: SLOW}, "feedback", (seed,)) for seed in (1, 2)
    ]
    waited_for(lambda: both_used(on_ray), within_s=90)
    assert scarce.kill(1)
    assert all(run.result(150).answers for run in runs)
    on_ray.close()
    engine.pool.shutdown()


@pytest.mark.cluster
def test_a_preset_for_gpus_is_refused_where_no_node_has_one(
    place, home, tuned_bed, on_ray, tmp_path
):
    wanted = preset(str(place / "tiny.yaml"))
    wanted = wanted.model_copy(
        update={"hardware": wanted.hardware.model_copy(update={"devices": ()})}
    )
    student = tuned(wanted, home, quiet)
    engine = engine_on(tuned_bed, student, tmp_path / "runs", on_ray)
    with pytest.raises(Misconfigured, match="No node of the Ray cluster has a GPU"):
        engine.run({METHOD_FILE: OWN_LOSS}, "feedback", (1,))
    engine.pool.shutdown()
    student.close()


# --- Slurm ----------------------------------------------------------------------------------------


@pytest.fixture
def on_slurm(monkeypatch, home):
    from aarlab.runs.slurm_engine import SlurmEngine

    cluster = SlurmCluster(gpu=True)
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    made = SlurmEngine(home.slurm, workers=2)
    yield made
    made.close()
    cluster.close()


@pytest.mark.cluster
def test_slurms_devices_give_the_same_answers_and_are_charged(
    tuned_bed, student, on_slurm, tmp_path
):
    here = answers_of_both(tuned_bed, student, tmp_path / "here")
    assert answers_of_both(tuned_bed, student, tmp_path / "there", on_slurm) == here
    campaign, journal, hours = hours_of(tmp_path)
    engine = engine_on(
        tuned_bed,
        student,
        tmp_path / "runs",
        on_slurm,
        meters=lambda who: hours.open(campaign, who),
    )
    engine.run({METHOD_FILE: SLOW}, "feedback", (5,), who="ann")
    hours.step(campaign)
    assert journal.spent("ann").device_s > 3.0
    engine.pool.shutdown()


@pytest.mark.cluster
def test_slurm_gives_a_gpu_to_who_needs_one(place, home, tuned_bed, on_slurm, tmp_path):
    """The node has one on paper: its worker is started, and says that torch finds none."""
    wanted = preset(str(place / "tiny.yaml"))
    wanted = wanted.model_copy(
        update={"hardware": wanted.hardware.model_copy(update={"devices": ()})}
    )
    student = tuned(wanted, home, quiet)
    engine = engine_on(tuned_bed, student, tmp_path / "runs", on_slurm)
    with pytest.raises(Misconfigured, match=r"torch has no device cuda:0"):
        engine.run({METHOD_FILE: OWN_LOSS}, "feedback", (1,))
    engine.pool.shutdown()
    student.close()
