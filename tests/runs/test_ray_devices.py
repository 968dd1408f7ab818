"""Which device of a Ray cluster a job is given to, while nodes come and go. Ray itself is not
there: actors are stand-ins."""

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from aarlab.core.errors import Misconfigured, Transient

GPUS = 1


class Method:
    """Of an actor: notes what it was asked."""

    def __init__(self, asked):
        self._asked = asked

    def options(self, **named):
        del named
        return self

    def remote(self, *given):
        self._asked.append(given)
        return SimpleNamespace(future=Future)  # which nobody answers


class Actors:
    """In place of Ray. `killed`: the actors that were."""

    def __init__(self):
        self.made, self.killed, self.without = [], [], []

    def make(self, gpus, without):
        del gpus
        self.without.append(sorted(without))
        ran = []
        made = SimpleNamespace(ran=ran, run=Method(ran), counts=Method([]), number=len(self.made))
        self.made.append(made)
        return made

    def kill(self, handle):
        self.killed.append(handle.number)


@pytest.fixture
def actors(monkeypatch):
    pytest.importorskip("ray")
    from aarlab.runs import ray_device

    made = Actors()
    monkeypatch.setattr(ray_device, "_made", made.make)
    monkeypatch.setattr(ray_device, "ray", made)
    return made


@pytest.fixture
def clock(actors, monkeypatch):
    from aarlab.runs import ray_device

    now = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(ray_device, "time", SimpleNamespace(monotonic=lambda: now.s))
    return now


@pytest.fixture
def devices(clock):
    from aarlab.runs.ray_device import RayDevices

    return RayDevices()


def node(name, gpus=1, cpus=4):
    return {"NodeID": name, "Resources": {"GPU": gpus, "CPU": cpus}}


def given(devices, *keys, nodes, without=()):
    for key in keys:
        devices.submit(key, GPUS, nodes, (key,), without)


def ran(actors):
    return [[asked[0] for asked in one.ran] for one in actors.made]


def begin(devices, *numbers):
    for device in devices._all():
        device.begun |= device.handle.number in numbers


def test_each_device_is_used_before_one_has_two_jobs(devices, actors):
    given(devices, "a", "b", "c", nodes=[node("n", gpus=2)])
    assert ran(actors) == [["a", "c"], ["b"]]
    devices.ended("b")
    given(devices, "d", nodes=[node("n", gpus=2)])
    assert ran(actors) == [["a", "c"], ["b", "d"]]


@pytest.mark.parametrize(("gpus", "cpus", "most"), [(8, 2, 2), (1, 0, 0), (2, 8, 2)])
def test_a_gpu_without_a_processor_is_no_device(devices, actors, gpus, cpus, most):
    nodes = [node("small", gpus, cpus), node("other", 1, 1)]
    given(devices, *"abcdefgh", nodes=nodes)
    assert len(actors.made) == most + 1


def test_no_device_is_made_on_a_node_that_is_shut_out(devices, actors):
    nodes = [node("good"), node("bad")]
    given(devices, "a", "b", nodes=nodes, without={"bad"})
    assert ran(actors) == [["a", "b"]]
    assert actors.without == [["bad"]]
    with pytest.raises(Misconfigured, match="No node of the Ray cluster has a GPU"):
        devices.submit("c", 0, nodes, (), {"good", "bad"})


def test_the_jobs_of_a_device_that_ended_go_to_others_and_wait_where_there_is_none(devices, actors):
    given(devices, "a", "b", nodes=[node("n"), node("m")])
    devices.ended("b", drop=True)
    assert actors.killed == [1]
    given(devices, "b", nodes=[node("n")])
    assert ran(actors) == [["a", "b"], ["b"]]
    devices.ended("a", drop=True)
    with pytest.raises(Transient, match="Add such a node"):
        given(devices, "a", nodes=[])


def test_a_device_that_does_not_begin_beside_others_is_given_up(devices, actors, clock):
    """As where the GPU is another campaign's: its jobs go to those that are there."""
    nodes = [node("n", gpus=2)]
    given(devices, "a", "b", nodes=nodes)
    clock.s += 1000.0
    devices.give_up_late(nodes)
    assert actors.killed == [], "all wait for the same"
    begin(devices, 0)
    devices.give_up_late(nodes)
    assert actors.killed == [1]
    given(devices, "b", nodes=nodes)
    assert ran(actors) == [["a", "b"], ["b"]], "and no other one is made soon"
    clock.s += 1000.0
    given(devices, "c", nodes=nodes)
    assert len(actors.made) == 3


def test_a_device_that_was_to_begin_on_a_node_that_is_gone_is_given_up_at_once(devices, actors):
    given(devices, "a", "b", nodes=[node("n"), node("m")])
    begin(devices, 0)
    devices.give_up_late([node("n"), node("m")])
    assert actors.killed == []
    devices.give_up_late([node("n")])
    assert actors.killed == [1]


def test_a_device_that_is_silent_is_given_up(devices, actors, clock, monkeypatch):
    from aarlab.runs import ray_device

    monkeypatch.setattr(ray_device, "COUNT_S", 0.01)
    nodes = [node("n")]
    given(devices, "a", nodes=nodes)
    begin(devices, 0)

    async def look_twice():
        assert await devices.counts() == []
        clock.s += 60.0
        devices.give_up_late(nodes)
        assert actors.killed == []
        assert await devices.counts() == []
        clock.s += 100.0
        devices.give_up_late(nodes)

    asyncio.run(look_twice())
    assert actors.killed == [0]
