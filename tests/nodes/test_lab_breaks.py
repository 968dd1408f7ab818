"""A campaign over two nodes whose hub, supervisor or certificate goes in the middle."""

import pytest

from experiments.nodes_lab import aar, until
from tests.nodes.lab_of_nodes import LabOfNodes, gone, processes_below
from tests.nodes.test_lost_node import MOVED_S, begun, ended

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture
def lab(home, tmp_path):
    with LabOfNodes(tmp_path / "machines", home.root) as made:
        for name in ("alpha", "beta"):
            made.join(name)
            made.serve(name)
        yield made


def test_a_hub_that_is_killed_and_started_again_moves_nobody_and_a_revoked_node_is_left(lab):
    running = begun(lab, "hubless", "host_grace_minutes=2")
    lab.hub.kill()
    lab.start()
    until(lambda: lab.sees("alpha") and lab.sees("beta"))
    before = lab.submitted("hubless")
    until(lambda: all(lab.submitted("hubless")[who] > n for who, n in before.items()))
    assert all(member.incarnation == 1 for member in lab.fleet("hubless").values())
    assert {member.host for member in lab.fleet("hubless").values()} == {"alpha", "beta"}
    assert aar(lab.home, "node", "revoke", "alpha").returncode == 0
    until(lambda: {m.host for m in lab.fleet("hubless").values()} == {"beta"}, MOVED_S)
    until(lambda: lab.running[1].process.poll() is not None)
    assert "The certificate of alpha was revoked" in lab.running[1].said()
    ended(lab, "hubless", running)


def test_what_a_killed_supervisor_has_on_nodes_ends_at_once_and_goes_on_with_the_next(lab):
    running = begun(lab, "orphans")
    agents = lab.running[1:3]
    left = {pid for agent in agents for pid in processes_below(agent.process.pid)}
    assert left
    running.kill()
    until(lambda: gone(left), 30.0)
    before = lab.submitted("orphans")
    again = lab.resume("orphans")
    ended(lab, "orphans", again)
    assert all(lab.submitted("orphans")[who] >= n for who, n in before.items())
