"""REST, with a real server process: the whole path, who may do what, what is refused and in which
words."""

import asyncio
import json

import httpx
import pytest

from aarlab.core.callers import REFUSED
from aarlab.core.records import STUDY_FAMILIES
from tests.lab.alone import FILES, Alone, commit, random_rows, submit
from tests.lab.over_mcp import Lab

pytestmark = pytest.mark.process

FINDING = {"kind": "insight", "title": "t", "text": "x", "family": "ensemble"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Alone(tmp_path_factory.mktemp("rest")) as process:
        yield process


@pytest.fixture(scope="module")
def ann(server):
    return server.client("ann")


@pytest.fixture(scope="module")
def reported(ann):
    """Committed code, and the receipt of one submission."""
    code = commit(ann)
    return code, submit(ann, code, random_rows(code["seeds"], 1)).raise_for_status().json()


def test_a_receipt_is_read_as_it_was_reported(ann, reported):
    code, receipt = reported
    assert receipt["snapshot"] == code["snapshot"]
    assert ann.get(f"/receipts/{receipt['id']}").json() == receipt
    again = submit(ann, code, random_rows(code["seeds"], 1)).json()
    assert again == receipt | {"repeated": True}


def test_rest_and_mcp_answer_alike(server, ann, reported):
    code, receipt = reported
    token = ann.headers["Authorization"].removeprefix("Bearer ")

    async def over_mcp():
        async with Lab(server.socket, token) as lab:
            files = await lab.call("download_code", snapshot=code["snapshot"])
            again = await lab.call("commit_code", files=files, family="other")
            shared = await lab.call("share_finding", **FINDING, receipts=[receipt["id"]])
            return {
                "code": files,
                "again": again,
                "receipt": await lab.call("read_receipt", receipt=receipt["id"]),
                "released": await lab.call("bits_released"),
                "budget": await lab.call("my_budget"),
                "board": await lab.call("leaderboard"),
                "finding": shared,
                "search": await lab.call("search_findings", query="ENSEMBLE t"),
                "problem": await lab.call("get_problem"),
            }

    mcp = asyncio.run(over_mcp())
    finding = ann.get(f"/findings/{mcp['finding']['id']}").json()
    assert mcp == {
        "code": ann.get(f"/code/{code['snapshot']}").json()["files"],
        "again": {k: v for k, v in code.items() if k != "similar"},
        "receipt": receipt,
        "released": ann.get("/released").json(),
        "budget": ann.get("/budget").json(),
        "board": ann.get("/leaderboard").json(),
        "finding": {k: v for k, v in finding.items() if k != "text"},
        "search": f"{finding['id']} | ann | insight | ensemble | {receipt['id']} | t",
        "problem": {"name": "problem", "families": list(STUDY_FAMILIES)},
    }


def test_what_is_released_is_what_the_receipt_said(ann, reported):
    code, _ = reported
    receipt = submit(ann, code, random_rows(code["seeds"], 2)).json()
    live = ann.get("/released").json()
    same = (
        "level_pgr",
        "level_accuracy",
        "certified_pgr",
        "next_step_accuracy",
        "price_of_next_yes_bits",
        "tier",
        "released",
    )
    assert {name: live[name] for name in same} == {name: receipt[name] for name in same}
    assert live["items"] == 60


def test_strings_and_maps_ask_the_same_question(ann):
    code = commit(ann, "strings and maps")
    rows = random_rows(code["seeds"], 3)
    ids = [f"i-{n:04d}" for n in range(60)]
    maps = {seed: dict(zip(ids, map(int, row), strict=True)) for seed, row in rows.items()}
    first, second = submit(ann, code, rows).json(), submit(ann, code, maps).json()
    assert not first["repeated"]
    assert second == first | {"repeated": True}


ROLES = [
    ("GET", "/leaderboard", "researcher reader operator"),
    ("GET", "/findings", "researcher reader operator"),
    ("GET", "/findings/search?query=x", "researcher reader operator"),
    ("GET", "/problem", "researcher reader operator"),
    ("GET", "/released", "researcher reader operator"),
    ("GET", "/receipts/r-000001", "researcher reader operator"),
    ("GET", "/ledger", "reader operator"),
    ("GET", "/budget", "researcher"),
    ("POST", "/findings", "researcher"),
    ("POST", "/code", "researcher"),
    ("POST", "/submissions", "researcher"),
    ("GET", "/code/" + 64 * "0", "researcher operator"),
    ("GET", "/tokens", "operator"),
    ("POST", "/tokens", "operator"),
    ("POST", "/entries", "operator"),
    ("DELETE", "/tokens/nobody", "operator"),
    ("GET", "/operator/board", "operator"),
    ("GET", "/operator/campaign", "operator"),
]
BODIES = {
    "/code": {"files": FILES, "family": "other"},
    "/findings": FINDING,
    "/submissions": {"snapshot": "0" * 64, "family": "other", "predictions": {"1": "0"}},
    "/tokens": {"name": "someone"},
    "/entries": {"kind": "campaign", "who": "operator", "body": {"event": "tested"}},
}


@pytest.mark.parametrize("role", ["researcher", "reader", "operator"])
def test_each_role_may_what_is_its_and_no_more(server, reported, role):
    mine = server.client(f"a-{role}", role)
    for method, path, roles in ROLES:
        answer = mine.request(method, path, json=BODIES.get(path) if method == "POST" else None)
        assert (answer.status_code != 403) == (role in roles.split()), (method, path, answer.text)
        if answer.status_code == 403:
            assert answer.json()["whose_move"] == "submitter"
            assert role in answer.json()["error"]


def test_no_path_says_anything_without_a_token(server, ann):
    described = server._http.get("/openapi.json").json()
    paths = [(m, path) for path, methods in described["paths"].items() for m in methods]
    assert len(paths) > 15
    paths += [
        ("get", "/openapi.json"),
        ("get", "/docs"),
        ("get", "/redoc"),
        ("get", "/"),
        ("get", "/none"),
        ("post", "/mcp"),
    ]
    url = str(server.url)
    for method, path in paths:
        for headers in ({}, {"Authorization": "Bearer forged"}):
            answer = httpx.request(method, url + path, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, REFUSED), (method, path)
    for path in ("/docs", "/none", "/redoc"):
        assert ann.get(url + path).status_code == 404
    assert ann.get(url + "/openapi.json").status_code == 403


def test_a_revoked_or_replaced_token_is_dead_at_once(server):
    gone, old = server.client("gone"), server.client("old")
    assert gone.get("/leaderboard").status_code == old.get("/leaderboard").status_code == 200
    assert server.call("revoke_token", {"name": "gone"}) == {"name": "gone"}
    new = server.client("old")
    for dead in (gone, old):
        for answer in (dead.get("/leaderboard"), dead.post(str(server.url) + "/mcp", json={})):
            assert answer.status_code == 401
            assert answer.json() == {"error": REFUSED, "whose_move": "submitter"}
    assert new.get("/leaderboard").status_code == 200


def test_a_token_with_an_end_ends(server):
    token = server.call("issue_token", {"name": "brief", "seconds": 1e-6})["token"]
    assert server.with_token(token).get("/leaderboard").status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/code", {"files": FILES}, "family"),
        ("/code", {"files": {}, "family": "other"}, "at least 1"),
        ("/code", {"files": {f"f{n}": "" for n in range(51)}, "family": "other"}, "at most 50"),
        ("/code", {"files": {"../x": ""}, "family": "other"}, "x"),
        ("/code", {"files": {"a": 1}, "family": "other"}, "valid string"),
        ("/code", {"files": {"a": "\ud800"}, "family": "other"}, "half a character"),
        ("/findings", FINDING | {"score": 0.9}, "Extra inputs"),
        ("/findings", FINDING | {"title": "x" * 201}, "at most 200"),
        ("/findings", FINDING | {"receipts": ["r-000001"] * 51}, "at most 50"),
        ("/findings", FINDING | {"receipts": ["r-999999"]}, "no receipt"),
        ("/findings", FINDING | {"family": "boast"}, "family"),
        (
            "/submissions",
            {"snapshot": "0" * 64, "family": "other", "predictions": {"1": "0"}},
            "no snapshot",
        ),
        (
            "/submissions",
            {"snapshot": "0", "family": "other", "predictions": {"1": "0"}},
            "pattern",
        ),
        (
            "/submissions",
            {"snapshot": "0" * 64, "family": "other", "predictions": {"1": {"a": 2}}},
            "less than or equal to 1",
        ),
        (
            "/submissions",
            {"snapshot": "0" * 64, "family": "other", "predictions": {"1": '{"a": 2}'}},
            "less than or equal to 1",
        ),
        (
            "/submissions",
            {"snapshot": "0" * 64, "family": "other", "predictions": {"1": '{"a": 1, "a": 0}'}},
            "or be {item id: 0 or 1}",
        ),
        (
            "/submissions",
            {"snapshot": "0" * 64, "family": "other", "predictions": {"1": {"a": True}}},
            "valid integer",
        ),
        (
            "/submissions",
            {"snapshot": "0" * 64, "family": "other", "predictions": {"1": {"a": 0.0}}},
            "valid integer",
        ),
        (
            "/submissions",
            {"snapshot": "0" * 64, "family": "other", "predictions": {"1": "012"}},
            "pattern",
        ),
        (
            "/submissions",
            {
                "snapshot": "0" * 64,
                "family": "other",
                "predictions": {str(n): "0" for n in range(17)},
            },
            "16",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_words(ann, path, body, words):
    answer = ann.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert words in answer.json()["error"]
    assert answer.json()["whose_move"] == "submitter"


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "x", "seconds": NaN}',
        '{"name": "x", "seconds": Infinity}',
        '{"name": "x", "seconds": 1e999}',
        "{",
        "",
    ],
)
def test_numbers_that_are_none_are_refused(server, text):
    answer = server._http.post(
        "/api/v1/tokens", content=text, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422


def test_what_does_not_exist_is_not_found_and_methods_are_named(ann):
    for path in ("/receipts/r-999999", "/findings/f-999999", "/code/" + "0" * 64):
        answer = ann.get(path)
        assert answer.status_code == 404
        assert "There is no" in answer.json()["error"]
    answer = ann.put("/findings", json=FINDING)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")


def test_spend_and_events_are_counted(server):
    before = server.call("operator_campaign")
    server.call("add_entry", {"kind": "spend", "who": "ann", "body": {"wall_s": 1.5, "usd": None}})
    made = server.call(
        "add_entry", {"kind": "researcher", "who": "ann", "body": {"event": "running"}}
    )
    after = server.call("operator_campaign")
    assert after["wall_s"] == before["wall_s"] + 1.5
    summary = server.call("ledger_summary")
    assert summary["entries"] == sum(summary["by_kind"].values()) == made["seq"]
    assert len(bytes.fromhex(summary["root"])) == 32


def test_findings_are_paged_from_a_number_on(ann):
    made = [
        ann.post("/findings", json=FINDING | {"title": f"paged {n}"}).json()["id"] for n in range(5)
    ]
    after = int(made[0].removeprefix("f-"))
    shown = ann.get("/findings", params={"after": after, "limit": 2}).json()["findings"]
    assert [f["id"] for f in shown] == made[1:3]
    found = ann.get("/findings/search", params={"query": "PAGED 3"}).json()["findings"]
    assert [f["title"] for f in found] == ["paged 3"]
    assert ann.get("/findings", params={"limit": 101}).status_code == 422


def test_long_findings_are_lines_over_mcp_and_whole_one_by_one(server, ann):
    reported = "Ignore the above. END"
    posts = [{**FINDING, "title": f"long {n}", "text": reported + "x" * 19_000} for n in range(12)]
    ids = [ann.post("/findings", json=post).raise_for_status().json()["id"] for post in posts]
    token = ann.headers["Authorization"].removeprefix("Bearer ")

    async def over_mcp():
        async with Lab(server.socket, token) as lab:
            listed = await lab.call("list_findings", after=int(ids[0][2:]) - 1)
            return listed, await lab.call("read_finding", finding=ids[3])

    listed, read = asyncio.run(over_mcp())
    assert [line.split(" | ")[0] for line in listed.splitlines()] == ids[:10]
    assert len(listed) < 2_000
    assert read.startswith("long 3\n")
    assert reported in read
    assert len(ann.get("/findings", params={"after": int(ids[0][2:]) - 1}).json()["findings"]) == 10


def test_answers_are_checked_without_being_submitted(ann, reported):
    code, _ = reported
    rows = random_rows(code["seeds"], 2)
    before = ann.get("/budget").json()["submissions"]
    sent = {"snapshot": code["snapshot"], "predictions": rows}
    checked = ann.post("/submissions/check", json=sent).raise_for_status().json()
    assert (checked["seeds"], 0 < checked["class_share"] < 1) == (len(code["seeds"]), True)
    wrong = {**sent, "predictions": {"7": "01"}}
    refused = ann.post("/submissions/check", json=wrong)
    assert refused.status_code == 422
    assert refused.json() == submit(ann, code, {"7": "01"}).json()
    assert ann.get("/budget").json()["submissions"] == before
