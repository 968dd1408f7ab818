"""A lab with a hub and nodes on this machine, each a process with a state folder of its own, as
operators run them: by the command `aar`. Used by experiments and by the tests of nodes."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from aarlab.core.cluster_layout import NodeFolder, NodesFolder
from aarlab.core.records import Record
from aarlab.core.settings import Home
from aarlab.nodes import hub_socket
from aarlab.nodes.messages import (
    Assign,
    AttachCampaign,
    Begin,
    HubStatus,
    Incarnation,
    Reply,
    StandingLimits,
    line_of,
)
from aarlab.researchers.researcher import Options

AAR = (sys.executable, "-c", "from aarlab.cli.main import main; main()")


def aar(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `aar` to its end."""
    return subprocess.run(
        [*AAR, *words], env=_env(home), capture_output=True, text=True, check=False, timeout=300
    )


def _env(home: Path) -> dict[str, str]:
    return os.environ | {"AAR_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "300"}


def _env_of_node(home: Path) -> dict[str, str]:
    """Without what only the lab has: the ways to its ledger and to its snapshots."""
    return {k: v for k, v in _env(home).items() if not k.startswith(("AWS_", "PG"))}


class Running:
    """A command that goes on until it is ended."""

    def __init__(self, env: Mapping[str, str], log: Path, *words: str) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [*AAR, *words],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.log.read_text()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """In order."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            return self.process.wait(300)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class NodesLab:
    """`start` its hub; `join` nodes; `serve` them."""

    def __init__(self, folder: Path, home: Path | None = None) -> None:
        self.folder, self.home, self.port = folder, home or folder / "lab", 0
        self.running: list[Running] = []
        for made in (folder, self.home):
            made.mkdir(parents=True, exist_ok=True)
        self.hub: Running | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            for one in reversed(self.running):
                one.stop()
        finally:  # also where we are interrupted meanwhile
            for one in self.running:
                one.kill()

    @property
    def nodes(self) -> NodesFolder:
        return NodesFolder(Home(self.home).nodes)

    def start(self) -> None:
        """The hub; where it was, if it was started before."""
        log = self.folder / "hub.log"
        words = ("node", "hub", "--listen", f"127.0.0.1:{self.port}")
        self.nodes.address.unlink(missing_ok=True)
        self.hub = self.run(self.home, log, *words)
        until(lambda: self.nodes.address.exists() or self.hub.process.poll() is not None)
        assert self.hub.process.poll() is None, self.hub.said()
        self.port = int(json.loads(self.nodes.address.read_text())["listen"].rpartition(":")[2])

    def run(self, home: Path, log: Path, *words: str) -> Running:
        """Start a command that is ended with the lab."""
        env = _env(home) if home == self.home else _env_of_node(home)
        made = Running(env, log, *words)
        self.running.append(made)
        return made

    def of(self, name: str) -> Path:
        """The state folder of a node."""
        return self.folder / name

    def invite(self, name: str, *more: str) -> list[str]:
        """The words of the line that makes a machine a node."""
        done = aar(self.home, "node", "invite", name, *more)
        assert done.returncode == 0, done.stderr
        return shlex.split(done.stdout)[1:]

    def join(self, name: str) -> NodeFolder:
        """Make it a node."""
        done = aar(self.of(name), *self.invite(name), "--no-serve")
        assert done.returncode == 0, done.stderr
        return NodeFolder(Home(self.of(name)).node)

    def serve(self, name: str, capacity: int = 4) -> Running:
        """Start its agent, and wait until it is connected."""
        words = ("node", "serve", "--capacity", str(capacity))
        made = self.run(self.of(name), self.folder / f"{name}.log", *words)
        until(lambda: self.sees(name) or made.process.poll() is not None)
        assert made.process.poll() is None, made.said()
        return made

    def status(self) -> HubStatus:
        return hub_socket.status(self.nodes)

    def sees(self, name: str) -> bool:
        return any(node.name == name and node.attached for node in self.status().nodes)

    def supervisor(self, campaign: str, homes: Path) -> "Supervisor":
        return Supervisor(self, campaign, homes)


def begin_of(who: Incarnation) -> Begin:
    """An incarnation with nothing to start."""
    return Begin(
        who=who,
        researcher_kind="search",
        options=Options(),
        session="s",
        begun=False,
        ended=None,
        sandbox="bubblewrap",
        limits=StandingLimits(memory_bytes=None, pids=None, cpus=None, disk_bytes=None),
        data="0" * 64,
        brief="0" * 64,
        home=None,
        before=0,
        lineage="0" * 32,
        grace_s=60.0,
        keep_home_s=600.0,
    )


class Supervisor:
    """The connection of a fleet's supervisor to the hub, by hand."""

    def __init__(self, lab: NodesLab, campaign: str, homes: Path) -> None:
        self.campaign, self._sock = campaign, hub_socket.connect(lab.nodes)
        self._sock.sendall(line_of(AttachCampaign(name=campaign, homes=str(homes))))
        self.lines = self._sock.makefile("rb")
        assert Reply.model_validate_json(self.lines.readline()).ok

    def send(self, record: Record) -> None:
        self._sock.sendall(line_of(record))

    def assign(self, node: str, researcher: str, number: int, gate: Path) -> Incarnation:
        """Without anything to start there: the node has no agent in such a test."""
        who = Incarnation(campaign=self.campaign, researcher=researcher, number=number)
        self.send(Assign(node=node, gate=str(gate), files={}, begin=begin_of(who)))
        return who

    def close(self) -> None:
        self.lines.close()
        self._sock.close()


def until(what: Callable[[], bool], within_s: float = 300.0, every_s: float = 0.05) -> None:
    """Wait for it."""
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(every_s)
