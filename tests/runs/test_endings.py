"""How runs end, with real processes: what the machine ended is run once more alone, and is no
result if it is ended again."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from aarlab.core.errors import OUT_OF_MEMORY, CouldNotBeRun, InvalidSubmission
from aarlab.runs import engine as engine_module
from aarlab.runs.alone import alone, beside_others
from aarlab.runs.endings import FREE_BYTES, Ending, MachineState, Processors, ending_of
from aarlab.runs.engine import LocalEngine
from aarlab.sandbox import Bubblewrap, cgroups
from aarlab.sandbox.sandbox import GIB, Completed, Limits, SandboxSpec, Standing
from tests.processes import children_of

CALM = "def run(task, seed):\n    return [0.4] * len(task.test)\n"
SLOW = (
    "import time\n\n\ndef run(task, seed):\n    time.sleep(1.5)\n    return [0.4] * "
    "len(task.test)\n"
)
FINE = MachineState(begun=True, free_bytes=GIB, left=2.0, together_bytes=4 * GIB)
LIMITS = Limits(timeout_s=5)


@pytest.fixture
def engine(bed, tmp_path):
    made = LocalEngine(bed, tmp_path / "runs", Bubblewrap, workers=2, timeout_s=20)
    yield made
    made.close()


def kill_runs(times):
    """SIGKILL to the next runs of this process, `times` of them, each as soon as it has begun; in a
    thread of its own."""

    def killer():
        killed, deadline = 0, time.monotonic() + 60
        while killed < times and time.monotonic() < deadline:
            for pid in children_of(os.getpid()):
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                    if b"aarlab.runs.execute" in words and words[0] == sys.executable.encode():
                        os.kill(pid, signal.SIGKILL)
                        killed += 1
                except (OSError, ProcessLookupError):
                    continue
            time.sleep(0.05)

    thread = threading.Thread(target=killer)
    thread.start()
    return thread


@pytest.mark.process
def test_a_killed_run_is_tried_once_more_and_counts(engine):
    killer = kill_runs(1)
    found = engine.run({"method.py": SLOW}, "feedback", (1,))
    killer.join()
    assert not found.from_cache
    assert len(found.answers["1"]) == 300


@pytest.mark.process
def test_a_run_that_is_killed_twice_could_not_be_run_and_leaves_nothing(engine):
    killer = kill_runs(2)
    with pytest.raises(
        CouldNotBeRun, match="signal 9; then, run alone: it was ended by signal 9"
    ) as caught:
        engine.run({"method.py": SLOW}, "feedback", (1,))
    killer.join()
    assert caught.value.whose_move == "try again"
    assert caught.value.facts["failure"] == "ended by the machine"
    assert not list(engine.cache.glob("*/answers.json"))
    assert engine.run({"method.py": SLOW}, "feedback", (1,)).answers  # it can be tried again


def test_code_that_ends_itself_again_and_again_keeps_nobody_waiting(engine, monkeypatch):
    """While a run is repeated alone nothing else runs. Who asks for confirmations and baselines has
    it always; who had a repetition that went well has it again."""
    ended, alone = Ending("ended by the machine", "it was ended by signal 9"), []
    outcomes = {"eve": [ended, ended], "operator": [ended, ended], "ann": [ended, "a result"]}

    def execute(_spec, _files, resources, who):
        alone.append((who, resources.alone))
        return outcomes[who][resources.alone]

    monkeypatch.setattr(engine, "_execute", execute)
    for who in ("eve", "operator", "ann"):
        for _ in range(5):
            with nullcontext() if who == "ann" else pytest.raises(CouldNotBeRun):
                assert engine._once_more(None, {}, who) == "a result"
    assert [alone.count((who, True)) for who in outcomes] == [3, 5, 5]
    with pytest.raises(CouldNotBeRun, match="not repeated alone: your last 3") as caught:
        engine._once_more(None, {}, "eve")
    assert caught.value.facts["failure"] == "ended by the machine"


@pytest.mark.process
@pytest.mark.parametrize(
    ("body", "failure", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", "ended by the machine", "signal 9"),
        ("import os; os._exit(137)", "ended by the machine", "signal 9"),
        ("import ctypes; ctypes.string_at(0)", "ended by the machine", "signal 11"),
        ("return bytearray(1 << 40)", "out of memory", r"limits: 4\.0 GiB a process"),
    ],
)
def test_code_that_ends_itself_has_two_tries_and_no_result(engine, tmp_path, body, failure, words):
    with pytest.raises(CouldNotBeRun, match=words) as caught:
        engine.run({"method.py": f"def run(task, seed):\n    {body}\n"}, "feedback", (1,))
    assert caught.value.facts["failure"] == failure


@pytest.mark.long
@pytest.mark.process
def test_memory_kill_is_reported_when_the_code_ends_with_an_error():
    """Children hold more than all may together; the kernel, or the watch, kills for it."""
    hungry = (
        "import multiprocessing as m, sys, time\ndef hold():\n    block = bytearray(b'x' * (90 << "
        "20))\n    time.sleep(3)\n"
        "made = [m.Process(target=hold) for _ in range(4)]\n[p.start() for p in made]\n[p.join() "
        "for p in made]\n"
        "sys.exit('a child is gone')\n"
    )
    sandbox = Bubblewrap(
        SandboxSpec(name="hungry", mounts=(), standing=Standing(memory_bytes=250 << 20))
    )
    completed = sandbox.exec([sys.executable, "-c", hungry], Limits(timeout_s=60))
    sandbox.close()
    assert completed.returncode != 0
    assert completed.limit == "memory"
    calm = Bubblewrap(SandboxSpec(name="calm", mounts=()))
    assert (
        calm.exec([sys.executable, "-c", "raise SystemExit(3)"], Limits(timeout_s=60)).limit is None
    )
    calm.close()


CHILD = """
import os


def run(task, seed):
    child = os.fork()
    if child == 0:
        block = bytearray(b"x" * (900 << 20))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return [0.9 if os.WIFSIGNALED(status) else 0.1] * len(task.test)
"""


@pytest.mark.process
@pytest.mark.skipif(cgroups.place() is None, reason="no control group can be made here")
@pytest.mark.parametrize(
    ("memory_bytes", "ends"),
    [(600 << 20, True), pytest.param(4 * GIB, False, marks=pytest.mark.long)],
)
def test_answers_of_a_run_whose_child_was_killed_for_memory_are_no_result(
    engine, monkeypatch, memory_bytes, ends
):
    """The method outlives it, with other answers than it would have had."""
    monkeypatch.setattr(
        engine_module, "STANDING", Standing(disk_bytes=GIB, memory_bytes=memory_bytes)
    )
    if not ends:
        assert set(engine.run({"method.py": CHILD}, "feedback", (1,)).answers["1"].values()) == {0}
        return
    with pytest.raises(CouldNotBeRun, match="memory was spent") as caught:
        engine.run({"method.py": CHILD}, "feedback", (1,))
    assert caught.value.facts["failure"] == "out of memory"
    assert not list(engine.cache.glob("*/answers.json"))


@pytest.mark.process
def test_while_one_runs_alone_no_other_runs_and_those_that_came_wait(engine):
    jobs = []
    with alone(engine.cache):
        jobs += [
            engine.pool.submit(engine.run, {"method.py": CALM + f"# {n}\n"}, "feedback", (1,))
            for n in range(2)
        ]
        time.sleep(1.0)
        assert not any(job.done() for job in jobs)
        assert not any("aarlab.runs.execute" in c for c in children_of(os.getpid()).values())
    assert all(job.result().answers for job in jobs)


def test_lone_run_waits_for_running_and_precedes_later_runs(tmp_path):
    order, inside, leave = [], threading.Event(), threading.Event()

    def first():
        with beside_others(tmp_path):
            inside.set()
            leave.wait(30)
            order.append("first")

    def by_itself():
        with alone(tmp_path):
            order.append("alone")

    def late():
        with beside_others(tmp_path):
            order.append("late")

    threads = [threading.Thread(target=work) for work in (first, by_itself, late)]
    for thread in threads:
        thread.start()
        inside.wait(30)
        time.sleep(0.3)
    leave.set()
    for thread in threads:
        thread.join(30)
    assert order == ["first", "alone", "late"]


@pytest.mark.process
def test_killed_lone_run_releases_its_lock(tmp_path):
    code = (
        "import os; from pathlib import Path; from aarlab.runs.alone import alone\nwith "
        f"alone(Path({str(tmp_path)!r})):\n"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code + "    os.kill(os.getpid(), 9)"], check=False
        ).returncode
        == -9
    )
    entered = []
    with beside_others(tmp_path), beside_others(tmp_path):
        entered.append("beside others")
    with alone(tmp_path):
        entered.append("alone")
    assert entered == ["beside others", "alone"]


@pytest.mark.process
def test_an_error_of_the_code_is_its_authors_at_once(engine):
    count = "import pathlib\n\n\ndef run(task, seed):\n    raise ValueError('mine')\n"
    with pytest.raises(InvalidSubmission, match="ValueError: mine") as caught:
        engine.run({"method.py": count}, "feedback", (1,))
    assert caught.value.facts["failure"] == "ended with an error"


# --- by hand --------------------------------------------------------------------------------------


def done(returncode=0, output="", *, timed_out=False, limit=None):
    return Completed(returncode, output, timed_out, 1.0, limit)


@pytest.mark.parametrize(
    ("completed", "around", "failure"),
    [
        (done(1, "ValueError: x"), FINE, "ended with an error"),
        (done(0), FINE, "wrote no answers"),
        (done(-9, timed_out=True), FINE, "timed out"),
        (done(-9, timed_out=True), replace(FINE, left=0.3), "ended by the machine"),
        (done(-9, timed_out=True), replace(FINE, left=0.0), "ended by the machine"),
        (done(-9), FINE, "ended by the machine"),
        (done(-15), FINE, "ended by the machine"),
        (done(139), FINE, "ended by the machine"),
        (done(128, "x"), FINE, "ended with an error"),
        (done(193, "x"), FINE, "ended with an error"),
        (done(OUT_OF_MEMORY), FINE, "out of memory"),
        (done(1, "BrokenProcessPool", limit="memory"), FINE, "out of memory"),
        (done(137, limit="disk"), FINE, "ended by the machine"),
        (done(1, "OSError"), replace(FINE, free_bytes=FREE_BYTES - 1), "ended by the machine"),
        (done(1, "bwrap: Can't fork"), replace(FINE, begun=False), "ended by the machine"),
        (done(126), replace(FINE, begun=False), "ended by the machine"),
    ],
)
def test_who_ended_a_run(completed, around, failure):
    ending = ending_of(completed, LIMITS, around)
    assert ending.failure == failure
    assert ending.by_machine == (failure in {"ended by the machine", "out of memory"})
    if ending.by_machine:
        # what code printed could hold items
        assert not completed.output or completed.output not in ending.message


def test_processors_that_others_left():
    seconds = iter([100.0, 100.0])
    idle = Processors(lambda: next(seconds))
    time.sleep(0.05)
    assert idle.left(0.0) == idle.count  # nobody was busy
    seconds = iter([100.0, 200.0])
    busy = Processors(lambda: next(seconds, 200.0))
    time.sleep(0.05)
    # others took all there is; what it had itself, it had
    assert busy.left(0.04) < 0.9 < busy.left(5.0)
    seconds = iter([100.0, 100.05])
    own = Processors(lambda: next(seconds))
    time.sleep(0.05)
    assert own.left(0.05) == pytest.approx(own.count, abs=0.02)  # all of it was the run's own


@pytest.mark.process
def test_a_busy_neighbour_is_seen():
    """A real one on every processor, for half a second."""
    spin = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in os.sched_getaffinity(0)
    ]
    time.sleep(0.3)
    seen = Processors()
    time.sleep(0.5)
    left = seen.left(0.0)
    for process in spin:
        process.kill()
        process.wait()
    assert left < 0.9
