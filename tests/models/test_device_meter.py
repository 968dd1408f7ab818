"""Seconds on a device are counted for whoever asked, by the worker itself, whoever is killed; who
has used what is allowed gets no more; turns go by time."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from aarlab.core.errors import InvalidSubmission
from aarlab.core.files import write_whole
from aarlab.core.settings import Home
from aarlab.models import device_meter
from aarlab.models.device_meter import (
    BEAT_S,
    Allowed,
    Counted,
    DeviceMeter,
    Gauge,
    read_counted,
    recovered,
)
from aarlab.models.head_training import cross_entropy
from aarlab.models.remote import Remote
from aarlab.models.tuned.job_queue import JobQueue
from aarlab.models.workers import Workers
from tests.models.worker_scene import ITEM_BATCH, models, preset, quiet
from tests.waiting import waited_for

ROWS_N = np.arange(12)
TARGETS_N = np.random.default_rng(0).random(12)
SPLITS = {"student": "student", "test": "feedback"}


def meter(folder: Path, who: str = "researcher-1") -> DeviceMeter:
    return DeviceMeter(who, folder / f"{who}.used", folder / f"{who}.most")


class Clock:
    """Instead of time.monotonic."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(device_meter.time, "monotonic", lambda: self.now)


def test_jobs_add_up_and_short_ones_cost_no_writing_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, gauge = Clock(monkeypatch), Gauge(meter(tmp_path))
    written = []
    monkeypatch.setattr(
        device_meter, "write_whole", lambda p, t: (written.append(t), write_whole(p, t))
    )
    for _ in range(10):
        gauge.begin()
        clock.now += 0.1
        gauge.end()
        clock.now += 5.0  # between jobs nothing counts
    assert gauge.seconds == pytest.approx(1.0)
    assert len(written) == 1
    gauge.beat()
    assert read_counted(meter(tmp_path).counted) == Counted(who="researcher-1", seconds=1.0)
    gauge.beat()
    assert len(written) == 2, "who asks nothing writes nothing"


def test_what_a_killed_worker_had_not_noted_is_counted_as_the_most_it_can_have_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, gauge = Clock(monkeypatch), Gauge(meter(tmp_path))
    gauge.begin()
    clock.now += 3.0
    gauge.beat()
    clock.now += 0.7  # and is killed
    at = meter(tmp_path).counted
    assert read_counted(at) == Counted(who="researcher-1", seconds=3.0, running=True)
    assert Gauge(meter(tmp_path)).seconds == 3.0 + BEAT_S
    assert recovered(at) == Counted(who="researcher-1", seconds=3.0 + BEAT_S), "once, not twice"


def test_a_damaged_file_is_no_count(tmp_path: Path) -> None:
    at = meter(tmp_path).counted
    assert recovered(at) is None
    at.write_text("{")
    assert recovered(at) is None


def test_nothing_begins_beyond_what_is_allowed_and_what_runs_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, mine = Clock(monkeypatch), meter(tmp_path)
    write_whole(mine.allowed, Allowed(seconds=2.0).model_dump_json())
    gauge = Gauge(mine)
    gauge.begin()
    clock.now += 1.5
    gauge.beat()
    clock.now += 1.0
    with pytest.raises(InvalidSubmission, match="budget of device time is spent"):
        gauge.beat()
    gauge.end()
    with pytest.raises(InvalidSubmission, match="budget of device time is spent"):
        gauge.begin()
    assert gauge.seconds == 2.5
    write_whole(mine.allowed, Allowed(seconds=10.0).model_dump_json())
    gauge.begin()


# --- turns ----------------------------------------------------------------------------------------


def served(turns: JobQueue[str]) -> str:
    with pytest.raises(StopIteration) as done:
        turns.next().send(None)
    return done.value.value


def test_turns_go_by_the_time_that_was_taken() -> None:
    turns: JobQueue[str] = JobQueue()
    seconds = {"long": 9.0, "short": 3.0}
    for name in seconds:
        turns.put(name, name, None)
    order = []
    for _ in range(40):
        name = served(turns)
        order.append(name)
        turns.put(name, name, None)  # it always has more to ask
        turns.took(name, seconds[name])
    assert order.count("short") == 3 * order.count("long")


def test_who_was_away_has_no_right_to_make_up_for_it() -> None:
    turns: JobQueue[str] = JobQueue()
    turns.put("busy", "busy", None)
    for _ in range(100):
        assert served(turns) == "busy"
        turns.put("busy", "busy", None)
        turns.took("busy", 1.0)
    turns.put("late", "late", None)
    order = []
    for _ in range(20):
        name = served(turns)
        order.append(name)
        turns.put(name, name, None)
        turns.took(name, 1.0)
    assert 9 <= order.count("late") <= 11


# --- a real worker --------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_real_worker_counts_for_who_asked_and_stops_at_the_limit(tmp_path: Path) -> None:
    """One worker on the CPU as the device; two who ask; the worker is killed in the middle."""
    owners = {who: meter(tmp_path, who) for who in ("researcher-1", "researcher-2")}
    for who in owners:
        (tmp_path / who).mkdir()
    folder = models(tmp_path / "models")
    with Workers(preset(folder), Home(tmp_path / "home"), progress=quiet) as workers:
        workers.add_item_batch("deck", ITEM_BATCH)
        with (
            workers.open_socket(
                "deck", SPLITS, tmp_path / "researcher-1", owners["researcher-1"]
            ) as mine,
            workers.open_socket(
                "deck", SPLITS, tmp_path / "researcher-2", owners["researcher-2"]
            ) as other,
        ):
            began = time.monotonic()
            Remote(mine, ROWS_N).fine_tune(TARGETS_N, seed=1)
            took_s = time.monotonic() - began
            waited_for(lambda: (c := counted(owners["researcher-1"])) is not None and not c.running)
            first = counted(owners["researcher-1"])
            assert first is not None
            assert 0 < first.seconds <= took_s
            assert counted(owners["researcher-2"]) is None, "who asked nothing is charged nothing"

            _killed_in_the_middle(workers, mine)
            waited_for(lambda: (c := counted(owners["researcher-1"])) is not None and not c.running)
            second = counted(owners["researcher-1"])
            assert second is not None
            assert second.seconds > first.seconds, "the killed worker's seconds are not lost"

            most = Allowed(seconds=second.seconds)
            write_whole(owners["researcher-1"].allowed, most.model_dump_json())
            with pytest.raises(InvalidSubmission, match="budget of device time is spent"):
                Remote(mine, ROWS_N).judge("test")
            assert Remote(other, ROWS_N).judge("test").shape == (len(ITEM_BATCH["feedback"]),)
    assert counted(owners["researcher-2"]) is not None
    assert counted(owners["researcher-1"]) == second


def counted(of: DeviceMeter) -> Counted | None:
    return read_counted(of.counted)


def _killed_in_the_middle(workers: Workers, mine: Path) -> None:
    """kill -9 during a job: it is asked again, and the next incarnation of the worker does it."""
    seen, pid = threading.Event(), workers.processes[0].pid
    assert pid is not None

    def loss(logits_N, targets_N, progress):
        if not seen.is_set():
            seen.set()
            time.sleep(0.5)
            os.kill(pid, signal.SIGKILL)
        return cross_entropy(logits_N, targets_N, progress)

    try:
        Remote(mine, ROWS_N).fine_tune(TARGETS_N, seed=2, loss=loss)
    except Exception:  # noqa: BLE001 - whether it is asked again is not what is tested here
        assert seen.is_set()
    waited_for(lambda: workers.processes[0].pid not in (None, pid))
    Remote(mine, ROWS_N).judge("test")
