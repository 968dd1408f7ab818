"""The parts of researchers on other machines that need no process: the order of output, times that
are not charged, where a researcher was, a socket whose lab is away."""

import asyncio
import json
import time

import httpx
import pytest

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.layout import KeptHomesFolder
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.hosts import require_host, require_hostable
from aarlab.nodes import messages
from aarlab.nodes.hub_socket import address
from aarlab.nodes.kept_homes import KeptHomes
from aarlab.nodes.log_tail import LogTail
from aarlab.nodes.messages import Alive, HomeKept, Incarnation, NodeNow, Output, line_of
from aarlab.nodes.node_client import NodeView
from aarlab.nodes.relay import Relay
from aarlab.sandbox.output import CappedLog

WHO = Incarnation(campaign="c", researcher="researcher-1", number=1)


# --- output ---------------------------------------------------------------------------------------


def test_a_log_in_parts_is_read_whole_and_in_order(tmp_path):
    log, sent, got = CappedLog(tmp_path / "1.log", cap=1000), b"", b""
    tail = LogTail(tmp_path / "1.log")
    for number in range(700):
        line = b"%d " % number * (number % 7 + 1) + b"\n"
        log.write(line)
        sent += line
        if number % 3 == 0:
            got += tail.read(50)
    while piece := tail.read(50):
        got += piece
    log.close()
    assert got == sent


def test_parts_that_were_dropped_are_left_out(tmp_path):
    log = CappedLog(tmp_path / "1.log", cap=100)
    for number in range(400):
        log.write(b"%099d\n" % number)
    log.close()
    tail, got = LogTail(tmp_path / "1.log"), b""
    while piece := tail.read(1 << 20):
        got += piece
    lines = [int(line) for line in got.splitlines()]
    assert lines == sorted(set(lines))
    assert lines[0] == 0
    assert lines[-1] == 399
    assert len(lines) < 400


def test_nothing_is_read_of_a_log_that_is_not_there(tmp_path):
    assert LogTail(tmp_path / "1.log").read(10) == b""


# --- times ----------------------------------------------------------------------------------------


def test_time_in_which_a_node_was_not_heard_is_counted_once():
    now = time.monotonic()
    node = NodeView(attached=True, heard_at=now)
    assert node.away_s(now - 100, now) == 0
    node.gaps = [(now - 90, now - 70), (now - 50, now - 40)]
    assert node.away_s(now - 100, now) == pytest.approx(30)
    assert node.away_s(now - 80, now - 45) == pytest.approx(15)
    node.attached, node.heard_at = False, now - 30
    assert node.away_s(now - 100, now) == pytest.approx(60)


def test_a_node_that_is_back_leaves_a_gap():
    node = NodeView()
    node.take_in(NodeNow(name="a", attached=True, silent_s=0.0, capacity=2))
    assert node.gaps == []
    node.heard_at -= 100
    node.take_in(NodeNow(name="a", attached=True, silent_s=0.0, capacity=2))
    assert len(node.gaps) == 1
    assert node.away_s(node.heard_at - 200, node.heard_at) == pytest.approx(100, abs=1)


# --- where a researcher was -----------------------------------------------------------------------


def kept(number, digest):
    return HomeKept(who=WHO.model_copy(update={"number": number}), sha256=digest, size=1)


def test_the_latest_home_counts_and_older_ones_are_removed(tmp_path):
    folder = KeptHomesFolder(tmp_path)
    homes = KeptHomes(folder)
    homes.begun("researcher-1", "alpha", 1)
    for number, digit in ((1, "a"), (2, "b"), (1, "c")):
        folder.archive(digit * 64).write_bytes(b"x")
        homes.kept(kept(number, digit * 64))
    place = KeptHomes(folder).of("researcher-1")  # as another process reads it
    assert place is not None
    assert (place.host, place.home, place.latest) == ("alpha", "b" * 64, 2)
    assert not folder.archive("a" * 64).exists()
    assert folder.archive("b" * 64).exists()
    assert KeptHomes(folder).lineage == homes.lineage


def test_another_campaign_is_of_another_lineage(tmp_path):
    one, two = (KeptHomes(KeptHomesFolder(tmp_path / n)).lineage for n in "ab")
    assert one != two


def test_a_damaged_file_of_places_is_named(tmp_path):
    folder = KeptHomesFolder(tmp_path)
    folder.places.write_text("{")
    with pytest.raises(Misconfigured, match=r"places\.json is damaged"):
        KeptHomes(folder)


# --- what a campaign may ask for ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "mine.py"}, "is a file of this machine"),
        ({"sandbox": "directory"}, "isolates nothing"),
        ({"student": "qwen"}, "strong model"),
        ({"sandbox": "docker"}, "do not end with a node's agent"),
    ],
)
def test_what_nodes_cannot_have_is_refused(fields, words):
    with pytest.raises(Misconfigured, match=words):
        require_hostable(Campaign(hosts=("alpha",), **fields))
    require_hostable(Campaign(hosts=("here",), **fields))


def test_a_host_that_nobody_invited_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("AAR_HOME", str(tmp_path))
    with pytest.raises(Misconfigured, match=r"alpha: there is no node .* aar node invite alpha"):
        require_host("alpha")
    require_host("here")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("lab.example:1", "lab.example", 1),
        ("lab.example", "lab.example", 8646),
        ("[::1]:7", "::1", 7),
        ("10.0.0.1:65535", "10.0.0.1", 65535),
    ],
)
def test_an_address_is_read(text, host, port):
    assert address(text, "--listen") == (host, port)
    assert address(str(address(text, "--listen")), "x") == (host, port)


@pytest.mark.parametrize("text", ["", ":1", "a:0", "a:65536", "a b:1", "http://a:1", "a:1:x", "a:"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(Misconfigured, match="Give HOST:PORT"):
        address(text, "--listen")


# --- messages -------------------------------------------------------------------------------------


def test_a_message_comes_back_as_it_was_sent():
    sent = Output(who=WHO, at=3, data=bytes(range(256)))
    assert messages.read(messages.FROM_NODE, line_of(sent)) == sent
    assert messages.read(messages.TO_NODE, line_of(Alive())) == Alive()


@pytest.mark.parametrize(
    "change",
    [
        {"data": "!"},
        {"data": "A" * (1 << 18)},
        {"at": -1},
        {"at": True},
        {"kind": "begin"},
        {"who": {"campaign": "..", "researcher": "r", "number": 1}},
        {"who": {"campaign": "c", "researcher": "a/b", "number": 1}},
        {"who": {"campaign": "c", "researcher": "r", "number": 0}},
        {"more": 1},
    ],
)
def test_a_message_that_is_none_is_refused_without_quoting_it(change):
    sent = json.loads(line_of(Output(who=WHO, at=3, data=b"")))
    with pytest.raises(InvalidSubmission, match="Both sides must have the same aarlab") as error:
        messages.read(messages.FROM_NODE, json.dumps(sent | change).encode())
    assert len(str(error.value)) < 500


# --- a socket whose lab is away -------------------------------------------------------------------


def test_a_socket_without_a_lab_answers_503_in_the_form_of_who_asks(tmp_path):
    async def away():
        raise Transient("no hub")

    async def ask() -> None:
        relay = Relay(WHO, tmp_path, away)
        await relay.open()
        transport = httpx.AsyncHTTPTransport(uds=str(relay.folder / "lab.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://lab") as client:
            lab = await client.get("/api/v1/board")
            model = await client.post("/v1/messages", content=b"x" * 200_000)
        assert lab.status_code == model.status_code == 503
        assert lab.headers["retry-after"] == "1"
        assert lab.json()["whose_move"] == "try again"
        assert model.json()["error"]["type"] == "api_error"
        relay.close()
        assert not relay.folder.exists()

    asyncio.run(ask())
