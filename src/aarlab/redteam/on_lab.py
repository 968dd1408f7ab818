"""An attacker that has taken over the lab's process: its code runs where the lab runs, and wants
what the evaluator has."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from aarlab.core.layout import CampaignFolder, TestbedFolder
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.redteam.on_evaluator import flipped, same_seeds
from aarlab.redteam.served import API, POLICY, Served, body, commit
from aarlab.redteam.system import SYSTEM, AttackRow, AttackScale, random_labels, write_problem
from aarlab.sandbox.bubblewrap import ENV

# of redteam.inside
PROGRAMS = ("guessed paths", "environments and command lines", "memory of others")
MARK = 40  # bytes of a file by which it is known again; two files of SQLite begin alike
ASK = """
import json, socket, sys
for call, token, body in json.loads(sys.argv[2]):
    with socket.socket(socket.AF_UNIX) as asking, asking.makefile("rb") as answers:
        asking.settimeout(20)
        asking.connect(sys.argv[1])
        line = {"number": 1, "size": len(body), "call": call, "token": token}
        asking.sendall(json.dumps(line).encode() + b"\\n" + body.encode())
        outcome = json.loads(answers.readline())
        said = answers.read(outcome["size"]).decode()
        print(json.dumps([call, outcome.get("error"), said]))
"""
GUESSED = "0" * 64  # the hash of no token
ASKED = (
    ("labels", None, "{}"),
    ("accuracy", None, '{"snapshot": "x"}'),
    ("predictions", None, "{}"),
    ("released", None, '{"after": 0}'),
    ("operator_board", GUESSED, ""),
    ("operator_board", None, "{}"),
    ("add_entry", GUESSED, '{"kind": "spend", "who": "eve", "body": {"wall_s": 1}}'),
    ("submit_predictions", GUESSED, "{}"),
)
ANSWERED = {"released"}  # of ASKED: what a lab may know


@SYSTEM.add("a compromised lab process")
def compromised_lab(folder: Path, scale: AttackScale) -> AttackRow:
    """Labels, meter, ledger and secrets were once in the process that parses what researchers
    send."""
    labels_M, rng = random_labels(scale), np.random.default_rng(scale.seed)
    problem, campaign = write_problem(folder / "problem", labels_M), same_seeds(folder)
    with EvaluatorProcess(problem, campaign, policy=POLICY) as process, Served(process) as server:
        with server.client(server.token("eve")) as eve:
            eve.post(
                f"{API}/submissions", json=body(commit(eve), flipped(labels_M, 0.3, rng))
            ).raise_for_status()
        private, own = TestbedFolder(problem), CampaignFolder(campaign).server
        files = {
            "labels": private.answers,
            "scales": private.stated_anchors,
            "meter": private.meter,
            "ledger": own.ledger,
            "secret": own.secret,
            "tokens": own.tokens,
            "operator's token": own.operator_token,
            "evaluator's log": own.evaluator_log,
        }
        own.evaluator_log.write_text("what the evaluator alone may know\n")
        taken, control = (_taken(process, files, apart=apart) for apart in (True, False))
        answers = _asked(process)
        apart = process.apart
    ledger = Ledger(own.ledger, read_only=True)
    exact = [e for e in ledger.entries("submission") if "exact_accuracy" in e.body]
    ledger.close()
    answered = {call for call, error, _ in answers if error is None}
    with_exact = [said for *_, said in answers if "exact" in said]
    return AttackRow(
        attack="a compromised lab process",
        tried=(
            f"code where the lab's process runs: {len(files)} files by path and through /proc, "
            f"the evaluator's environment, open files and memory, ptrace; then {len(ASKED)} calls "
            "on its socket, without a token or with a guessed one"
        ),
        came_back=(
            f"read: {', '.join(taken) or 'nothing'}; answered: {', '.join(sorted(answered))}, "
            f"{len(with_exact)} times with an exact score"
        ),
        held=not taken
        and files.keys() <= set(control)
        and bool(exact)
        and not with_exact
        and answered <= ANSWERED,
        evidence=(
            f"the lab is apart by {apart}; the same code as the evaluator's user reads: "
            f"{', '.join(control) or 'nothing'}"
        ),
    )


def _taken(process: EvaluatorProcess, files: dict[str, Path], *, apart: bool) -> list[str]:
    """What the programs get hold of: where the lab runs, or (not `apart`) as the evaluator's
    user."""
    victim = process.evaluator.pid
    hints = {
        "confined": not apart,
        "home": "/tmp",
        "paths": [str(path) for path in files.values()],
        "victim": victim,
    }
    said = [
        _run(process, ["-m", "aarlab.redteam.inside", name, json.dumps(hints)], apart=apart)
        for name in PROGRAMS
    ]
    found = [
        name
        for name, path in files.items()
        if any(f"{path} {_mark(path)}" in text for text in said)
    ]
    found += ["the evaluator's environment"] * any(f"\n{victim} environ" in text for text in said)
    return found + ["the evaluator's memory"] * any(
        "read memory of" in t or "attached to" in t for t in said
    )


def _mark(path: Path) -> str:
    """How a file's beginning looks when a program says it."""
    with path.open("rb") as file:
        text = file.read(MARK).decode("utf-8", "replace")
    return text.replace("\0", " ").replace("\n", " ").replace("\r", " ").rstrip()


def _asked(process: EvaluatorProcess) -> list[tuple[str, str | None, str]]:
    """(call, error or None, what was said) of each of ASKED."""
    said = _run(process, ["-c", ASK, str(process.evaluator.address), json.dumps(ASKED)], apart=True)
    answers = [tuple(json.loads(line)) for line in said.splitlines() if line.startswith("[")]
    assert len(answers) == len(ASKED), said
    return answers


def _run(process: EvaluatorProcess, words: list[str], *, apart: bool) -> str:
    """What a program of Python's prints."""
    with ExitStack() as files:
        argv = [sys.executable, *words]
        command, fds = process.lab.inside(argv, files) if apart else (argv, [])
        done = subprocess.run(
            command, pass_fds=fds, env=ENV, capture_output=True, text=True, check=False, timeout=120
        )
    assert done.returncode == 0, done.stderr  # an attack that does not run shows nothing
    return f"\n{done.stdout}"
