"""An attacker of everybody's time: wrong bodies that are dear to refuse, while somebody else asks
for something small."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from aarlab.redteam.served import API, MCP, Served, body, commit, served
from aarlab.redteam.system import SYSTEM, AttackRow, AttackScale, random_labels

MOST_S, MOST_MIB = 0.1, 100.0  # for anybody else's request, and of memory that one request may take
# harmless bodies before; on a busy machine a wait may be so many times the longest of theirs
QUIET, BUSY = 20, 2.0
TRIES = 4  # a wait that the body makes comes back each time; one that the machine makes does not
EVERY_S = 0.005
OPERATORS = (f"{API}/tokens", f"{API}/entries")
BIG = 3_900_000  # bytes: the server takes 4 MiB


class Wrong(NamedTuple):
    """A body that no operation takes."""

    name: str
    path: str
    content: bytes


def _filled(start: str, one: str, end: str) -> bytes:
    """So many `one` as fit; '#' in it is a number."""
    count = BIG // (len(one.replace("#", "000000")) + 1)
    return (start + ",".join(one.replace("#", f"{n:06d}") for n in range(count)) + end).encode()


def wrong_bodies(plain: dict[str, Any]) -> Iterator[Wrong]:
    """For every operation that reads a body; `plain` is a submission that is taken."""
    head = json.dumps(plain | {"predictions": 0})[:-2]
    texts = {
        "answers that are none": _filled(head + '{"1": {', '"q-#": 2', "}}}"),
        "answers that are text": _filled(head + '{"1": {', '"q-#": "1"', "}}}"),
        "seeds": _filled(head + "{", '"#": "0"', "}}"),
        "seeds that are lists": _filled(head + "{", '"#": []', "}}"),
        "fields": _filled(head + "0, ", '"f#": 0', "}"),
        "objects": _filled(head + "[", "{}", "]}"),
        "lists": _filled(head + "[", "[]", "]}"),
        "zeros": _filled(head + "[", "0", "]}"),
        "depth": head.encode() + b"[" * (BIG // 2) + b"]" * (BIG // 2) + b"}",
        "depth that does not end": head.encode() + b'{"1":' * (BIG // 5),
        "a number": head.encode() + b"1" * BIG + b"}",
        "a fraction": head.encode() + b"0." + b"1" * BIG + b"}",
        "escapes": head.encode() + b'"' + b"\\u0031" * (BIG // 6) + b'"}',
        "a string that does not end": head.encode() + b'{"1": "' + b"\\\\" * (BIG // 2),
        "half characters": head.encode() + b'"' + b"\\ud800" * (BIG // 6) + b'"}',
        "noise": bytes(range(128, 256)) * (BIG // 128),
    }
    for name, content in texts.items():
        yield Wrong(f"submission of {name}", f"{API}/submissions", content)
        yield Wrong(f"MCP, {name}", "/mcp", _call(b'"submit_predictions"', content))
    yield Wrong(
        "MCP, a batch", "/mcp", _filled("[", '{"jsonrpc":"2.0","id":#,"method":"ping"}', "]")
    )
    yield Wrong(
        "MCP, parameters",
        "/mcp",
        _filled('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{', '"p#":0', "}}"),
    )
    yield Wrong(
        "code of files", f"{API}/code", _filled('{"family":"other","files":{', '"f#":0', "}}")
    )
    yield Wrong("receipts", f"{API}/findings", _filled('{"receipts":[', '"#"', "]}"))
    yield Wrong("an idea of fields", f"{API}/similar", _filled("{", '"f#":0', "}"))
    yield Wrong("a request of fields", f"{API}/requests", _filled("{", '"f#":0', "}"))
    yield Wrong("an archive of nothing", f"{API}/snapshots?family=other", b"\x1f\x8b" + bytes(BIG))
    yield Wrong("a token of fields", f"{API}/tokens", _filled("{", '"f#":0', "}"))
    yield Wrong(
        "an entry of fields", f"{API}/entries", _filled('{"kind":"spend","body":{', '"f#":0', "}}")
    )
    yield Wrong("a query", f"{API}/findings?" + "&".join(f"q{n}=%FF" for n in range(6_000)), b"")


def _call(tool: bytes, arguments: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%s,"arguments":%s}}' % (
        tool,
        arguments,
    )


class Pinger:
    """Somebody else, who asks for something small every few milliseconds."""

    def __init__(self, client: httpx.Client) -> None:
        self._client, self._end = client, threading.Event()
        self._thread = threading.Thread(target=self._ping)
        self.longest_s = 0.0

    def __enter__(self) -> "Pinger":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join()

    def _ping(self) -> None:
        while not self._end.wait(EVERY_S):
            started = time.perf_counter()
            self._client.get(f"{API}/problem").raise_for_status()
            self.longest_s = max(self.longest_s, time.perf_counter() - started)


def measured(
    server: Served, sent: Wrong, eve: httpx.Client, quiet: httpx.Client
) -> tuple[int, float, float]:
    """(status, longest answer to somebody else in s, MiB by which the server's memory rose at
    most)."""
    status = Path(f"/proc/{server.pid}/status")
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak begins anew
    before = _kib(status, "VmRSS")
    headers = MCP if sent.path == "/mcp" else {}
    with Pinger(quiet) as pinger:
        time.sleep(4 * EVERY_S)
        said = eve.post(
            sent.path, content=sent.content, headers={"Content-Type": "application/json", **headers}
        )
        time.sleep(4 * EVERY_S)
    return said.status_code, pinger.longest_s, (_kib(status, "VmHWM") - before) / 1024


def judged(
    server: Served, sent: Wrong, eve: httpx.Client, quiet: httpx.Client
) -> tuple[int, float, float]:
    """The shortest of some tries, as soon as one is short enough."""
    found = measured(server, sent, eve, quiet)
    for _ in range(TRIES - 1):
        if found[1] > MOST_S:
            found = min(found, measured(server, sent, eve, quiet), key=lambda one: one[1])
    return found


def _kib(status: Path, name: str) -> int:
    return next(
        int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name)
    )


@SYSTEM.add("wrong bodies that stall the server")
def stall(folder: Path, scale: AttackScale) -> AttackRow:
    """One submission of 3.8 MiB whose every answer was wrong once stood in everybody's way for 10
    s, and took 800 MB."""
    with served(folder, random_labels(scale)) as server, server.client(server.token("eve")) as eve:
        plain = body(commit(eve), random_labels(scale, 1))
        with server.client(server.token("ann")) as ann:
            harmless = Wrong("nothing", f"{API}/similar", b'{"text": "x"}')
            quiet_s = max(measured(server, harmless, eve, ann)[1] for _ in range(QUIET))
            found = {
                sent.name: judged(server, sent, server.http if sent.path in OPERATORS else eve, ann)
                for sent in wrong_bodies(plain)
            }
    slowest, largest = max(found, key=lambda n: found[n][1]), max(found, key=lambda n: found[n][2])
    longest_s, most_MiB = found[slowest][1], found[largest][2]
    return AttackRow(
        attack="wrong bodies that stall the server",
        tried=(
            f"{len(found)} bodies of up to {BIG / 1e6:.1f} MB, for every operation that reads one "
            "and for MCP"
        ),
        came_back=(
            f"the longest wait of somebody else: {1e3 * longest_s:.0f} ms ({slowest}); the most "
            f"memory: {most_MiB:.0f} MiB ({largest})"
        ),
        held=longest_s <= max(MOST_S, BUSY * quiet_s)
        and most_MiB <= MOST_MIB
        and all(status < 500 for status, _, _ in found.values()),
        evidence=f"statuses {sorted({status for status, _, _ in found.values()})}; allowed: "
        f"{1e3 * MOST_S:.0f} ms "
        f"or {BUSY:g} times the longest wait beside harmless bodies, {1e3 * quiet_s:.0f} ms; "
        f"{MOST_MIB:.0f} MiB",
    )
