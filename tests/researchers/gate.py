"""A gate of the tests' own: one unix socket that hands a researcher's requests on, with its token,
as the gateway does."""

import json
import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from urllib.parse import urlsplit

SPENT = {"hours": 0.5, "tokens": 4000, "usd": 0.02, "cpu_hours": 0.1, "device_hours": 0.0}
USAGE = {
    "researcher": "ann",
    "spent": SPENT,
    "budget": {"hours": None, "tokens": None, "usd": 0.05, "cpu_hours": None, "device_hours": None},
    "left": {"hours": None, "tokens": None, "usd": 0.03, "cpu_hours": None, "device_hours": None},
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # a connection is one request; its end is the end of the answer

    def address_string(self) -> str:
        return "a researcher"

    def log_message(self, format, *args) -> None:
        self.server.gate.asked.append(args[0] if args else format)

    def _act(self) -> None:
        gate = self.server.gate
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/usage":
            return self._say(200, gate.usage)
        if fault := gate.fault(self.path):
            return self._say(*fault) if fault != CUT else None
        to_lab = self.path.startswith(("/api/v1/", "/mcp"))
        url = urlsplit(gate.lab if to_lab else gate.model)
        kept = ("content-type", "accept", "x-claude-code-session-id")
        headers = {k: v for k, v in self.headers.items() if k.lower() in kept or not to_lab}
        headers = {
            k: v
            for k, v in headers.items()
            if k.lower() not in ("host", "connection", "accept-encoding")
        }
        headers |= {"Authorization": f"Bearer {gate.token}"} if to_lab else {}
        upstream = HTTPConnection(url.hostname, url.port, timeout=60)
        try:
            upstream.request(self.command, self.path, content or None, headers)
            answer = upstream.getresponse()
            if gate.lose(self.path):
                return None  # it was taken, and its answer is lost
            self.send_response(answer.status)
            for name in ("Content-Type", "Retry-After", "X-Should-Retry"):
                if value := answer.getheader(name):
                    self.send_header(name, value)
            self.end_headers()
            while chunk := answer.read1(65536):
                self.wfile.write(chunk)
                self.wfile.flush()
        except (OSError, HTTPException):
            return None
        finally:
            upstream.close()
        return None

    do_GET = do_POST = _act

    def _say(self, status: int, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address) -> None:
        """A client that went away."""


CUT = (0, {})  # a fault: no answer at all


class Gate:
    """Open within a `with` block. `fault(path)` may answer (status, body) or CUT; `lose(path)`
    drops an answer."""

    def __init__(self, socket: Path, *, lab: str = "", token: str = "", model: str = "") -> None:
        self.socket, self.lab, self.token, self.model = socket, lab, token, model
        self.asked: list[str] = []
        self.usage: dict = USAGE
        self.fault: Callable[[str], tuple[int, dict] | None] = lambda path: None
        self.lose: Callable[[str], bool] = lambda path: False

    def __enter__(self) -> "Gate":
        self.socket.unlink(missing_ok=True)
        self._server = _Server(str(self.socket), _Handler)
        self._server.gate = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.socket.unlink(missing_ok=True)
