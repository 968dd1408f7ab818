"""A campaign over two nodes, of which one is lost in the middle: nothing is lost and nothing runs
twice. Hub, agents, supervisor, gateway and evaluator are the real processes."""

import signal

import pytest

from aarlab.core.entries import EventBody
from experiments.nodes_lab import aar, until
from tests.nodes.lab_of_nodes import LabOfNodes, gone, processes_below

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(600)]
EXPERIMENTS, AGAIN = 14, 5
FIELDS = (
    *("researchers=2", f"experiments={EXPERIMENTS}", "minutes=6", "hosts=[alpha, beta]"),
    "keep_home_minutes=0.05",
)
BOTH_S, MOVED_S, END_S = 120.0, 120.0, 300.0


@pytest.fixture
def lab(home, tmp_path):
    with LabOfNodes(tmp_path / "machines", home.root) as made:
        for name in ("alpha", "beta"):
            made.join(name)
        yield made


def begun(lab, name, grace="host_grace_minutes=0.2"):
    """Its supervisor, once a researcher on each node has submitted something, and its home was
    kept."""
    running = lab.campaign(name, *FIELDS, grace)
    homes = lab.home / "campaigns" / name / "homes"
    until(lambda: len(lab.submitted(name)) == 2 and len(list(homes.glob("*.home"))) >= 2, BOTH_S)
    where = {member.host for member in lab.fleet(name).values()}
    assert where == {"alpha", "beta"}
    return running


def moved(lab, name, host):
    """The researcher that was on the other host, once it runs on this one."""
    until(lambda: {m.host for m in lab.fleet(name).values()} == {host}, MOVED_S)
    return next(m for m in lab.fleet(name).values() if m.incarnation > 1)


def ended(lab, name, running):
    """The campaign came to its end, and its ledger is whole: no answer is in it twice, and each
    researcher made what it was to make; one that was moved may have made again what it did since
    its home was kept."""
    assert running.process.wait(END_S) == 0, running.said()
    assert "0 faults" in aar(lab.home, "ledger", "verify", name).stdout
    made = [e for e in lab.entries(name) if e.kind == "submission"]
    assert len({(e.who, e.body["predictions"]) for e in made}) == len(made)
    counts = lab.submitted(name)
    assert len(counts) == 2
    for count in counts.values():
        assert EXPERIMENTS <= count <= EXPERIMENTS + AGAIN
    numbers = {}
    for entry in lab.entries(name):
        body = entry.read(EventBody) if entry.kind == "researcher" else None
        if body and body.event in ("running", "restarted"):
            numbers.setdefault(entry.who, []).append(body.incarnation)
    assert numbers.keys() == counts.keys()
    assert all(found == sorted(set(found)) for found in numbers.values())


def test_a_killed_nodes_researcher_goes_on_elsewhere(lab):
    alpha, _ = lab.serve("alpha"), lab.serve("beta")
    running = begun(lab, "killed")
    left = processes_below(alpha.process.pid)
    assert left
    before = lab.submitted("killed")
    alpha.kill()
    until(lambda: gone(left), 60.0)  # sandboxes end with the agent
    one = moved(lab, "killed", "beta")
    ended(lab, "killed", running)
    assert lab.submitted("killed")[one.name] > before[one.name]
    words = [
        e.read(EventBody).detail or "" for e in lab.entries("killed") if e.kind == "researcher"
    ]
    assert any("alpha was lost: not heard for" in w for w in words)
    assert "on beta" in words


def test_a_frozen_nodes_researcher_is_moved_and_the_old_one_ends_when_it_wakes(lab):
    lab.serve("alpha")
    beta = lab.serve("beta")
    running = begun(lab, "frozen")
    left = processes_below(beta.process.pid)
    beta.signal(signal.SIGSTOP)
    moved(lab, "frozen", "alpha")
    beta.signal(signal.SIGCONT)
    until(lambda: gone(left), 60.0)
    assert beta.process.poll() is None
    until(lambda: lab.sees("beta"))
    ended(lab, "frozen", running)
