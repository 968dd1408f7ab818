"""Attackers on a real server process, as raw HTTP: identities, tokens, malformed bodies, names in
paths, races, replies."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from aarlab.core.layout import CampaignFolder, SignedFolder
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.redteam.on_evaluator import NAMES, THREADS, flipped, same_seeds
from aarlab.redteam.served import API, POLICY, Served, body, commit, served, tool
from aarlab.redteam.system import SYSTEM, AttackRow, AttackScale, random_labels, write_problem


def _paths(server: Served) -> list[tuple[str, str]]:
    """(method, path) of every operation that the server describes, and of the MCP endpoint."""
    described = server.http.get("/openapi.json").json()["paths"]
    found = [(method.upper(), path) for path, methods in described.items() for method in methods]
    return [*found, ("POST", "/mcp"), ("GET", "/openapi.json")]


@SYSTEM.add("requests without a token")
def unauthenticated(folder: Path, scale: AttackScale) -> AttackRow:
    """One unauthenticated POST of a result was once enough for rank 1."""
    with served(folder, random_labels(scale)) as server:
        token, before = server.token("ann"), server.entries()
        given: list[dict[str, str]] = [
            {},
            *({"Authorization": words} for words in _forgeries(token)),
        ]
        with server.client(None) as nobody:
            answers = {
                (method, path, str(headers)): nobody.request(
                    method, _filled(path), headers=headers, json={}
                ).status_code
                for method, path in _paths(server)
                for headers in given
            }
        after = server.entries()
    let_in = {key: status for key, status in answers.items() if status != 401}
    return AttackRow(
        attack="requests without a token",
        tried=(
            f"{len(answers) // len(given)} operations, that is all, and MCP, under {len(given)} "
            "forged or missing headers"
        ),
        came_back=f"401 to {len(answers) - len(let_in)} of {len(answers)}",
        held=not let_in and before == after,
        evidence=(
            f"other answers: {let_in or 'none'}; entries before and after: {sum(before.values())}, "
            f"{sum(after.values())}"
        ),
    )


def _forgeries(token: str) -> list[str]:
    return [
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {token}",
        token,
        f"Bearer {token}x",
        f"Bearer {token[:-1]}",
        f"Bearer  {token}",
    ]


def _filled(path: str) -> str:
    """The path with something plain in every place."""
    given = {
        "snapshot": "0" * 64,
        "receipt": "r-000001",
        "finding": "f-000001",
        "ticket": "q-000001",
        "name": "ann",
    }
    return path.format(**given)


@SYSTEM.add("replayed and revoked tokens")
def tokens(folder: Path, scale: AttackScale) -> AttackRow:
    """A token that was replaced, revoked or has expired, and the operator's of before a restart."""
    problem, campaign = write_problem(folder / "problem", random_labels(scale)), same_seeds(folder)
    dead: dict[str, str] = {}
    with (
        EvaluatorProcess(problem, campaign, policy=POLICY, sockets=[]) as process,
        Served(process) as server,
    ):
        dead["replaced"], living = server.token("ann"), server.token("ann")
        dead["revoked"], _ = server.token("bob"), process.call("revoke_token", {"name": "bob"})
        dead["expired"] = server.token("carl", seconds=0.05)
        dead["operator's of before"] = (
            CampaignFolder(campaign).server.operator_token.read_text().strip()
        )
        time.sleep(0.1)
        first = {
            name: _status(server, token) for name, token in dead.items() if "operator" not in name
        }
    with (
        EvaluatorProcess(problem, campaign, policy=POLICY, sockets=[]) as process,
        Served(process) as server,
    ):
        second, alive = (
            {name: _status(server, token) for name, token in dead.items()},
            _status(server, living),
        )
    kept = "".join(
        p.read_text(errors="replace") for p in CampaignFolder(campaign).server.root.glob("tokens*")
    )
    hashed = not any(token in kept for token in (*dead.values(), living))
    return AttackRow(
        attack="replayed and revoked tokens",
        tried=f"{', '.join(dead)}: at once and after a restart",
        came_back=(
            f"at once {sorted(set(first.values()))}, after the restart "
            f"{sorted(set(second.values()))}"
        ),
        held={*first.values(), *second.values()} == {401} and alive == 200 and hashed,
        evidence=(
            f"the token that is valid still gets {alive}; no token stands in the file: {hashed}"
        ),
    )


def _status(server: Served, token: str) -> int:
    with server.client(token) as client:
        return client.get(f"{API}/leaderboard").status_code


FIELDS = (
    *("who", "author", "name", "submitter", "split", "dataset", "baseline", "policy"),
    *("pgr", "score"),
)
HEADERS = {
    "X-Forwarded-User": "ann",
    "X-Remote-User": "ann",
    "From": "ann",
    "X-Forwarded-For": "127.0.0.1",
}
FINDING = {"kind": "insight", "title": "t", "text": "x", "family": "other"}


@SYSTEM.add("one identity as another")
def impostor(folder: Path, scale: AttackScale) -> AttackRow:
    """Fields, headers and arguments that name somebody else; the operator's operations with a
    researcher's token."""
    with served(folder, random_labels(scale)) as server, server.client(server.token("eve")) as eve:
        server.token("ann")
        sent = body(commit(eve), random_labels(scale, 1))
        said = {
            eve.post(f"{API}/{noun}", json=plain | {field: "ann"}).status_code
            for noun, plain in (("submissions", sent), ("findings", FINDING))
            for field in FIELDS
        }
        eve.post(f"{API}/findings", json=FINDING, headers=HEADERS)
        tool(eve, "submit_predictions", sent | dict.fromkeys(FIELDS, "ann"))
        tool(eve, "share_finding", FINDING | {"receipts": []} | dict.fromkeys(FIELDS, "ann"))
        operators = [
            (method, path)
            for method, path in _paths(server)
            if any(word in path for word in ("operator", "tokens", "entries", "openapi"))
        ]
        forbidden = {
            eve.request(m, _filled(p), json=_operators_body(p)).status_code for m, p in operators
        }
        authors = {f["author"] for f in eve.get(f"{API}/findings").json()["findings"]}
        board = server.call("operator_board")["by_submitter"]
        unplain = {
            server.http.post(f"{API}/tokens", json={"name": name}).status_code
            for name in ("operator", "evaluator", "Eve")
        }
    return AttackRow(
        attack="one identity as another",
        tried=f"{len(FIELDS)} fields in two operations and two tools, {len(HEADERS)} headers, "
        f"{len(operators)} operations that are the operator's",
        came_back=f"fields {sorted(said)}, operator's operations {sorted(forbidden)}; "
        f"names that are reserved or look alike {sorted(unplain)}",
        held=(said, forbidden, unplain, authors) == ({422}, {403}, {422}, {"eve"})
        and set(board) <= {"eve"},
        evidence=(
            f"authors of findings: {sorted(authors)}; submitters in the ledger: {sorted(board)}"
        ),
    )


def _operators_body(path: str) -> dict[str, Any]:
    if "entries" in path:
        return {"kind": "spend", "who": "eve", "body": {"wall_s": 1.0}}
    return {"failure": "timed out"} if "requests" in path else {"name": "mallory"}


EMPTY = ('{"findings":[]}',)
MALFORMED = (
    '"pgr": Infinity', '"pgr": NaN', '"pgr": -Infinity', '"pgr": 1e999',
    '"x": ' + "[" * 30 + "]" * 30,
    '"predictions": "all"', '"predictions": null', (
        '"predictions": {"1": {"q-00000": NaN}}'
    ), '"predictions": {"1": {"q": 0.5}}',
    '"predictions": {"1": {"q-00000": true}}', (
        '"predictions": {"1": {"q-00000": "1"}}'
    ), '"predictions": [[1]]',
    '"snapshot": 7', '"snapshot": "\\ud800"', '"family": "poetry"', '"family": null',
)  # fmt: skip
SPENDS = (
    '{"wall_s": NaN}',
    '{"wall_s": Infinity}',
    '{"wall_s": 1e999}',
    '{"wall_s": -1}',
    '{"wall_s": "1"}',
    "{}",
)


@SYSTEM.add("malformed bodies")
def malformed(folder: Path, scale: AttackScale) -> AttackRow:
    """`pgr: Infinity`, or a field of the wrong type, once made the leaderboard unusable until
    the database was repaired."""
    with served(folder, random_labels(scale)) as server, server.client(server.token("eve")) as eve:
        plain = json.dumps(body(commit(eve), random_labels(scale, 1)))
        texts = [f"{plain[:-1]}, {more}}}" for more in MALFORMED]
        texts += [plain[:-5], plain + "x", "", "null", "[]", "\0", plain.replace('"1', '"\\u0661')]
        kind = {"Content-Type": "application/json"}
        said = [
            eve.post(f"{API}/submissions", content=text.encode(), headers=kind).status_code
            for text in texts
        ]
        said += [
            server.http.post(
                f"{API}/entries",
                content=f'{{"kind": "spend", "who": "eve", "body": {s}}}',
                headers=kind,
            ).status_code
            for s in SPENDS
        ]
        boards = [
            eve.get(f"{API}/leaderboard").status_code,
            server.http.get(f"{API}/operator/campaign").status_code,
        ]
        entries = server.entries()
    return AttackRow(
        attack="malformed bodies",
        tried=(
            f"{len(said)} bodies: NaN, infinities, wrong types, broken JSON, half characters, deep "
            "nesting"
        ),
        came_back=f"statuses {sorted(set(said))}",
        held=all(400 <= status < 500 for status in said)
        and boards == [200, 200]
        and entries["submission"] == entries["spend"] == 0,
        evidence=(
            f"boards afterwards {boards}; submissions {entries['submission']}, spends "
            f"{entries['spend']}"
        ),
    )


def _names(folder: Path) -> list[str]:
    """The files below a folder, without those that the evaluator makes by itself as time passes."""
    signed = SignedFolder(folder).checkpoints.name
    return sorted(p.name for p in folder.rglob("*") if "sqlite" not in p.name and p.name != signed)


@SYSTEM.add("names in paths and queries")
def paths(folder: Path, scale: AttackScale) -> AttackRow:
    """`../`, SQL and shell in what the server looks up, encoded and plain."""
    with served(folder, random_labels(scale)) as server, server.client(server.token("eve")) as eve:
        commit(eve)
        before = _names(folder)
        said: list[int] = []
        for name in NAMES:
            quoted = "".join(f"%{byte:02X}" for byte in name.encode())
            said += [
                eve.get(f"{API}/{noun}/{quoted}").status_code
                for noun in ("code", "receipts", "findings")
                if name
            ]
            said += [
                eve.get(f"{API}/findings", params={key: name}).status_code
                for key in ("after", "limit")
            ]
            said.append(
                server.http.post(f"{API}/tokens", json={"name": name}).status_code
                if name[:1] != "0"
                else 422
            )
            said += [
                tool(eve, t, {a: name}).status_code
                for t, a in (("download_code", "snapshot"), ("read_finding", "finding"))
            ]
        found = [
            eve.get(f"{API}/findings/search", params={"query": name}).text for name in NAMES if name
        ]
        after = _names(folder)
        leaked = [text for text in found if text not in EMPTY and '"whose_move"' not in text]
    statuses = sorted(set(said))
    return AttackRow(
        attack="names in paths and queries",
        tried=(
            f"{len(NAMES)} names as snapshot, receipt, finding, page, query, token's name and "
            f"argument of tools: {len(said)} requests"
        ),
        came_back=f"statuses {statuses}",
        held=not any(status >= 500 for status in said) and before == after and not leaked,
        evidence=(
            f"files made: {sorted(set(after) - set(before)) or 'none'}; replies with anything in "
            f"them: {len(leaked)}"
        ),
    )


@SYSTEM.add("races over HTTP")
def races(folder: Path, scale: AttackScale) -> AttackRow:
    """As `races`, through the server: 16 connections under three identities."""
    labels_M, rng = random_labels(scale), np.random.default_rng(scale.seed)
    with served(folder, labels_M) as server:
        clients = [server.client(server.token(f"eve-{n}")) for n in range(3)]
        code = commit(clients[0])
        same = body(code, flipped(labels_M, 0.4, rng))
        jobs = [same] * scale.rounds + [
            body(code, flipped(labels_M, 0.05 + 0.9 * rng.random(), rng))
            for _ in range(scale.rounds)
        ]
        order = rng.permutation(len(jobs))
        with ThreadPoolExecutor(THREADS) as pool:
            receipts = list(
                pool.map(
                    lambda at: clients[at % 3].post(f"{API}/submissions", json=jobs[at]).json(),
                    order,
                )
            )
            posted = list(
                pool.map(
                    lambda _: clients[0].post(f"{API}/findings", json=FINDING).json()["id"],
                    range(THREADS),
                )
            )
        for client in clients:
            client.close()
        kept = server.entries()["submission"]
        now = server.call("bits_released")["released"]["bits"]
        by = server.call("operator_board")["by_submitter"]
    ids = {receipt["id"] for receipt in receipts}
    most = max(receipt["released"]["bits"] for receipt in receipts)
    repeats, counted = (
        sum(receipt["repeated"] for receipt in receipts),
        sum(row["submissions"] for row in by.values()),
    )
    return AttackRow(
        attack="races over HTTP",
        tried=(
            f"{scale.rounds} identical and {scale.rounds} distinct bundles from {THREADS} threads, "
            f"3 identities, shuffled; one finding {THREADS} times at once"
        ),
        came_back=(
            f"{kept} entries, {len(ids)} receipts, {repeats} repeats answered from memory, {now} "
            f"bits; {len(set(posted))} findings"
        ),
        # of the identical ones, one of each identity
        held=kept == len(ids) == counted == scale.rounds + len({n % 3 for n in range(scale.rounds)})
        and repeats == scale.rounds - 1
        and most == now
        and len(set(posted)) == 1,
        evidence=(
            f"counted by submitter: {counted}; the largest number of bits in a receipt is the "
            f"present one: {most == now}"
        ),
    )
