"""A real HTTP server on loopback that answers as a Messages API would, with the texts or statuses
that it was given."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Played:
    """What was asked, and where."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []


def message(text: str, stop_reason: str = "end_turn") -> dict[str, Any]:
    return {
        "type": "message",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
    }


@contextmanager
def messages_api(*answers: str | int | dict[str, Any]) -> Iterator[Played]:
    """Serve: a text is a message, a number is an error's status, a dictionary is the whole
    answer."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/messages"
            played.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            played.headers.append({k.lower(): v for k, v in self.headers.items()})
            answer = left.pop(0)
            status = answer if isinstance(answer, int) else 200
            found = (
                {"type": "error"}
                if isinstance(answer, int)
                else message(answer)
                if isinstance(answer, str)
                else answer
            )
            data = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    played = Played(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield played
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
