"""Near-duplicates with a real server process: who is shown what at a commit, and before there is
code."""

import asyncio
import threading

import pytest

from aarlab.core.evaluator_socket import ReleasedEntries
from aarlab.core.records import Entry
from aarlab.lab.similar_ideas import PROGRAMS, Similars
from tests.lab.alone import Alone, random_rows, submit
from tests.lab.over_mcp import Lab

pytestmark = pytest.mark.process

BAGGING = (
    "from aarlab.methods import parts\n\n\ndef run(task, seed):\n    student, test = "
    "parts.represent(task)\n"
)
BAGGING += (
    "    return parts.bagged(student, parts.harden(task.weak_probs_N), test, seed, heads={n})\n"
)
SOLO = (
    "import numpy as np\n\n\ndef run(task, seed):\n    return np.full(len(task.test), "
    "np.random.default_rng(seed).random())\n"
)


@pytest.fixture
def server(tmp_path):
    with Alone(tmp_path) as process:
        yield process


def commit(client, source, family="ensemble"):
    return (
        client.post("/code", json={"files": {"method.py": source}, "family": family})
        .raise_for_status()
        .json()
    )


def share(client, code, title, receipts=()):
    body = {
        "kind": "result",
        "title": title,
        "text": "Twelve bagged heads, mean probability.",
        "family": "ensemble",
    }
    return (
        client.post(
            "/findings", json=body | {"snapshot": code["snapshot"], "receipts": list(receipts)}
        )
        .raise_for_status()
        .json()
    )


def test_what_nobody_published_is_shown_to_its_author_alone(server):
    ann, bob = server.client("ann"), server.client("bob")
    first = commit(ann, BAGGING.format(n=8))
    assert first["similar"] == []
    receipt = submit(ann, first, random_rows(first["seeds"], 1)).json()
    assert not receipt["improved"]
    assert commit(bob, BAGGING.format(n=9))["similar"] == []
    (mine,) = commit(ann, BAGGING.format(n=10))["similar"]
    assert (mine["snapshot"], mine["author"], mine["similarity"]) == (first["snapshot"], "ann", 1.0)
    assert (mine["receipt"], mine["improved"], mine["title"]) == (receipt["id"], False, None)


def test_what_is_on_the_forum_is_shown_to_all_with_its_verdict(server):
    ann, bob = server.client("ann"), server.client("bob")
    code = commit(ann, BAGGING.format(n=8))
    receipt = submit(ann, code, random_rows(code["seeds"], 1)).json()
    finding = share(ann, code, "Bagging, no gain", [receipt["id"]])
    (seen,) = commit(bob, BAGGING.format(n=9))["similar"]
    assert seen == {
        "similarity": 1.0,
        "author": "ann",
        "family": "ensemble",
        "snapshot": code["snapshot"],
        "finding": finding["id"],
        "title": "Bagging, no gain",
        "receipt": receipt["id"],
        "improved": False,
    }
    assert commit(bob, SOLO)["similar"] == [], "other code is not like it"


@pytest.mark.long
def test_what_is_on_the_board_is_shown_to_all(tmp_path):
    with Alone(tmp_path, items=600) as server:
        ann, bob = server.client("ann"), server.client("bob")
        code = commit(ann, BAGGING.format(n=8))
        truth = "".join(str(server.labels[i]) for i in sorted(server.labels))
        receipt = submit(ann, code, {str(s): truth for s in code["seeds"]}).json()
        assert receipt["improved"]
        (seen,) = commit(bob, BAGGING.format(n=9))["similar"]
        assert (seen["receipt"], seen["improved"], seen["finding"]) == (receipt["id"], True, None)


def test_uncited_receipt_stays_private(server):
    ann, bob = server.client("ann"), server.client("bob")
    code = commit(ann, BAGGING.format(n=8))
    submit(ann, code, random_rows(code["seeds"], 1))
    share(ann, code, "Only code")
    (seen,) = commit(bob, BAGGING.format(n=9))["similar"]
    assert (seen["receipt"], seen["improved"]) == (None, None)


def test_an_idea_is_compared_before_there_is_code_over_both_doors(server):
    ann = server.client("ann")
    code = commit(ann, BAGGING.format(n=8))
    finding = share(ann, code, "Twelve heads")
    body = {"text": "the mean of twelve bagged heads"}
    (found,) = ann.post("/similar", json=body).raise_for_status().json()["similar"]
    assert (found["finding"], found["snapshot"], found["improved"]) == (
        finding["id"],
        code["snapshot"],
        None,
    )
    assert ann.post("/similar", json={"text": "evolution strategies"}).json() == {"similar": []}
    assert ann.post("/similar", json={"text": ""}).status_code == 422
    token = ann.headers["Authorization"].removeprefix("Bearer ")

    async def over_mcp():
        async with Lab(server.socket, token) as lab:
            return await lab.call("similar_ideas", **body), await lab.call(
                "commit_code", files={"method.py": SOLO}, family="other"
            )

    reported, committed = asyncio.run(over_mcp())
    assert "Similar work exists" in reported
    assert f"finding {finding['id']}" in reported
    assert "similar" not in committed


@pytest.mark.long
def test_three_are_shown_at_most_and_a_restart_forgets_nothing(tmp_path):
    with Alone(tmp_path) as process:
        ann = process.client("ann")
        for n in range(5):
            share(ann, commit(ann, BAGGING.format(n=8) + f"# {n}\n"), f"take {n}")
    process = Alone.__new__(Alone)
    process.labels, process.socket, process._clients = {}, tmp_path / "lab.sock", []
    super(Alone, process).__init__(
        tmp_path / "problem", tmp_path / "campaign", policy="default", sockets=[process.socket]
    )
    with process:
        bob = process.client("bob")
        seen = commit(bob, BAGGING.format(n=9))["similar"]
    assert [s["title"] for s in seen] == ["take 4", "take 3", "take 2"]


def test_code_that_is_hard_to_read_is_committed_all_the_same(server):
    ann = server.client("ann")
    for source in ("(" * 20_000, '"""' + '\\"""' * 5_000, "\x0c" * 100, "def run(task, seed): ..."):
        assert commit(ann, source)["seeds"] == commit(ann, source)["seeds"]


def test_a_commit_reads_few_programs_and_a_thread_the_rest(monkeypatch):
    """Of ten programs a commit reads four; nobody need commit again for the others."""
    codes = {f"{n:064x}": {"method.py": BAGGING.format(n=n)} for n in range(1, 11)}

    class Pages:
        def after(self, seq, limit):
            rows = list(enumerate(codes, start=1))[seq : seq + limit]
            body = '{{"snapshot": "{}", "family": "other"}}'
            entries = [Entry(n, "", "ann", "code", body.format(s), "", "") for n, s in rows]
            return ReleasedEntries(entries=entries, upto=entries[-1].seq if entries else seq)

        def code(self, snapshot):
            return codes[snapshot]

    similars, begun = Similars(Pages()), threading.Event()
    read_on = similars.warm

    def warm():
        begun.wait()
        read_on()

    monkeypatch.setattr(similars, "warm", warm)
    similars.like_code({"method.py": SOLO}, "ann")
    assert len(similars._by_code) == PROGRAMS
    similars.like_code({"method.py": SOLO}, "ann")
    assert len(similars._by_code) == 2 * PROGRAMS
    (reader,) = [t for t in threading.enumerate() if t.name == "similar ideas"]
    begun.set()
    reader.join()
    assert len(similars._by_code) == 10
