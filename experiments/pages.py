"""How fast do the pages of `aar web` answer, and what do twenty open live pages cost a campaign?

Run: `python -m experiments.pages`. It makes a campaign of 10,000 submissions, 2,000 findings and 50
MB of transcripts in a folder of its own, serves it, and asks for each page again and again, each
time by another address, so that no answer is one that was kept. Then twenty pages follow the stream
of events while the ledger grows by an entry a second, and fetch their content at each event. No
test asserts a time; figures go into LOG.md.
"""

import argparse
import http.client
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from aarlab.core.budget import Budget, Spent
from aarlab.core.entries import SubmissionBody
from aarlab.core.layout import CampaignFolder
from aarlab.core.records import Diagnostics, Family, Receipt, Released
from aarlab.core.snapshot import canonical
from aarlab.evaluation.ledger.blobs import Blobs
from aarlab.evaluation.ledger.drafts import Draft
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.state import FleetState, MemberState

RESEARCHERS, PAGES_OPEN = 9, 20
NAME = "large"
FAMILIES = list(Family)
SERVE = "from pathlib import Path\nimport sys\nfrom aarlab.core.layout import Home\n"
SERVE += "from aarlab.web.web_server import run\n"
SERVE += "run(Home(Path(sys.argv[1])), 0, lambda link: print(link, flush=True))"


# --- a campaign -----------------------------------------------------------------------------------


def receipt(number: int, level: float, improved: bool, snapshot: str, family: Family) -> Receipt:
    """A receipt with plausible figures."""
    bits = 8.0 + 60 * level
    return Receipt(
        id=f"r-{number:06d}",
        snapshot=snapshot,
        family=family,
        improved=improved,
        meaning="The score passed the next line above the level, and nothing more is meant.",
        level_pgr=level,
        level_accuracy=0.62 + level / 4,
        certified_pgr=level - 0.2,
        certified_accuracy=0.57 + level / 4,
        next_step_accuracy=0.64 + level / 4,
        price_of_next_yes_bits=3.8,
        tier="open",
        released=Released(bits=bits, cap_bits=140.0, share_of_labels=0.03, inflation_bound=0.1),
        diagnostics=Diagnostics(
            class_share=0.5, seed_disagreement=0.1, nearest_earlier=0.02, noise_accuracy=0.03
        ),
    )


def drafts(submissions: int, findings: int, blobs: Blobs) -> Iterator[Draft]:
    """The entries of a campaign, in order."""
    rng, level, snapshot = random.Random(0), 0.2, ""
    for number in range(1, submissions + 1):
        who, family = f"researcher-{rng.randint(1, RESEARCHERS)}", rng.choice(FAMILIES)
        if number % 5 == 1:
            rows = "".join(f"    x{n} = {rng.randint(0, 9)}\n" for n in range(60))
            snapshot = blobs.put(canonical({"method.py": f"def run(task, seed):\n{rows}"}))
            body = {"snapshot": snapshot, "family": family.value, "bytes": 900}
            yield Draft("code", who, body)
        improved = rng.random() < 0.002
        level = min(0.9, level + 0.04 * improved)
        made = receipt(number, level, improved, snapshot, family)
        body = SubmissionBody(
            snapshot=snapshot,
            family=family,
            predictions="p",
            receipt=made,
            exact_accuracy=rng.random(),
        )
        yield Draft("submission", who, body.plain())
        if number % max(1, submissions // findings) == 0:
            yield Draft("finding", who, finding(made, family))
        if number % 10 == 0:
            yield Draft("spend", who, {"wall_s": 20.0, "cpu_s": 15.0})


def finding(made: Receipt, family: Family) -> dict:
    """The body of a finding that cites a receipt."""
    words = "Weights by confidence help where the teacher is unsure. " * 15
    body = {"kind": "result", "title": f"about {made.id}", "text": words, "family": family.value}
    return body | {"receipts": [made.id], "snapshot": None, "parent": None}


def transcripts(folder: Path, megabytes: float) -> None:
    """As many bytes of Claude Code's events, spread over all researchers."""
    for number in range(1, RESEARCHERS + 1):
        home = folder / f"researcher-{number}"
        home.mkdir(parents=True)
        with (home / "1.jsonl").open("w") as file:
            n = 0
            while file.tell() < megabytes * 1e6 / RESEARCHERS:
                n += 1
                call = {"type": "tool_use", "name": "Bash", "input": {"command": f"run {n}"}}
                result = {"type": "tool_result", "content": "a line of output\n" * (n % 120)}
                for kind, block in (("assistant", call), ("user", result)):
                    event = {"type": kind, "message": {"id": f"{kind}{n}", "content": [block]}}
                    file.write(json.dumps(event) + "\n")


def campaign(home: Path, submissions: int, findings: int, megabytes: float) -> Path:
    """A campaign's folder of that size, whose fleet runs as its files say."""
    folder = home / "campaigns" / NAME
    place = CampaignFolder(folder)
    Campaign(name=NAME, researchers=RESEARCHERS).save(folder)
    place.server.root.mkdir()
    ledger, waiting = Ledger(place.server.ledger), []
    for draft in drafts(submissions, findings, Blobs(place.server.blobs)):
        waiting.append(draft)
        if len(waiting) == 500:
            ledger.append_many(waiting)
            waiting = []
    ledger.append_many(waiting)
    ledger.close()
    transcripts(place.transcripts, megabytes)
    fleet().write(folder)
    return folder


def fleet() -> FleetState:
    """What a supervisor says."""
    members = tuple(
        MemberState(name=f"researcher-{n}", direction="d", state="running", incarnation=1)
        for n in range(1, RESEARCHERS + 1)
    )
    now = time.time()
    return FleetState(
        campaign=NAME,
        at=now,
        pid=1,
        ends_at=now + 3600,
        researcher_budget=Budget(),
        campaign_budget=Budget(),
        spent=Spent(),
        members=members,
        services={"gateway": "up"},
    )


# --- a browser ------------------------------------------------------------------------------------


class Client:
    """One connection that is logged in."""

    def __init__(self, port: int, cookie: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._headers = {"Cookie": cookie}

    def get(self, path: str, **headers: str) -> bytes:
        """The body of an answer."""
        self._connection.request("GET", path, headers=self._headers | headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body[:200]!r}")
        return body

    def events(self, path: str) -> Iterator[bytes]:
        """The lines of a stream."""
        self._connection.request("GET", path, headers=self._headers)
        yield from self._connection.getresponse()


def logged_in(link: str) -> tuple[int, str]:
    """Port and cookie, from a login link."""
    address, _, path = link.removeprefix("http://").partition("/")
    port = int(address.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", f"/{path}")
    return port, connection.getresponse().headers["set-cookie"].partition(";")[0]


PAGES = {
    "live": "live?n={n}",
    "live, part": "live?n={n}&part",
    "board": "board?sort=level&show=all&page={page}",
    "board, claims": "board?n={n}",
    "submission": "submission/r-{receipt:06d}?n={n}",
    "researcher": "researcher/researcher-{who}/steps?page={page}",
    "researcher, end": "researcher/researcher-{who}/steps?n={n}",
    "forum": "forum?page={forum}",
    "integrity": "integrity?n={n}",
    "live, in hours": "live?axis=hours&n={n}",
    "live, as it was": "live?at={entry}",
    "confirmations": "confirmations?n={n}",
    "runs": "runs?n={n}",
    "costs": "costs?n={n}",
    "costs, CSV": "costs.csv?n={n}",
    "board, CSV": "board.csv?show=all&n={n}",
    "problem": "problem?n={n}",
}


def timed(
    client: Client, submissions: int, rounds: int
) -> Iterator[tuple[str, float, list[float]]]:
    """For each page the milliseconds of the first answer, and of the others. A transcript is read
    whole when it is first opened: that is a row of its own."""
    rng = random.Random(1)
    opened = [answered(client, f"researcher/researcher-{n + 1}/steps") for n in range(RESEARCHERS)]
    yield "transcript, opened", opened[0], opened[1:]
    for name, form in PAGES.items():
        took = []
        for n in range(rounds + 1):
            path = form.format(
                n=n,
                page=1 + n % 40,
                forum=1 + n % 20,
                receipt=rng.randint(1, submissions),
                entry=rng.randint(1, submissions),
                who=1 + n % RESEARCHERS,
            )
            took.append(answered(client, path))
        yield name, took[0], took[1:]


def answered(client: Client, path: str) -> float:
    """Milliseconds until a page of the campaign is answered."""
    headers = {"aar-part": "main"} if "part" in path else {}
    began = time.perf_counter()
    client.get(f"/campaign/{NAME}/{path}", **headers)
    return 1000 * (time.perf_counter() - began)


def share_of_a_core(
    server: psutil.Process, folder: Path, port: int, cookie: str, s: float
) -> float:
    """Processor time of the server over wall clock, while PAGES_OPEN live pages follow."""

    def follow() -> None:
        reader = Client(port, cookie)
        for row in Client(port, cookie).events(f"/campaign/{NAME}/events"):
            if row.startswith(b"data:"):
                reader.get(f"/campaign/{NAME}/live", **{"aar-part": "main"})

    for _ in range(PAGES_OPEN):
        threading.Thread(target=follow, daemon=True).start()
    time.sleep(3)
    ledger = Ledger(CampaignFolder(folder).server.ledger)
    before, began = server.cpu_times(), time.monotonic()
    while time.monotonic() - began < s:
        ledger.append("spend", "researcher-1", {"wall_s": 1.0})
        fleet().write(folder)
        time.sleep(1)
    after, took = server.cpu_times(), time.monotonic() - began
    return (after.user + after.system - before.user - before.system) / took


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--submissions", type=int, default=10_000)
    parser.add_argument("--findings", type=int, default=2_000)
    parser.add_argument("--megabytes", type=float, default=50.0, help="of transcripts")
    parser.add_argument("--rounds", type=int, default=60, help="answers of each page")
    parser.add_argument("--follow-s", type=float, default=20.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder = campaign(Path(root), given.submissions, given.findings, given.megabytes)
        command = [sys.executable, "-c", SERVE, root]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                port, cookie = logged_in(process.stdout.readline().strip())
                print("page                first, ms   p50, ms   p95, ms")
                for name, first, took in timed(
                    Client(port, cookie), given.submissions, given.rounds
                ):
                    p95 = statistics.quantiles(took, n=20)[-1]
                    print(f"{name:19}{first:10.0f}{statistics.median(took):10.0f}{p95:10.0f}")
                server = psutil.Process(process.pid)
                share = share_of_a_core(server, folder, port, cookie, given.follow_s)
                print(f"{PAGES_OPEN} live pages: {share:.1%} of a core")
                print(f"memory: {server.memory_info().rss / 1e6:.0f} MB")
            finally:
                process.terminate()


if __name__ == "__main__":
    main()
