"""The socket between lab and evaluator: what is answered, to whom, what stays behind, and what a
lost connection does."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest

from aarlab.core.callers import token_hash
from aarlab.core.errors import InvalidSubmission, Transient, Unauthorised
from aarlab.core.evaluator_socket import (
    CALLS,
    LOCAL,
    Address,
    After,
    Asked,
    Outbox,
    Outcome,
    ReleasedEntries,
    Snapshot,
)
from aarlab.core.operation_records import Committed
from aarlab.core.operations import OPERATIONS
from aarlab.core.operator_records import OperatorBoard
from aarlab.core.records import Receipt
from aarlab.evaluation.evaluator_service import EvaluatorService, released_entries, serve
from aarlab.evaluation.identity import TokenStore
from aarlab.lab.evaluator_client import EvaluatorClient, ReleasedRecord
from tests.lab.alone import FILES, random_rows, write_problem

BODY = json.dumps({"files": FILES, "family": "other"}).encode()


@asynccontextmanager
async def both(place):
    """(service, client) on one socket in this process."""
    service, path = (
        EvaluatorService(place / "problem", place / "campaign"),
        place / "evaluator.sock",
    )
    served, client = asyncio.create_task(serve(service, path)), EvaluatorClient(path)
    try:
        await client.first("limits")
        yield service, client
    finally:
        await client.close()
        served.cancel()
        await asyncio.gather(served, return_exceptions=True)
        service.close()


@pytest.fixture
def place(tmp_path):
    write_problem(tmp_path / "problem")
    return tmp_path


def token(place, name="ann", role="researcher"):
    return token_hash(TokenStore(place / "campaign" / "server").issue(name, role))


async def submitted(client, mine, number):
    """The receipt of a submission."""
    code = await client.operation("commit_code", mine, {}, BODY, Committed)
    sent = {
        "snapshot": code.snapshot,
        "family": "other",
        "predictions": random_rows(code.seeds, number),
    }
    return await client.operation(
        "submit_predictions", mine, {}, json.dumps(sent).encode(), Receipt
    )


def test_the_evaluator_itself_finds_out_who_calls_and_refuses_other_roles(place):
    async def attempt():
        async with both(place) as (_, client):
            ann = token(place)
            now = await client.ask("now", Asked(tokens=[ann, "0" * 64], after=0))
            assert {token: me.name for token, me in now.callers.items()} == {ann: "ann"}
            assert (await submitted(client, ann, 1)).id == "r-000001"
            with pytest.raises(Unauthorised, match="role operator") as refused:
                await client.operation("operator_board", ann, {}, b"", OperatorBoard)
            assert refused.value.facts == {"forbidden": True}
            with pytest.raises(Unauthorised, match="unknown"):
                await client.operation("operator_board", "0" * 64, {}, b"", OperatorBoard)
            TokenStore(place / "campaign" / "server").revoke("ann")
            with pytest.raises(Unauthorised, match="no longer valid"):
                await submitted(client, ann, 2)

    asyncio.run(attempt())


def test_there_are_the_operations_and_six_calls_and_nothing_else(place, monkeypatch):
    assert CALLS.keys() == {"limits", "now", "released", "code", "reading", "serving"}

    async def attempt():
        async with both(place) as (_, client):
            ann = token(place)
            for name in sorted(LOCAL | {"labels", "do", "evaluator"}):
                with pytest.raises(InvalidSubmission, match="knows no operation"):
                    await client.operation(name, ann, {}, b"{}", Receipt)
            for name in sorted(OPERATIONS):
                monkeypatch.setitem(CALLS, name, CALLS["limits"])
                with pytest.raises((Unauthorised, InvalidSubmission)):
                    await client.operation(name, "0" * 64, {}, b"{}", Receipt)
            with pytest.raises(InvalidSubmission, match="takes the ids"):
                await client.operation("read_receipt", ann, {"finding": "f-000001"}, b"", Receipt)
            with pytest.raises(InvalidSubmission, match="no snapshot"):
                await client.ask("code", Snapshot(snapshot="0" * 64))

    asyncio.run(attempt())


def test_no_score_no_hash_and_no_other_kind_of_entry_is_reported(place):
    async def attempt():
        async with both(place) as (service, client):
            ann = token(place)
            for number in range(3):
                await submitted(client, ann, number)
            page = await client.ask("released", After(after=0))
            entries = service._evaluator.ledger.entries()
        assert {e.kind for e in page.entries} == {"code", "submission"} < {e.kind for e in entries}
        # detectors look after the reply, and may flag after the page
        assert {e.kind for e in entries if e.seq > page.upto} <= {"flag"}
        assert {(e.kind, *sorted(e.body)) for e in page.entries} == {
            ("code", "family", "snapshot"),
            ("submission", "receipt", "snapshot"),
        }
        assert {(e.prev, e.hash) for e in page.entries} == {("", "")}
        receipts = [
            [e.body["receipt"] for e in some if e.kind == "submission"]
            for some in (page.entries, entries)
        ]
        assert receipts[0] == receipts[1]

    asyncio.run(attempt())


def test_a_page_of_entries_that_are_not_told_moves_on(place):
    assert released_entries([], 7) == ReleasedEntries(entries=[], upto=7)


def test_what_was_reported_is_kept_and_asked_for_once(place, monkeypatch):
    monkeypatch.setattr("aarlab.lab.evaluator_client.PAGE", 2)

    async def attempt():
        async with both(place) as (_, client):
            record, asked, ann = ReleasedRecord(client, "submission"), [], token(place)
            ask = client.ask

            async def counted(call, given):
                asked.append(given.after)
                return await ask(call, given)

            for number in range(3):
                await submitted(client, ann, number)
            monkeypatch.setattr(client, "ask", counted)
            await asyncio.gather(record.refresh(), record.refresh())
            first = record.entries()
            assert [e.seq for e in first] == sorted({e.seq for e in first})
            assert len(first) == 3
            assert record.entries(after=first[0].seq) == first[1:]
            assert len(asked) >= 2
            asked.clear()
            await record.refresh()
            assert len(asked) == 1
            assert asked[0] >= first[-1].seq
            assert record.entries() == first

    asyncio.run(attempt())


def test_an_address_beyond_this_machine_is_refused(place):
    with pytest.raises(ValueError, match="pattern"):
        Address(url="http://10.0.0.1:80")


NO_CALLS = [
    b"no json\n",
    b'{"number": 1}\n',
    b'{"number": 1, "size": 1e12, "call": "x"}\n',
    b"x" * 99_999,
]


@pytest.mark.parametrize("line", NO_CALLS)
def test_a_line_that_is_no_call_ends_its_connection_and_no_other(place, line):
    async def attempt():
        async with both(place) as (_, client):
            reader, writer = await asyncio.open_unix_connection(place / "evaluator.sock")
            writer.write(line)
            assert await asyncio.wait_for(reader.read(), 20) == b""
            writer.close()
            await client.ask("limits")

    asyncio.run(attempt())


def test_the_end_of_the_process_is_no_error_of_a_connection_that_is_open(place):
    errors = []

    async def ends(sock):
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with both(place):
            sock.connect(str(place / "evaluator.sock"))
            later = EvaluatorClient(place / "evaluator.sock")
            await later.first("limits")  # so the one before was taken
            await later.close()

    with socket.socket(socket.AF_UNIX) as sock:
        asyncio.run(ends(sock))  # which cancels what is left
    assert errors == []


def test_a_call_that_waits_when_the_evaluator_ends_is_to_be_tried_again(place):
    async def silent(reader, writer):
        await reader.readline()
        writer.close()

    async def attempt():
        path = place / "silent.sock"
        client = EvaluatorClient(path)
        with pytest.raises(Transient, match="being started"):
            await client.ask("limits")
        server = await asyncio.start_unix_server(silent, path)
        for _ in range(2):  # it connects anew
            with pytest.raises(Transient, match="ended before it answered"):
                await asyncio.wait_for(client.ask("limits"), 20)
        server.close()
        await client.close()

    asyncio.run(attempt())


def test_messages_that_are_ready_at_one_moment_leave_in_one_write_and_in_order():
    written = []

    class Writer:
        def is_closing(self):
            return len(written) == 2

        def write(self, data):
            written.append(data)

    async def send(*numbers):
        for number in numbers:
            outbox.send(Outcome(number=number, size=1), b"%d" % number)
        await asyncio.sleep(0)

    async def all_sent():
        await send(1, 2)
        await send(3)
        await send(4)  # the other side has ended

    outbox = Outbox(Writer())
    asyncio.run(all_sent())
    assert written == [
        b'{"number":1,"size":1}\n1{"number":2,"size":1}\n2',
        b'{"number":3,"size":1}\n3',
    ]
