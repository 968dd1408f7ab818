"""What a hostile node can take from the hub: memory, disk, another one's place."""

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import socket
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from aarlab.core.cluster_layout import NodeFolder, NodesFolder
from aarlab.core.errors import InvalidSubmission, Transient
from aarlab.core.layout import KeptHomesFolder
from aarlab.core.own_code import whole_code
from aarlab.nodes import hub_port, joining
from aarlab.nodes.authority import Authority, new_key, node_context
from aarlab.nodes.framing import PIECE, Wire, send_file
from aarlab.nodes.hub_port import HubPort
from aarlab.nodes.hub_socket import HubAddress
from aarlab.nodes.messages import Alive, Attach, Release, StoreHome, line_of
from aarlab.nodes.node_table import NodeTable
from experiments.nodes_lab import until
from tests.nodes.lab_of_nodes import LabOfNodes, run, wire_of

EC_KEY, UNKNOWN_KEY = bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0209")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, starts_processes: None):
    with LabOfNodes(tmp_path_factory.mktemp("lab")) as made:
        yield made


@pytest.fixture(scope="module")
def alpha(lab) -> NodeFolder:
    return lab.join("alpha")


@pytest.mark.process
@pytest.mark.long
def test_a_flood_of_beats_is_not_passed_on(lab, alpha, tmp_path):
    made = lab.supervisor("flooded", tmp_path / "homes")

    async def flood() -> None:
        wire = await wire_of(lab, alpha)
        attach = Attach(code=whole_code().digest, version="v" * 200, capacity=1)
        await joining.asked(wire, attach)
        await wire.put(line_of(Alive()) * 3_000)  # and nothing is read
        await asyncio.sleep(1.0)
        answered = await wire.reader.read(1 << 20)
        assert answered.count(b'"alive"') < 10

    run(flood())
    until(lambda: not lab.sees("alpha"))
    made._sock.settimeout(0.5)
    got = []
    try:
        while line := made.lines.readline():
            got.append(json.loads(line))
    except TimeoutError:
        pass
    made.close()
    assert 2 <= len(got) < 10  # it came, and it went


@pytest.mark.process
def test_a_home_that_arrives_after_its_incarnation_was_released_leaves_nothing(
    lab, alpha, tmp_path
):
    homes, data = KeptHomesFolder(tmp_path / "homes"), b"x" * 1000
    made = lab.supervisor("released", homes.root)
    who = made.assign("alpha", "researcher-1", 1, tmp_path)
    until(lambda: "released" in lab.status().campaigns)

    async def store() -> None:
        wire = await wire_of(lab, alpha)
        asks = StoreHome(who=who, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        assert (await joining.asked(wire, asks)).wanted
        until(lambda: homes.root.exists() and [*homes.root.iterdir()])
        (arriving,) = homes.root.iterdir()  # as the next hub finds it, if this one is killed
        assert arriving in homes.root.glob(homes.arriving("*").name)
        made.send(Release(who=who))
        await asyncio.sleep(0.3)
        await wire.put(data)
        reply = await wire.record(joining.REPLY, 10)
        assert not reply.ok
        assert "is over" in reply.words

    run(store())
    until(lambda: list(homes.root.iterdir()) == [])
    made.close()


@pytest.mark.process
def test_a_revoked_nodes_connection_does_not_live_on_under_its_successor(lab, tmp_path):
    table = NodeTable(lab.nodes.table)
    hub, authority = HubAddress("127.0.0.1", lab.port), Authority(lab.nodes)

    def joined(place: str) -> NodeFolder:
        folder = NodeFolder(tmp_path / place)
        joining.join(hub, table.invite("gamma", 1), authority.fingerprint, folder)
        return folder

    async def succeed() -> None:
        old = await wire_of(lab, await asyncio.to_thread(joined, "old"))
        await joining.asked(old, Attach(code=whole_code().digest, version="v", capacity=1))
        table.revoke("gamma")  # and before the hub has looked at the table:
        new = await wire_of(lab, await asyncio.to_thread(joined, "new"))
        await new.put(b" ")
        with pytest.raises(Transient, match="ended|failed"):
            until_ = time.monotonic() + 5
            while time.monotonic() < until_:
                await old.send(Alive())
                await old.line(3)

    run(succeed())


def test_little_of_a_file_is_held_for_who_takes_nothing():
    async def stall() -> int:
        held = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sending = asyncio.create_task(
                send_file(Wire(reader, writer), io.BytesIO(bytes(8 << 20)), 8 << 20)
            )
            await asyncio.sleep(0.5)
            held.set_result(writer.transport.get_write_buffer_size())
            sending.cancel()
            writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        _, taker = await asyncio.open_connection("127.0.0.1", port, limit=1)
        found = await held
        taker.close()
        server.close()
        return found

    assert asyncio.run(stall()) <= 2 * PIECE


def test_a_request_with_a_key_of_an_unknown_kind_is_refused(tmp_path):
    (tmp_path / "node").mkdir()
    der = x509.load_pem_x509_csr(new_key(NodeFolder(tmp_path / "node")).encode()).public_bytes(
        Encoding.DER
    )
    assert EC_KEY in der
    body = base64.encodebytes(der.replace(EC_KEY, UNKNOWN_KEY)).decode()
    request = f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(InvalidSubmission, match="damaged"):
        Authority(NodesFolder(tmp_path / "lab")).sign_node(request, "alpha")


def test_who_does_not_end_the_handshake_makes_room_and_keeps_nobody_out(tmp_path, monkeypatch):
    monkeypatch.setattr(hub_port, "MOST_UNKNOWN", 20)
    authority = Authority(NodesFolder(tmp_path / "lab"))

    async def knock() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()

        hub_port = HubPort(authority.hub_context(), echo)
        server = await asyncio.get_running_loop().create_server(hub_port.protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]  # in one burst
        silent[59].sendall(b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0.2)
        assert len(hub_port._unknown) <= 20
        for one in silent[:40]:  # the oldest were put out
            one.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.to_thread(one.recv, 10) == b""
        wire = await joining.dial(HubAddress("127.0.0.1", port), node_context(authority.pem))
        await wire.put(b"hello\n" * 2)
        assert await wire.line(5) == b"hello\n"
        for one in silent:
            one.close()
        wire.cut()
        server.close()

    asyncio.run(knock())
