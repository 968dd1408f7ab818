"""A small world for real agents: the evaluator's server on a small problem, a scripted model API, a
gate, and `inside`."""

import json
import os
import subprocess
import sys
import time
import uuid
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import yaml

from aarlab.core.parent_pipe import ParentPipe
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.researchers.kinds import RESEARCHERS
from aarlab.researchers.researcher import Brief, Ended, IncarnationStart, Inside, Options
from tests.researchers.gate import Gate

ROOT = Path(__file__).parents[2]

# the CLI refuses to work unattended as root elsewhere
ALONE = {"IS_SANDBOX": "1"} if os.geteuid() == 0 else {}


class ScriptedApi:
    """The scripted model API as a process, within a `with` block."""

    def __init__(
        self, place: Path, script: dict | Path, module: str = "aarlab.researchers.scripted_api"
    ) -> None:
        self._place, self._parent_pipe = place, ParentPipe()
        if isinstance(script, dict):
            path = place / "script.yaml"
            path.write_text(yaml.safe_dump(script))
            script = path
        words = [
            "--script",
            str(script),
            "--address",
            str(place / "address.json"),
            "--parent-pipe",
            str(self._parent_pipe.fd),
        ]
        argv = [sys.executable, "-m", module, *words]
        self.process = subprocess.Popen(argv, pass_fds=[self._parent_pipe.fd], cwd=ROOT)
        self._parent_pipe.close_child_end()

    def __enter__(self) -> "ScriptedApi":
        deadline = time.monotonic() + 30
        while not (self._place / "address.json").exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.url = json.loads((self._place / "address.json").read_text())["url"]
        return self

    def __exit__(self, *exc: object) -> None:
        self._parent_pipe.close()
        self.process.wait(20)


class World(AbstractContextManager):
    """One researcher and all that it needs, outside of a sandbox."""

    def __init__(
        self,
        bed,
        place: Path,
        script: dict | Path,
        *,
        kind: str = "scripted",
        options: Options | None = None,
    ) -> None:
        self.bed, self.place = bed, place
        self.home, self.brief = place / "home", place / "brief"
        for folder in (self.home, self.brief):
            folder.mkdir()
        self.kind = RESEARCHERS[kind](options or Options())
        self._stack = ExitStack()
        self._script, self.session, self.incarnations = script, str(uuid.uuid4()), 0
        self.reported = Brief(
            name="ann",
            direction="Look.",
            family=None,
            seed=1,
            experiments=5,
            prompt="You are ann. Begin.",
        )

    def __enter__(self) -> "World":
        server = EvaluatorProcess(self.bed.folder, self.place / "campaign", policy="default")
        self.server = self._stack.enter_context(server)
        token = self.server.call("issue_token", {"name": "ann"})["token"]
        self.api = self._stack.enter_context(ScriptedApi(self.place, self._script))
        gate = Gate(
            self.place / "lab.sock",
            lab=str(self.server._http.base_url),
            token=token,
            model=self.api.url,
        )
        self.gate = self._stack.enter_context(gate)
        self.kind.require()
        self.kind.prepare(self.brief, self.reported)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def begin(self, ended: Ended | None = None, **env: str) -> subprocess.Popen:
        """Start the next incarnation; its output is `log(n)`."""
        self.incarnations += 1
        inside = Inside(
            home=str(self.home),
            brief=str(self.brief),
            data=str(self.bed.public),
            socket=str(self.gate.socket),
        )
        incarnation = IncarnationStart(
            incarnation=self.incarnations,
            session=self.session,
            begun=self.incarnations > 1,
            ended=ended,
        )
        launch = self.kind.launch(inside, incarnation)
        argv = [
            sys.executable,
            "-m",
            "aarlab.researchers.inside",
            "--socket",
            str(self.gate.socket),
            "--",
            *launch.argv,
        ]
        with self.log(self.incarnations).open("wb") as log:
            pipes = {"stdin": subprocess.PIPE, "stdout": log, "stderr": subprocess.STDOUT}
            return subprocess.Popen(
                argv, cwd=self.home, env={"LANG": "C.UTF-8", **launch.env, **ALONE, **env}, **pipes
            )

    def live(self, ended: Ended | None = None, **env: str) -> tuple[int, Ended]:
        """One whole incarnation: its exit status, and how its kind says that it ended."""
        with self.begin(ended, **env) as process:
            process.wait(100)
        return process.returncode, self.how(process.returncode)

    def how(self, returncode: int) -> Ended:
        return self.kind.ended(returncode, self.log(self.incarnations).read_text()[-65_536:])

    def log(self, incarnation: int) -> Path:
        return self.place / f"{incarnation:03d}.jsonl"

    def events(self, incarnation: int = 1) -> list[dict]:
        lines = self.log(incarnation).read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def calls(self, incarnation: int = 1) -> list[str]:
        """The tools that were called, in order."""
        seen = {}
        for event in self.events(incarnation):
            if event["type"] == "assistant":
                seen |= {
                    b["id"]: b["name"]
                    for b in event["message"]["content"]
                    if b["type"] == "tool_use"
                }
        return list(seen.values())

    def findings(self) -> list[dict]:
        return self.gate and self.server.call("list_findings")["findings"]

    def submissions(self) -> int:
        return self.server.call("operator_board")["submissions"]
