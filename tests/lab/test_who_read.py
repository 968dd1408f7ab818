"""Who was sent what others wrote is in the ledger: once, before it is sent, and under the reader's
own name."""

import asyncio
from contextlib import asynccontextmanager, closing

import pytest

from aarlab.core.entries import ReadBody
from aarlab.core.layout import CampaignFolder
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.sqlite_storage import SqliteStorage
from aarlab.evaluation.ledger.storage import StorageFailed
from tests.lab.alone import FILES, app_of, write_problem

FINDING = {"kind": "insight", "title": "t", "text": "all of it", "family": "other", "receipts": []}


@pytest.fixture
def lab(tmp_path):
    """Starts a lab of one campaign, again and again: gives `ask(who, method, path, body)`."""
    write_problem(tmp_path / "problem")

    @asynccontextmanager
    async def started():
        async with app_of(tmp_path) as http:
            operator, tokens = http.headers["Authorization"], {}

            async def ask(who, method, path, body=None, role="researcher"):
                if who not in tokens:
                    http.headers["Authorization"] = operator
                    made = await http.post("/tokens", json={"name": who, "role": role})
                    tokens[who] = f"Bearer {made.json()['token']}"
                http.headers["Authorization"] = tokens[who]
                return await http.request(method, path, json=body)

            yield ask

    return started


def reads(tmp_path):
    """(who, how, what) of all that the ledger has."""
    with closing(
        Ledger(CampaignFolder(tmp_path / "campaign").server.ledger, read_only=True)
    ) as ledger:
        bodies = [(e.who, e.read(ReadBody)) for e in ledger.entries("read")]
    return [(who, body.how, *body.what) for who, body in bodies]


async def posted(ask, who, title):
    answer = await ask(who, "POST", "/findings", FINDING | {"title": title})
    return answer.json()["id"]


async def read_all(ask, findings, snapshot):
    for finding in findings:
        for who in ("ann", "bob"):
            assert (await ask(who, "GET", f"/findings/{finding}")).status_code == 200
    for who in ("ann", "bob"):
        assert (await ask(who, "GET", "/findings?after=0&limit=100")).status_code == 200
        assert (await ask(who, "GET", f"/code/{snapshot}")).status_code == 200


def test_the_first_reading_of_what_another_wrote_is_recorded_once(lab, tmp_path):
    async def first():
        async with lab() as ask:
            code = await ask("ann", "POST", "/code", {"files": FILES, "family": "other"})
            snapshot = code.json()["snapshot"]
            mine = await posted(ask, "ann", "of ann"), await posted(ask, "bob", "of bob")
            await asyncio.gather(*(ask("cid", "GET", "/findings/search?query=all") for _ in "123"))
            await asyncio.gather(*(ask("bob", "GET", f"/findings/{mine[0]}") for _ in "123"))
            await read_all(ask, mine, snapshot)
            await ask("cid", "GET", f"/findings/{mine[1]}")  # more than a line of a list
            for who, role in (("eve", "reader"), ("dan", "researcher")):
                await ask(who, "POST", "/similar", {"text": "all of it"}, role=role)
                await ask(who, "GET", "/findings/f-999999")
            await ask("eve", "GET", "/findings/search?query=all", role="reader")
            return snapshot, mine

    async def again(snapshot, mine):
        async with lab() as ask:
            await read_all(ask, mine, snapshot)

    snapshot, (of_ann, of_bob) = asyncio.run(first())
    recorded = reads(tmp_path)
    assert set(recorded) == {
        ("cid", "listed", of_bob, of_ann),
        ("cid", "opened", of_bob),
        ("bob", "opened", of_ann),
        ("bob", "downloaded", snapshot),
        ("ann", "opened", of_bob),
    }
    assert len(recorded) == 5
    asyncio.run(again(snapshot, (of_ann, of_bob)))
    CampaignFolder(tmp_path / "campaign").server.derived.unlink()  # as after kill -9
    asyncio.run(again(snapshot, (of_ann, of_bob)))
    assert reads(tmp_path) == recorded


def test_nothing_is_sent_that_cannot_be_recorded(lab, tmp_path, monkeypatch):
    def failing(_):
        raise StorageFailed("disk full")

    async def attempt():
        async with lab() as ask:
            known, new = [await posted(ask, "ann", title) for title in ("one", "two")]
            first = await ask("bob", "GET", f"/findings/{known}")
            assert first.status_code == 200
            with monkeypatch.context() as full:
                full.setattr(SqliteStorage, "appending", failing)
                refused = await ask("bob", "GET", f"/findings/{new}")
                assert (refused.status_code, "all of it" in refused.text) == (503, False)
                listed = await ask("bob", "GET", "/findings?after=0&limit=10")
                assert (listed.status_code, "all of it" in listed.text) == (503, False)
                assert (await ask("bob", "GET", f"/findings/{known}")).json() == first.json()
            assert (await ask("bob", "GET", f"/findings/{new}")).status_code == 200
            return known, new

    known, new = asyncio.run(attempt())
    assert reads(tmp_path) == [("bob", "opened", known), ("bob", "opened", new)]
