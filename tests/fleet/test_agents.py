"""Nine real Claude Code CLIs at once, in bubblewrap, through the gateway and the bridge, driven by
the scripted model API.

One of them, the gateway and the server are killed with SIGKILL meanwhile; all end at their budgets.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.fleet.state import read_state
from aarlab.researchers.claude_code import bundled_cli
from tests.faults.test_kill_fleet import entries
from tests.processes import children_of
from tests.waiting import waited_for

AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]
NINE = tuple(f"researcher-{n}" for n in range(1, 10))
# One round costs about 0.5. Whoever is killed pays for calls that are lost: there is money for two
# rounds and more.
USD, ROUND = 1.4, 0.6
GIVEN = (
    "problem=generated-chat",
    "student=double",
    "kind=scripted",
    "minutes=6",
    "confirm=1",
    f"budget={{usd: {USD}}}",
    "usd_per_researcher_hour=0.0",
    "name=agents",
)


def pid_of(ancestor: int, program: str) -> int | None:
    """A process below one of ours that is this program or Python module."""
    found = [
        pid
        for pid, line in children_of(ancestor).items()
        if program in (*line.split()[:1], *line.split()[2:3])
    ]
    return min(found, default=None)


@pytest.fixture(scope="module")
def campaign(module_home, module_bed):
    """(folder, what was killed): the campaign, run once."""
    env = {**os.environ, "AAR_HOME": str(module_home.root)}
    folder = module_home.root / "campaigns" / "agents"
    words = [x for w in GIVEN for x in ("--set", w)]
    process = subprocess.Popen(
        [*AAR, "demo", *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    killed = []
    try:
        for words, after in (
            (str(bundled_cli()), 1),
            ("aarlab.gateway.serve", 2),
            ("aarlab.evaluation.evaluator_service", 4),
        ):
            assert waited_for(
                lambda after=after: (
                    len(entries(folder, "code")) >= after or process.poll() is not None
                ),
                150,
            )
            pid = pid_of(process.pid, words)
            assert pid is not None, (words, process.poll(), children_of(process.pid))
            os.kill(pid, signal.SIGKILL)
            killed.append(words)
            time.sleep(1)
        out, _ = process.communicate(timeout=280)
        assert process.returncode == 0, out
    finally:
        process.kill()
        process.communicate()
    return folder, killed


pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(500)]


def refused(folder, name):
    """The results of one researcher's tool calls that were errors, incarnation by incarnation."""
    found = []
    for incarnation in sorted((folder / "transcripts" / name).iterdir()):
        for line in incarnation.read_text().splitlines():
            message = json.loads(line).get("message") or {}
            blocks = message.get("content") if message.get("role") == "user" else None
            found += [
                (incarnation.name, str(b.get("content"))[:300])
                for b in (blocks if isinstance(blocks, list) else [])
                if isinstance(b, dict) and b.get("is_error")
            ]
    return found


def lost(folder, name):
    """USD of the calls that were cut off when the gateway was killed. Where the model thinks, such
    a call is charged the most that it can have been, which is above the whole budget here."""
    calls = [e.body for e in entries(folder, "spend") if e.who == name and e.body.get("call")]
    return sum(body["usd"] or 0.0 for body in calls if body["call"]["interrupted"])


def test_whoever_has_money_for_a_round_commits_runs_submits_and_shares(campaign):
    folder, killed = campaign
    able = {name for name in NINE if USD - lost(folder, name) >= ROUND}
    assert len(able) > len(NINE) / 2
    for kind in ("code", "finding"):
        missing = able - {e.who for e in entries(folder, kind)}
        assert not missing, (kind, killed, {name: refused(folder, name) for name in missing})
    # four kinds of code; the same answers get one receipt
    assert len(entries(folder, "submission")) >= 4
    cited = [r for e in entries(folder, "finding") for r in e.body["receipts"]]
    assert set(cited) <= {e.body["receipt"]["id"] for e in entries(folder, "submission")}


def test_no_agent_overspends_by_more_than_one_turn(campaign):
    folder, _ = campaign
    ends = {e.who: e.body["event"] for e in entries(folder, "researcher")}
    assert ends == dict.fromkeys(NINE, "spent")
    for name in NINE:
        calls = [
            e.body["usd"] or 0.0
            for e in entries(folder, "spend")
            if e.who == name and e.body.get("call")
        ]
        assert USD <= sum(calls) < USD + max(calls)


def test_what_was_killed_was_started_again_and_the_session_went_on(campaign):
    folder, killed = campaign
    assert len(killed) == 3
    reported = Counter(e.body["event"] for e in entries(folder, "campaign"))
    assert reported["gateway is back"] == 1
    assert reported["server is back"] == 1
    crashed = [
        e.who
        for e in entries(folder, "researcher")
        if e.body["event"] in {"ended: crashed", "ended: outage"}
    ]
    assert crashed, "the killed CLI"
    incarnations = sorted((folder / "transcripts" / crashed[0]).iterdir())
    assert len(incarnations) >= 2
    sessions = {
        json.loads(line)["session_id"]
        for incarnation in incarnations
        for line in incarnation.read_text().splitlines()
        if '"init"' in line
    }
    assert len(sessions) == 1


def test_nothing_is_recorded_twice_and_the_record_holds(campaign, module_bed):
    folder, _ = campaign
    found = entries(folder)
    assert max(Counter(e.body["id"] for e in found if "id" in e.body).values()) == 1
    incarnations = Counter(
        (e.who, e.body["incarnation"])
        for e in found
        if e.body.get("event") in {"running", "restarted"}
    )
    assert max(incarnations.values()) == 1
    findings = Counter(
        (e.who, e.body["title"], e.body["text"]) for e in found if e.kind == "finding"
    )
    assert max(findings.values()) == 1
    assert (
        audit(Files(folder, module_bed.folder), load_key(folder / "checkpoints" / "key.pub")).faults
        == ()
    )


def test_the_state_and_the_ledger_agree_about_the_spend(campaign):
    folder, _ = campaign
    state = read_state(folder)
    assert [member.name for member in state.members] == list(NINE)
    for member in state.members:
        mine = [e.body for e in entries(folder, "spend") if e.who == member.name]
        assert sum(b.get("usd") or 0.0 for b in mine) == pytest.approx(member.spent.usd)
        assert sum(b.get("wall_s") or 0.0 for b in mine) == pytest.approx(member.spent.wall_s)


def test_no_researcher_saw_a_key_a_token_or_a_path_of_the_host(campaign, module_home):
    folder, _ = campaign
    host = str(module_home.root)
    briefs = [path for path in (folder / "briefs").rglob("*") if path.is_file()]
    transcripts = list((folder / "transcripts").rglob("*.jsonl"))
    assert len(briefs) >= len(NINE) <= len(transcripts)
    for path in (*briefs, *transcripts):
        text = path.read_text(errors="replace")
        assert host not in text, path
        assert "AAR_KEY" not in text, path
