"""On which host a researcher is started: one that ends it again and again, and says that this is
not the researcher's doing, is left for another one."""

from types import SimpleNamespace

import pytest

from aarlab.core.cluster_layout import NodesFolder
from aarlab.core.layout import KeptHomesFolder
from aarlab.fleet import hosts as hosts_module
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.hosts import MOST_FAULTS, Hosts
from aarlab.nodes.kept_homes import KeptHomes
from aarlab.nodes.messages import NodeNow
from aarlab.nodes.node_client import NodeClient
from aarlab.sandbox import Bubblewrap

FAULT = "it could not be started: no"


@pytest.fixture
def member():
    """What a choice looks at."""
    return SimpleNamespace(name="researcher-1", host="here", process=None, fault="")


@pytest.fixture
def hosts(tmp_path, member):
    def make(*names):
        (tmp_path / "public").mkdir()
        homes = KeptHomes(KeptHomesFolder(tmp_path / "homes"))
        client = NodeClient(NodesFolder(tmp_path / "nodes"), "c", homes)
        client._sock = object()  # there is a hub
        for name in names:
            now = NodeNow(name=name, attached=True, silent_s=0.0, capacity=2)
            client.node(name).take_in(now)
        kept = {"client": client, "homes": homes, "packs": tmp_path / "packs"}
        return Hosts(Campaign(hosts=names), tmp_path / "public", Bubblewrap, [member], **kept)

    return make


def run_on(hosts, member, fault, *, acted=False):
    """One incarnation; returns where it was."""
    member.host = hosts.choose(member)
    hosts._homes.begun(member.name, member.host, 1)
    member.fault = fault
    hosts.ended(member, acted=acted)
    return member.host


def test_a_node_that_claims_fault_after_fault_is_left_with_an_alarm_that_names_it(hosts, member):
    made = hosts("alpha", "beta")
    assert [run_on(made, member, FAULT) for _ in range(MOST_FAULTS)] == ["alpha"] * MOST_FAULTS
    (alarm,) = made.alarms()
    assert alarm.startswith(f"host alpha ended researcher-1 {MOST_FAULTS} times in a row")
    assert FAULT in alarm
    assert [run_on(made, member, "") for _ in range(2)] == ["beta", "beta"]


def test_other_researchers_stay_and_it_may_return_after_a_while(hosts, member, monkeypatch):
    monkeypatch.setattr(hosts_module, "AVOID_S", 0.0)
    made = hosts("alpha", "beta")
    for _ in range(MOST_FAULTS):
        run_on(made, member, FAULT)
    other = SimpleNamespace(name="researcher-2", host="here", process=None, fault="")
    assert made.choose(other) == "alpha"
    made.step(Campaign(hosts=("alpha", "beta")))
    assert made.alarms() == []
    assert made.choose(member) == "alpha"


@pytest.mark.parametrize(("fault", "acted"), [("", False), (FAULT, True)])
def test_ends_of_its_own_and_those_after_it_did_something_do_not_count(hosts, member, fault, acted):
    made = hosts("alpha", "beta")
    for _ in range(MOST_FAULTS):
        run_on(made, member, FAULT)
        run_on(made, member, fault, acted=acted)
    assert made.alarms() == []
    assert made.choose(member) == "alpha"


def test_where_there_is_no_other_host_it_waits_there_with_the_alarm(hosts, member):
    made = hosts("alpha")
    for _ in range(MOST_FAULTS):
        run_on(made, member, FAULT)
    assert made.choose(member) == "alpha"
    assert "host alpha ended researcher-1" in made.alarms()[0]
