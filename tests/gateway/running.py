"""A gateway as the supervisor runs it: the real process, with its pipe, spoken to over its unix
sockets."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from aarlab.core.budget import Budget
from aarlab.core.parent_pipe import ParentPipe
from aarlab.gateway.config import GatewayConfig, Provider, TokenPrices
from aarlab.gateway.journal import Journal
from aarlab.gateway.journal_rows import JournalRow
from tests.waiting import waited_for

KEY = "sk-ant-api03-THE-SECRET-KEY-0123456789"
FREE = Budget()
ASK = {
    "model": "claude-opus-4-6",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello."}],
}


class Running:
    """One campaign's gateway; `start` it, `kill` it, start it again."""

    def __init__(
        self,
        campaign: Path,
        url: str,
        *,
        each: Budget = FREE,
        all_: Budget = FREE,
        proxy: str | None = None,
        prices: TokenPrices | None = None,
        models: tuple[str, ...] = ("claude-opus-4-6", "gpt-5.1", "gemini-3.1-pro-preview"),
    ) -> None:
        """`prices`: those of a server of the operator's own, which has no key."""
        self.campaign = campaign
        self.sockets = Path(tempfile.mkdtemp(prefix="gw-"))
        names = ("anthropic", "openai", "google")
        providers = tuple(
            Provider(name=name, url=url, proxy=proxy, prices=prices)  # type: ignore[arg-type]
            for name in names
        )
        self._keyless = prices is not None
        config = GatewayConfig(
            models=models, providers=providers, researcher_budget=each, campaign_budget=all_
        )
        campaign.mkdir(parents=True, exist_ok=True)
        (campaign / "config.json").write_text(config.model_dump_json())
        self.folders: dict[str, Path] = {}
        self._clients: list[httpx.Client] = []

    def __enter__(self) -> "Running":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for client in self._clients:
            client.close()
        self.parent_pipe.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.sockets, ignore_errors=True)

    @property
    def address(self) -> Path:
        return self.campaign / "gateway" / "address.json"

    @property
    def log(self) -> str:
        return (self.campaign / "gateway.log").read_text()

    def start(self) -> None:
        self.address.unlink(missing_ok=True)
        self.parent_pipe = ParentPipe()
        argv = [sys.executable, "-m", "aarlab.gateway.serve", "--campaign", str(self.campaign)]
        argv += ["--config", str(self.campaign / "config.json"), "--sockets", str(self.sockets)]
        names = () if self._keyless else ("ANTHROPIC", "OPENAI", "GOOGLE")
        keys = {f"AAR_KEY_{name}": KEY for name in names}
        with (self.campaign / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*argv, "--parent-pipe", str(self.parent_pipe.fd)],
                env={"PATH": os.defpath, **keys},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self.parent_pipe.fd],
                start_new_session=True,
            )
        self.parent_pipe.close_child_end()
        waited_for(lambda: self.address.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.parent_pipe.close()

    def control(self, verb: str, path: str, body: object = None) -> httpx.Response:
        control = json.loads(self.address.read_text())["control"]
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=control), base_url="http://gateway", timeout=20
        ) as client:
            return client.request(verb, path, json=body)

    def admit(self, name: str, incarnation: int = 1) -> Path:
        answer = self.control(
            "PUT", f"/members/{name}", {"incarnation": incarnation, "token": f"token-of-{name}"}
        )
        assert answer.status_code == 200, answer.text
        self.folders[name] = Path(answer.json()["folder"])
        return self.folders[name]

    def inside(self, name: str, folder: Path | None = None) -> httpx.Client:
        """What a program in this researcher's sandbox has."""
        path = (folder or self.folders.get(name) or self.admit(name)) / "lab.sock"
        transport = httpx.HTTPTransport(uds=str(path), limits=httpx.Limits(max_connections=None))
        client = httpx.Client(transport=transport, base_url="http://127.0.0.1:8000", timeout=30)
        self._clients.append(client)
        return client

    def raw(self, name: str, sent: bytes) -> bytes:
        """Bytes as they are, and all that comes back until the gateway ends the connection or is
        silent for a second."""
        folder = self.folders.get(name) or self.admit(name)
        with socket.socket(socket.AF_UNIX) as unix:
            unix.settimeout(1.0)
            unix.connect(str(folder / "lab.sock"))
            unix.sendall(sent)
            got = b""
            try:
                while chunk := unix.recv(1 << 16):
                    got += chunk
            except (TimeoutError, ConnectionResetError):
                pass
            return got

    def journal(self) -> Journal:
        return Journal(self.campaign / "gateway" / "journal.sqlite")

    def spends(self, who: str | None = None) -> list[JournalRow]:
        """What is recorded of model calls."""
        journal = self.journal()
        rows = [
            row
            for row in journal.unposted(100_000)
            if row.kind == "spend" and who in (None, row.who)
        ]
        journal.close()
        return rows

    def failing(self, who: str) -> bool:
        journal = self.journal()
        since = journal.failing_since(who)
        journal.close()
        return since is not None

    def open_calls(self) -> int:
        journal = self.journal()
        calls = journal.in_flight(None).calls
        journal.close()
        return calls
