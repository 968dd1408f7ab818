"""What attempts to run a job use of a device, put into one meter: nothing twice, nothing lost, and
the limit of the meter for all of them together."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.cluster_layout import SlurmFolder
from aarlab.core.files import write_whole
from aarlab.models.device_meter import OPERATOR, Allowed, Counted, DeviceMeter, read_counted
from aarlab.runs.device_charge import DeviceCharge
from aarlab.runs.engine_contract import shell
from aarlab.runs.run_jobs import DeviceCount, JobResources, StrongNeed
from aarlab.runs.slurm_commands import SlurmOptions
from aarlab.runs.slurm_folder import MODELS_BYTES, Size
from aarlab.runs.slurm_workers import SlurmWorkers
from aarlab.sandbox.sandbox import MIB


@pytest.fixture
def meter(tmp_path: Path) -> DeviceMeter:
    return DeviceMeter("ann", tmp_path / "counted.json", tmp_path / "allowed.json")


def charge_of(meter: DeviceMeter | None, passed: float = 1e9) -> DeviceCharge:
    """Of a run that was submitted so many seconds ago."""
    times = iter([0.0])
    return DeviceCharge(meter, lambda: next(times, passed))


def seconds(meter: DeviceMeter) -> float:
    found = read_counted(meter.counted)
    assert found is not None
    return found.seconds


def test_a_meter_shows_at_once_that_there_is_a_limit_to_set(meter):
    charge_of(meter)
    assert read_counted(meter.counted) == Counted(who="ann")


def test_attempts_add_up_and_what_is_said_again_or_late_is_counted_once(meter):
    charge = charge_of(meter)
    for attempt, said in [("a", 3.0), ("a", 3.0), ("a", 5.0), ("b", 2.0), ("a", 4.0), ("b", 2.5)]:
        charge.note(DeviceCount(attempt=attempt, seconds=said))
    charge.note(None)
    assert seconds(meter) == 7.5


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1e6)), max_size=20))
def test_the_count_is_the_most_that_each_attempt_said(tmp_path_factory, said):
    folder = tmp_path_factory.mktemp("meter")
    meter = DeviceMeter("ann", folder / "counted.json", folder / "allowed.json")
    charge, before = charge_of(meter), 0.0
    for attempt, used in said:
        charge.note(DeviceCount(attempt=attempt, seconds=used))
        assert seconds(meter) >= before
        before = seconds(meter)
    most = {name: max(s for n, s in said if n == name) for name in {n for n, _ in said}}
    assert before == pytest.approx(sum(most.values()), abs=2e-3)


def test_a_node_that_says_more_than_the_time_that_passed_is_not_believed(meter):
    charge = charge_of(meter, passed=60.0)
    charge.note(DeviceCount(attempt="a", seconds=50.0))
    charge.note(DeviceCount(attempt="b", seconds=1e6))
    assert seconds(meter) == 60.0


def test_what_a_meter_counted_before_stays(meter):
    write_whole(meter.counted, Counted(who="ann", seconds=10.0).model_dump_json())
    charge_of(meter).note(DeviceCount(attempt="a", seconds=1.0))
    assert seconds(meter) == 11.0


def test_a_later_attempt_may_use_what_earlier_ones_left(meter):
    charge = charge_of(meter)
    assert charge.left_s("a") is None, "no limit was set"
    write_whole(meter.allowed, Allowed(seconds=10.0).model_dump_json())
    charge.note(DeviceCount(attempt="a", seconds=4.0))
    assert (charge.left_s("a"), charge.left_s("b")) == (10.0, 6.0)
    charge.note(DeviceCount(attempt="b", seconds=7.0))
    assert charge.left_s("c") == 0.0
    write_whole(meter.allowed, Allowed(seconds=None).model_dump_json())
    assert charge.left_s("c") is None


def test_nobody_waits_for_a_limit_of_the_operators(meter):
    assert DeviceCharge(None).first_s() is None
    own = DeviceMeter(OPERATOR, meter.counted, meter.allowed)
    assert DeviceCharge(own).first_s() is None


@pytest.mark.parametrize("said", [-1.0, float("nan"), float("inf")])
def test_a_count_that_is_no_time_is_refused(said):
    with pytest.raises(ValueError, match="greater_than_equal|finite"):
        DeviceCount.model_validate({"attempt": "a", "seconds": said})


def test_slurm_is_asked_for_a_gpu_and_for_memory_of_the_models(tmp_path):
    plain = shell("true", "plain")
    need = StrongNeed(preset="", models={}, splits={}, who="ann", model_bytes=1000 * MIB)
    sizes = [
        Size.of(plain, JobResources()),
        Size.of(plain.model_copy(update={"strong": need}), JobResources()),
        Size.of(
            plain.model_copy(update={"strong": need.model_copy(update={"gpus": 0})}), JobResources()
        ),
    ]
    assert len({str(size) for size in sizes}) == 3, "a worker takes jobs of its size alone"
    assert sizes[1].mib - sizes[0].mib >= 2000 + MODELS_BYTES // MIB
    workers = SlurmWorkers(SlurmFolder(tmp_path), "aar", SlurmOptions(), 1, 20.0)
    assert all("OMP_NUM_THREADS=1" in workers._argv(size) for size in sizes)
    assert ["--gres=gpu:1" in workers._asked_for(size) for size in sizes] == [False, True, False]
