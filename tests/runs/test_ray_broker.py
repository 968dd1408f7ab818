"""What the driver of a Ray cluster says of jobs: one task waits for each. Ray itself is not there:
what it gives of a job is played."""

import asyncio
import os
from types import SimpleNamespace

import pytest

from aarlab.core.errors import Misconfigured, Transient
from aarlab.runs.frames import Frame, Pipe
from aarlab.runs.node_keys import new_key, signed

NODE, OTHER = "1" * 56, "2" * 56


class Jobs:
    """In place of Ray. `plays`: of each time that the job is given to it, what comes: an exception,
    a node whose end it is, or "never", if no worker begins it. `given`, `cancelled`: how often."""

    def __init__(self, *plays):
        self.plays, self.given, self.cancelled = list(plays), 0, 0
        self.keys = {node: new_key() for node in (NODE, OTHER)}

    def options(self, **named):
        self.labels = named.get("label_selector")
        return self

    def remote(self, key, *asked):
        self.given += 1
        return self._ends(key, self.plays.pop(0))

    async def _ends(self, key, play):
        if play == "never":
            await asyncio.Event().wait()
        yield _now(b"")
        if isinstance(play, BaseException):
            raise play
        end = b"what came of it"
        signature = signed(self.keys[play][0], key, end) if play in self.keys else "00" * 64
        yield _now(b'{"node":"%s","signature":"%s"}\n%s' % (play.encode(), signature.encode(), end))

    def cancel(self, ends, force):
        self.cancelled += 1

    def nodes(self):
        return [{"NodeID": n, "Alive": True, "Resources": {"CPU": 1}} for n in (NODE, OTHER)]


class Devices:
    """Each job has a device for itself; those that are dropped count as cancelled."""

    def __init__(self, jobs):
        self.jobs = jobs

    def submit(self, key, gpus, nodes, asked, without):
        return asyncio.ensure_future(self._end(key, self.jobs.remote(*asked)))

    async def _end(self, key, ends):
        return [await end async for end in ends][-1]

    def ended(self, key, drop=False):
        self.jobs.cancelled += drop


def _now(value):
    made = asyncio.get_running_loop().create_future()
    made.set_result(value)
    return made


def said_of(jobs, monkeypatch, *frames, gpus=None):
    """What the driver says of a job that is submitted after these frames."""
    pytest.importorskip("ray")
    from aarlab.runs import ray_broker

    async def identity(node):
        if node not in jobs.keys:
            raise ValueError("it is no name of a node")
        return SimpleNamespace(node=node, public=jobs.keys[node][1])

    monkeypatch.setattr(ray_broker, "ray", jobs)
    monkeypatch.setattr(ray_broker, "ray_worker", SimpleNamespace(task=jobs, AGAIN=3))
    monkeypatch.setattr(ray_broker, "_identity", identity)
    monkeypatch.setattr(ray_broker, "RayDevices", lambda: Devices(jobs))
    monkeypatch.setattr(ray_broker, "BEGIN_S", 0.05)
    (reads, far_writes), (far_reads, writes) = os.pipe(), os.pipe()
    with (
        os.fdopen(reads, "rb") as near_in,
        os.fdopen(writes, "wb") as near_out,
        os.fdopen(far_reads, "rb") as far_in,
        os.fdopen(far_writes, "wb") as far_out,
    ):
        broker, far = (
            ray_broker.Broker(Pipe(near_in, near_out), "bubblewrap"),
            Pipe(far_in, far_out),
        )

        async def serve():
            served = asyncio.create_task(broker.serve())
            for frame in (*frames, Frame(what="submit", key="k", gpus=gpus)):
                far.send(frame, b"")
            said = await asyncio.to_thread(far.receive)
            far_out.close()
            await served
            return said

        return asyncio.run(serve())


def test_an_end_is_passed_on_with_the_node_that_signed_it(monkeypatch):
    frame, body = said_of(Jobs(NODE), monkeypatch)
    assert (frame.what, frame.node, body) == ("done", NODE, b"what came of it")


def raised_there(error):
    """As Ray gives it: of its own class and of the error's."""
    pytest.importorskip("ray")
    from ray.exceptions import RayTaskError

    return RayTaskError("run", "in a worker", error).as_instanceof_cause()


@pytest.mark.parametrize("error", [RuntimeError, TimeoutError, Misconfigured, Transient])
@pytest.mark.parametrize("gpus", [None, 1])
def test_an_error_of_whatever_kind_that_a_worker_raises_loses_the_job(monkeypatch, error, gpus):
    jobs = Jobs(raised_there(error("its own words")))
    frame, _ = said_of(jobs, monkeypatch, gpus=gpus)
    assert (frame.what, frame.key, jobs.given) == ("lost", "k", 1)


def test_an_end_that_names_no_node_loses_the_job(monkeypatch):
    frame, _ = said_of(Jobs("no-node"), monkeypatch)
    assert (frame.what, frame.words) == ("lost", "it is no name of a node")


def test_a_job_that_no_worker_begins_is_given_again(monkeypatch):
    jobs = Jobs("never", "never", NODE)
    frame, _ = said_of(jobs, monkeypatch)
    assert (frame.what, jobs.given, jobs.cancelled) == ("done", 3, 2)


def test_the_end_of_a_node_that_is_shut_out_is_not_believed(monkeypatch):
    jobs = Jobs(NODE, OTHER)
    frame, _ = said_of(jobs, monkeypatch, Frame(what="shut", node=NODE))
    assert (frame.what, frame.node, jobs.given) == ("done", OTHER, 2)
    assert jobs.labels == {"ray.io/node-id": f"!in({NODE})"}


@pytest.mark.parametrize(("deaths", "what"), [(3, "done"), (4, "lost")])
def test_a_job_whose_device_ends_goes_to_another_a_few_times(monkeypatch, deaths, what):
    died = pytest.importorskip("ray.exceptions").ActorDiedError
    jobs = Jobs(*(died() for _ in range(deaths)), NODE)
    frame, _ = said_of(jobs, monkeypatch, gpus=1)
    assert (frame.what, jobs.given, jobs.cancelled) == (what, 4, deaths)
