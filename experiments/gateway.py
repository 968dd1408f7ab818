"""What the gateway adds to a model call, and what memory it has: the same calls, straight to the
API and through the gateway.

Run: `python experiments/gateway.py`. The API answers at once, so the difference is the gateway's
own: reading and checking a request as large as the real CLI's (53 KB), two or three synced writes
of the journal, and passing the answer on. No test asserts a time; figures go into LOG.md.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import multiprocessing
import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aarlab.fleet.gateway_process import GatewayProcess
from aarlab.gateway.config import GatewayConfig, Provider
from aarlab.gateway.journal import Journal

MODEL = "claude-opus-4-6"
EVENTS = 200  # of a streamed answer
USAGE = {
    "input_tokens": 3,
    "cache_creation_input_tokens": 500,
    "cache_read_input_tokens": 12_000,
    "output_tokens": 2,
}
RESEARCHERS = 100


# --- an API that answers at once ------------------------------------------------------------------


def answers() -> tuple[bytes, bytes]:
    """A whole answer and a streamed one, as they go over the wire."""
    body = json.dumps(
        {
            "type": "message",
            "model": MODEL,
            "content": [{"type": "text", "text": "x" * 2_000}],
            "usage": USAGE,
        }
    )
    whole = (
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
        f"{len(body)}\r\n\r\n{body}"
    ).encode()
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"model": MODEL, "usage": USAGE}}
    ]
    delta = {"type": "text_delta", "text": "about four tokens"}
    events += [{"type": "content_block_delta", "index": 0, "delta": delta}] * EVENTS
    events += [
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 800},
        }
    ]
    events += [{"type": "message_stop"}]
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    sent = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
    return whole, head + b"".join(
        b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in sent
    ) + b"0\r\n\r\n"


def api(pipe: Any) -> None:
    """The process; it says its port."""
    whole, stream = answers()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):  # the client has ended
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                writer.write(stream if b'"stream":true' in body else whole)
                await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(connection, "127.0.0.1", 0, limit=1 << 20)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def running_api() -> Iterator[int]:
    """Its port."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=api, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


# --- calls ----------------------------------------------------------------------------------------


class Through(http.client.HTTPConnection):
    """A connection to a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("gateway")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def ask(stream: bool) -> bytes:
    """A request of the real CLI's size."""
    messages = [{"role": "user", "content": [{"type": "text", "text": "word " * 10_000}]}]
    body = {"model": MODEL, "max_tokens": 1_000, "messages": messages, "stream": stream}
    return json.dumps(body, separators=(",", ":")).encode()


def timed(
    connections: list[http.client.HTTPConnection], body: bytes, calls: int
) -> tuple[list[float], float]:
    """Milliseconds of each call, and calls a second over all connections, one thread each."""
    took: list[float] = []
    gate = threading.Barrier(len(connections) + 1)

    def client(connection: http.client.HTTPConnection) -> None:
        mine = []
        for number in range(calls // len(connections) + 3):
            if number == 3:  # the first ones warm up
                gate.wait()
            began = time.perf_counter()
            connection.request("POST", "/v1/messages", body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            if reply.status != 200 or not reply.read():
                raise SystemExit(f"The call was answered with {reply.status}.")
            if number >= 3:
                mine.append(1e3 * (time.perf_counter() - began))
        took.extend(mine)

    threads = [threading.Thread(target=client, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return took, len(took) / (time.perf_counter() - began)


def large() -> bytes:
    """A request of some 9.6 MB in a hundred thousand messages, which takes long to read."""
    message = {"role": "user", "content": "word " * 13}
    body = {"model": MODEL, "max_tokens": 1_000, "messages": [message] * 100_000}
    return json.dumps(body, separators=(",", ":")).encode()


@contextmanager
def sending(folders: list[Path], body: bytes) -> Iterator[list[int]]:
    """Somebody sends this through each socket, again and again; the statuses of the answers."""
    done, statuses = threading.Event(), []

    def client(folder: Path) -> None:
        connection = Through(folder / "lab.sock")
        while not done.is_set():
            connection.request("POST", "/v1/messages", body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            reply.read()
            statuses.append(reply.status)

    threads = [threading.Thread(target=client, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        done.set()
        for thread in threads:
            thread.join()


def beside(folders: list[Path], calls: int) -> Iterator[str]:
    """How long the calls of one researcher take while others send what is large."""
    body = large()
    yield f"beside   answered  p50 ms  p99 ms  worst ms   ({len(body) / 1e6:.1f} MB each)"
    for others in (0, 1, 4):
        with sending(folders[1 : 1 + others], body) as statuses:
            took, _ = timed([Through(folders[0] / "lab.sock")], ask(False), calls)
        p99 = statistics.quantiles(took, n=100)[-1]
        yield (
            f"{others:6d} {len(statuses):10d} {statistics.median(took):7.1f} {p99:7.1f} "
            f"{max(took):9.1f}   {sorted(set(statuses))}"
        )


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident now and at most."""
    lines = dict(
        line.split(":")
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("Vm")
    )
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024


def compared(port: int, folders: list[Path], pid: int, calls: int) -> Iterator[str]:
    """One line for each kind of call and number of clients."""
    yield "answer   clients  direct p50  through p50  adds ms     x   per s  CPU ms"
    for name, stream in (("whole", False), ("stream", True)):
        for clients in (1, 8):
            body = ask(stream)
            direct, _ = timed(
                [http.client.HTTPConnection("127.0.0.1", port) for _ in range(clients)], body, calls
            )
            used = cpu_s(pid)
            through, rate = timed(
                [Through(folder / "lab.sock") for folder in folders[:clients]], body, calls
            )
            used = 1e3 * (cpu_s(pid) - used) / len(through)
            d, t = statistics.median(direct), statistics.median(through)
            yield (
                f"{name:8s} {clients:7d} {d:11.2f} {t:12.2f} {t - d:8.2f} {t / d:5.1f} {rate:7.0f} "
                f"{used:7.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=400, help="of each kind")
    a = parser.parse_args()
    say: Callable[[str], None] = print
    with tempfile.TemporaryDirectory() as place, running_api() as port:
        campaign, sockets = Path(place) / "campaign", Path(place) / "s"
        campaign.mkdir()
        config = GatewayConfig(
            models=(MODEL,), providers=(Provider(name="anthropic", url=f"http://127.0.0.1:{port}"),)
        )
        began = time.perf_counter()
        with GatewayProcess(
            campaign, config, sockets=sockets, keys={"AAR_KEY_ANTHROPIC": "key"}
        ) as gateway:
            started = time.perf_counter() - began
            pid = json.loads(gateway.address.read_text())["pid"]
            say(f"starts in {started:.2f} s; {memory_mb(pid)[0]:.0f} MB")
            began = time.perf_counter()
            folders = [gateway.admit(f"r{n}", 1, "token") for n in range(RESEARCHERS)]
            opened = 1e3 * (time.perf_counter() - began) / RESEARCHERS
            say(
                f"{RESEARCHERS} researchers' sockets, {opened:.1f} ms each; "
                f"{memory_mb(pid)[0]:.0f} MB"
            )
            for line in (*compared(port, folders, pid, a.calls), *beside(folders, a.calls)):
                say(line)
            say("after it all: {:.0f} MB, at most {:.0f} MB".format(*memory_mb(pid)))
        journal = Journal(campaign / "gateway" / "journal.sqlite")
        say(f"metered: {journal.spent(None).tokens:,} tokens, ${journal.spent(None).usd:.2f}")
        journal.close()


if __name__ == "__main__":
    main()
