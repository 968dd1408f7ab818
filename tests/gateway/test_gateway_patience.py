"""Whom the gateway waits for, and for how long: its limits, shortened, with the gateway in this
process."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from running import ASK, KEY
from upstream import HANG, Reply, Upstream, events, finish, message, start, text

from aarlab.core import http
from aarlab.core.budget import Budget
from aarlab.core.errors import Transient
from aarlab.core.http import UnixServer
from aarlab.gateway import async_journal, model_api
from aarlab.gateway import client as client_module
from aarlab.gateway.admission import Reserve
from aarlab.gateway.async_journal import AsyncJournal
from aarlab.gateway.client import RequestMemory
from aarlab.gateway.config import GatewayConfig, Provider
from aarlab.gateway.gateway_app import GatewayMember, MemberServices, member_app
from aarlab.gateway.journal import Journal
from aarlab.gateway.lab_proxy import LabServer
from aarlab.gateway.model_api import ModelApi
from aarlab.gateway.pricing import prices
from aarlab.gateway.provider_answer import Silence

STREAM = ASK | {"stream": True}


@asynccontextmanager
async def opened(
    place: Path, url: str, *, each: Budget
) -> AsyncIterator[tuple[Path, Journal, UnixServer]]:
    """A socket of ann's."""
    config = GatewayConfig(
        models=("claude-opus-4-6",),
        providers=(Provider(name="anthropic", url=url),),
        researcher_budget=each,
    )
    journal = Journal(place / "journal.sqlite")
    front = AsyncJournal(journal, config)
    services = MemberServices(
        ModelApi(config.providers, {"anthropic": KEY}, prices(config), front),
        LabServer(place / "none.json"),
        front,
    )
    server = UnixServer(member_app(GatewayMember("ann", 1, "t"), services), place / "s")
    await server.open(0o600)
    try:
        yield server.path, journal, server
    finally:
        server.shut()
        await server.finish(1.0)
        await services.close()
        front.close()
        journal.close()


def run(
    tmp_path: Path,
    upstream: Upstream,
    act: Callable[[httpx.AsyncClient, Journal, UnixServer], Awaitable[None]],
    each: Budget = Budget(),  # noqa: B008
) -> None:
    async def main() -> None:
        async with opened(tmp_path, upstream.url, each=each) as (path, journal, server):
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(
                transport=transport, base_url="http://x", timeout=20
            ) as inside:
                await act(inside, journal, server)

    asyncio.run(main())


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.01)


def test_long_wait_for_calls_in_flight_ends_in_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_journal, "WAIT_S", 0.2)
    more = threading.Event()

    async def act(inside: httpx.AsyncClient, journal: Journal, server: UnixServer) -> None:
        dear = ASK | {"max_tokens": 4_000}
        first = asyncio.create_task(inside.post("/v1/messages", json=dear))
        await until(lambda: journal.in_flight(None).calls)
        answer = await inside.post("/v1/messages", json=dear)
        assert answer.status_code == 429, "never 402: nothing is spent"
        assert answer.json()["error"]["type"] == "rate_limit_error"
        assert "Try again" in answer.json()["error"]["message"]
        assert answer.headers["retry-after"] == "1"
        more.set()
        assert (await first).status_code == 200

    with Upstream(lambda request: Reply([more, *message(plain=1, output=1).steps])) as upstream:
        run(tmp_path, upstream, act, Budget(usd=0.05))


def test_an_answer_whose_client_has_gone_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is charged as far as it came; one that never began costs nothing."""
    monkeypatch.setattr(model_api, "DRAIN_S", 0.1)

    async def act(inside: httpx.AsyncClient, journal: Journal, server: UnixServer) -> None:
        async with inside.stream("POST", "/v1/messages", json=STREAM) as answer:
            came = answer.aiter_raw()
            await anext(came)
            await asyncio.sleep(0.3)  # far longer, but the client is there
            assert journal.in_flight("ann").calls == 1
        await until(lambda: journal.in_flight("ann").calls == 0)
        (row,) = journal.unposted(9)
        assert (row.body["call"]["input_tokens"], row.body["call"]["interrupted"]) == (100, True)
        upstream.play = lambda request: Reply([HANG])
        with pytest.raises(httpx.ReadTimeout):
            await inside.post("/v1/messages", json=ASK, timeout=0.1)
        await until(lambda: journal.in_flight("ann").calls == 0)
        assert len(journal.unposted(9)) == 1
        assert journal.failing_since("ann") is not None

    with Upstream(lambda request: events(start(plain=100), text("x"), HANG)) as upstream:
        run(tmp_path, upstream, act)


def test_a_client_that_takes_nothing_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one that reads no byte would hold its reservation, and the campaign's, as long as it
    likes."""
    monkeypatch.setattr(client_module, "SEND_S", 0.2)
    much = [text("x" * 100_000) for _ in range(100)]

    async def act(inside: httpx.AsyncClient, journal: Journal, server: UnixServer) -> None:
        async with inside.stream("POST", "/v1/messages", json=STREAM):
            await until(lambda: journal.unposted(9))
            (row,) = journal.unposted(9)
            assert (row.body["call"]["output_tokens"], row.body["call"]["interrupted"]) == (
                7,
                False,
            )
            await until(lambda: server.connections == 0)

    with Upstream(lambda request: events(start(plain=100), *much, *finish(7))) as upstream:
        run(tmp_path, upstream, act)


def test_a_body_that_does_not_come_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "BODY_S", 0.2)

    async def act(inside: httpx.AsyncClient, journal: Journal, server: UnixServer) -> None:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{")
        got = await reader.read()
        assert got.startswith(b"HTTP/1.1 408")
        assert b"Send it faster" in got
        writer.close()

    with Upstream() as upstream:
        run(tmp_path, upstream, act)
        assert upstream.requests == []


def test_a_head_that_does_not_come_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "HEAD_S", 0.1)

    async def act(inside: httpx.AsyncClient, journal: Journal, server: UnixServer) -> None:
        for sent in (b"", b"GET /usage HTTP/1.1\r\nhost"):
            reader, writer = await asyncio.open_unix_connection(server.path)
            writer.write(sent)
            assert await reader.read() == b""
            writer.close()
        await inside.get("/usage")
        await asyncio.sleep(0.3)
        assert server.connections == 1, "between two requests a connection is kept"

    with Upstream() as upstream:
        run(tmp_path, upstream, act)


def test_who_was_let_in_just_as_the_door_was_shut_is_put_out(tmp_path: Path) -> None:
    """Accepted by the kernel, seen by the gateway only after the fence."""

    async def act(inside: httpx.AsyncClient, journal: Journal, server: UnixServer) -> None:
        theirs, ours = socket.socketpair()
        with theirs:
            theirs.sendall(b"GET /usage HTTP/1.1\r\nhost: x\r\n\r\n")
            server.shut()
            await asyncio.get_running_loop().connect_accepted_socket(server._connection, ours)
            reader, writer = await asyncio.open_connection(sock=theirs)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()

    with Upstream() as upstream:
        run(tmp_path, upstream, act)


def test_bodies_of_one_researcher_have_so_much_room_together() -> None:
    async def main() -> None:
        room = RequestMemory(10)
        await room.take(6)
        second = asyncio.create_task(room.take(5))
        await asyncio.sleep(0.05)
        assert not second.done()
        await room.take(4)
        await room.give(6)
        await asyncio.wait_for(second, 5)

    asyncio.run(main())


def test_call_cancelled_while_opening_can_be_recovered(tmp_path: Path) -> None:
    """The journal's write is not torn: either there is a call, and `recover` finds it, or there is
    none."""

    async def main() -> None:
        front = AsyncJournal(journal, GatewayConfig())
        task = asyncio.create_task(front.open("ann", "m", Reserve(1, 0.1), asyncio.Event()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        front.close()

    journal = Journal(tmp_path / "j.sqlite")
    asyncio.run(main())
    assert journal.in_flight(None).calls == journal.recover()
    assert journal.in_flight(None).calls == 0
    journal.close()


def test_failed_journal_cuts_the_answer_and_leaves_the_call_open(tmp_path: Path) -> None:
    """So the reservation stands, and the next start settles it."""

    async def act(inside: httpx.AsyncClient, journal: Journal, server: UnixServer) -> None:
        settle, tries = journal.settle, []

        def refuse(*args: object, **kw: object) -> None:
            tries.append(args)
            raise Transient("The journal could not be written (disk full). Try again.")

        journal.settle = refuse  # type: ignore[method-assign, assignment]
        with pytest.raises(httpx.RemoteProtocolError):
            await inside.post("/v1/messages", json=STREAM)
        assert len(tries) == 2
        assert journal.in_flight("ann").calls == 1
        journal.settle = settle  # type: ignore[method-assign]
        journal.recover()
        assert journal.spent("ann").tokens == 100, "as far as had been noted"

    with Upstream(lambda request: events(start(plain=100), *finish(7))) as upstream:
        run(tmp_path, upstream, act)


def test_a_journal_that_is_locked_is_try_again(tmp_path: Path) -> None:
    async def act(inside: httpx.AsyncClient, journal: Journal, server: UnixServer) -> None:
        def refuse(*args: object, **kw: object) -> None:
            raise Transient("The journal could not be written (locked). Try again.")

        journal.open = refuse  # type: ignore[method-assign, assignment]
        answer = await inside.post("/v1/messages", json=ASK)
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "api_error")

    with Upstream() as upstream:
        run(tmp_path, upstream, act)
        assert upstream.requests == [], "what cannot be metered is not sent"


def test_each_refusal_is_kept_with_its_cause_until_a_call_goes_well(tmp_path: Path) -> None:
    """A refused key, a field of a newer client, a conversation, an unknown model and path."""

    async def act(inside: httpx.AsyncClient, journal: Journal, server: UnixServer) -> None:
        async def refused(status: int, path: str = "/v1/messages", **fields: object) -> str:
            answer = await inside.post(path, json=ASK | fields)
            assert answer.status_code == status
            return journal.troubles()[-1].words

        said = {"type": "error", "error": {"type": "x", "message": f"invalid {KEY}\nnumber 7"}}
        upstream.play = lambda request: Reply([json.dumps(said).encode()], 401)
        assert await refused(503) == (
            "anthropic refuses the lab's key or account (401): invalid *** number 7"
        )
        upstream.play = lambda request: Reply([b'{"error": {"message": "messages.3: no"}}'], 400)
        assert await refused(400) == "anthropic refuses what was asked (400): messages.3: no"
        assert "The field 'of_tomorrow' is not allowed here" in await refused(400, of_tomorrow=True)
        assert "The model 'other' is not listed here" in await refused(403, model="other")
        assert "the gateway serves no '/v1/other'" in await refused(404, "/v1/other")
        upstream.play = lambda request: Reply([b"<html>busy</html>"], 529)
        assert await refused(529) == "anthropic cannot answer (529): <html>busy</html>"
        assert {t.kind: t.calls for t in journal.troubles()} == {"refused": 1, "failed": 1}
        upstream.play = lambda request: message(plain=1, output=1)
        assert (await inside.post("/v1/messages", json=ASK)).status_code == 200
        assert journal.troubles() == []

    with Upstream(lambda request: message(plain=1, output=1)) as upstream:
        run(tmp_path, upstream, act)


def test_a_client_that_does_not_read_makes_no_model_api_seem_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time would be charged to nobody."""
    heard: list[Silence] = []

    class Noted(Silence):
        def __init__(self) -> None:
            super().__init__()
            heard.append(self)

    monkeypatch.setattr(model_api, "Silence", Noted)
    much = text("x" * 8_000_000)

    async def act(inside: httpx.AsyncClient, journal: Journal, server: UnixServer) -> None:
        async with inside.stream("POST", "/v1/messages", json=STREAM) as answer:
            async with asyncio.timeout(20):
                nobody_waits = 0  # looks in a row: all buffers are full
                while nobody_waits < 20:
                    await asyncio.sleep(0.01)
                    nobody_waits = nobody_waits + 1 if heard[0].seconds == 0.0 else 0
            assert len(await answer.aread()) > 8_000_000
        assert journal.troubles() == []

    with Upstream(lambda request: events(start(plain=1), much, *finish(1))) as upstream:
        run(tmp_path, upstream, act)


@pytest.mark.parametrize("asked", [ASK, STREAM])
def test_a_model_api_that_hangs_is_seen_as_failing_until_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict
) -> None:
    monkeypatch.setattr(model_api, "SILENT_S", 0.1)
    monkeypatch.setattr(model_api, "WHOLE_S", 0.1)
    more = threading.Event()

    async def act(inside: httpx.AsyncClient, journal: Journal, server: UnixServer) -> None:
        call = asyncio.create_task(inside.post("/v1/messages", json=asked))
        await until(lambda: journal.failing_since("ann") is not None)
        assert "has sent nothing for" in journal.troubles()[0].words
        more.set()
        assert (await call).status_code == 200
        await until(lambda: journal.failing_since("ann") is None)
        assert journal.troubles() == []

    def play(request: object) -> Reply:
        if asked is ASK:
            return Reply([more, *message(plain=1, output=1).steps])
        return events(start(plain=1), more, *finish(1))

    with Upstream(play) as upstream:
        run(tmp_path, upstream, act)
