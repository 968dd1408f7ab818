"""A whole campaign by real processes, its supervisor killed with SIGKILL: nothing runs on, and the
next run loses nothing."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from aarlab.core.errors import Transient
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.evaluation.ledger.ledger import Ledger
from tests.processes import children_of, command_of, gone
from tests.waiting import waited_for

pytestmark = pytest.mark.process

AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]
GIVEN = (
    "problem=generated-chat",
    "student=double",
    "minutes=3",
    "experiments=6",
    "researchers=3",
    "confirm=1",
    "name=cut",
)


def entries(folder: Path, kind=None):
    """Of the ledger, read beside whoever writes it."""
    path = folder / "server" / "ledger.sqlite"
    if not path.exists():
        return []
    ledger = Ledger(path, read_only=True)
    try:
        return ledger.entries(kind)
    except Transient:  # it is being made
        return []
    finally:
        ledger.close()


@pytest.fixture
def start():
    """A way to start processes, which are ended with the test."""
    made = []

    def starting(*words, **more):
        made.append(subprocess.Popen(words, **more))
        return made[-1]

    yield starting
    for process in made:
        process.kill()
        process.communicate()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_killed_supervisor_ends_its_fleet_and_the_next_resumes(home, bed, start):
    env = {**os.environ, "AAR_HOME": str(home.root)}
    folder = home.root / "campaigns" / "cut"
    words = [x for w in GIVEN for x in ("--set", w)]
    first = start(
        *AAR, "demo", *words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert waited_for(lambda: len(entries(folder, "submission")) >= 3, 90)
    started = children_of(first.pid)
    for part in (
        "aarlab.evaluation.evaluator_service",
        "aarlab.lab.serve",
        "aarlab.gateway.serve",
        "aarlab.researchers.search",
    ):
        assert any(part in command for command in started.values())
    first.send_signal(signal.SIGKILL)
    first.wait()

    def runs_on():
        return [p for p, command in started.items() if command_of(p) == command and not gone(p)]

    waited_for(lambda: not runs_on(), 30)
    reported = {e.body["receipt"]["id"]: e.body for e in entries(folder, "submission")}
    shared = [e.hash for e in entries(folder, "finding")]

    again = [*AAR, "run", "--resume", "cut"]
    second = start(*again, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert waited_for(
        lambda: any("aarlab.gateway.serve" in c for c in children_of(second.pid).values()), 60
    )
    third = subprocess.run(again, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert third.returncode == 2
    assert f"is being run by process {second.pid}" in third.stderr
    out, err = second.communicate(timeout=200)
    assert second.returncode == 0, err
    assert "resumed:" in out

    found = entries(folder)
    kept = {e.body["receipt"]["id"]: e.body for e in found if e.kind == "submission"}
    assert reported.items() <= kept.items()
    assert set(shared) <= {e.hash for e in found}
    # a confirmation has a second entry, with what its components are worth
    ids = Counter(e.body["id"] for e in found if "id" in e.body and e.kind != "confirmation")
    assert max(ids.values()) == 1, "a row was recorded twice"
    incarnations = Counter(
        (e.who, e.body["incarnation"])
        for e in found
        if e.body.get("event") in {"running", "restarted"}
    )
    assert max(incarnations.values()) == 1, "a incarnation was started twice"
    assert {n for _, n in incarnations} == {1, 2}
    findings = Counter(
        (e.who, e.body["title"], e.body["text"]) for e in found if e.kind == "finding"
    )
    assert max(findings.values()) == 1, "a finding was posted twice"
    for name in ("researcher-1", "researcher-2", "researcher-3"):
        # the one in flight may be repeated
        assert 6 <= sum(e.who == name for e in found if e.kind == "submission") <= 7
        assert (
            sum(e.body.get("wall_s", 0) for e in found if e.kind == "spend" and e.who == name) > 0
        )
    made = audit(Files(folder, bed.folder), load_key(folder / "checkpoints" / "key.pub"))
    assert made.faults == ()
