"""The operator's side of the workers, with tiny models in real processes.

Legend: N student items, M test items.
"""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from worker_scene import ITEM_BATCH, RECIPE, STUDENT, TEST, M, N, models, preset, quiet

import aarlab.models.workers as workers_module
from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.settings import Home
from aarlab.models.head_training import cross_entropy
from aarlab.models.item_batches import item_batch_of, read_item_batch, write_item_batch
from aarlab.models.remote import Remote
from aarlab.models.results import Results, fingerprint
from aarlab.models.tuned.tokens import tokenise
from aarlab.models.tuned.tunable import Tunable
from aarlab.models.tuned.worker_operations import MOST_CHECKPOINTS, Loaded, WorkerPlace
from aarlab.models.worker_process import MOST_LOST, WorkerProcess
from aarlab.models.workers import TuneJob, Workers
from tests.processes import gone
from tests.waiting import waited_for

pytestmark = pytest.mark.process

TARGETS_N = np.random.default_rng(0).random(N)


class Scene:
    """One worker for all tests of the module, and what its jobs said of their progress."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.said = models(folder), Home(folder / "home"), []
        self.on_step = lambda step: None
        self.workers = Workers(preset(folder), self.home, progress=self._say)
        self.workers.add_item_batch("deck", ITEM_BATCH)

    def _say(self, what: str, done: int, of: int) -> None:
        self.said.append((what, done, of))
        self.on_step(done)

    @property
    def results(self) -> Path:
        return self.home.cache / "tuned" / "results"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory):
    made = Scene(tmp_path_factory.mktemp("workers"))
    with pytest.MonkeyPatch.context() as patch, made.workers:
        patch.setenv("ANTHROPIC_API_KEY", "a secret")
        yield made


@pytest.fixture
def said(scene: Scene):
    scene.said.clear()
    yield scene.said
    scene.on_step = lambda step: None


def job(seed: int = 0, **fields) -> TuneJob:
    return TuneJob(
        **{
            "model": "strong",
            "item_batch": "deck",
            "split": "student",
            "targets": TARGETS_N,
            "answer": ("feedback",),
        }
        | fields,
        seed=seed,
    )


@pytest.mark.long
def test_a_fine_tuning_is_the_models_own_and_says_how_far_it_is(scene, said):
    answer = scene.workers.fine_tune(job(answer=("feedback", "student")))
    own = Tunable(scene.folder / "strong", hardware=scene.workers.preset.hardware)
    student, test = (tokenise(some, own.tokenizer, max_tokens=512) for some in (STUDENT, TEST))
    own.fine_tune(student, TARGETS_N, recipe=RECIPE, seed=0)
    assert {split: z.shape for split, z in answer.items()} == {"feedback": (M,), "student": (N,)}
    np.testing.assert_allclose(answer["feedback"], own.logits(test), atol=1e-6)
    np.testing.assert_allclose(answer["student"], own.logits(student), atol=1e-6)
    steps = 2 * N // 8
    assert [(done, of) for _, done, of in said] == [(i + 1, steps) for i in range(steps)]
    # one step of a display, not many
    assert {what for what, done, of in said if done < of} == {"strong model, seed 0"}
    assert said[-1][0].startswith("strong model, seed 0: ")
    assert said[-1][0].endswith(" tokens/s")


@pytest.mark.long
def test_what_was_computed_is_not_computed_again_even_without_a_process(scene, said):
    first = scene.workers.fine_tune(job(1, weights=np.linspace(1, 2, N)))
    assert said
    said.clear()
    later = Workers(scene.workers.preset, scene.home, progress=scene._say)
    later.add_item_batch("of another name", ITEM_BATCH)
    again = later.fine_tune(job(1, weights=np.linspace(1, 2, N), item_batch="of another name"))
    assert np.array_equal(first["feedback"], again["feedback"])
    assert not said
    assert [process.started for process in later.processes] == [False]


def test_every_fact_of_a_job_makes_another_result(scene, said):
    base = job(2)
    others = [
        job(3),
        job(2, model="weak"),
        job(2, targets=np.where(np.arange(N) == 0, 1 - TARGETS_N, TARGETS_N)),
        job(2, rows=np.arange(N)[::-1]),
        job(2, weights=np.linspace(1, 2, N)),
    ]
    for some in [base, *others]:
        scene.workers.fine_tune(some)
    assert len([done for _, done, of in said if done == of]) == 6
    assert not list((scene.home.cache / "tuned" / "checkpoints").iterdir()), (
        "checkpoints of finished jobs are deleted"
    )


def test_states_and_zero_shot_logits_are_the_models_own(scene):
    own = Tunable(scene.folder / "weak", hardware=scene.workers.preset.hardware)
    tokens = tokenise(TEST, own.tokenizer, max_tokens=512)
    np.testing.assert_allclose(
        scene.workers.judge("weak", "deck", "feedback"),
        own.logits(tokens, adapters=False),
        atol=1e-6,
    )
    states_LMD = scene.workers.states("weak", "deck", "feedback", (0.5, 1.0))
    np.testing.assert_allclose(states_LMD, own.states(tokens, [1, 2]), atol=1e-3)
    shown = scene.workers.judge(
        "weak", "deck", "feedback", rows=np.array([3, 1]), demonstrations=[[(0, 1), (2, 0)]]
    )
    after = tokenise(
        [TEST[3], TEST[1]],
        own.tokenizer,
        max_tokens=512,
        demonstrations=[[(TEST[0], 1), (TEST[2], 0)]],
    )
    np.testing.assert_allclose(shown, own.logits(after, adapters=False), atol=1e-6)


def test_a_loss_of_the_operators_own_is_called_and_never_kept(scene, said):
    named = scene.workers.fine_tune(job(4))
    kept = len(list(scene.results.rglob("*.npz")))
    own = scene.workers.fine_tune(job(4, loss=lambda z, t, progress: cross_entropy(z, t, progress)))
    np.testing.assert_allclose(own["feedback"], named["feedback"], atol=1e-6)
    assert len(list(scene.results.rglob("*.npz"))) == kept


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("targets", np.full(N, 1.5)),
        ("targets", np.full(N, -0.5)),
        ("targets", np.full(N, np.nan)),
        ("targets", np.zeros(N - 1)),
        ("weights", np.zeros(N)),
        ("weights", np.full(N, 1e308)),
        ("rows", np.array([N])),
        ("rows", np.array([-1])),
        ("rows", np.zeros(N + 1, dtype=int)),
        ("rows", np.ones(N)),
        ("seed", -1),
        ("seed", True),
        ("item_batch", "another"),
        ("split", "final"),
        ("answer", ("final",)),
        ("answer", ()),
        ("model", "stronger"),
    ],
)
def test_a_field_that_does_not_fit_is_named(scene, field, value):
    fields = (
        {"targets": TARGETS_N[:1], "rows": value}
        if field == "rows" and len(value) == 1
        else {field: value}
    )
    some = job(**fields) if field != "seed" else job(value)
    sent_as = {"item_batch": "deck"}.get(field, field)
    with pytest.raises(InvalidSubmission, match=sent_as) as caught:
        scene.workers.fine_tune(some)
    assert caught.value.facts["field"] == sent_as


def test_worker_killed_in_a_job_gives_the_unbroken_result(scene, said):
    unbroken = scene.workers.fine_tune(job(5))
    shutil.rmtree(scene.results)
    said.clear()
    killed = []

    def kill(step: int) -> None:
        if step == 6 and not killed:
            killed.append(scene.workers.processes[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    scene.on_step = kill
    broken = scene.workers.fine_tune(job(5))
    assert killed
    assert scene.workers.processes[0].pid not in {None, *killed}
    assert np.array_equal(unbroken["feedback"], broken["feedback"])
    done = [step for _, step, _ in said]
    after = (
        done[done.index(6) + 1 :]
        if done.count(6) == 1
        else done[len(done) - 1 - done[::-1].index(6) :]
    )
    assert min(after) >= 6, f"it went on from its checkpoint: {done}"


def test_a_parked_worker_loads_again(scene):
    before = scene.workers.judge("strong", "deck", "feedback")
    scene.workers.park()
    assert np.array_equal(scene.workers.judge("strong", "deck", "feedback"), before)


def test_worker_socket_is_the_operators_and_gets_no_key(scene):
    scene.workers.judge("strong", "deck", "feedback", rows=np.array([0]))
    process = scene.workers.processes[0]
    assert stat.S_IMODE(process.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(process.socket.parent.stat().st_mode) == 0o700
    assert b"a secret" not in Path(f"/proc/{process.pid}/environ").read_bytes()


@pytest.mark.long
def test_jobs_are_spread_over_devices_and_come_back_in_order(scene, tmp_path):
    jobs = [job(seed, rows=np.arange(16), targets=TARGETS_N[:16]) for seed in (7, 8, 9)]
    alone = [scene.workers.fine_tune(some)["feedback"] for some in jobs]
    with Workers(preset(scene.folder, "cpu", "cpu"), Home(tmp_path), progress=quiet) as two:
        two.add_item_batch("deck", ITEM_BATCH)
        both = [answer["feedback"] for answer in two.map(jobs)]
        pids = [process.pid for process in two.processes]
        assert None not in pids
        assert len(set(pids)) == 2
    np.testing.assert_allclose(both, alone, atol=1e-6)
    assert all(gone(pid) for pid in pids), "closing ends them"


def test_a_device_that_is_not_there_is_reported_with_the_workers_last_words(scene, tmp_path):
    with Workers(preset(scene.folder, "cuda:99"), Home(tmp_path), progress=quiet) as workers:
        workers.add_item_batch("deck", ITEM_BATCH)
        with pytest.raises(
            Misconfigured,
            match="did not start. Its last output: torch has no device cuda:99 .* Here: ",
        ):
            workers.judge("strong", "deck", "feedback")
        assert "cuda:99" in (tmp_path / "workers" / "worker-0.log").read_text()


STARTER = """
import sys
from pathlib import Path
from aarlab.core.settings import Home
from aarlab.models.preset import Preset
from aarlab.models.workers import Workers
workers = Workers(Preset.model_validate_json(sys.argv[1]), Home(Path(sys.argv[2])), progress=print)
workers.processes[0].ask({"op": "hello", "v": 1})
print(workers.processes[0].pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.long
def test_what_fails_behind_a_door_is_known_to_whoever_opened_it(scene, tmp_path):
    rows = np.arange(N)
    with scene.workers.open_socket(
        "deck", {"student": "student", "test": "feedback"}, tmp_path
    ) as path:
        with pytest.raises(InvalidSubmission):
            Remote(path, rows).fine_tune(TARGETS_N[:-1], seed=0)
        assert scene.workers.failed(path) is None  # that was the caller's own fault
        os.kill(scene.workers.processes[0].pid, signal.SIGKILL)
        assert len(Remote(path, rows).judge("test")) == M
        assert isinstance(scene.workers.failed(path), Transient)


def test_two_who_give_the_same_questions_at_once_both_have_them(scene, tmp_path, monkeypatch):
    """The second one must not open a socket before the worker has what the first one gives it."""
    scene.workers.judge("strong", "deck", "feedback")  # it runs
    monkeypatch.setattr(
        workers_module, "write_item_batch", lambda *a: (time.sleep(0.5), write_item_batch(*a))[1]
    )
    new = {"student": STUDENT[:5], "feedback": TEST[:3]}
    errors = (scene.home.root / "workers" / "worker-0.log").read_text().count("KeyError")

    def one(number: int) -> int:
        folder = tmp_path / str(number)
        folder.mkdir()
        scene.workers.add_item_batch("new deck", new)
        splits = {"student": "student", "test": "feedback"}
        with scene.workers.open_socket("new deck", splits, folder) as path:
            return len(Remote(path, np.arange(5)).judge("test"))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(one, range(2))) == [3, 3]
    after = (scene.home.root / "workers" / "worker-0.log").read_text().count("KeyError")
    assert after == errors


def test_a_worker_ends_with_its_starter_even_by_kill_9(scene, tmp_path):
    argv = [sys.executable, "-c", STARTER, scene.workers.preset.model_dump_json(), str(tmp_path)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        pid = int(starter.stdout.readline())
        assert not gone(pid)
        starter.kill()
    waited_for(lambda: gone(pid))


# --- without torch --------------------------------------------------------------------------------

DIES = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as unix:
    unix.bind(PATH)
    unix.listen()
    while True:
        caller, _ = unix.accept()
        said = json.loads(caller.makefile().readline())
        if said["op"] == "job":
            print("the last of start", len(sys.argv), flush=True)
            os._exit(1)
        caller.sendall(json.dumps({"is": "done", "pid": os.getpid()}).encode() + b"\\n")
        caller.close()
"""


def process(folder: Path, code: str) -> WorkerProcess:
    path = folder / "s.sock"
    return WorkerProcess(
        [
            sys.executable,
            "-c",
            f"PATH = {str(path)!r}\nimport os\nif os.path.exists(PATH): os.unlink(PATH)\n{code}",
        ],
        os.environ,
        path,
        folder / "log",
    )


@pytest.mark.long
def test_a_job_that_always_ends_the_worker_is_given_up_with_its_last_words(tmp_path):
    worker = process(tmp_path, DIES)
    with pytest.raises(
        Transient,
        match=f"ended {MOST_LOST} times over this request. Its last output: the last of start 3",
    ):
        worker.ask({"op": "job"})
    worker.close()
    assert (tmp_path / "log").read_text().count("the last of start") == MOST_LOST
    with pytest.raises(Transient, match="closed"):
        worker.ask({"op": "job"})


def test_a_worker_that_ends_before_it_listens_is_the_operators_to_mend(tmp_path):
    worker = process(tmp_path, "raise SystemExit('no such model')")
    with pytest.raises(Misconfigured, match="did not start. Its last output: no such model"):
        worker.ask({"op": "job"})
    worker.close()


def test_an_item_batch_comes_back_from_its_file_and_a_damaged_one_is_refused(tmp_path):
    item_batch = item_batch_of(ITEM_BATCH)
    path = write_item_batch(item_batch, tmp_path)
    back = read_item_batch(path)
    assert back.splits == item_batch.splits
    assert write_item_batch(back, tmp_path) == path
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(Misconfigured, match="is not a file of item batches"):
        read_item_batch(path)
    with pytest.raises(Misconfigured, match="at least one"):
        item_batch_of({"student": []})


def test_a_result_comes_back_and_a_damaged_one_is_reported(tmp_path):
    results = Results(tmp_path)
    assert results.get("ab12") is None
    results.put("ab12", {"logits/test": TARGETS_N, "seconds": np.array(1.5)})
    back = results.get("ab12")
    assert np.array_equal(back["logits/test"], TARGETS_N)
    assert float(back["seconds"]) == 1.5
    path = results.path("ab12")
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing unfinished is left"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(Misconfigured, match="is damaged"):
        results.get("ab12")


def test_a_models_fingerprint_is_of_names_and_content(tmp_path):
    one, two, cache = tmp_path / "one", tmp_path / "two", tmp_path / "cache"
    for folder in (one, two):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "weights").write_text("same")
    assert fingerprint(one, cache) == fingerprint(two, cache)
    before = fingerprint(two, cache)
    (two / "weights").write_text("else")
    assert fingerprint(two, cache) != before
    (one / "weights").rename(one / "weight")
    assert fingerprint(one, cache) != before
    with pytest.raises(Misconfigured, match="no model"):
        fingerprint(tmp_path / "none", cache)


def test_finished_checkpoints_are_shared_and_oldest_removed(tmp_path):
    place = WorkerPlace(
        preset(tmp_path), {"weak": tmp_path, "strong": tmp_path}, "cpu", tmp_path / "cache"
    )
    one, two = Loaded(place), Loaded(place)
    with one.checkpoint("job") as mine:
        (mine / "state").write_text("as far as it came")
        with two.checkpoint("job") as theirs:
            assert mine != theirs
    with two.checkpoint("job") as again:
        assert (again / "state").read_text() == "as far as it came"
        for i in range(MOST_CHECKPOINTS + 3):
            with one.checkpoint(f"other {i:02}") as other:
                os.utime(other, (i, i))
        left = {p.name for p in mine.parent.iterdir()}
    assert len(left) <= MOST_CHECKPOINTS + 1
    assert "job.0" in left, "it was in use"
    assert "other 00.0" not in left
    assert f"other {MOST_CHECKPOINTS + 2:02}.0" in left
