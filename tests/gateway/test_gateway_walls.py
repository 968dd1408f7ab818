"""What a sandbox can and cannot reach through its one socket: the lab as itself, and no trick with
paths, hosts or framing."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from running import ASK, Running
from upstream import CUT, HANG, Reply, Upstream, message, whole

from tests.waiting import waited_for

pytestmark = pytest.mark.process

OPEN = "GET /usage, /mcp, /api/v1 and models are."


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    """In the lab's server's place."""
    with Upstream() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(
    upstream: Upstream, server: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    campaign = tmp_path_factory.mktemp("campaign")
    with Running(campaign, upstream.url) as made:
        publish(made, server)
        yield made


@pytest.fixture(autouse=True)
def as_new(gateway: Running, upstream: Upstream, server: Upstream) -> None:
    publish(gateway, server)
    for each in (upstream, server):
        each.requests.clear()
    upstream.play = lambda request: message(plain=10, output=5)
    server.play = lambda request: whole({"result": "ok"})


def publish(gateway: Running, server: Upstream) -> None:
    """Where the lab's server is now."""
    address = gateway.campaign / "server" / "address.json"
    address.parent.mkdir(exist_ok=True)
    address.write_text(json.dumps({"url": server.url}))


# --- the lab --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", "/mcp"),
        ("GET", "/mcp"),
        ("DELETE", "/mcp"),
        ("GET", "/api/v1/problem"),
        ("GET", "/api/v1/findings/search?query=a%20b%26c"),
        ("POST", "/api/v1/submissions"),
        ("GET", "/api/v1/receipts/r-000001"),
    ],
)
def test_the_lab_is_reached_with_the_members_own_token(
    gateway: Running, server: Upstream, verb: str, path: str
) -> None:
    server.play = lambda request: Reply(
        [b'{"a"', b": 1}"],
        201,
        {"content-type": "application/json", "mcp-session-id": "s", "x": "y"},
    )
    heads = {
        "authorization": "Bearer stolen",
        "cookie": "stolen",
        "mcp-protocol-version": "2026-07-28",
        "x-who": "stolen",
    }
    answer = gateway.inside("ann").request(
        verb, path, content=b'{"q": 1}', headers=heads | {"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json(), answer.headers["mcp-session-id"]) == (
        201,
        {"a": 1},
        "s",
    )
    assert "x" not in answer.headers
    (request,) = server.requests
    assert (request.method, request.target, request.body) == (verb, path, b'{"q": 1}')
    assert request.headers["authorization"] == "Bearer token-of-ann"
    assert request.headers["mcp-protocol-version"] == "2026-07-28"
    assert not any("stolen" in value for value in request.headers.values())
    assert "x-api-key" not in request.headers


def test_each_socket_is_one_researcher(gateway: Running, server: Upstream) -> None:
    for who in ("ann", "bob"):
        gateway.inside(who).post("/mcp", json={})
    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer token-of-ann",
        "Bearer token-of-bob",
    ]


def test_a_new_token_of_the_same_incarnation_is_used_at_once(
    gateway: Running, server: Upstream
) -> None:
    inside = gateway.inside("turner")
    inside.post("/mcp", json={})
    gateway.control("PUT", "/members/turner", {"incarnation": 1, "token": "another"})
    inside.post("/mcp", json={})
    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer token-of-turner",
        "Bearer another",
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/operator/board",
        "/api/v1/operator",
        "/api/v1/tokens",
        "/api/v1/tokens/ann",
        "/api/v1/entries",
        "/api/v1/Operator/board",
        "/api/v1/%6fperator/board",
        "/api/v1/problem/../operator/board",
        "/api/v1/problem/%2e%2e/operator/board",
        "/api/v1/./operator/board",
        "/api/v1//operator/board",
        "//api/v1/operator/board",
        "/api//v1/problem",
        "/api/v1/",
        "/api/v1",
        "/api/v1/problem/",
        "/api/v1/problem%2f..%2foperator",
        "/api/v1/problem;/operator",
        "/api/v1/problem\\..\\operator",
        "/api/v2/problem",
        "/mcp/",
        "/mcp/../api/v1/operator/board",
        "/MCP",
        "/openapi.json",
        "/docs",
        "/",
        "/members/bob",
        "/status",
        "/usage/bob",
        "/usage/../status",
        "/v1/messages/../../api/v1/operator",
    ],
)
@pytest.mark.parametrize("verb", [b"GET", b"POST"])
def test_no_path_leads_elsewhere(
    gateway: Running, upstream: Upstream, server: Upstream, path: str, verb: bytes
) -> None:
    got = gateway.raw(
        "ann",
        verb
        + b" "
        + path.encode()
        + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
    )
    assert got.startswith(b"HTTP/1.1 404")
    assert OPEN.encode() in got
    assert server.requests == upstream.requests == []


@pytest.mark.parametrize("verb", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"])
def test_other_verbs_lead_nowhere(gateway: Running, server: Upstream, verb: str) -> None:
    assert gateway.inside("ann").request(verb, "/api/v1/problem").status_code == 404
    assert server.requests == []


def test_a_body_for_the_lab_has_its_limit(gateway: Running, server: Upstream) -> None:
    inside = gateway.inside("ann")
    assert inside.post("/api/v1/code", content=b"x" * (4 << 20)).status_code == 200
    answer = inside.post("/api/v1/code", content=b"x" * ((4 << 20) + 1))
    assert (answer.status_code, answer.json()["whose_move"]) == (413, "submitter")
    assert len(server.requests) == 1


def test_the_servers_refusals_pass_through(gateway: Running, server: Upstream) -> None:
    said = {"error": "Unknown seed 7. Use the issued ones.", "whose_move": "submitter"}
    server.play = lambda request: whole(said, 422)
    answer = gateway.inside("ann").post("/api/v1/submissions", json={})
    assert (answer.status_code, answer.json()) == (422, said)


def test_stopped_server_is_retryable_and_found_at_its_new_address(
    gateway: Running, server: Upstream
) -> None:
    inside = gateway.inside("ann")
    assert inside.post("/mcp", json={}).status_code == 200
    address = gateway.campaign / "server" / "address.json"
    address.write_text('{"url": "http://127.0.0.1:9"}')
    assert inside.post("/mcp", json={}).status_code == 200, "the one that is known still answers"
    with Upstream() as second:
        publish(gateway, second)
        server.play = lambda request: Reply([CUT])
        assert inside.get("/api/v1/problem").status_code == 200, (
            "what may be sent twice is, to where the server is now"
        )
        assert len(second.requests) == 1
    for _ in range(2):
        answer = inside.post("/api/v1/submissions", json={})
        assert answer.status_code == 503
        assert answer.json() == {
            "error": "The lab's server does not answer now. Try again.",
            "whose_move": "try again",
        }
        assert answer.headers["retry-after"] == "1"
    address.unlink()
    assert inside.get("/api/v1/problem").status_code == 503
    server.play = lambda request: whole({"back": True})
    publish(gateway, server)
    assert inside.post("/mcp", json={}).json() == {"back": True}, "what was not sent is sent"


def test_what_may_have_been_taken_is_not_sent_twice(gateway: Running, server: Upstream) -> None:
    inside = gateway.inside("ann")
    server.play = lambda request: Reply([CUT])
    assert inside.post("/api/v1/submissions", json={}).status_code == 503
    assert len(server.requests) == 1
    assert inside.get("/api/v1/problem").status_code == 503
    assert len(server.requests) == 3


def test_an_answer_of_the_lab_that_breaks_off_breaks_off(
    gateway: Running, server: Upstream
) -> None:
    server.play = lambda request: Reply([b"[1, 2", 0.05, CUT])
    with pytest.raises(httpx.RemoteProtocolError):
        gateway.inside("ann").get("/api/v1/findings")


def test_who_leaves_the_lab_is_left(gateway: Running, server: Upstream) -> None:
    server.play = lambda request: Reply(
        [b"data: x\n\n", HANG], headers={"content-type": "text/event-stream"}
    )
    with gateway.inside("ann").stream("GET", "/mcp") as answer:
        next(answer.iter_raw())
        assert server.open_replies() == 1
    waited_for(lambda: server.open_replies() == 0)


# --- hosts and framing ----------------------------------------------------------------------------

POST = b"POST /v1/messages HTTP/1.1\r\n"
BODY = json.dumps(ASK).encode()
LENGTH = b"content-length: %d\r\n" % len(BODY)


@pytest.mark.parametrize(
    "host", [b"169.254.169.254", b"api.anthropic.com", b"bob", b"", b"a\r\nhost: b"]
)
def test_the_host_header_decides_nothing(gateway: Running, upstream: Upstream, host: bytes) -> None:
    got = gateway.raw(
        "ann", POST + b"host: " + host + b"\r\nconnection: close\r\n" + LENGTH + b"\r\n" + BODY
    )
    assert got.startswith(b"HTTP/1.1 200")
    (request,) = upstream.requests
    assert request.headers["host"] == upstream.url.removeprefix("http://")


@pytest.mark.parametrize(
    "target",
    [b"http://169.254.169.254/v1/messages", b"https://evil/v1/messages", b"http://x@y/v1/messages"],
)
def test_an_absolute_target_goes_where_all_go(
    gateway: Running, upstream: Upstream, target: bytes
) -> None:
    got = gateway.raw(
        "ann",
        b"POST "
        + target
        + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        + LENGTH
        + b"\r\n"
        + BODY,
    )
    assert got.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    assert len(upstream.requests) == got.startswith(b"HTTP/1.1 200")
    assert all(request.target == "/v1/messages" for request in upstream.requests)
    assert all(
        request.headers["host"] == upstream.url.removeprefix("http://")
        for request in upstream.requests
    )


@pytest.mark.parametrize(
    "sent",
    [
        b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /usage HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: close, "
        b"upgrade\r\n\r\n",
    ],
)
def test_other_protocols_lead_nowhere(
    gateway: Running, upstream: Upstream, server: Upstream, sent: bytes
) -> None:
    gateway.raw("ann", sent)
    assert upstream.requests == server.requests == []
    assert gateway.inside("ann").get("/usage").status_code == 200


UNLISTED = json.dumps(ASK | {"model": "claude-opus-5"}).encode()
HIDDEN = POST + b"host: x\r\nx-api-key: stolen\r\ncontent-length: %d\r\n\r\n%s" % (
    len(UNLISTED),
    UNLISTED,
)


@pytest.mark.parametrize(
    "heads",
    [
        LENGTH + b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\n" + LENGTH,
        b"content-length: 4\r\n" + LENGTH,
        b"content-length: +%d\r\n" % len(BODY),
        b"content-length: 0x10\r\n",
        b"content-length: 4, 4\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"transfer-encoding : chunked\r\n",
        b"transfer-encoding:\x0bchunked\r\n",
        b"a: b\r\n transfer-encoding: chunked\r\n" + LENGTH,
        LENGTH + b"a: b\rtransfer-encoding: chunked\r\n",
        LENGTH + b"a: b\ntransfer-encoding: chunked\n",
    ],
)
def test_a_request_that_could_be_read_two_ways_hides_no_other(
    gateway: Running, upstream: Upstream, server: Upstream, heads: bytes
) -> None:
    """With both a length and chunks, above all. What goes on is framed anew and was checked, each
    by itself."""
    gateway.raw("ann", POST + b"host: x\r\n" + heads + b"\r\n" + BODY + HIDDEN)
    gateway.raw("ann", POST + b"host: x\r\n" + heads + b"\r\n0\r\n\r\n" + HIDDEN)
    assert server.requests == []
    for request in upstream.requests:
        assert request.json == ASK
        assert "transfer-encoding" not in request.headers
        assert request.headers["content-length"] == str(len(request.body))


def test_requests_in_a_row_are_each_checked(
    gateway: Running, upstream: Upstream, server: Upstream
) -> None:
    one = POST + b"host: x\r\n" + LENGTH + b"\r\n" + BODY
    got = gateway.raw("ann", one + HIDDEN + one)
    assert [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", got)] == [200, 403, 200]
    assert len(upstream.requests) == 2
    assert server.requests == []


def test_a_head_without_end_is_hung_up_on(gateway: Running) -> None:
    assert gateway.raw("ann", b"GET /usage HTTP/1.1\r\n" + b"a: " + b"x" * (70 << 10)) == b""


def test_one_researcher_cannot_use_up_everybodys_connections(gateway: Running) -> None:
    folder = gateway.admit("eve")
    held = []
    try:
        for _ in range(300):
            unix = socket.socket(socket.AF_UNIX)
            held.append(unix)
            unix.connect(str(folder / "lab.sock"))
        waited_for(
            lambda: gateway.control("GET", "/status").json()["members"]["eve"]["connections"] == 256
        )
        assert gateway.inside("ann").get("/usage").status_code == 200
    finally:
        for unix in held:
            unix.close()


# --- another uid on the same host -----------------------------------------------------------------

INSIDE = """
import pathlib, socket, sys

def tried(act):
    try:
        return act()
    except PermissionError:
        return "denied"

folder = pathlib.Path(sys.argv[1])
with socket.socket(socket.AF_UNIX) as control, socket.socket(socket.AF_UNIX) as mine:
    print(tried(lambda: list(folder.parent.iterdir())))
    print(tried(lambda: list(folder.iterdir())))
    print(tried(lambda: control.connect(str(folder.parent / "control.sock"))))
    mine.connect(str(folder / "lab.sock"))
    mine.sendall(b"GET /usage HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n")
    print(mine.recv(15).decode())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another uid")
def test_another_uid_finds_no_other_socket(gateway: Running) -> None:
    """As on a host where each researcher has a uid of its own: it can use its socket, and neither
    list nor open the others."""
    argv = [
        "setpriv",
        "--reuid",
        "20077",
        "--regid",
        "20077",
        "--clear-groups",
        "/usr/bin/python3",
        "-c",
        INSIDE,
    ]
    done = subprocess.run(
        [*argv, str(gateway.admit("uid"))], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["denied", "denied", "denied", "HTTP/1.1 200 OK"], (
        done.stderr
    )
