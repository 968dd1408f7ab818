"""A real server against clients that send too much, too slowly, or too often; and a bug of ours."""

import asyncio
import logging
import socket
import threading
from pathlib import Path

import httpx
import pytest
import uvicorn

from aarlab.core import connection as patience
from aarlab.core.connection import MAX_HEAD
from aarlab.server.app import create_app
from aarlab.server.guard import MAX_BODY
from tests.server.alone import Alone, commit, random_rows, submit, write_problem


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Alone(tmp_path_factory.mktemp("limits")) as process:
        yield process


def connection(server: Alone) -> socket.socket:
    return socket.create_connection((server.url.host, server.url.port), timeout=30)


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_a_body_that_is_too_large_is_refused_with_and_without_its_length(server):
    ann = server.client("ann")
    assert ann.post("/code", content=b"x" * (MAX_BODY + 1)).status_code == 413
    head = f"POST /api/v1/code HTTP/1.1\r\nHost: x\r\nAuthorization: {ann.headers['Authorization']}\r\n"
    with connection(server) as raw:
        raw.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        sent = 0
        try:
            for sent in range(MAX_BODY // 0x10000 + 200):  # noqa: B007
                raw.sendall(chunk)
        except OSError:
            assert sent >= MAX_BODY // 0x10000  # the server hung up once it was too much, and not before
        else:
            assert b" 413 " in raw.recv(200)


def test_connections_that_say_nothing_tie_up_no_thread(server):
    before = threads_of(server.pid)
    idle = [connection(server) for _ in range(600)]
    try:
        for raw in idle[:300]:
            raw.sendall(b"GET /api/v1/leaderboard HTTP/1.1\r\nHost: x\r\n")  # and never the end of the head
        assert server.call("GET", "/operator/board")["submissions"] >= 0
        assert threads_of(server.pid) <= before + 2
    finally:
        for raw in idle:
            raw.close()


def test_a_head_that_is_too_large_is_hung_up_on(server):
    with connection(server) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nX: ")
        try:
            for _ in range(40):
                raw.sendall(b"a" * (MAX_HEAD // 16))
            assert raw.recv(1) == b""
        except OSError:
            pass
    assert server.call("GET", "/operator/board")


def test_a_head_that_does_not_end_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(patience, "HEAD_S", 0.05)

    async def attempt() -> bytes:
        async def app(scope, receive, send):
            raise AssertionError("no request came whole")

        config = uvicorn.Config(app, lifespan="off", log_level="critical")
        config.load()
        loop = asyncio.get_running_loop()
        made = await loop.create_server(
            lambda: patience.Patient(config, uvicorn.Server(config).server_state, {}), "127.0.0.1", 0
        )
        async with made:
            reader, writer = await asyncio.open_connection(*made.sockets[0].getsockname())
            writer.write(b"GET / HTTP/1.1\r\n")
            try:
                return await reader.read()
            finally:
                writer.close()

    assert asyncio.run(attempt()) == b""


def test_a_flooder_is_never_refused_and_starves_nobody(server):
    flood, quiet = server.client("flood"), server.client("quiet")
    code, mine = commit(flood), commit(quiet, "quiet")
    order: list[str] = []
    statuses: list[int] = []

    def flooding(worker: int) -> None:
        with httpx.Client(base_url=flood.base_url, headers=flood.headers, timeout=100, trust_env=False) as one:
            for n in range(12):
                statuses.append(submit(one, code, random_rows(code["seeds"], 1000 * worker + n)).status_code)
                order.append("flood")

    threads = [threading.Thread(target=flooding, args=(worker,)) for worker in range(1, 25)]
    for thread in threads:
        thread.start()
    for n in range(5):
        statuses.append(submit(quiet, mine, random_rows(mine["seeds"], n)).status_code)
        order.append("quiet")
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    assert len(order) == 24 * 12 + 5
    last = max(n for n, who in enumerate(order) if who == "quiet")
    assert order[:last].count("flood") < 24 * 12 / 2  # first come, first served would have been nearly all


# --- a bug of ours --------------------------------------------------------------------------------------------------------


def test_a_bug_becomes_plain_words_and_a_number_that_is_in_the_log(tmp_path, caplog):
    write_problem(tmp_path / "problem")
    app = create_app(tmp_path / "problem", tmp_path / "c")
    token = (tmp_path / "c" / "server" / "operator.token").read_text()

    async def attempt() -> httpx.Response:
        async with app.router.lifespan_context(app):
            (tmp_path / "c" / "server" / "budget.json").write_text("{}")  # what no version of ours writes
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://x/api/v1") as http:
                mine = await http.post("/tokens", json={"name": "ann"}, headers={"Authorization": f"Bearer {token}"})
                return await http.get("/budget", headers={"Authorization": f"Bearer {mine.json()['token']}"})

    with caplog.at_level(logging.ERROR, logger="aarlab.server"):
        answer = asyncio.run(attempt())
    assert answer.status_code == 500
    said = answer.json()
    assert said.keys() == {"error", "whose_move"}
    assert said["whose_move"] == "a bug of ours"
    number = said["error"].rstrip(".").split()[-1]
    record = next(r for r in caplog.records if number in r.getMessage())
    assert "GET /api/v1/budget" in record.getMessage()
    assert record.exc_info[0] is KeyError
    assert "KeyError" not in answer.text
    assert "deadline" not in answer.text
