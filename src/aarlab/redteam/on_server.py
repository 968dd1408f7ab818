"""Attackers on a real server process, as raw HTTP: identities, tokens, malformed bodies, names in paths, races, replies."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.redteam.on_evaluator import NAMES, THREADS, Answers, bits, flipped, rank_test, same_seeds
from aarlab.redteam.system import SYSTEM, Row, Scale, random_labels, write_problem

API, POLICY = "/api/v1", "default"
MCP = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


class Served:
    """A server process on a problem: the operator's client of it (`http`), and others'. To be closed by `with`."""

    def __init__(self, process: EvaluatorProcess) -> None:
        self.call, server = process.call, process.campaign / "server"
        self.url = json.loads((server / "address.json").read_text())["url"]
        self.http = self.client((server / "operator.token").read_text().strip())

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *exc: object) -> None:
        self.http.close()

    def token(self, name: str, **more: Any) -> str:
        """A new token of a name."""
        return self.call("POST", "/tokens", {"name": name, **more})["token"]

    def client(self, token: str | None) -> httpx.Client:
        """Whoever holds that token, or nobody."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def entries(self) -> dict[str, int]:
        """How many entries of each kind the ledger has."""
        return self.call("GET", "/ledger")["by_kind"]


@contextmanager
def served(folder: Path, labels_M: Answers) -> Iterator[Served]:
    """A server on new labels in a folder of its own."""
    problem = write_problem(folder / "problem", labels_M)
    with EvaluatorProcess(problem, same_seeds(folder), policy=POLICY, sockets=[]) as process, Served(process) as server:
        yield server


def commit(client: httpx.Client, text: str = "# eve") -> dict[str, Any]:
    """A snapshot and its seeds."""
    return client.post(f"{API}/code", json={"files": {"method.py": text}, "family": "other"}).json()


def body(code: dict[str, Any], answers_M: Answers) -> dict[str, Any]:
    """A submission of the same answers on every seed."""
    row = bits(answers_M)
    return {"snapshot": code["snapshot"], "family": "other", "predictions": {str(s): row for s in code["seeds"]}}


def tool(client: httpx.Client, name: str, arguments: dict[str, Any]) -> httpx.Response:
    """One call of an MCP tool, raw."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    return client.post("/mcp", json=call, headers=MCP)


def _paths(server: Served) -> list[tuple[str, str]]:
    """(method, path) of every operation that the server describes, and of the MCP endpoint."""
    described = server.http.get("/openapi.json").json()["paths"]
    found = [(method.upper(), path) for path, methods in described.items() for method in methods]
    return [*found, ("POST", "/mcp"), ("GET", "/openapi.json")]


@SYSTEM.add("requests without a token")
def unauthenticated(folder: Path, scale: Scale) -> Row:
    """One unauthenticated POST of a result was once enough for rank 1."""
    with served(folder, random_labels(scale)) as server:
        token, before = server.token("ann"), server.entries()
        given: list[dict[str, str]] = [{}, *({"Authorization": words} for words in _forgeries(token))]
        with server.client(None) as nobody:
            answers = {
                (method, path, str(headers)): nobody.request(method, _filled(path), headers=headers, json={}).status_code
                for method, path in _paths(server)
                for headers in given
            }
        after = server.entries()
    let_in = {key: status for key, status in answers.items() if status != 401}
    return Row(
        attack="requests without a token",
        tried=f"{len(answers) // len(given)} operations, that is all, and MCP, under {len(given)} forged or missing headers",
        came_back=f"401 to {len(answers) - len(let_in)} of {len(answers)}",
        held=not let_in and before == after,
        evidence=f"other answers: {let_in or 'none'}; entries before and after: {sum(before.values())}, {sum(after.values())}",
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
    given = {"snapshot": "0" * 64, "receipt": "r-000001", "finding": "f-000001", "ticket": "q-000001", "name": "ann"}
    return path.format(**given)


@SYSTEM.add("replayed and revoked tokens")
def tokens(folder: Path, scale: Scale) -> Row:
    """A token that was replaced, revoked or has expired, and the operator's of before a restart."""
    problem, campaign = write_problem(folder / "problem", random_labels(scale)), same_seeds(folder)
    dead: dict[str, str] = {}
    with EvaluatorProcess(problem, campaign, policy=POLICY, sockets=[]) as process, Served(process) as server:
        dead["replaced"], living = server.token("ann"), server.token("ann")
        dead["revoked"], _ = server.token("bob"), process.call("DELETE", "/tokens/bob")
        dead["expired"] = server.token("carl", seconds=0.05)
        dead["operator's of before"] = (campaign / "server" / "operator.token").read_text().strip()
        time.sleep(0.1)
        first = {name: _status(server, token) for name, token in dead.items() if "operator" not in name}
    with EvaluatorProcess(problem, campaign, policy=POLICY, sockets=[]) as process, Served(process) as server:
        second, alive = {name: _status(server, token) for name, token in dead.items()}, _status(server, living)
    kept = "".join(p.read_text(errors="replace") for p in (campaign / "server").glob("tokens*"))
    hashed = not any(token in kept for token in (*dead.values(), living))
    return Row(
        attack="replayed and revoked tokens",
        tried=f"{', '.join(dead)}: at once and after a restart",
        came_back=f"at once {sorted(set(first.values()))}, after the restart {sorted(set(second.values()))}",
        held={*first.values(), *second.values()} == {401} and alive == 200 and hashed,
        evidence=f"the token that is valid still gets {alive}; no token stands in the file: {hashed}",
    )


def _status(server: Served, token: str) -> int:
    with server.client(token) as client:
        return client.get(f"{API}/leaderboard").status_code


@SYSTEM.add("one identity as another")
def impostor(folder: Path, scale: Scale) -> Row:
    """Fields, headers and arguments that name somebody else; the operator's operations with a researcher's token."""
    with served(folder, random_labels(scale)) as server, server.client(server.token("eve")) as eve:
        server.token("ann")
        code = commit(eve)
        sent = body(code, random_labels(scale, 1))
        finding = {"kind": "insight", "title": "t", "text": "x", "family": "other"}
        fields = ("who", "author", "name", "submitter", "split", "dataset", "baseline", "policy", "pgr", "score")
        said = [eve.post(f"{API}/submissions", json=sent | {f: "ann"}).status_code for f in fields]
        said += [eve.post(f"{API}/findings", json=finding | {f: "ann"}).status_code for f in fields]
        headers = {"X-Forwarded-User": "ann", "X-Remote-User": "ann", "From": "ann", "X-Forwarded-For": "127.0.0.1"}
        eve.post(f"{API}/findings", json=finding, headers=headers)
        for name in ("submit_predictions", "share_finding"):
            tool(eve, name, (sent if name[1] == "u" else finding | {"receipts": []}) | {f: "ann" for f in fields})
        operators = [(m, p) for m, p in _paths(server) if "operator" in p or "tokens" in p or "entries" in p or "openapi" in p]
        forbidden = {eve.request(m, _filled(p), json=_operators_body(p)).status_code for m, p in operators}
        authors = {f["author"] for f in eve.get(f"{API}/findings").json()["findings"]}
        board = server.call("GET", "/operator/board")["by_submitter"]
        unplain = [server.http.post(f"{API}/tokens", json={"name": n}).status_code for n in ("operator", "evaluator", "Eve")]
    return Row(
        attack="one identity as another",
        tried=f"{len(fields)} fields in two operations and two tools, {len(headers)} headers, {len(operators)} operations that "
        "are the operator's",
        came_back=f"fields {sorted(set(said))}, operator's operations {sorted(forbidden)}; names that are ours or look alike "
        f"{sorted(set(unplain))}",
        held=set(said) == {422}
        and forbidden == {403}
        and authors == {"eve"}
        and set(board) <= {"eve"}
        and set(unplain) == {422},
        evidence=f"authors of findings: {sorted(authors)}; submitters in the ledger: {sorted(board)}",
    )


def _operators_body(path: str) -> dict[str, Any]:
    if "entries" in path:
        return {"kind": "spend", "who": "eve", "body": {"wall_s": 1.0}}
    return {"failure": "timed out"} if "requests" in path else {"name": "mallory"}


EMPTY = ('{"findings":[]}',)
MALFORMED = (
    '"pgr": Infinity', '"pgr": NaN', '"pgr": -Infinity', '"pgr": 1e999', '"x": ' + "[" * 30 + "]" * 30,
    '"predictions": "all"', '"predictions": null', '"predictions": {"1": {"q-00000": NaN}}', '"predictions": {"1": {"q": 0.5}}',
    '"predictions": {"1": {"q-00000": true}}', '"predictions": {"1": {"q-00000": "1"}}', '"predictions": [[1]]',
    '"snapshot": 7', '"snapshot": "\\ud800"', '"family": "poetry"', '"family": null',
)  # fmt: skip


SPENDS = ('{"wall_s": NaN}', '{"wall_s": Infinity}', '{"wall_s": 1e999}', '{"wall_s": -1}', '{"wall_s": "1"}', "{}")


@SYSTEM.add("malformed bodies")
def malformed(folder: Path, scale: Scale) -> Row:
    """`pgr: Infinity`, or a field of the wrong type, once made the leaderboard unusable until the database was mended."""
    with served(folder, random_labels(scale)) as server, server.client(server.token("eve")) as eve:
        plain = json.dumps(body(commit(eve), random_labels(scale, 1)))
        texts = [f"{plain[:-1]}, {more}}}" for more in MALFORMED]
        texts += [plain[:-5], plain + "x", "", "null", "[]", "\0", plain.replace('"1', '"\\u0661')]
        kind = {"Content-Type": "application/json"}
        said = [eve.post(f"{API}/submissions", content=text.encode(), headers=kind).status_code for text in texts]
        said += [
            server.http.post(
                f"{API}/entries", content=f'{{"kind": "spend", "who": "eve", "body": {s}}}', headers=kind
            ).status_code
            for s in SPENDS
        ]
        boards = [eve.get(f"{API}/leaderboard").status_code, server.http.get(f"{API}/operator/campaign").status_code]
        entries = server.entries()
    return Row(
        attack="malformed bodies",
        tried=f"{len(said)} bodies: NaN, infinities, wrong types, broken JSON, half characters, deep nesting",
        came_back=f"statuses {sorted(set(said))}",
        held=all(400 <= status < 500 for status in said)
        and boards == [200, 200]
        and entries["submission"] == entries["spend"] == 0,
        evidence=f"boards afterwards {boards}; submissions {entries['submission']}, spends {entries['spend']}",
    )


@SYSTEM.add("names in paths and queries")
def paths(folder: Path, scale: Scale) -> Row:
    """`../`, SQL and shell in what the server looks up, encoded and plain."""
    with served(folder, random_labels(scale)) as server, server.client(server.token("eve")) as eve:
        commit(eve)
        before = sorted(p.name for p in folder.rglob("*") if "sqlite" not in p.name)
        said: list[int] = []
        for name in NAMES:
            quoted = "".join(f"%{byte:02X}" for byte in name.encode())
            said += [eve.get(f"{API}/{noun}/{quoted}").status_code for noun in ("code", "receipts", "findings") if name]
            said += [eve.get(f"{API}/findings", params={key: name}).status_code for key in ("after", "limit")]
            said.append(server.http.post(f"{API}/tokens", json={"name": name}).status_code if name[:1] != "0" else 422)
            said += [
                tool(eve, t, {a: name}).status_code for t, a in (("download_code", "snapshot"), ("read_finding", "finding"))
            ]
        found = [eve.get(f"{API}/findings/search", params={"query": name}).text for name in NAMES if name]
        after = sorted(p.name for p in folder.rglob("*") if "sqlite" not in p.name)
        leaked = [text for text in found if text not in EMPTY and '"whose_move"' not in text]
    statuses = sorted(set(said))
    return Row(
        attack="names in paths and queries",
        tried=f"{len(NAMES)} names as snapshot, receipt, finding, page, query, token's name and argument of tools: {len(said)} "
        "requests",
        came_back=f"statuses {statuses}",
        held=not any(status >= 500 for status in said) and before == after and not leaked,
        evidence=f"files made: {sorted(set(after) - set(before)) or 'none'}; replies with anything in them: {len(leaked)}",
    )


@SYSTEM.add("races over HTTP")
def races(folder: Path, scale: Scale) -> Row:
    """As `races`, through the server: 16 connections under three identities."""
    labels_M, rng = random_labels(scale), np.random.default_rng(scale.seed)
    with served(folder, labels_M) as server:
        clients = [server.client(server.token(f"eve-{n}")) for n in range(3)]
        code = commit(clients[0])
        same = body(code, flipped(labels_M, 0.4, rng))
        jobs = [same] * scale.rounds + [
            body(code, flipped(labels_M, 0.05 + 0.9 * rng.random(), rng)) for _ in range(scale.rounds)
        ]
        order = rng.permutation(len(jobs))
        with ThreadPoolExecutor(THREADS) as pool:
            told = list(pool.map(lambda at: clients[at % 3].post(f"{API}/submissions", json=jobs[at]).json(), order))
        for client in clients:
            client.close()
        kept = server.entries()["submission"]
        now = server.call("GET", "/released")["released"]["bits"]
        by = server.call("GET", "/operator/board")["by_submitter"]
    ids = {receipt["id"] for receipt in told}
    most = max(receipt["released"]["bits"] for receipt in told)
    repeats, counted = sum(receipt["repeated"] for receipt in told), sum(row["submissions"] for row in by.values())
    return Row(
        attack="races over HTTP",
        tried=f"{scale.rounds} identical and {scale.rounds} distinct bundles from {THREADS} threads, 3 identities, shuffled",
        came_back=f"{kept} entries, {len(ids)} receipts, {repeats} repeats answered from memory, {now} bits",
        held=kept == len(ids) == counted == scale.rounds + 1 and repeats == scale.rounds - 1 and most == now,
        evidence=f"counted by submitter: {counted}; the largest number of bits in a receipt is the present one: {most == now}",
    )


@SYSTEM.add("metadata over HTTP")
def metadata(folder: Path, scale: Scale) -> Row:
    """As `metadata`, through the server: status, headers but the date, and body of every reply."""
    rng, labels_M = np.random.default_rng(scale.seed), random_labels(scale)
    good_M = flipped(labels_M, 0.1, rng)
    right, wrong = np.flatnonzero(good_M == labels_M), np.flatnonzero(good_M != labels_M)
    other_M = labels_M.copy()
    other_M[np.concatenate([right[: len(wrong)], wrong])] ^= True
    bundles = [flipped(labels_M, 0.5, rng), good_M, *(flipped(labels_M, 0.5, rng) for _ in range(12)), good_M]
    replies = []
    for name, labels in (("one", labels_M), ("two", other_M)):
        with served(folder / name, labels) as server, server.client(server.token("eve")) as eve:
            replies.append([reply for number, row in enumerate(bundles) for reply in _replies(eve, number, row)])
    differ = [n for n, (a, b) in enumerate(zip(*replies, strict=True)) if a != b]
    improved = sum('"improved":true' in reply for reply in replies[0])
    return Row(
        attack="metadata over HTTP",
        tried=f"{len(replies[0])} replies by two servers whose labels differ on {int((labels_M != other_M).sum())} of "
        f"{scale.items} items and give the same told answers ({improved} improved)",
        came_back=f"{len(differ)} replies differ by a byte or more",
        held=not differ and improved > 0,
        evidence=f"{sum(map(len, replies[0]))} bytes compared: status, headers without the date, body",
    )


def _replies(eve: httpx.Client, number: int, row: Answers) -> Iterator[str]:
    code = commit(eve, f"# {number}")
    sent = body(code, row)
    calls: list[Callable[[], httpx.Response]] = [
        lambda: eve.post(f"{API}/submissions", json=sent),
        lambda: eve.post(f"{API}/submissions", json=sent | {"predictions": {"1": bits(row)}}),
        lambda: tool(eve, "submit_predictions", sent),
        lambda: eve.get(f"{API}/receipts/r-{number + 1:06d}"),
        lambda: eve.get(f"{API}/leaderboard"),
        lambda: eve.get(f"{API}/released"),
    ]
    for call in calls:
        answer = call()
        yield f"{answer.status_code} {sorted((k, v) for k, v in answer.headers.items() if k != 'date')} {answer.text}"


@SYSTEM.add("timing, over HTTP")
def timing(folder: Path, scale: Scale) -> Row:
    """As `timing, in the process`, by a client of the server, whose replies to submissions are on a grid of time."""
    labels_M, rng = random_labels(scale), np.random.default_rng(scale.seed)
    near: list[float] = []
    far: list[float] = []
    with served(folder, labels_M) as server, server.client(server.token("eve")) as eve:
        code = commit(eve)
        first = eve.post(f"{API}/submissions", json=body(code, flipped(labels_M, 0.2, rng))).json()
        nearly = 1 - first["next_step_accuracy"] + 1.5 / scale.items
        for number in range(scale.rounds):
            pair = [(near, body(code, flipped(labels_M, nearly, rng))), (far, body(code, flipped(labels_M, 0.9, rng)))]
            for times, sent in pair[:: 1 if number % 2 else -1]:
                started = time.perf_counter()
                eve.post(f"{API}/submissions", json=sent)
                times.append(time.perf_counter() - started)
    auc, p = rank_test(near, far)
    return Row(
        attack="timing, over HTTP",
        tried=f"{scale.rounds} interleaved pairs of a nearly improving 'no' and a far one",
        came_back=f"AUC {auc:.3f}, p = {p:.3f} (Mann-Whitney, two-sided); medians {1e3 * np.median(near):.2f} and "
        f"{1e3 * np.median(far):.2f} ms",
        held=p > 0.001,
        evidence="0.5 is chance; whether it was a yes is told anyway, so only 'no' is compared with 'no'",
    )
