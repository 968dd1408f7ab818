"""A few runs of a cluster are run again elsewhere: a node that lies is found and shut out, and code
that goes by chance blames none."""

import os
import time
from contextlib import closing

import pytest

from aarlab.core.errors import Misconfigured, Transient
from aarlab.runs.engine_contract import check_engine, finished, shell
from aarlab.runs.engine_note import EngineNote, Notes
from aarlab.runs.local_pool import LocalPool
from aarlab.runs.node_keys import is_by, new_key, signed
from aarlab.runs.run_jobs import JobResources, checked, opened, packed
from aarlab.runs.sampled_engine import HERE, SampledEngine
from aarlab.sandbox import Bubblewrap
from tests.processes import running
from tests.ray_cluster import RayCluster
from tests.runs.lying_node_worker import in_place, write_liar
from tests.runs.test_ray_faults import on_each
from tests.slurm_cluster import SlurmCluster
from tests.waiting import waited_for

pytestmark = pytest.mark.process


class Pools:
    """A `NodeEngine` of this machine's pools under names of nodes; those named `liars` change what
    they give. The first one that is not shut out takes a job. `between`: is called before a second
    run is placed; `away`: no node can be asked again."""

    def __init__(self, folder, nodes, liars=()):
        self.between, self.away = lambda: None, False
        self.pools = {n: LocalPool(Bubblewrap, folder / n, workers=1) for n in nodes}
        self.liars, self.without, self.placed = set(liars), set(), {}

    def submit(self, job, resources):
        if resources.apart:
            self.between()
        without = self.without | {resources.apart}
        if resources.only:
            if self.away:
                raise Transient("The node is away.")
            without = self.pools.keys() - {resources.only}
        left = [n for n in self.pools if n not in without]
        if not left:
            raise Misconfigured("There is no other node.")
        key = self.pools[left[0]].submit(job, resources)
        self.placed[key] = left[0], key
        return key

    def poll(self, key, wait_s=0.0):
        if key not in self.placed:
            raise Transient("Nobody waits for it.")
        node, inner = self.placed[key]
        found = self.pools[node].poll(inner, wait_s)
        if found is None or node not in self.liars:
            return found
        head, result = checked(found)
        return packed(head, result if result is None else b"!" + result[1:])

    def cancel(self, key):
        node, inner = self.placed.pop(key)
        self.pools[node].cancel(inner)

    def answered_by(self, key):
        return self.placed[key][0]

    def shut_out(self, node):
        self.without.add(node)

    def close(self):
        for pool in self.pools.values():
            pool.close()


@pytest.fixture
def sampled(tmp_path):
    """Makes a sampled engine on pools; and what it says."""
    made, said = [], []

    def make(nodes, liars=(), share=1.0):
        notes = Notes(tmp_path / "engines", "pools")
        inner = Pools(tmp_path, nodes, liars)
        made.append(SampledEngine(inner, Bubblewrap, notes, share, lambda w, _: said.append(w)))
        return made[-1], said

    yield make
    for engine in made:
        engine.close()
    assert not list((tmp_path / "engines").iterdir())


def one(engine, words, name):
    return opened(finished(engine, shell(words, name)))[1]


@pytest.mark.long
def test_it_is_an_engine_like_any_other(sampled):
    engine, said = sampled(["a", "b"], share=0.5)
    assert check_engine(engine) == []
    assert said == []


def test_a_node_that_lies_is_shut_out_and_the_truth_is_returned(sampled):
    engine, said = sampled(["a", "b"], liars=["a"])
    assert one(engine, "printf true > result", "first") == b"true"
    assert "The node a is shut out: its result of first" in said[0]
    assert "from that of b and of this machine" in said[0]
    assert "it gave it twice" in said[0]
    assert engine._engine.without == {"a"}
    assert one(engine, "printf more > result", "second") == b"more"
    assert len(said) == 1
    note = engine.notes.now
    assert (list(note.shut_out), note.unlike, note.open) == (["a"], 1, 0)
    assert note.twice == {"a": 1, "b": 1}
    assert note.ended == {"done": 2}


def test_the_second_node_may_be_the_one_that_lies(sampled):
    engine, said = sampled(["a", "b"], liars=["b"])
    assert one(engine, "printf true > result", "first") == b"true"
    assert "The node b is shut out" in said[0]


def test_where_there_is_one_node_this_machine_is_the_other(sampled):
    engine, said = sampled(["a"], liars=["a"])
    assert one(engine, "printf true > result", "first") == b"true"
    assert f"that of {HERE}, which ran it 3 times" in said[0]
    with pytest.raises(Misconfigured, match="no other node"):
        one(engine, "printf more > result", "second")


def test_two_nodes_that_lie_alike_are_believed_and_two_that_differ_are_not(sampled):
    engine, said = sampled(["a", "b"], liars=["a", "b"])
    assert one(engine, "printf true > result", "first") == b"!rue", "what sampling cannot find"
    assert said == []


def test_code_that_goes_by_chance_blames_no_node(sampled):
    engine, said = sampled(["a", "b"])
    found = one(engine, "head -c 8 /dev/urandom > result", "chance")
    assert len(found or b"") == 8
    assert "No node is blamed" in said[0]
    assert engine._engine.without == set()


@pytest.mark.parametrize("nodes", [["a", "b"], ["a"]])
def test_code_that_goes_by_the_clock_shuts_out_no_node(sampled, tmp_path, nodes):
    """It gives one result until some time, and another one from then on."""
    engine, said = sampled(nodes)
    clock = tmp_path / "clock" / "now"
    clock.parent.mkdir()
    clock.write_text("early")
    inner = engine._engine
    inner.between = lambda: clock.write_text("later")
    for number in (1, 2):
        clock.write_text("early")
        job = shell("cat /clock/now > result", f"clock {number}")
        job = job.model_copy(update={"folders": {"/clock": clock.parent}})
        assert opened(finished(engine, job))[1] == b"later", "that of this machine"
        assert inner.without == set()
        assert "run there again, it had another one: its code may go by the clock" in said[-1]
        assert f"seen of a {number} times" in said[-1]
    assert engine.notes.now.shut_out == {}


def test_a_node_that_lies_and_cannot_be_asked_again_is_named_and_not_shut_out(sampled):
    engine, said = sampled(["a", "b"], liars=["a"])
    engine._engine.away = True
    assert one(engine, "printf true > result", "first") == b"true"
    assert engine._engine.without == set()
    assert "had a result on a that is not that of b and of this machine" in said[0]
    assert "it could not be run there again" in said[0]


def test_what_a_limit_ended_is_no_evidence(sampled):
    engine, said = sampled(["a", "b"])
    assert opened(finished(engine, shell("sleep 30", "slow", timeout_s=1.0)))[0].timed_out
    assert engine.notes.now.twice == {}
    assert engine.notes.now.ended == {"timed out": 1}
    assert said == []


@pytest.mark.long
def test_the_share_of_runs_that_are_run_again_is_drawn_in_secret(sampled):
    engine, _ = sampled(["a"], share=0.02)
    other, _ = sampled(["a"], share=0.02)
    keys = [shell("true", f"{n}").key for n in range(20_000)]
    chosen = [key for key in keys if engine.chosen(key)]
    assert 300 < len(chosen) < 500
    assert chosen == [key for key in keys if engine.chosen(key)]
    assert set(chosen) != {key for key in keys if other.chosen(key)}
    none, _ = sampled(["a"], share=0.0)
    assert not any(none.chosen(key) for key in keys)


def test_a_run_of_this_machine_ends_with_the_engine_and_blames_nobody(sampled):
    engine, said = sampled(["a"])
    mark = f"sleep 2.{os.getpid()}"
    key = engine.submit(shell(mark, "closed", timeout_s=100), JobResources())
    on_the_node = waited_for(lambda: running(mark))
    waited_for(lambda: running(mark) - on_the_node)
    engine.close()
    assert not running(mark)
    with pytest.raises(Transient, match="has no result"):
        engine.poll(key, 30)
    assert said == []


def test_a_cancelled_job_is_taken_back(sampled):
    engine, _ = sampled(["a", "b"])
    job = shell("sleep 100; printf x > result", "cancelled", timeout_s=3.0)
    key = engine.submit(job, JobResources())
    time.sleep(0.5)
    engine.cancel(key)
    with pytest.raises(Transient):
        engine.poll(key, 1.0)


def test_a_note_is_whole_while_its_process_runs(tmp_path):
    notes = Notes(tmp_path, "pools")
    (path,) = tmp_path.iterdir()
    assert EngineNote.model_validate_json(path.read_text()).engine == "pools"
    notes.close()
    assert not path.exists()


def test_an_end_is_by_who_signed_it():
    key, public = new_key()
    other, _ = new_key()
    signature = signed(key, "job", b"end")
    assert is_by(public, "job", b"end", signature)
    assert not is_by(public, "another job", b"end", signature)
    assert not is_by(public, "job", b"another end", signature)
    assert not is_by(public, "job", b"end", signed(other, "job", b"end"))
    assert not is_by("", "job", b"end", "no signature")


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_a_node_of_slurm_that_lies_is_found(tmp_path, monkeypatch):
    """Of two nodes, `two` has another file in place of the worker's module."""
    from aarlab.runs.slurm_engine import SlurmEngine

    liar = in_place(write_liar(tmp_path / "liar.py"))
    cluster, said = SlurmCluster(nodes=("one", "two"), cpus=2, before={"two": liar}), []
    try:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        notes = Notes(tmp_path / "engines", "slurm")
        inner = SlurmEngine(cluster.shared, workers=4, say=lambda words, _: said.append(words))
        tell = lambda words, _: said.append(words)  # noqa: E731
        with closing(SampledEngine(inner, Bubblewrap, notes, 1.0, tell)) as engine:
            keys = [
                engine.submit(shell(f"sleep 1; printf r{n} > result", f"run {n}"), JobResources())
                for n in range(6)
            ]
            found = [opened(engine.poll(key, 120) or b"")[1] for key in keys]
            assert found == [f"r{n}".encode() for n in range(6)]
            assert list(notes.now.shut_out) == ["two"], said
            assert one(engine, "printf after > result", "after it") == b"after"
            where = ("squeue", "--noheader", "--states=R", "--format=%N")
            waited_for(lambda: "two" not in cluster.ask(*where))
    finally:
        cluster.close()


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_a_node_of_ray_that_lies_is_found(tmp_path, monkeypatch):
    """The node beside the head has another file in place of the worker's module."""
    from aarlab.runs.ray_engine import RayEngine

    cluster, said = RayCluster(cpus=1), []
    try:
        cluster.add(cpus=1, before=in_place(write_liar(tmp_path / "liar.py")))
        cluster.join(monkeypatch)
        notes, inner = Notes(tmp_path / "engines", "ray"), RayEngine(cluster.address)
        with closing(
            SampledEngine(inner, Bubblewrap, notes, 1.0, lambda words, _: said.append(words))
        ) as engine:
            (liar,) = (node for node in on_each(inner) if lies(inner, node))
            found = [one(engine, f"printf r{n} > result", f"run {n}") for n in range(4)]
            assert found == [f"r{n}".encode() for n in range(4)]
            assert list(notes.now.shut_out) == [liar], said
            assert any(f"The node {liar} is shut out" in words for words in said)
            again = inner.submit(shell("true", "on it again"), JobResources(only=liar))
            with pytest.raises(Misconfigured, match="no such node"):
                inner.poll(again, 60)
    finally:
        cluster.close()


def lies(engine, node):
    """Whether a node changes a result."""
    key = engine.submit(shell("printf true > result", "asked"), JobResources(only=node))
    result = opened(engine.poll(key, 100) or b"")[1]
    assert engine.answered_by(key) == node
    return result != b"true"
