"""Starts the fleet, watches it, restarts what crashes, stops it at the budget. What was spent goes into the ledger."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aarlab.fleet.campaign import Campaign
from aarlab.fleet.code_mode import CodeWorker
from aarlab.fleet.directions import direction
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.researchers.kinds import RESEARCHERS
from aarlab.researchers.researcher import BRIEF, DATA, HOME, LAB_SOCKET, Brief, Inside
from aarlab.runs.engine import MakeSandbox
from aarlab.runs.testbed import Testbed
from aarlab.sandbox.sandbox import Mount, Sandbox, SandboxSpec

MAX_RESTARTS = 5
TICK_S, SPEND_EVERY_S = 0.5, 10.0
ENV = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}


@dataclass
class Member:
    """One researcher of the fleet while it runs."""

    brief: Brief
    sandbox: Sandbox
    argv: list[str]
    log: Path
    process: subprocess.Popen | None = None
    restarts: int = 0
    charged_until: float = 0.0
    status: str = "waiting"


Watch = Callable[[list[Member], float], None]  # (members, seconds left): called at every tick


class Fleet:
    """The researchers of one campaign. `run` returns when all have ended or the budget is spent."""

    def __init__(self, campaign: Campaign, folder: Path, testbed: Testbed, make_sandbox: MakeSandbox, *, sockets: Path) -> None:
        self.campaign, self.folder, self.testbed = campaign, folder, testbed
        self.make_sandbox, self.sockets = make_sandbox, sockets
        self.names = [f"researcher-{n + 1}" for n in range(campaign.researchers)]

    def socket(self, name: str) -> Path:
        """The host's end of one researcher's unix socket."""
        return self.sockets / f"{name}.sock"

    def enrol(self, evaluator: EvaluatorProcess) -> list[Member]:
        """Prepare each researcher's home, token and sandbox. A fresh start gets a fresh token; the old one dies."""
        return [self._enrol(evaluator, number, name) for number, name in enumerate(self.names)]

    def _enrol(self, evaluator: EvaluatorProcess, number: int, name: str) -> Member:
        home, told = self.folder / "work" / name, self.folder / "briefs" / name
        for folder in (home, told):
            folder.mkdir(parents=True, exist_ok=True)
        start = direction(number, directed=self.campaign.directed)
        brief = Brief(
            name=name,
            direction=start.prompt,
            family=start.family,
            seed=self.campaign.seed * 1000 + number,
            experiments=self.campaign.experiments,
            mode=self.campaign.mode,
        )
        RESEARCHERS[self.campaign.kind].prepare(told, brief)
        token = evaluator.call("POST", "/tokens", {"name": name})["token"]
        (told / "token").write_text(token)  # never into its home: a link that it left there would be followed
        mounts = (
            Mount(self.testbed.public, DATA),
            Mount(told, BRIEF),
            Mount(home, HOME, writable=True),
            Mount(self.socket(name), LAB_SOCKET),
        )
        sandbox = self.make_sandbox(SandboxSpec(name=name, mounts=mounts, env=ENV | {"HOME": HOME}, workdir=HOME))
        inside = Inside(brief=sandbox.inside(BRIEF), data=sandbox.inside(DATA), socket=sandbox.inside(LAB_SOCKET))
        argv = RESEARCHERS[self.campaign.kind].command(inside)
        return Member(brief, sandbox, argv, self.folder / "logs" / f"{name}.log")

    def run(self, evaluator: EvaluatorProcess, seconds: float, watch: Watch, worker: CodeWorker | None = None) -> None:
        """Run all researchers for at most `seconds`, and in code mode their code. Interrupts stop them cleanly and keep
        all that they did."""
        members = self.enrol(evaluator)
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                running = [m for m in members if self._tend(evaluator, m)]
                watch(members, max(0.0, deadline - time.monotonic()))
                if worker:
                    worker.step()
                if not running:
                    break
                for member in running:
                    if time.monotonic() - member.charged_until >= SPEND_EVERY_S:
                        self._charge(evaluator, member)
                time.sleep(TICK_S)
        finally:
            for member in members:
                self._stop(evaluator, member)
            if worker:
                worker.finish()

    def _tend(self, evaluator: EvaluatorProcess, member: Member) -> bool:
        """Start it if it does not run and may; True while it is alive."""
        if member.status in {"finished", "gave up"}:
            return False
        code = member.process.poll() if member.process else None
        if code is not None:
            self._charge(evaluator, member)
        if member.process and code is None:
            return True
        if code == 0:
            self._note(evaluator, member, "finished", code)
            return False
        if member.restarts > MAX_RESTARTS:
            self._note(evaluator, member, "gave up", code)
            return False
        self._start(evaluator, member, code)
        return True

    def _start(self, evaluator: EvaluatorProcess, member: Member, code: int | None) -> None:
        member.log.parent.mkdir(parents=True, exist_ok=True)
        self._note(evaluator, member, "running" if code is None else "restarted", code)
        member.restarts += 1
        member.charged_until = time.monotonic()
        member.process = member.sandbox.start(member.argv, member.log)

    def _note(self, evaluator: EvaluatorProcess, member: Member, status: str, code: int | None) -> None:
        member.status = status
        body = {"event": status, "returncode": code, "direction": member.brief.direction}
        evaluator.call("POST", "/entries", {"kind": "researcher", "who": member.brief.name, "body": body})

    def _charge(self, evaluator: EvaluatorProcess, member: Member) -> None:
        """Charge a researcher for the time since it was last charged."""
        now = time.monotonic()
        seconds, member.charged_until = round(now - member.charged_until, 3), now
        body = {"wall_s": seconds, "usd": self._usd(seconds)}
        evaluator.call("POST", "/entries", {"kind": "spend", "who": member.brief.name, "body": body})

    def _usd(self, seconds: float) -> float | None:
        rate = self.campaign.usd_per_researcher_hour
        return None if rate is None else rate * seconds / 3600

    def _stop(self, evaluator: EvaluatorProcess, member: Member) -> None:
        if member.process and member.process.poll() is None:
            member.process.terminate()
            try:
                member.process.wait(5)
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()
        if member.status in {"running", "restarted"}:
            self._charge(evaluator, member)
            member.status = "stopped"
        member.sandbox.close()
