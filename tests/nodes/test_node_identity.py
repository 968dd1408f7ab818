"""Who is a node, and for whom it may speak: by its certificate and the lab's own list, whatever it
says. The hub and the gateway are the real processes."""

import asyncio
import contextlib
import json
import socket
import ssl
import threading

import pytest

from aarlab.cli.node_command import _require_name
from aarlab.core.cluster_layout import NodeFolder, NodesFolder
from aarlab.core.errors import Misconfigured, Transient, Unauthorised
from aarlab.core.own_code import whole_code
from aarlab.core.settings import Home
from aarlab.nodes import joining
from aarlab.nodes.authority import Authority
from aarlab.nodes.messages import Alive, Attach, Fetch, Incarnation, Output, Release, StoreHome
from aarlab.nodes.node_table import NodeTable
from experiments.nodes_lab import aar, until
from tests.gateway.running import Running as Gateway
from tests.nodes.lab_of_nodes import LabOfNodes, dialled, get, relayed, run, wire_of

pytestmark = pytest.mark.process
HUNDRED_KB = 100 << 10


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, starts_processes: None):
    with LabOfNodes(tmp_path_factory.mktemp("lab")) as made:
        yield made


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, starts_processes: None):
    with Gateway(tmp_path_factory.mktemp("campaign"), "http://127.0.0.1:9") as made:
        yield made


@pytest.fixture(scope="module")
def alpha(lab) -> NodeFolder:
    return lab.join("alpha")


@pytest.fixture(scope="module")
def beta(lab) -> NodeFolder:
    return lab.join("beta")


@contextlib.contextmanager
def campaign(lab, tmp_path, name="c"):
    made = lab.supervisor(name, tmp_path / "homes")
    try:
        yield made
    finally:
        made.close()
        until(lambda: name not in lab.status().campaigns)


def assigned(lab, made, node, name, number, gate):
    """Assigned, once the hub knows."""
    who = made.assign(node, name, number, gate)
    until(lambda: made.campaign in lab.status().campaigns)
    return who


# --- joining --------------------------------------------------------------------------------------


def test_a_stolen_invitation_serves_one_of_many_who_bring_it_at_once(lab):
    words = lab.invite("contested")
    ended = []

    def bring(n: int) -> None:
        ended.append(aar(lab.of(f"thief-{n}"), *words, "--no-serve"))

    threads = [threading.Thread(target=bring, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done.returncode for done in ended) == [0, 2, 2, 2]
    refused = [done.stderr for done in ended if done.returncode]
    assert all("was used at" in words and "aar node revoke contested" in words for words in refused)


def test_an_expired_invitation_is_refused_and_names_the_remedy(lab):
    words = lab.invite("late", "--minutes", "0.01")
    until(lambda: "invitation expired" in aar(lab.home, "node", "list").stdout)
    done = aar(lab.of("late"), *words, "--no-serve")
    assert done.returncode == 2
    assert "The invitation of late has expired." in done.stderr
    assert not NodeFolder(Home(lab.of("late")).node).settings.exists()


def test_a_revoked_invitation_and_an_invented_one_are_refused(lab):
    words = lab.invite("unwanted")
    assert aar(lab.home, "node", "revoke", "unwanted").returncode == 0
    assert "was revoked" in aar(lab.of("unwanted"), *words, "--no-serve").stderr
    invented = [*words[:4], "A" * 43, *words[5:]]
    assert invented[3] == "--token"
    assert "no invitation with this token" in aar(lab.of("x"), *invented, "--no-serve").stderr


def test_another_labs_hub_is_reported_nothing(lab, tmp_path):
    words = lab.invite("careful")
    with LabOfNodes(tmp_path) as other:
        wrong = [*words[:2], f"127.0.0.1:{other.port}", *words[3:]]
        done = aar(lab.of("careful"), *wrong, "--no-serve")
        assert done.returncode == 2
        assert "is another lab" in done.stderr
        assert "Nothing was sent to it" in done.stderr
        assert aar(lab.of("careful"), *words, "--no-serve").returncode == 0  # it still serves


def test_a_name_that_is_taken_is_not_given_twice(lab, alpha):
    done = aar(lab.home, "node", "invite", "alpha")
    assert done.returncode == 2
    assert "aar node revoke alpha" in done.stderr


@pytest.mark.parametrize("name", ["Alpha", "../x", "", "a" * 41, "here", "a b"])
def test_a_name_that_is_no_nodes_is_refused(name):
    with pytest.raises(Misconfigured):
        _require_name(name)


def test_keys_are_for_their_owner_alone_and_the_nodes_never_left_it(lab, alpha):
    assert alpha.key.stat().st_mode & 0o777 == 0o600
    assert lab.nodes.authority_key.stat().st_mode & 0o777 == 0o600
    assert lab.nodes.hub_key.stat().st_mode & 0o777 == 0o600
    secret = alpha.key.read_bytes().splitlines()[1]
    files = [p for p in lab.home.rglob("*") if p.is_file()]
    assert lab.nodes.hub_key in files
    assert not any(secret in p.read_bytes() for p in files)


# --- certificates ---------------------------------------------------------------------------------


def test_a_node_of_another_lab_cannot_connect(lab, tmp_path):
    with LabOfNodes(tmp_path) as other:
        stranger = other.join("alpha")  # the same name as a node of this lab

        async def come() -> None:
            with pytest.raises(Transient, match="no hub of this lab"):
                await dialled(lab.port, joining.context_of(stranger))
            blind = joining.context_of(stranger)
            blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
            wire = await dialled(lab.port, blind)
            with pytest.raises(Transient):
                await joining.asked(wire, Alive())

        run(come())


def test_a_node_cannot_pose_as_the_hub(lab, alpha, beta):
    async def pose() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(alpha.certificate, alpha.key)
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Transient, match="no hub of this lab"):
            await dialled(port, joining.context_of(beta))
        server.close()

    run(pose())


def test_who_has_no_certificate_can_do_nothing_but_join(lab, alpha):
    async def ask() -> None:
        context = joining.node_context(alpha.authority.read_text())
        who = Incarnation(campaign="c", researcher="researcher-1", number=1)
        for opening in (
            Attach(code=whole_code().digest, version="v", capacity=1),
            Fetch(campaign="c", sha256="0" * 64),
            StoreHome(who=who, sha256="0" * 64, size=1),
        ):
            wire = await dialled(lab.port, context)
            with pytest.raises(Unauthorised, match="Only a node that has joined"):
                await joining.asked(wire, opening)

    run(ask())


def test_a_revoked_nodes_open_connections_are_cut_at_once(lab, gateway, tmp_path):
    node = lab.join("leaver")
    with campaign(lab, tmp_path) as made:
        who = assigned(lab, made, "leaver", "researcher-9", 1, gateway.admit("researcher-9"))

        async def be_cut() -> None:
            wire = await relayed(lab, node, who)
            assert (await get(wire, "/usage"))[1]["researcher"] == "researcher-9"
            done = await asyncio.to_thread(aar, lab.home, "node", "revoke", "leaver")
            assert "its connections are cut" in done.stdout
            assert await asyncio.wait_for(_end_of(wire), 1.0)
            with pytest.raises(Unauthorised, match="certificate of leaver was revoked"):
                await relayed(lab, node, who)

        run(be_cut())


async def _end_of(wire) -> bool:
    try:
        return await wire.reader.read(1) == b""
    except OSError:
        return True


# --- for whom a node speaks -----------------------------------------------------------------------


def test_a_node_speaks_for_its_own_researchers_alone(lab, alpha, beta, gateway, tmp_path):
    with campaign(lab, tmp_path) as made:
        mine = assigned(lab, made, "alpha", "researcher-1", 1, gateway.admit("researcher-1"))
        other = assigned(lab, made, "beta", "researcher-2", 1, gateway.admit("researcher-2"))

        async def speak() -> None:
            status, body = await get(await relayed(lab, alpha, mine), "/usage")
            assert (status, body["researcher"]) == (200, "researcher-1")
            status, body = await get(await relayed(lab, beta, other), "/usage")
            assert (status, body["researcher"]) == (200, "researcher-2")
            for node, who in (
                (alpha, other),
                (beta, mine),
                (alpha, mine.model_copy(update={"number": 2})),
                (alpha, mine.model_copy(update={"campaign": "d"})),
                (alpha, mine.model_copy(update={"researcher": "researcher-3"})),
            ):
                with pytest.raises(Unauthorised, match="is not that of"):
                    await relayed(lab, node, who)

        run(speak())


def test_a_moved_researchers_old_node_is_cut_off(lab, alpha, beta, gateway, tmp_path):
    with campaign(lab, tmp_path) as made:
        first = assigned(lab, made, "alpha", "researcher-4", 1, gateway.admit("researcher-4"))

        async def move() -> None:
            wire = await relayed(lab, alpha, first)
            await get(wire, "/usage")
            second = made.assign("beta", "researcher-4", 2, gateway.admit("researcher-4", 2))
            assert await asyncio.wait_for(_end_of(wire), 5.0)
            with pytest.raises(Unauthorised, match="is over"):
                await relayed(lab, alpha, first)
            with pytest.raises(Unauthorised, match="is not that of alpha"):
                await relayed(lab, alpha, second)
            assert (await get(await relayed(lab, beta, second), "/usage"))[0] == 200
            made.assign("alpha", "researcher-4", 1, gateway.folders["researcher-4"])  # too late
            await asyncio.sleep(0.3)
            with pytest.raises(Unauthorised, match="is over"):
                await relayed(lab, alpha, first)
            made.send(Release(who=second))
            await asyncio.sleep(0.3)
            with pytest.raises(Unauthorised, match="is over"):
                await relayed(lab, beta, second)

        run(move())


def test_the_end_of_a_supervisor_ends_what_its_nodes_may(lab, alpha, gateway, tmp_path):
    with campaign(lab, tmp_path) as made:
        who = assigned(lab, made, "alpha", "researcher-5", 1, gateway.admit("researcher-5"))
        run(relayed(lab, alpha, who))

    async def ask() -> None:
        with pytest.raises(Unauthorised, match="is over"):
            await relayed(lab, alpha, who)

    run(ask())


def test_a_gateway_that_is_down_is_said_to_be(lab, alpha, tmp_path):
    with campaign(lab, tmp_path) as made:
        who = assigned(lab, made, "alpha", "researcher-6", 1, tmp_path)

        async def ask() -> None:
            with pytest.raises(Unauthorised, match="gateway does not answer now"):
                await relayed(lab, alpha, who)

        run(ask())


def test_what_a_node_says_of_others_reaches_no_supervisor(lab, alpha, beta, gateway, tmp_path):
    with campaign(lab, tmp_path) as made:
        mine = assigned(lab, made, "beta", "researcher-7", 1, gateway.admit("researcher-7"))

        async def lie() -> None:
            wires = {}
            for name, node in (("alpha", alpha), ("beta", beta)):
                wires[name] = await wire_of(lab, node)
                attach = Attach(code=whole_code().digest, version="v", capacity=1)
                await joining.asked(wires[name], attach)
            await wires["alpha"].send(Output(who=mine, at=0, data=b"lie"))
            await wires["beta"].send(Output(who=mine, at=0, data=b"truth"))
            # at another place, and before the first was acknowledged
            await wires["beta"].send(Output(who=mine, at=5, data=b"truth"))
            await wires["beta"].send(Output(who=mine, at=0, data=b"truth"))
            await wires["beta"].send(Alive())
            await asyncio.sleep(0.5)
            for wire in wires.values():
                await wire.close()

        run(lie())
        until(lambda: not lab.sees("alpha"))
        until(lambda: not lab.sees("beta"))
        made._sock.settimeout(0.5)
        got = []
        with contextlib.suppress(TimeoutError):
            while line := made.lines.readline():
                got.append(json.loads(line))
        assert [m["data"] for m in got if m["kind"] == "output"] == ["dHJ1dGg="]


# --- bytes that are none of ours ------------------------------------------------------------------

NOISE = {
    "no line": b"x" * (3 * HUNDRED_KB),
    "no JSON": b"{]\n",
    "no object": b"[1]\n",
    "no kind": b"{}\n",
    "unknown kind": b'{"kind":"shell","argv":["id"]}\n',
    "nested": b"[" * HUNDRED_KB + b"\n",
    "more fields": b'{"kind":"fetch","campaign":"c","sha256":"' + b"0" * 64 + b'","x":1}\n',
    "a path as a name": b'{"kind":"fetch","campaign":"../c","sha256":"' + b"0" * 64 + b'"}\n',
    "a number as text": b'{"kind":"attach","code":"%s","version":"v","capacity":"1"}\n'
    % (b"0" * 64),
    "a huge home": b'{"kind":"store","who":{"campaign":"c","researcher":"r","number":1},"sha256":"'
    + b"0" * 64
    + b'","size":1000000000000000}\n',
    "binary": bytes(range(256)) + b"\n",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("what", NOISE)
def test_noise_ends_its_own_connection_and_nothing_else(what, lab, alpha):
    answers = []

    async def send() -> None:
        wire = await wire_of(lab, alpha)
        with contextlib.suppress(Transient):
            await wire.put(NOISE[what])
        with contextlib.suppress(OSError):
            answers.append(await asyncio.wait_for(wire.reader.read(10_000), 15))

    run(send())
    answer = b"".join(answers)
    assert b'"ok":true' not in answer
    assert b"Traceback" not in answer
    assert lab.status().listen
    assert "Traceback" not in lab.hub.said()


def test_noise_on_an_agents_connection_ends_it(lab, alpha):
    async def send() -> None:
        wire = await wire_of(lab, alpha)
        attach = Attach(code=whole_code().digest, version="v", capacity=1)
        await joining.asked(wire, attach)
        assert await asyncio.to_thread(lab.sees, "alpha")
        await wire.put(b'{"kind":"over","who":{"campaign":"c"}}\n')
        while await asyncio.wait_for(wire.reader.read(10_000), 5):
            pass

    run(send())
    until(lambda: not lab.sees("alpha"))
    assert "Traceback" not in lab.hub.said()


def test_plain_bytes_and_silence_before_tls_hold_nobody_up(lab, alpha):
    silent = [socket.create_connection(("127.0.0.1", lab.port)) for _ in range(100)]
    silent[0].sendall(b"GET / HTTP/1.1\r\n\r\n")

    async def come() -> None:
        wire = await wire_of(lab, alpha)
        await joining.asked(wire, Attach(code=whole_code().digest, version="v", capacity=1))
        await wire.close()

    run(come())
    for one in silent:
        one.close()
    until(lambda: not lab.sees("alpha"))


def test_another_aarlab_is_refused_with_both_versions(lab, alpha):
    async def come() -> None:
        wire = await wire_of(lab, alpha)
        with pytest.raises(Unauthorised, match=r"other-1\.0 there, aarlab .* here"):
            await joining.asked(wire, Attach(code="0" * 64, version="other-1.0", capacity=1))

    run(come())
    assert "Install the same version on both" in aar(lab.home, "node", "list").stdout


def test_a_second_hub_of_the_lab_is_refused(lab):
    done = aar(lab.home, "node", "hub", "--listen", "127.0.0.1:0")
    assert done.returncode == 2
    assert "A hub of this lab runs already" in done.stderr


def test_a_damaged_certificate_is_said_to_be(tmp_path):
    folder = NodesFolder(tmp_path)
    Authority(folder)
    folder.authority.write_text("nothing")
    with pytest.raises(Misconfigured, match="Restore authority.pem"):
        Authority(folder)


def test_the_table_is_for_its_owner_and_holds_no_token(tmp_path):
    table = NodeTable(tmp_path / "nodes.sqlite")
    token = table.invite("a", 1.0)
    assert (tmp_path / "nodes.sqlite").stat().st_mode & 0o777 == 0o600
    assert not any(token.encode() in p.read_bytes() for p in tmp_path.iterdir())
