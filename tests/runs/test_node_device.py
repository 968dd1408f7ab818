"""A node's device while models are made on it, and jobs that are cancelled before they run; no
model is needed for that."""

import threading
from contextlib import contextmanager

import pytest

from aarlab.core.errors import Transient
from aarlab.core.files import write_whole
from aarlab.core.settings import Home
from aarlab.models.device_meter import Counted
from aarlab.models.item_batches import item_batch_of, write_item_batch
from aarlab.models.student_contract import Question
from aarlab.runs import node_device, node_worker
from aarlab.runs.engine_contract import shell
from aarlab.runs.node_device import NodeDevice
from aarlab.runs.run_jobs import ITEMS, JobHead, StrongNeed, checked, packed

WITHIN_S = 20.0
pytestmark = pytest.mark.process  # a folder goes by rm


class NoModels:
    """Workers that answer nothing; a socket of theirs counts `used` seconds."""

    def __init__(self, used=0.0, still_running=()):
        self._used, self._still_running = used, list(still_running)

    def add_item_batch(self, name, splits):
        """Nothing is asked about them."""

    @contextmanager
    def open_socket(self, name, splits, folder, meter):
        yield folder / "socket"
        for seconds in self._still_running:  # by a job that goes on to its next step
            self._note(meter, seconds, True)
        if self._still_running:
            threading.Timer(0.3, self._note, (meter, self._used, False)).start()
        else:
            self._note(meter, self._used, False)

    def _note(self, meter, seconds, running):
        said = Counted(who=meter.who, seconds=seconds, running=running)
        write_whole(meter.counted, said.model_dump_json())

    def failed(self, path):
        return None

    def close(self):
        """There is no process."""


class Slow(NodeDevice):
    """Whose models are made when `loaded` is set."""

    def __init__(self, home, workers=None):
        super().__init__(home)
        self.loading, self.loaded = threading.Event(), threading.Event()
        self.workers = workers or NoModels()

    def _made(self, need):
        self.loading.set()
        assert self.loaded.wait(WITHIN_S)
        return self.workers


@pytest.fixture
def job():
    need = StrongNeed(preset="{}", models={}, splits={}, who="ann", gpus=0)
    return shell("true", "beside a device").model_copy(update={"strong": need})


@pytest.fixture
def folders(tmp_path):
    batch = item_batch_of({"student": [Question("q", ("a", "b"))]})
    return {ITEMS: write_item_batch(batch, tmp_path / "items").parent}


@pytest.fixture
def device(tmp_path, monkeypatch):
    monkeypatch.setattr(node_device, "work", lambda job, folders, make: _ran(make))
    return Slow(Home(tmp_path / "home"))


def _ran(make):
    make.require_going_on()  # as when it makes a sandbox
    return packed(JobHead(size=2), b"ok")


def started(act):
    """What a thread does; its result, or what it raised, is put into the list."""
    found = []

    def run():
        try:
            found.append(act())
        except Transient as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, found


def test_counts_are_said_while_models_are_made(device, job, folders):
    """Else a worker on Slurm is silent meanwhile, and is ended as lost."""
    run, _ = started(lambda: device.run("key", job, folders, None))
    assert device.loading.wait(WITHIN_S)
    asked, counts = started(device.counts)
    asked.join(WITHIN_S / 4)
    assert [list(found) for found in counts] == [["key"]]
    device.loaded.set()
    run.join(WITHIN_S)


def test_a_job_that_was_cancelled_before_it_came_is_not_begun(device, job, folders):
    device.cancel("key")
    with pytest.raises(Transient, match="was stopped before its end"):
        device.run("key", job, folders, None)
    assert not device.loading.is_set()
    device.loaded.set()
    assert checked(device.run("another", job, folders, None))[1] == b"ok"


def test_a_job_that_is_cancelled_while_it_waits_for_models_does_not_run(device, job, folders):
    run, found = started(lambda: device.run("key", job, folders, None))
    assert device.loading.wait(WITHIN_S)
    asked, _ = started(lambda: device.cancel("key"))
    asked.join(WITHIN_S / 4)
    device.loaded.set()
    run.join(WITHIN_S)
    assert "was stopped before its end" in str(found[0])


def test_a_jobs_limit_begins_once_its_models_are_there(device, job, folders, monkeypatch):
    """Else a download, or a long run with other models before it, kills all that runs there."""
    limited, seen = [], []

    @contextmanager
    def noted(limit_s):
        limited.append(limit_s)
        yield
        limited.pop()

    def made(need):
        seen.append(list(limited))
        return NoModels()

    def work(job, folders, make):
        seen.append(list(limited))
        return _ran(make)

    monkeypatch.setattr(node_worker, "killed_after", noted)
    monkeypatch.setattr(node_device, "killed_after", noted)
    monkeypatch.setattr(node_device, "work", work)
    device._made = made
    found = node_worker.run(
        job.model_copy(update={"folders": folders}).model_dump_json().encode(),
        "bubblewrap",
        {ITEMS: "pack"},
        lambda name: b"",
        _kept(folders, monkeypatch),
        threading.Lock(),
        device=lambda job, folders, make: device.run("key", job, folders, make),
    )
    assert checked(found)[1] == b"ok"
    assert seen == [[], [job.limits.timeout_s + node_worker.MARGIN_S]]


def _kept(folders, monkeypatch):
    """A node's data folder, which has the items."""
    monkeypatch.setattr(node_worker, "kept", lambda folder, name: folders[ITEMS])
    return folders[ITEMS].parent


def test_a_job_that_is_left_at_the_device_is_counted_to_its_end(device, job, folders):
    device.workers = NoModels(used=7.5, still_running=[3.0])
    device.loaded.set()
    head, _ = checked(device.run("key", job, folders, None))
    assert head.device is not None
    assert head.device.seconds == 7.5
