"""A full disk at the supervisor ends nobody on a node: what cannot be written waits, whole, and is
written once there is room."""

import resource
import signal
from contextlib import contextmanager

import pytest

from aarlab.core.cluster_layout import NodesFolder
from aarlab.core.layout import KeptHomesFolder
from aarlab.nodes.kept_homes import KeptHomes
from aarlab.nodes.messages import (
    Ack,
    Assign,
    HomeKept,
    Incarnation,
    IncarnationBegun,
    Output,
    Release,
    UsageReport,
    line_of,
)
from aarlab.nodes.node_client import NodeClient
from aarlab.sandbox.output import CappedLog
from experiments.nodes_lab import begin_of

WHO = Incarnation(campaign="c", researcher="researcher-1", number=1)


@contextmanager
def room(size):
    """No file of this process grows beyond so many bytes: writes end as on a full disk, in the
    middle of what is written."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    heeded = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
        signal.signal(signal.SIGXFSZ, heeded)


class Client(NodeClient):
    """Without a hub: what would go to it is kept."""

    def __init__(self, folder):
        homes = KeptHomes(KeptHomesFolder(folder / "homes"))
        super().__init__(NodesFolder(folder / "nodes"), "c", homes)
        self.homes, self.sent = homes, []

    def send(self, record):
        self.sent.append(record)


@pytest.fixture
def client(tmp_path):
    return Client(tmp_path)


@pytest.fixture
def remote(client, tmp_path):
    assign = Assign(node="alpha", gate=str(tmp_path), files={}, begin=begin_of(WHO))
    made = client.begin(assign, tmp_path / "001.jsonl")
    client.sent.clear()
    yield made
    made.close()


def output(at, data):
    return line_of(Output(who=WHO, at=at, data=data))


def test_a_log_says_how_much_of_a_piece_was_written(tmp_path):
    log, data = CappedLog(tmp_path / "1.log"), bytes(range(256)) * 4
    with room(100), pytest.raises(OSError, match="large"):
        log.write(data)
    assert log.taken == 100
    log.write(data[log.taken :])
    log.close()
    assert (tmp_path / "1.log").read_bytes() == data


def test_output_waits_on_its_node_while_the_disk_is_full_and_none_is_lost(client, remote, tmp_path):
    data = bytes(range(256)) * 4
    client._take_in(output(0, data[:90]))
    assert client.sent == [Ack(who=WHO, at=90)]
    with room(300):
        client._take_in(output(90, data[90:]))  # 210 bytes of it find room
        client._take_in(output(90, data[90:]))  # said again, since the hub was started again
        remote.write()
        assert client.sent == [Ack(who=WHO, at=90)], "the node keeps it"
        assert remote.unwritten
        assert remote.away, "it is not said to be stalled"
        assert remote.poll() is None
    remote.write()
    assert client.sent == [Ack(who=WHO, at=90), Ack(who=WHO, at=len(data))]
    assert not remote.unwritten
    assert (tmp_path / "001.jsonl").read_bytes() == data


def test_a_node_whose_own_disk_is_full_says_so(client, remote):
    used = {"cpu_s": 2.0, "memory_bytes": 1, "disk_bytes": 1, "processes": 1}
    client._take_in(line_of(UsageReport(who=WHO, **used, unwritten="No space left on device")))
    assert remote.usage().unwritten == "No space left on device"
    client._take_in(line_of(UsageReport(who=WHO, **used)))
    assert remote.usage().unwritten == ""


def test_what_waits_is_written_when_its_incarnation_is_left(client, remote, tmp_path):
    with room(3):
        client._take_in(output(0, b"last words"))
    remote.close()
    assert (tmp_path / "001.jsonl").read_bytes() == b"last words"
    assert client.sent[-1] == Release(who=WHO)


def test_where_it_is_and_which_home_was_kept_is_noted_once_there_is_room(client, remote):
    homes = client.homes
    homes.begun("researcher-1", "alpha", 0)
    for digit in "ab":
        homes.folder.archive(digit * 64).write_bytes(b"x")
    client._take_in(line_of(HomeKept(who=WHO, sha256="a" * 64, size=1)))
    with room(0):
        client._take_in(line_of(IncarnationBegun(who=WHO)))
        client._take_in(line_of(HomeKept(who=WHO, sha256="b" * 64, size=1)))
        homes.write_again()
        assert homes.unwritten
        noted = KeptHomesFolder(homes.folder.root).places.read_text()
    assert "a" * 64 in noted
    assert homes.folder.archive("a" * 64).exists(), "the note that is on disk names it"
    homes.write_again()
    assert not homes.unwritten
    place = KeptHomes(homes.folder).of("researcher-1")  # as another process reads it
    assert place is not None
    assert (place.number, place.home) == (1, "b" * 64)
    assert not homes.folder.archive("a" * 64).exists()
