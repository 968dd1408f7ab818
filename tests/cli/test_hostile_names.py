"""What a node says of itself is shown as it is: no markup, no end of the command."""

from typer.testing import CliRunner

from aarlab.cli import cluster_command, node_command
from aarlab.core.cluster_layout import NodesFolder
from aarlab.core.settings import home
from aarlab.nodes.messages import HubStatus, NodeNow
from aarlab.nodes.node_table import NodeTable
from aarlab.runs import cluster_status
from aarlab.runs.cluster_status import ClusterStatus, NodeSeen

HOSTILE = "[/red]\x1b[2J [bold]n1"


def test_the_status_of_a_cluster_shows_a_hostile_name(monkeypatch):
    seen = NodeSeen(engine="ray", name=HOSTILE, state="alive", aarlab=(HOSTILE,))
    monkeypatch.setattr(cluster_status, "cluster_status", lambda _: ClusterStatus(nodes=(seen,)))
    done = CliRunner().invoke(cluster_command.app, ["status"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.exception
    assert done.output.count("[/red] [bold]n1") == 2


def test_the_list_of_nodes_shows_a_hostile_version(tmp_path, monkeypatch):
    monkeypatch.setenv("AAR_HOME", str(tmp_path))
    NodeTable(NodesFolder(home().nodes).table).invite("alpha", 1)
    refused = NodeNow(name="alpha", attached=False, refused=f"The aarlab of alpha: {HOSTILE}")
    monkeypatch.setattr(
        "aarlab.nodes.hub_socket.status",
        lambda _: HubStatus(listen="", nodes=(refused,), campaigns=()),
    )
    done = CliRunner().invoke(node_command.app, ["list"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.exception
    assert "[/red]" in done.output
    assert "\x1b" not in done.output
