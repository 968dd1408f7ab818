"""The sandbox's side of a worker: what a socket lets through, and what hostile callers can do, with
real processes.

Legend: N student items of a task, M test items.
"""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_scene import ITEM_BATCH, M, N, models, preset, quiet

from aarlab.core.errors import InvalidSubmission, Transient
from aarlab.core.settings import Home
from aarlab.models.head_training import cross_entropy
from aarlab.models.item_batches import item_batch_of
from aarlab.models.remote import Remote
from aarlab.models.tuned.bounded_listener import MOST_CONNECTIONS
from aarlab.models.tuned.job_queue import MOST_WAITING, JobQueue
from aarlab.models.wire import (
    SOCKET_LINE,
    VERSION,
    ConnectionLost,
    WorkerConnection,
    ask,
    decode,
    encode,
    packed,
    unpacked,
)
from aarlab.models.worker_requests import SOCKET_BATCH, judge_of, through, tune_of
from aarlab.models.workers import TuneJob, Workers
from aarlab.sandbox import Bubblewrap
from aarlab.sandbox.sandbox import Limits, Mount, SandboxSpec
from tests.waiting import waited_for

pytestmark = pytest.mark.process

ANSWER_S = 4.0
ROWS_N = np.array([3, 1, 20, 7, 9, 11, 30, 2, 39, 0, 5, 25])
TARGETS_N = np.random.default_rng(0).random(len(ROWS_N))
SPLITS = {"student": "student", "test": "feedback"}
STEPS = 4  # of a fine-tuning on ROWS_N: two epochs of two steps


class Scene:
    """A worker with two sockets."""

    def __init__(self, workers: Workers, mine: Path, other: Path) -> None:
        self.workers, self.mine, self.other = workers, mine, other

    @property
    def pid(self) -> int | None:
        return self.workers.processes[0].pid

    def checkpoints(self) -> list[Path]:
        return list((self.workers._cache / "checkpoints").glob("*"))

    def serves_the_other(self) -> bool:
        """Whether somebody else is served, by the same process."""
        return Remote(self.other, ROWS_N).judge("test").shape == (M,)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("remote")
    for name in ("mine", "other"):
        (folder / name).mkdir()
    with Workers(
        preset(models(folder)), Home(folder / "home"), progress=quiet, answer_s=ANSWER_S
    ) as workers:
        workers.add_item_batch("deck", ITEM_BATCH)
        with (
            workers.open_socket("deck", SPLITS, folder / "mine") as mine,
            workers.open_socket("deck", SPLITS, folder / "other") as other,
        ):
            yield Scene(workers, mine, other)


@pytest.fixture
def same_process(scene):
    """The worker outlives what a test does to it, and nothing of its job is left."""
    assert scene.serves_the_other()
    before = scene.pid
    yield before
    assert scene.serves_the_other()
    assert scene.pid == before
    waited_for(lambda: not scene.checkpoints())


def own(logits_N, targets_N, progress):
    return cross_entropy(logits_N, targets_N, progress)


# --- the protocol ---------------------------------------------------------------------------------


@pytest.mark.long
def test_a_remote_fine_tuning_is_the_operators_of_the_tasks_rows(scene):
    rows = np.array([0, 2, 4, 6, 8])
    remote = Remote(scene.mine, ROWS_N)
    tuned = remote.fine_tune(
        TARGETS_N[rows], seed=1, rows=rows, weights_n=np.arange(1.0, 6.0), answer_student=True
    )
    job = TuneJob(
        "strong",
        "deck",
        "student",
        TARGETS_N[rows],
        1,
        ("feedback", "student"),
        ROWS_N[rows],
        np.arange(1.0, 6.0),
    )
    theirs = scene.workers.fine_tune(job)
    np.testing.assert_allclose(tuned.test_logits_M, theirs["feedback"], atol=1e-6)
    np.testing.assert_allclose(tuned.student_logits_N, theirs["student"][ROWS_N], atol=1e-6)
    assert tuned.seconds > 0
    again = remote.fine_tune(
        TARGETS_N[rows], seed=1, rows=rows, weights_n=np.arange(1.0, 6.0), answer_student=True
    )
    assert again.seconds == tuned.seconds, "what was computed is not computed again"
    assert remote.fine_tune(TARGETS_N, seed=1).student_logits_N is None


@pytest.mark.long
def test_own_loss_is_called_once_a_step_and_equals_the_named_loss(scene):
    seen = []

    def watched(logits_b, targets_b, progress):
        seen.append((progress, len(logits_b), sorted(targets_b)))
        return cross_entropy(logits_b, targets_b, progress)

    remote = Remote(scene.mine, ROWS_N)
    tuned, named = (
        remote.fine_tune(TARGETS_N, seed=2, loss=loss) for loss in (watched, cross_entropy)
    )
    np.testing.assert_allclose(tuned.test_logits_M, named.test_logits_M, atol=1e-6)
    assert [progress for progress, _, _ in seen] == [(i + 1) / STEPS for i in range(STEPS)]
    assert sorted(t for _, _, targets in seen[:2] for t in targets) == pytest.approx(
        sorted(TARGETS_N)
    )


def test_judgements_use_the_operators_model_and_the_tasks_items(scene):
    remote = Remote(scene.mine, ROWS_N)
    np.testing.assert_allclose(
        remote.judge("test"), scene.workers.judge("strong", "deck", "feedback"), atol=1e-6
    )
    rows = np.array([1, 5])
    after = remote.judge("student", rows=rows, demonstrations=[[(0, 1), (2, 0)]])
    shown = [[(int(ROWS_N[0]), 1), (int(ROWS_N[2]), 0)]]
    theirs = scene.workers.judge(
        "strong", "deck", "student", rows=ROWS_N[rows], demonstrations=shown
    )
    np.testing.assert_allclose(after, theirs, atol=1e-6)
    assert np.abs(after - remote.judge("student", rows=rows)).max() > 1e-6
    each = remote.judge("test", rows=rows, demonstrations=[[(0, 1)], []])
    assert each[1] == pytest.approx(remote.judge("test", rows=rows)[1], abs=1e-6)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda r: r.fine_tune(TARGETS_N[:3], seed=0), "targets"),
        (lambda r: r.fine_tune(TARGETS_N + 1, seed=0), "targets"),
        (lambda r: r.fine_tune(TARGETS_N * 1j, seed=0), "targets"),
        (lambda r: r.fine_tune(TARGETS_N, seed=0, weights_n=-TARGETS_N), "weights"),
        (lambda r: r.fine_tune(TARGETS_N, seed=-1), "seed"),
        (lambda r: r.fine_tune(TARGETS_N, seed=0, rows=TARGETS_N > 0.5), "rows"),
        (lambda r: r.judge("test", rows=np.array([M])), "rows"),
        (lambda r: r.judge("student", rows=np.array([len(ROWS_N)])), "rows"),
        (lambda r: r.judge("final"), "split"),
        (lambda r: r.judge("test", demonstrations=[[(0, 2)]]), "demonstrations"),
        (lambda r: r.judge("test", demonstrations=[[], []]), "demonstrations"),
    ],
)
def test_what_a_method_gets_wrong_is_named(scene, call, field):
    with pytest.raises(InvalidSubmission) as caught:
        call(Remote(scene.mine, ROWS_N))
    assert caught.value.facts["field"] == field


def test_a_methods_own_error_in_its_loss_is_its_own_and_ends_the_job(scene, same_process):
    def wrong(logits_b, targets_b, progress):
        raise ZeroDivisionError("of mine")

    with pytest.raises(ZeroDivisionError, match="of mine"):
        Remote(scene.mine, ROWS_N).fine_tune(TARGETS_N, seed=0, loss=wrong)


BAD = {
    "not a number": lambda b: np.full(b, np.nan),
    "infinite": lambda b: np.full(b, -np.inf),
    "beyond float32": lambda b: np.full(b, 1e300),
    "short": lambda b: np.zeros(b - 1),
    "of two axes": lambda b: np.zeros((b, 1)),
    "of texts": lambda b: np.array(["a"] * b),
    "nothing": lambda b: None,
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("field", ["loss", "grad"])
def test_a_loss_that_does_not_fit_is_refused(scene, same_process, field, bad):
    def loss(logits_b, targets_b, progress):
        wrong, fine = BAD[bad](len(logits_b)), np.zeros(len(logits_b))
        return (wrong, fine) if field == "loss" else (fine, wrong)

    with pytest.raises(InvalidSubmission, match=field) as caught:
        Remote(scene.mine, ROWS_N).fine_tune(TARGETS_N, seed=0, loss=loss)
    assert caught.value.facts["field"] == field


def refusal(call):
    """What a call returns, or how it was refused."""
    try:
        return call()
    except InvalidSubmission as error:
        return error


def test_gradients_as_large_as_float32_takes_give_numbers_or_are_refused(scene, same_process):
    def huge(logits_b, targets_b, progress):
        return np.zeros(len(logits_b)), np.full(len(logits_b), 1e38) * np.where(
            np.arange(len(logits_b)) % 2, 1, -1
        )

    said = refusal(lambda: Remote(scene.mine, ROWS_N).fine_tune(TARGETS_N, seed=0, loss=huge))
    assert "smaller gradients" in str(said) or np.isfinite(said.test_logits_M).all()


GOOD = {
    "v": VERSION,
    "op": "fine_tune",
    "targets": [0.5],
    "rows": [0],
    "seed": 0,
    "loss": "cross_entropy",
    "answer": {"test": None},
}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"v": 2}, "v"),
        ({"v": None}, "v"),
        ({"op": "states"}, "op"),
        ({"op": "park"}, "op"),
        ({"op": "deck"}, "op"),
        ({"op": "open"}, "op"),
        ({"op": "shut"}, "op"),
        ({"op": "hello"}, "op"),
        ({"op": ["fine_tune"]}, "op"),
        ({"model": "weak"}, "model"),
        ({"model": "strong"}, "model"),
        ({"deck": "deck"}, "deck"),
        ({"split": "teacher"}, "split"),
        ({"recipe": {"epochs": 99}}, "recipe"),
        ({"path": "/etc/passwd"}, "path"),
        ({"checkpoint": "/tmp/x"}, "checkpoint"),
        ({"answer": {"feedback": None}}, "answer"),
        ({"answer": {"final": None}}, "answer"),
        ({"answer": {}}, "answer"),
        ({"answer": {"test": [M]}}, "answer.test"),
        ({"answer": {"test": [*range(M), 0]}}, "answer.test"),
        ({"rows": [0.0]}, "rows"),
        ({"rows": [[0]]}, "rows"),
        ({"rows": []}, "rows"),
        ({"rows": [2**70]}, "rows"),
        ({"targets": "0.5"}, "targets"),
        ({"targets": [True]}, "targets"),
        ({"targets": {"dtype": "O", "shape": [1], "base64": "AAAAAAAAAAA="}}, "targets"),
        ({"targets": {"dtype": "<f8", "shape": [2**62, 4], "base64": "AAAAAAAAAAA="}}, "targets"),
        ({"targets": {"dtype": "<f8", "shape": [1], "base64": "not base64"}}, "targets"),
        ({"seed": 2**31}, "seed"),
        ({"seed": 0.0}, "seed"),
        ({"loss": "hinge"}, "loss"),
        ({"loss": "own"}, "ticket"),
        ({"loss": "own", "ticket": "../../../x"}, "ticket"),
        ({"ticket": "0" * 32}, "loss"),
    ],
)
def test_method_reaches_two_operations_on_two_splits_only(scene, change, field):
    with pytest.raises(InvalidSubmission) as caught:
        ask(scene.mine, GOOD | change)
    assert caught.value.facts["field"] == field


def test_a_door_is_open_to_all_who_reach_it_and_shut_afterwards(scene, tmp_path):
    with scene.workers.open_socket("deck", SPLITS, tmp_path) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert Remote(path, ROWS_N).judge("test").shape == (M,)
        waiting = WorkerConnection(path)
    with waiting, pytest.raises(ConnectionLost):
        waiting.hear()
    assert not path.exists()
    with pytest.raises(ConnectionLost) as caught:
        ask(path, GOOD)
    assert not caught.value.began


# --- callers who wish nobody well -----------------------------------------------------------------


def raw(path: Path) -> socket.socket:
    caller = socket.socket(socket.AF_UNIX)
    caller.settimeout(60)
    caller.connect(str(path))
    return caller


def own_job(seed: int) -> dict:
    targets = packed(np.linspace(0, 1, N))
    return {
        "v": VERSION,
        "op": "fine_tune",
        "targets": targets,
        "seed": seed,
        "loss": "own",
        "ticket": f"{seed:032x}",
        "answer": {"test": None},
    }


def reported(caller: socket.socket) -> dict:
    with caller.makefile("rb") as lines:
        return decode(lines.readline())


LINES = [
    b"{]\n",
    b"[" * 200_000 + b"\n",
    b"null\n",
    b'{"v": NaN}\n',
    b"\xff\xfe\n",
    b'{"v": ' + b"1" * 5000 + b"}\n",
    b"x" * (SOCKET_LINE + 2),
]


@pytest.mark.parametrize(
    "line", LINES, ids=["broken", "deep", "null", "nan", "not utf-8", "long number", "giant"]
)
def test_a_line_that_is_no_request_is_refused(scene, same_process, line):
    with raw(scene.mine) as caller:
        caller.sendall(line)
        said = reported(caller)
    assert (said["kind"], said["field"]) == ("InvalidSubmission", "line")


@pytest.mark.parametrize("loss", ["own", "cross_entropy"])
def test_a_caller_that_hangs_up_ends_its_job_within_a_step(scene, same_process, loss):
    named = {key: value for key, value in own_job(1).items() if key != "ticket"} | {
        "loss": "cross_entropy"
    }
    with WorkerConnection(scene.mine) as line:
        line.say(own_job(1) if loss == "own" else named)
        assert line.hear()["is"] == ("step" if loss == "own" else "progress")
    before = set(scene.workers._results.folder.rglob("*.npz"))
    assert scene.serves_the_other()  # after the end of the job
    assert set(scene.workers._results.folder.rglob("*.npz")) == before, (
        "it did not go on to its end"
    )


@pytest.mark.long
def test_a_caller_that_never_answers_loses_its_job_alone(scene, same_process):
    with WorkerConnection(scene.mine) as line:
        line.say(own_job(2))
        assert line.hear()["is"] == "step"
        said = line.hear()
    assert (said["kind"], said["field"]) == ("InvalidSubmission", "loss")
    assert f"{ANSWER_S:g} s a step and {5 * ANSWER_S:g} s in all" in said["message"]


def test_a_caller_that_answers_with_rubbish_loses_its_job_alone(scene, same_process):
    for rubbish in (b"{]\n", b"{}\n", b'{"loss": [], "grad": []}\n', b"y" * (SOCKET_LINE + 2)):
        with raw(scene.mine) as caller, caller.makefile("rb") as lines:
            caller.sendall(encode(own_job(3)))
            assert decode(lines.readline())["is"] == "step"
            caller.sendall(rubbish)
            said = decode(lines.readline())
            assert said["kind"] == "InvalidSubmission"


def test_a_caller_that_says_what_it_was_not_asked_loses_its_job_alone(scene, same_process):
    with raw(scene.mine) as caller, caller.makefile("rb") as lines:
        caller.sendall(
            encode(GOOD | {"seed": 77, "rows": None, "targets": packed(np.zeros(N))}) + b"{}\n"
        )
        said = [decode(line) for line in lines]
    assert said[-1]["field"] == "line"
    assert all(s["is"] == "progress" for s in said[:-1])


def test_a_caller_that_floods_and_reads_nothing_stops_nobody(scene, same_process):
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            try:
                with raw(scene.mine) as caller:
                    caller.settimeout(1)
                    for _ in range(200):
                        caller.sendall(encode(GOOD) * 100)
            except OSError:
                continue

    flooding = [threading.Thread(target=flood) for _ in range(3)]
    for thread in flooding:
        thread.start()
    try:
        assert all(scene.serves_the_other() for _ in range(5))
    finally:
        stop.set()
        for thread in flooding:
            thread.join()


def test_thousands_of_connections_keep_out_who_makes_them(scene, same_process):
    held = []
    try:
        for _ in range(3000):
            caller = socket.socket(socket.AF_UNIX)
            caller.setblocking(False)
            try:
                caller.connect(str(scene.mine))
            except BlockingIOError:  # the socket's queue is full
                caller.close()
            else:
                held.append(caller)
        assert MOST_CONNECTIONS < len(held) < 3000
        assert scene.serves_the_other()
        inside = [str(p.readlink()) for p in Path(f"/proc/{scene.pid}/fd").iterdir()]
        assert len([name for name in inside if name.startswith("socket:")]) < MOST_CONNECTIONS + 20
    finally:
        for caller in held:
            caller.close()


def test_doors_take_turns_and_a_door_has_so_many_waiting_jobs(scene, same_process):
    mine = [WorkerConnection(scene.mine) for _ in range(MOST_WAITING + 2)]
    with WorkerConnection(scene.other) as other:
        mine[0].say(own_job(10))
        assert mine[0].hear()["is"] == "step"  # it is at the model, and the others wait
        for i, line in enumerate(mine[1:]):
            line.say(own_job(11 + i))
        refused = [said for said in [mine[-1].hear()] if said["is"] == "failed"]
        assert refused
        assert refused[0]["kind"] == "Transient"
        assert "are waiting already" in refused[0]["message"]
        other.say(GOOD | {"targets": [0.25]})
        time.sleep(0.2)
        mine[0].__exit__()
        assert mine[1].hear()["is"] == "step", "the first that waits"
        mine[1].__exit__()
        while (said := other.hear())["is"] == "progress":
            pass
        assert said["is"] == "done", "the other socket's turn, before the rest of ours"
    for line in mine[2:]:
        line.__exit__()


@pytest.mark.long
def test_a_remote_goes_on_where_the_worker_was_killed(scene):
    seen, pid = [], scene.pid

    def killing(logits_b, targets_b, progress):
        seen.append(progress)
        if len(seen) == 3:
            os.kill(pid, signal.SIGKILL)
        return cross_entropy(logits_b, targets_b, progress)

    remote = Remote(scene.mine, ROWS_N)
    broken = remote.fine_tune(TARGETS_N, seed=5, loss=killing)
    assert scene.pid not in {None, pid}
    assert seen == [0.25, 0.5, 0.75, 0.75, 1.0], (
        "the step that was under way is asked for again, and no earlier one"
    )
    np.testing.assert_array_equal(
        broken.test_logits_M, remote.fine_tune(TARGETS_N, seed=5, loss=own).test_logits_M
    )


def test_a_door_to_nobody_is_transient(tmp_path, monkeypatch):
    monkeypatch.setattr("aarlab.models.remote.RETURN_S", 0.0)
    with pytest.raises(Transient, match="did not restart"):
        Remote(tmp_path / "strong.sock", ROWS_N).judge("test")


INSIDE = """
import sys
from pathlib import Path
import numpy as np
from aarlab.models.head_training import cross_entropy
from aarlab.models.remote import Remote
remote = Remote(Path(sys.argv[1]), np.arange(12))
named = remote.fine_tune(np.linspace(0, 1, 12), seed=0)
mine = remote.fine_tune(np.linspace(0, 1, 12), seed=0, loss=lambda *a: cross_entropy(*a))
print(np.abs(named.test_logits_M - mine.test_logits_M).max() < 1e-6, "torch" in sys.modules)
"""


def test_a_method_in_a_sandbox_fine_tunes_through_its_door_without_torch(scene):
    mounts = (Mount(scene.mine.parent, "/strong"),)
    with closing(
        Bubblewrap(SandboxSpec("method", mounts, {"HOME": "/tmp", "OPENBLAS_NUM_THREADS": "1"}))
    ) as box:
        done = box.exec(
            [sys.executable, "-c", INSIDE, f"{box.inside('/strong')}/strong.sock"],
            Limits(timeout_s=100),
        )
    assert done.output.strip() == "True False"


def test_the_remote_and_the_operators_side_need_no_torch():
    code = (
        "import sys, aarlab.models.remote, aarlab.models.workers; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- without processes ----------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "base64", "test", "student"]), inner)
    ),
    max_leaves=8,
)
NAMES = sorted({*GOOD, "split", "demonstrations", "weights", "ticket", "model", "shown"})
SMALL = {
    SOCKET_BATCH: item_batch_of(
        {"student": ITEM_BATCH["student"][:3], "test": ITEM_BATCH["feedback"][:2]}
    )
}


@given(
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4),
    st.sampled_from(["fine_tune", "judge"]),
)
def test_any_request_is_a_job_of_its_two_splits_or_refused(fields, op):
    base = GOOD if op == "fine_tune" else {"v": VERSION, "op": op, "split": "test"}
    read = tune_of if op == "fine_tune" else judge_of
    asked = refusal(lambda: read(through(base | fields), SMALL))
    if isinstance(asked, InvalidSubmission):
        assert asked.facts["field"]
    else:
        assert asked.model == "strong"
        assert not hasattr(asked, "item_batch") or asked.item_batch is SMALL[SOCKET_BATCH]


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_refused(line):
    said = refusal(lambda: decode(line))
    assert isinstance(said, dict) or said.facts["field"] == "line"


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True)), st.sampled_from(["<f8", "<f4", ">f8"])
)
def test_arrays_come_back_bit_for_bit(numbers, dtype):
    with np.errstate(over="ignore"):
        array = np.array(numbers, dtype=dtype)
    back = unpacked(json.loads(encode({"a": packed(array)}))["a"], "a")
    assert back.dtype == ("<f4" if dtype == "<f4" else "<f8")
    np.testing.assert_array_equal(back, array)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 99)), max_size=12))
def test_sources_take_turns_and_each_keeps_its_order(jobs):
    turns: JobQueue[tuple[str, int]] = JobQueue()
    for job in jobs:
        turns.put(job[0], job, most=None)
    served = []
    for _ in jobs:
        step = turns.next().send
        with pytest.raises(StopIteration) as done:
            step(None)
        served.append(done.value.value)
    for source in "abc":
        mine = [job for job in jobs if job[0] == source]
        assert [job for job in served if job[0] == source] == mine
        between = [i for i, job in enumerate(served) if job[0] == source]
        for earlier, later in pairwise(between):
            names = [job[0] for job in served[earlier + 1 : later]]
            assert len(names) == len(set(names)), "nobody has two turns between two of mine"


def test_a_source_has_so_many_waiting_jobs_and_a_removed_one_makes_room():
    turns: JobQueue[int] = JobQueue()
    for i in range(MOST_WAITING):
        turns.put("a", i)
    with pytest.raises(Transient, match="are waiting already"):
        turns.put("a", 9)
    turns.put("b", 10)
    turns.remove("a", 0)
    turns.remove("a", 0)
    turns.put("a", 9)
