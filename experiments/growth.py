"""What a long campaign costs: a restart (in order, and after kill -9), memory, and each operation,
at so many submissions with a program each, and a tenth as many findings.

Run: `python -m experiments.growth --submissions 10000 50000` (the making of 50,000 takes minutes;
with `--keep FOLDER` it is made once). No test asserts a time; figures go into LOG.md.
"""

import argparse
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from aarlab.core.records import Family
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.forum import Forum
from aarlab.fleet.evaluator_process import EvaluatorProcess
from experiments.server import ITEMS, cpu_of, fresh, write_problem

RESEARCHERS, FINDINGS, REPEATS = 16, 10, 20  # a finding for so many submissions; calls of each kind
WORDS = ("margin", "probe", "layer", "head", "mean", "scale", "fold", "blend", "vote", "clip")


def program(number: int) -> dict[str, str]:
    """A program of forty lines, of which most are its own."""
    rng = np.random.default_rng(number)
    lines = [
        f"    {WORDS[a]}_{b} = data[{b}] * {c} + np.{WORDS[d]}({WORDS[a]}_{c % 7})"
        for a, b, c, d in rng.integers(0, len(WORDS), (36, 4)).tolist()
    ]
    text = "\n".join(["import numpy as np", "", "def run(data, seed):", *lines, "    return data"])
    return {"method.py": f"{text}  # {number}\n"}


def grow(place: Path, submissions: int) -> None:
    """A campaign of that size, made by the evaluator itself."""
    answers = write_problem(place / "problem")
    families = list(Family)
    with Evaluator(place / "problem", place / "campaign") as evaluator:
        forum = Forum(evaluator)

        def one(number: int) -> None:
            who, family = f"r{number % RESEARCHERS}", families[number % len(families)]
            code = evaluator.commit_code(who, program(number), family)
            values = {"ids": sorted(answers), "seeds": code["seeds"]}
            sent = fresh(values, number)["strings"]
            receipt = evaluator.submit(who, code["snapshot"], sent, family)
            if number % FINDINGS == 0:
                words = " ".join(np.random.default_rng(number).permutation(WORDS * 16))
                given: Any = {"kind": "result", "title": f"Finding {number}", "text": words}
                cited = {"receipts": [receipt.id], "snapshot": code["snapshot"]}
                forum.share(who, **given, **cited, family=family)

        with ThreadPoolExecutor(RESEARCHERS) as pool:
            for _ in pool.map(one, range(submissions)):
                pass


# --- measuring ------------------------------------------------------------------------------------


def memory_mb(pid: int) -> float:
    """What a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def pids(process: EvaluatorProcess) -> tuple[int, int]:
    """Of the evaluator and of the lab."""
    address = json.loads((process.campaign / "server" / "address.json").read_text())
    return process.evaluator.pid, address["pid"]


def operations(token: str, url: str, number: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each operation as a researcher asks for it, over HTTP."""
    http = httpx.Client(
        base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=120
    )

    def post(path: str, body: dict[str, Any]) -> Any:
        answer = http.post(path, json=body)
        answer.raise_for_status()
        return answer.json()

    def get(path: str) -> Any:
        answer = http.get(path)
        answer.raise_for_status()
        return answer.json()

    http.get("/none")  # a client's own first request takes it some 30 ms
    count = iter(range(number, number + 10_000))
    made: dict[str, Any] = {}

    def commit() -> None:
        body = {"files": program(next(count)), "family": "other"}
        made.update(post("/code", body))

    def submit() -> None:
        rows = fresh({"ids": range(ITEMS), "seeds": made["seeds"]}, 0)["strings"]
        sent = {"snapshot": made["snapshot"], "family": "other", "predictions": rows}
        made["receipt"] = post("/submissions", sent)["id"]

    def share() -> None:
        body = {"kind": "result", "title": f"One more {next(count)}", "text": "margin probe " * 40}
        post("/findings", body | {"family": "other", "receipts": [made["receipt"]]})

    yield "leaderboard", lambda: get("/leaderboard")
    yield "list_findings", lambda: get("/findings?after=0&limit=50")
    yield "search_findings", lambda: get("/findings/search?query=noise%20margin")
    yield "commit_code", commit
    yield "submit", submit
    yield "share_finding", share
    yield "read_receipt", lambda: get("/receipts/r-000100")
    yield "bits_released", lambda: get("/released")
    yield "my_budget", lambda: get("/budget")


def measured(place: Path, number: int) -> dict[str, str]:
    """A row of the table for each thing that is timed."""
    row: dict[str, str] = {}

    def process() -> EvaluatorProcess:
        return EvaluatorProcess(
            place / "problem", place / "campaign", policy="default", sockets=[], takeover_s=60
        )

    def started(name: str, made: EvaluatorProcess) -> EvaluatorProcess:
        before = time.perf_counter()
        made.__enter__()
        took, both = time.perf_counter() - before, pids(made)
        cpu = ", ".join(f"{cpu_of(pid):.1f}" for pid in both)
        memory = ", ".join(f"{memory_mb(pid):.0f}" for pid in both)
        row[name] = f"{took:.2f} s (CPU {cpu} s; {memory} MB)"
        return made

    started("first start", process()).__exit__()
    one = started("start", process())
    token = one.call("issue_token", {"name": "r0"})["token"]
    url = json.loads((place / "campaign" / "server" / "address.json").read_text())["url"]
    for name, act in operations(token, url, number):
        took, used = [], sum(map(cpu_of, pids(one)))
        for _ in range(REPEATS):
            before = time.perf_counter()
            act()
            took.append(1e3 * (time.perf_counter() - before))
        used = 1e3 * (sum(map(cpu_of, pids(one))) - used) / REPEATS
        row[name] = (
            f"first {took[0]:.1f}, then {sorted(took[1:])[len(took) // 2]:.1f} ms (CPU {used:.1f})"
        )
    row["memory after"] = ", ".join(f"{memory_mb(pid):.0f}" for pid in pids(one)) + " MB"
    before = time.perf_counter()
    one.lab.stop()
    row["stop, lab"] = f"{time.perf_counter() - before:.2f} s"
    before = time.perf_counter()
    one.evaluator.stop()
    row["stop, evaluator"] = f"{time.perf_counter() - before:.2f} s"
    one.__exit__()
    two = started("start again", process())
    for pid in pids(two):
        os.kill(pid, signal.SIGKILL)
    two.__exit__()
    started("start after kill -9", process()).__exit__()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--submissions", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--keep", type=Path, help="where the campaigns are made, and kept")
    a = parser.parse_args()
    table: dict[int, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for number in a.submissions:
            place = (a.keep or Path(temporary)) / str(number)
            if not place.exists():
                grow(place, number)
            table[number] = measured(place, number)
    for name in table[a.submissions[0]]:
        print(f"{name:20s}", *(f"{n}: {row[name]:50s}" for n, row in table.items()))


if __name__ == "__main__":
    main()
