"""The real server process, over TCP and a unix socket, with the real MCP client."""

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aarlab.core.errors import InvalidSubmission, Misconfigured, Unauthorised
from aarlab.fleet.evaluator_process import EvaluatorProcess
from tests.lab.over_mcp import Lab

pytestmark = pytest.mark.process

NAMES = ("ann", "bob", "eve")


@contextlib.contextmanager
def served(bed, place):
    sockets = [place / f"{n}.sock" for n in NAMES]
    with EvaluatorProcess(
        bed.folder, place / "campaign", policy="ladder", sockets=sockets
    ) as process:
        enrol(process, place, *NAMES)
        yield process


@pytest.fixture
def server(bed, tmp_path):
    with served(bed, tmp_path) as process:
        yield process


@pytest.fixture(scope="module")
def refusing(module_bed, tmp_path_factory):
    """(server, folder of its sockets) for tests of what it refuses."""
    place = tmp_path_factory.mktemp("refusing")
    with served(module_bed, place) as process:
        yield process, place


def enrol(process: EvaluatorProcess, tmp_path: Path, *names: str) -> None:
    """A token for each name, in a file beside its socket."""
    for name in names:
        (tmp_path / f"{name}.token").write_text(
            process.call("issue_token", {"name": name})["token"]
        )


def lab(tmp_path: Path, name: str) -> Lab:
    return Lab(tmp_path / f"{name}.sock", (tmp_path / f"{name}.token").read_text())


def bundle(seeds, answers, right):
    rng = np.random.default_rng(seeds[0])
    return {
        str(s): {i: int(y if rng.random() < right else 1 - y) for i, y in answers.items()}
        for s in seeds
    }


async def one_experiment(tmp_path, name, answers, right):
    async with lab(tmp_path, name) as mine:
        code = await mine.call("commit_code", files={"method.py": f"# {name}"}, family="ensemble")
        sent = bundle(code["seeds"], answers["feedback"], right)
        receipt = await mine.call(
            "submit_predictions", snapshot=code["snapshot"], family="ensemble", predictions=sent
        )
        finding = {
            "kind": "result",
            "title": "t",
            "text": "x",
            "family": "ensemble",
            "receipts": [receipt["id"]],
        }
        shared = await mine.call("share_finding", **finding, snapshot=code["snapshot"])
        return receipt, shared, await mine.call("download_code", snapshot=code["snapshot"])


def test_three_researchers_at_once_walk_the_whole_path(server, tmp_path, answers):
    async def together():
        return await asyncio.gather(
            *(
                one_experiment(tmp_path, n, answers, r)
                for n, r in zip(NAMES, (0.9, 0.8, 0.7), strict=True)
            )
        )

    outcomes = asyncio.run(together())
    assert [o[1]["author"] for o in outcomes] == list(NAMES)  # the token is the identity
    assert len({o[0]["id"] for o in outcomes}) == 3
    assert outcomes[0][2] == {"method.py": "# ann"}
    board = server.call("operator_board")
    assert board["submissions"] == 3

    async def read():
        async with lab(tmp_path, "bob") as mine:
            found = await mine.call("list_findings", after=0, limit=10)
            first = found.partition(" ")[0]
            assert await mine.call("read_finding", finding=first)
            assert len((await mine.call("search_findings", query="ensemble t")).splitlines()) == 3
            assert (await mine.call("my_budget"))["submissions"] == 1
            assert (await mine.call("get_problem"))["name"] == "generated-chat"
            return found.splitlines(), (await mine.call("leaderboard"))["rows"]

    findings, rows = asyncio.run(read())
    assert len(findings) == 3
    assert rows
    assert all(r["provisional"] for r in rows)
    assert "exact" not in str(rows) + str(findings) + str(outcomes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: {k: dict(list(v.items())[1:]) for k, v in b.items()}, "have no answer"),
        (lambda b: {k: v | {"chat-nobody": 1} for k, v in b.items()}, "not in this split"),
        (lambda b: {k: v | {next(iter(v)): None} for k, v in b.items()}, "valid integer"),
        (lambda b: dict(list(b.items())[1:]), "issued seeds"),
    ],
)
def test_bad_submissions_get_words_and_the_server_goes_on(refusing, module_bed, change, words):
    server, place = refusing
    answers = json.loads((module_bed.private / "answers.json").read_text())

    async def attempt():
        async with lab(place, "ann") as mine:
            code = await mine.call("commit_code", files={"method.py": "#"}, family="other")
            sent = change(bundle(code["seeds"], answers["feedback"], 0.9))
            with pytest.raises(InvalidSubmission, match=words):
                await mine.call(
                    "submit_predictions",
                    snapshot=code["snapshot"],
                    family="other",
                    predictions=sent,
                )

    asyncio.run(attempt())
    assert server.call("operator_campaign")["submissions"] == 0


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"receipts": ["r-000009"]}, "no receipt"),
        ({"receipts": ["9"]}, "receipts"),
        ({"snapshot": "f" * 64}, "no snapshot"),
        ({"parent": "f-000009"}, "no finding"),
        ({"title": ""}, "title"),
        ({"kind": "boast"}, "kind"),
    ],
)
def test_findings_cannot_cite_what_does_not_exist(refusing, changed, words):
    async def attempt():
        given = {"kind": "insight", "title": "t", "text": "x", "family": "other", "receipts": []}
        async with lab(refusing[1], "ann") as mine:
            with pytest.raises(InvalidSubmission, match=words):
                await mine.call("share_finding", **(given | changed))

    asyncio.run(attempt())


def test_the_operators_client_raises_our_errors(server):
    with pytest.raises(InvalidSubmission, match="reserved"):
        server.call("issue_token", {"name": "evaluator"})
    with pytest.raises(InvalidSubmission, match="Extra inputs"):
        server.call("issue_token", {"name": "joe", "token": "my-own"})
    server._http.headers["Authorization"] = "Bearer wrong"
    with pytest.raises(Unauthorised, match="missing, unknown"):
        server.call("operator_board")


def test_a_restart_keeps_level_and_ledger(bed, tmp_path, answers):
    level = None
    for expected in (1, 2):
        with EvaluatorProcess(
            bed.folder, tmp_path / "c", policy="ladder", sockets=[tmp_path / "ann.sock"]
        ) as process:
            assert level in (None, process.call("operator_board")["level_pgr"])
            enrol(process, tmp_path, "ann")
            asyncio.run(one_experiment(tmp_path, "ann", answers, 0.7 + expected / 10))
            board = process.call("operator_board")
            assert board["level_pgr"] > (level or 0)
            level = board["level_pgr"]
            assert board["by_submitter"]["ann"]["submissions"] == expected


def test_a_server_that_cannot_start_says_why(tmp_path):
    with (
        pytest.raises(Misconfigured, match="Set the testbed up again"),
        EvaluatorProcess(tmp_path, tmp_path / "c", policy="ladder", sockets=[]),
    ):
        pass


def test_the_server_starts_without_torch_or_any_method():
    heavy = "('torch', 'transformers', 'aarlab.models', 'aarlab.methods', 'aarlab.problems')"
    code = f"import sys, aarlab.lab.serve; print([m for m in sys.modules if m.startswith({heavy})])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
