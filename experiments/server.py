"""How fast a server scores, lists, searches, posts and shows its board, at 1, 8 and 16 clients.

Run: `python -m experiments.server` starts our own server (and another with 1,000 rows on its board)
and measures both over HTTP, and the same evaluator without HTTP. Another implementation: `--url URL
--map MAP.yaml [--token T]`; see experiments/server_map.yaml for the form. Ratios are to the
cheapest reply of the same server in the same run. No test asserts a time; figures go into LOG.md.

Legend: S seeds, M items in the order of their sorted ids.
"""

import argparse
import http.client
import json
import math
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import yaml

from aarlab.core.records import Family
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet.evaluator_process import EvaluatorProcess

ITEMS, SEEDS, ROWS = 1_263, 5, 1_000
CLIENTS = (1, 8, 16)
MAP = Path(__file__).with_name("server_map.yaml")
RNG = np.random.default_rng(0)


# --- requests from a route map --------------------------------------------------------------------


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """A template with its {names} filled in; a string that is one {name} becomes the value
    itself."""
    if isinstance(template, dict):
        return {filled(k, values): filled(v, values) for k, v in template.items()}
    if isinstance(template, list):
        return [filled(part, values) for part in template]
    if not isinstance(template, str):
        return template
    if template[:1] == "{" and template[-1:] == "}" and template[1:-1] in values:
        return values[template[1:-1]]
    return template.format_map(values) if "{" in template else template


@dataclass(frozen=True)
class Request:
    """One request, ready to be sent."""

    method: str
    path: str
    body: bytes | None


def request_of(operation: Mapping[str, Any], values: Mapping[str, Any]) -> Request:
    """The request of one operation of the map."""
    body = operation.get("body")
    packed = None if body is None else json.dumps(filled(body, values)).encode()
    return Request(operation["method"], filled(operation["path"], values), packed)


class Client:
    """One connection, kept open."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._http = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        self._headers = {"Content-Type": "application/json", **headers}

    def send(self, request: Request) -> bytes:
        """The reply's body. A refusal ends the benchmark."""
        self._http.request(request.method, request.path, request.body, self._headers)
        reply = self._http.getresponse()
        data = reply.read()
        if reply.status >= 400 and reply.status != 404:
            raise SystemExit(f"{request.method} {request.path}: {reply.status} {data[:300]!r}")
        return data


# --- measuring ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One line of the table: milliseconds, requests a second over all clients, milliseconds of the
    server's CPU a request."""

    operation: str
    clients: int
    p50_ms: float
    p99_ms: float
    per_s: float
    cpu_ms: float


def measured(
    operation: str,
    acts: Sequence[Callable[[int], object]],
    times: int,
    cpu_s: Callable[[], float] = time.process_time,
) -> Row:
    """`times` calls of each act, one thread an act, all at once. `cpu_s` reads the seconds of CPU
    that were used."""
    took: list[float] = []
    gate = threading.Barrier(len(acts) + 1)

    def client(act: Callable[[int], object]) -> None:
        mine = []
        gate.wait()
        for number in range(times):
            started = time.perf_counter()
            act(number)
            mine.append(1e3 * (time.perf_counter() - started))
        took.extend(mine)

    threads = [threading.Thread(target=client, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    used = cpu_s()
    gate.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    wall, used = time.perf_counter() - started, cpu_s() - used
    if len(took) != times * len(acts):
        raise SystemExit(f"{operation}: a client stopped early.")
    cuts = statistics.quantiles(took, n=100)
    return Row(operation, len(acts), cuts[49], cuts[98], len(took) / wall, 1e3 * used / len(took))


@dataclass
class Target:
    """A server, its route map, and what is known of it (ids, seeds, a snapshot)."""

    url: str
    plan: Mapping[str, Any]
    tokens: Sequence[str]
    values: dict[str, Any]
    cpu_s: Callable[[], float] = lambda: math.nan  # nobody knows another machine's

    def client(self, number: int) -> Client:
        token = self.tokens[number % len(self.tokens)]
        return Client(self.url, filled(self.plan.get("headers", {}), {"token": token}))

    def prepare(self) -> None:
        """The map's set-up: requests in order, some many times, whose replies may name what later
        ones need."""
        client = self.client(0)
        for step in self.plan.get("setup", []):
            for number in range(step.get("times", 1)):
                reply = client.send(request_of(step, self.values | fresh(self.values, number)))
                for name, field in step.get("keep", {}).items():
                    self.values[name] = json.loads(reply)[field]

    def measure(self, operation: str, clients: int, total: int) -> Row:
        """One operation at so many clients."""
        times = max(20, total // clients)
        acts = []
        for c in range(clients):
            client = self.client(c)
            ready = [self._request(operation, number) for number in range(times)]
            acts.append(lambda n, client=client, ready=ready: client.send(ready[n]))
        return measured(operation, acts, times, self.cpu_s)

    def _request(self, operation: str, number: int) -> Request:
        return request_of(
            self.plan["operations"][operation], self.values | fresh(self.values, number)
        )


def fresh(values: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Answers that were never sent before, in the forms that a map may ask for."""
    answers_SM = RNG.integers(0, 2, (SEEDS, ITEMS))
    seeds, ids = values.get("seeds", range(SEEDS)), values["ids"]
    rows = ["".join("01"[a] for a in row) for row in answers_SM.tolist()]
    return {
        "number": number,
        "strings": dict(zip(map(str, seeds), rows, strict=True)),
        "maps": {
            str(s): dict(zip(ids, row, strict=True))
            for s, row in zip(seeds, answers_SM.tolist(), strict=True)
        },
        "lists": answers_SM.tolist(),
        "list": answers_SM[0].tolist(),
    }


# --- our own server -------------------------------------------------------------------------------


def write_problem(folder: Path) -> dict[str, int]:
    """A problem folder with random labels: what is timed does not look at their meaning."""
    answers = {f"chat-{i:06d}": int(y) for i, y in enumerate(RNG.integers(0, 2, ITEMS))}
    (folder / "private").mkdir(parents=True)
    (folder / "private" / "answers.json").write_text(json.dumps({"feedback": answers, "final": {}}))
    (folder / "private" / "ruler.json").write_text(
        json.dumps({"weak": 0.5, "ceiling": 0.95, "start": 0.55})
    )
    return answers


def fill_board(problem: Path, campaign: Path, answers: Mapping[str, int]) -> None:
    """ROWS reported improvements: under `exact`, every answer more that is right is reported."""
    with Evaluator(problem, campaign, policy="exact") as evaluator:
        code = evaluator.commit_code("ann", {"method.py": ""}, Family.OTHER)
        truth = np.array([answers[i] for i in evaluator.ids])
        wrong = np.tile(truth, SEEDS)
        wrong[: int(0.4 * wrong.size)] ^= 1
        for number in range(ROWS):
            wrong[number] = truth[number % ITEMS]
            rows = wrong.reshape(SEEDS, ITEMS)
            sent = {
                str(s): "".join("01"[a] for a in row)
                for s, row in zip(code["seeds"], rows, strict=True)
            }
            assert evaluator.submit("ann", code["snapshot"], sent, Family.OTHER).improved


@contextmanager
def own_server(place: Path, *, policy: str, board: bool) -> Iterator[Target]:
    """Our server with sixteen researchers."""
    answers = write_problem(place / "problem")
    if board:
        fill_board(place / "problem", place / "campaign", answers)
    with EvaluatorProcess(
        place / "problem", place / "campaign", policy=policy, sockets=[]
    ) as process:
        tokens = [
            process.call("issue_token", {"name": f"r{n}"})["token"] for n in range(max(CLIENTS))
        ]
        address = json.loads((place / "campaign" / "server" / "address.json").read_text())
        plan, values = yaml.safe_load(MAP.read_text()), {"ids": sorted(answers)}
        yield Target(
            address["url"],
            plan,
            tokens,
            values,
            lambda: cpu_of(address["pid"]) + cpu_of(process.evaluator.pid),
        )


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_process(place: Path, total: int) -> Iterator[Row]:
    """The evaluator itself, without HTTP: what group commit gives."""
    answers = write_problem(place / "problem")
    with Evaluator(place / "problem", place / "campaign") as evaluator:
        code = evaluator.commit_code("ann", {"method.py": ""}, Family.OTHER)
        values = {"ids": sorted(answers), "seeds": code["seeds"]}
        for clients in CLIENTS:
            times = max(20, total // clients)
            acts = []
            for c in range(clients):
                ready = [fresh(values, n)["strings"] for n in range(times)]
                acts.append(
                    lambda n, c=c, ready=ready: evaluator.submit(
                        f"r{c}", code["snapshot"], ready[n], Family.OTHER
                    )
                )
            yield measured("submit, in process", acts, times)


# --- the table ------------------------------------------------------------------------------------


def shown(rows: Sequence[Row]) -> Iterator[str]:
    """The table; ratios are p50 over the floor's at one client."""
    floor = next((row.p50_ms for row in rows if row.operation == "floor"), None)
    yield (
        f"{'operation':22s} {'clients':>7s} {'p50 ms':>9s} {'p99 ms':>9s} {'per s':>9s} "
        f"{'CPU ms':>8s} {'x floor':>8s}"
    )
    for row in rows:
        ratio = "" if floor is None else f"{row.p50_ms / floor:8.1f}"
        times = f"{row.p50_ms:9.2f} {row.p99_ms:9.2f} {row.per_s:9.0f} {row.cpu_ms:8.2f}"
        yield f"{row.operation:22s} {row.clients:7d} {times} {ratio:>8s}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="another server; by default ours is started")
    parser.add_argument("--map", type=Path, default=MAP, help="its route map")
    parser.add_argument("--token", action="append", default=[], help="of a client; repeatable")
    parser.add_argument(
        "--requests", type=int, default=800, help="of each operation at each number of clients"
    )
    parser.add_argument(
        "--beside", action="store_true", help="with --url: ours too, in the same run, and ratios"
    )
    a = parser.parse_args()
    theirs = other_rows(a) if a.url else []
    ours = own_rows(a.requests) if a.beside or not a.url else []
    print(f"load {os.getloadavg()[0]:.1f}", *shown(ours), *shown(theirs), sep="\n")
    print(*beside(ours, theirs), sep="\n")


def other_rows(a: argparse.Namespace) -> list[Row]:
    """Another server, from its route map."""
    ids = [f"chat-{i:06d}" for i in range(ITEMS)]
    target = Target(a.url, yaml.safe_load(a.map.read_text()), a.token or [""], {"ids": ids})
    target.prepare()
    return [target.measure(o, c, a.requests) for o in target.plan["operations"] for c in CLIENTS]


def own_rows(requests: int) -> list[Row]:
    """Ours: without HTTP, then over it, the board from another campaign."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        rows += in_process(Path(place), requests)
    for policy, board in (("default", False), ("exact", True)):
        with (
            tempfile.TemporaryDirectory() as place,
            own_server(Path(place), policy=policy, board=board) as target,
        ):
            target.prepare()
            operations = [o for o in target.plan["operations"] if (o == "leaderboard") == board]
            rows += [target.measure(o, c, requests) for o in operations for c in CLIENTS]
    return rows


def beside(ours: Sequence[Row], theirs: Sequence[Row]) -> Iterator[str]:
    """Requests a second, ours over theirs, of what both have."""
    known = {(row.operation, row.clients): row for row in theirs}
    for row in ours:
        if other := known.get((row.operation, row.clients)):
            yield f"{row.operation:22s} {row.clients:7d} {row.per_s / other.per_s:9.1f} x theirs"


if __name__ == "__main__":
    main()
