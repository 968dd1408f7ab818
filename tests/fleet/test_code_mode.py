"""Code mode: a campaign by real processes, what a sandbox shows, what a failing method can say,
what survives a kill."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import MappingProxyType

import pytest

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.layout import PublicFolder
from aarlab.core.records import Family
from aarlab.evaluation.code_requests import CODE_ONLY, MOST_WAITING, CodeRequests
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.code_mode import CodeWorker, EngineRuns
from aarlab.fleet.enrol import enrol
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.fleet.incarnation import what_it_sees
from aarlab.gateway.journal import Journal
from aarlab.methods.baselines import source_of
from aarlab.researchers.researcher import HOME
from aarlab.runs.engine import METHOD_FILE, MISSHAPEN, LocalEngine
from aarlab.sandbox import Bubblewrap
from aarlab.sandbox.sandbox import Limits, Mount, SandboxSpec
from aarlab.testbeds.code_mode_view import code_mode_view, in_view
from tests.idle_machine import Idle
from tests.lab.over_mcp import Lab
from tests.waiting import waited_for

AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]
OTHER = Family.OTHER


@pytest.fixture
def short(starts_processes):
    """A folder with a short name, for unix sockets."""
    with tempfile.TemporaryDirectory(prefix="aar-") as folder:
        yield Path(folder)


@pytest.fixture
def engines(starts_processes, bed, tmp_path):
    made = [
        LocalEngine(b, tmp_path / "runs", Bubblewrap, workers=2, timeout_s=20)
        for b in (bed, code_mode_view(bed))
    ]
    yield made
    for engine in made:
        engine.close()


@pytest.fixture
def lab(bed, tmp_path, short):
    """(the server process in code mode, a way to call a tool as ann)."""
    socket = short / "ann.sock"
    with EvaluatorProcess(
        bed.folder, tmp_path / "campaign", policy="default", sockets=[socket]
    ) as process:
        event = {"kind": "campaign", "who": "operator", "body": {"event": CODE_ONLY}}
        process.call("add_entry", event)
        token = process.call("issue_token", {"name": "ann"})["token"]

        yield process, tools_of(socket, token)


def tools_of(socket, token):
    """A way to call the lab's tools; what they refuse is raised outside of the client's task
    groups."""

    async def once(tool, arguments):
        async with Lab(socket, token) as mine:
            try:
                return await mine.call(tool, **arguments)
            except InvalidSubmission as refused:
                return refused

    def call(tool, **arguments):
        answer = asyncio.run(once(tool, arguments))
        if isinstance(answer, InvalidSubmission):
            raise answer
        return answer

    return call


def hand_in(ann, source):
    code = ann("commit_code", files={METHOD_FILE: source}, family="other")
    return ann("submit_code", snapshot=code["snapshot"], family="other")


def settled(worker, ann, ticket):
    """The ticket once the worker has run it."""

    def ended():
        worker.step()
        found = ann("read_receipt", receipt=ticket["id"])
        return found if found["state"] != "waiting" else None

    return waited_for(ended, 90, every_s=0.2)


# --- a whole campaign -----------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.long
def test_a_whole_small_campaign_in_code_mode(home, bed):
    given = [
        "problem=generated-chat",
        "student=double",
        "ablate_components=0",
        "minutes=1.5",
        "experiments=2",
        "researchers=2",
        "confirm=1",
    ]
    words = [x for w in [*given, "name=code", "mode=code"] for x in ("-s", w)]
    env = {**os.environ, "AAR_HOME": str(home.root), "COLUMNS": "200"}
    done = subprocess.run(
        [*AAR, "demo", *words], env=env, capture_output=True, text=True, check=False, timeout=115
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ledger = Ledger(home.root / "campaigns" / "code" / "server" / "ledger.sqlite")
    asked, outcomes = ledger.entries("request"), ledger.entries("outcome")
    assert (
        {e.who for e in ledger.entries("submission")}
        == {e.who for e in asked}
        == {"researcher-1", "researcher-2"}
    )
    assert {e.body["ticket"] for e in outcomes} == {f"q-{e.seq:06d}" for e in asked}
    assert len(asked) == 4
    assert all(e.body["state"] == "done" for e in outcomes)
    assert len(ledger.entries("finding")) == 4
    assert len(ledger.entries("confirmation")) == 1
    assert not list((home.root / "campaigns" / "code" / "work").rglob("answers.json"))
    ledger.close()


def test_the_mode_of_a_begun_campaign_does_not_change(tmp_path):
    Campaign(name="x", mode="code").save(tmp_path)
    with pytest.raises(Misconfigured, match="mode='code'"):
        Campaign(name="x").save(tmp_path)


# --- what a researcher sees -----------------------------------------------------------------------

LOOK = """
import json, os, sys
ids, found, files = json.load(open(sys.argv[1])), [], 0
for top in ("/data", "/brief", "/home", "/run", "/tmp"):
    for folder, folders, names in os.walk(top):
        # a checkout may lie there
        folders[:] = [f for f in folders if os.path.join(folder, f) != sys.prefix]
        for name in names:
            path = os.path.join(folder, name)
            if path != sys.argv[1] and os.path.isfile(path):
                text, files = open(path, "rb").read(), files + 1
                found += [(path, i) for i in ids if i.encode() in text or i in path]
print(json.dumps([found, files, sorted(os.listdir("/data"))]))
"""


def needles(bed):
    """Every feedback and final id and text."""
    lines = "".join(
        (folder / f"{split}.jsonl").read_text()
        for folder, split in ((bed.public, "feedback"), (bed.sealed, "final"))
    )
    rows = [json.loads(line) for line in lines.splitlines()]
    assert len(rows) > 300
    return [row[field] for row in rows for field in ("id", "first", "second")]


def test_no_feedback_id_or_text_is_under_a_researchers_mounts(bed, tmp_path, short):
    campaign, folder, public = (
        Campaign(name="c", researchers=1, mode="code"),
        tmp_path / "campaign",
        code_mode_view(bed).public,
    )
    journal = Journal(tmp_path / "journal.sqlite")
    (member,) = enrol(campaign, folder, public, journal)
    journal.close()
    sandbox = Bubblewrap(what_it_sees(campaign, public, member, short))
    (member.home / "ids.json").write_text(json.dumps(needles(bed)))
    done = sandbox.exec([sys.executable, "-c", LOOK, f"{HOME}/ids.json"], Limits(timeout_s=60))
    sandbox.close()
    found, files, in_view = json.loads(done.output)
    assert found == []
    assert files > 5
    assert in_view == [
        "critic_probs.npy",
        "problem.json",
        "student",
        "student.jsonl",
        "weak_probs.npy",
    ]
    assert member.brief.mode == "code"


@pytest.mark.process
def test_the_look_does_find_what_is_there(bed, tmp_path):
    """The same look in a view that has test items."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "ids.json").write_text(json.dumps(needles(bed)[:30]))
    mounts = (Mount(bed.public, "/data"), Mount(home, HOME, writable=True))
    sandbox = Bubblewrap(SandboxSpec(name="look", mounts=mounts))
    done = sandbox.exec([sys.executable, "-c", LOOK, f"{HOME}/ids.json"], Limits(timeout_s=60))
    sandbox.close()
    assert len(json.loads(done.output)[0]) >= 30


def test_the_blind_view_is_made_once_by_an_allow_list(bed):
    (bed.public / "notes.txt").write_text("feedback item 1 is ...")
    first = code_mode_view(bed)
    assert not (first.public / "notes.txt").exists()
    allowed = {
        path.relative_to(bed.public)
        for found in in_view(PublicFolder(bed.public))
        for path in bed.public.glob(str(found.relative_to(bed.public)))
    }
    assert {p.relative_to(first.public) for p in first.public.rglob("*") if p.is_file()} == allowed
    assert code_mode_view(bed) == first
    assert first.fingerprint != bed.fingerprint
    assert [p.name for p in bed.folder.glob(".partial-*")] == []


def test_a_testbed_without_its_files_is_the_operators_to_mend(bed):
    (bed.public / "weak_probs.npy").unlink()
    with pytest.raises(Misconfigured, match="weak_probs"):
        code_mode_view(bed)


# --- tools ----------------------------------------------------------------------------------------


def test_predictions_are_refused_and_code_is_run_and_graded(lab, engines):
    process, ann = lab
    worker = CodeWorker(process, EngineRuns(*engines), at_once=2)
    code = ann("commit_code", files={METHOD_FILE: source_of("naive")}, family="other")
    sent = {str(s): "01" * 150 for s in code["seeds"]}
    with pytest.raises(InvalidSubmission, match=r"code only: call submit_code\(snapshot, family\)"):
        ann("submit_predictions", snapshot=code["snapshot"], family="other", predictions=sent)
    assert process.call("operator_campaign")["submissions"] == 0
    ticket = ann("submit_code", snapshot=code["snapshot"], family="other")
    assert ticket["state"] == "waiting"
    assert ann("submit_code", snapshot=code["snapshot"], family="other") == ticket
    done = settled(worker, ann, ticket)
    assert done["state"] == "done"
    assert done["receipt"]["snapshot"] == code["snapshot"]
    assert ann("read_receipt", receipt=done["receipt"]["id"]) == done["receipt"]
    assert ann("submit_code", snapshot=code["snapshot"], family="other") == done
    with pytest.raises(InvalidSubmission, match="no ticket"):
        ann("read_receipt", receipt="q-999999")
    with pytest.raises(InvalidSubmission, match="no snapshot"):
        ann("submit_code", snapshot="0" * 64, family="other")


def test_who_has_no_device_time_left_waits(lab, engines):
    process, ann = lab
    worker = CodeWorker(process, EngineRuns(*engines), at_once=2)
    code = ann("commit_code", files={METHOD_FILE: source_of("naive")}, family="other")
    ticket = ann("submit_code", snapshot=code["snapshot"], family="other")
    [waiting] = process.call("waiting_requests")["requests"]
    worker.step({waiting["who"]})
    worker.finish()
    assert process.call("waiting_requests")["requests"] == [waiting]
    assert settled(worker, ann, ticket)["state"] == "done"


def test_at_the_end_each_is_handed_back_as_it_ends_and_the_operator_sees_what_still_runs(
    lab, engines
):
    class Held(EngineRuns):
        def outcome(self, ticket, *given):
            assert ticket == first["id"] or seen.wait(60)
            return super().outcome(ticket, *given)

    def see(words):
        said.append(words)
        if ann("read_receipt", receipt=first["id"])["state"] == "done":
            seen.set()

    process, ann = lab
    worker, said, seen = CodeWorker(process, Held(*engines), at_once=2), [], threading.Event()
    first, second = (hand_in(ann, source_of(name)) for name in ("zero-shot", "naive"))
    worker.step()
    worker.finish(see)
    assert "all researchers have ended; submitted in time, and still run: 1" in said
    assert ann("read_receipt", receipt=second["id"])["state"] == "done"


PRINT = "import json\n\ndef run(task, seed):\n    print(task.test.ids, task.test.choices)\n"


@pytest.mark.parametrize(
    ("end", "failure"),
    [
        ("    raise ValueError(task.test.ids[0])\n", "ended with an error"),
        pytest.param(
            "    raise SystemExit(int(task.test.ids[0][5:7], 16))\n",
            "ended with an error",
            marks=pytest.mark.long,
        ),
        ("    import os\n    os._exit(0)\n", "wrote no answers"),
        pytest.param("    return [0.5]\n", "ended with an error", marks=pytest.mark.long),
        (
            "    answers = {str(seed): {i + 'x': 1 for i in task.test.ids}}\n    import os\n"
            "    open('/out/answers.json', 'w').write(json.dumps(answers))\n    os._exit(0)\n",
            MISSHAPEN,
        ),
        (
            "    open('/out/answers.json', 'w').write('[' + task.test.ids[0])\n    import os\n    "
            "os._exit(0)\n",
            MISSHAPEN,
        ),
    ],
)
def test_what_a_failing_method_printed_does_not_come_through(lab, engines, bed, end, failure):
    process, ann = lab
    found = settled(
        CodeWorker(process, EngineRuns(*engines), at_once=2), ann, hand_in(ann, PRINT + end)
    )
    assert (found["state"], found["failure"], found["receipt"]) == ("failed", failure, None)
    assert not [needle for needle in needles(bed) if needle in json.dumps(found)]
    ledger = process.call("ledger_summary")
    assert ledger["by_kind"]["submission"] == 0


def test_an_honest_author_gets_the_log_of_the_student_split(engines):
    on_feedback, on_student = engines
    code = "def run(task, seed):\n    print(len(task.test.ids))\n    return undefined_name\n"
    found = EngineRuns(on_feedback, on_student).outcome("", {METHOD_FILE: code}, (1, 2))
    assert found["failure"] == "ended with an error"
    assert "NameError" in found["log"]
    assert "300" in found["log"]


def test_code_that_fails_on_feedback_only_gets_no_log(engines, answers):
    on_feedback, on_student = engines
    secret = min(answers["feedback"])
    only = (
        f"def run(task, seed):\n    if {secret!r} in task.test.ids:\n        raise "
        "ValueError('secret')\n"
        "    return [0.5] * len(task.test)\n"
    )
    found = EngineRuns(on_feedback, on_student).outcome("", {METHOD_FILE: only}, (1,))
    assert found == {"failure": "ended with an error", "log": "It does run on the student split."}
    otherwise = only.replace("return [0.5] * len(task.test)", "import os; os._exit(0)")
    found = EngineRuns(on_feedback, on_student).outcome("", {METHOD_FILE: otherwise}, (1,))
    assert found["log"] == "On the student split it failed in another way: wrote no answers."


def test_the_rehearsal_sees_no_feedback_item(engines, bed):
    look = (
        "import os\n\ndef run(task, seed):\n    for top in ('/data', '/test'):\n        for "
        "folder, _, names in os.walk(top):\n"
        "            print(folder, names)\n    raise ValueError(sorted(task.test.ids)[:3])\n"
    )
    log = EngineRuns(*engines).outcome("", {METHOD_FILE: look}, (1,))["log"]
    assert "student.jsonl" in log
    assert "feedback" not in log
    assert not [needle for needle in needles(bed) if needle in log]


def test_run_killed_by_the_machine_is_reported_without_its_output(engines, bed):
    code = PRINT + "    import os\n    os.kill(os.getpid(), 9)\n"
    found = EngineRuns(*engines).outcome("", {METHOD_FILE: code}, (1,))
    assert found["failure"] == "ended by the machine"
    assert "signal 9" in found["log"]
    assert not [needle for needle in needles(bed) if needle in found["log"]]


@pytest.mark.long
@pytest.mark.process
def test_a_method_that_hangs_has_timed_out(bed, tmp_path):
    slow = [
        LocalEngine(b, tmp_path / "runs", Bubblewrap, workers=1, timeout_s=3)
        for b in (bed, code_mode_view(bed))
    ]
    for engine in slow:
        engine.processors = Idle
    found = EngineRuns(*slow).outcome("", {METHOD_FILE: "print('x')\nwhile True: pass\n"}, (1,))
    for engine in slow:
        engine.close()
    assert found["failure"] == "timed out"


# --- requests -------------------------------------------------------------------------------------


@pytest.fixture
def requests(evaluator):
    evaluator.ledger.append("campaign", "operator", {"event": CODE_ONLY})
    return CodeRequests(evaluator)


def ask(evaluator, requests, who, number):
    code = evaluator.commit_code(who, {METHOD_FILE: f"# {number}"}, OTHER)
    return requests.submit(who, code["snapshot"], OTHER).id


def test_everybodys_first_request_comes_before_anybodys_second(evaluator, requests):
    first = [ask(evaluator, requests, "ann", n) for n in range(3)]
    bob = ask(evaluator, requests, "bob", 9)
    waiting = [w["ticket"] for w in requests.waiting()]
    assert waiting == [first[0], bob, *first[1:]]


def test_requests_are_bounded_and_ones_own(evaluator, requests):
    tickets = [ask(evaluator, requests, "ann", n) for n in range(MOST_WAITING)]
    with pytest.raises(InvalidSubmission, match="requests wait"):
        ask(evaluator, requests, "ann", 99)
    ask(evaluator, requests, "bob", 99)
    with pytest.raises(InvalidSubmission, match="no ticket"):
        requests.read("bob", tickets[0])
    requests.fail(tickets[0], "timed out")
    assert requests.read("ann", tickets[0]).failure == "timed out"
    ask(evaluator, requests, "ann", 99)
    for ticket in (tickets[0], "q-1"):
        with pytest.raises(InvalidSubmission, match="waits"):
            requests.fail(ticket, "timed out")


def test_run_killed_by_the_machine_can_be_retried_on_its_seeds(evaluator, requests):
    first = ask(evaluator, requests, "ann", 0)
    (waiting,) = requests.waiting()
    requests.fail(first, "ended by the machine", "it was ended by signal 9")
    assert requests.read("ann", first).failure == "ended by the machine"
    again = ask(evaluator, requests, "ann", 0)
    assert again != first
    assert requests.waiting() == [waiting | {"ticket": again}]
    assert ask(evaluator, requests, "ann", 0) == again
    requests.fail(again, "ended with an error")
    assert ask(evaluator, requests, "ann", 0) == again  # that is an outcome


def test_outside_code_mode_code_is_not_taken(evaluator):
    with pytest.raises(InvalidSubmission, match="takes predictions"):
        CodeRequests(evaluator).submit("ann", "0" * 64, OTHER)
    CodeRequests(evaluator).refuse_predictions()


def test_restart_and_cut_delivery_lose_and_repeat_nothing(evaluator, requests, bed, answers):
    ticket = ask(evaluator, requests, "ann", 0)
    (waiting,) = requests.waiting()
    predictions = {str(s): dict.fromkeys(answers["feedback"], 0) for s in waiting["seeds"]}
    # and killed before the outcome was recorded
    receipt = evaluator.submit("ann", waiting["snapshot"], predictions, OTHER)
    evaluator.close()
    with Evaluator(bed.folder, evaluator.folder.parent) as again:
        after = CodeRequests(again)
        assert after.waiting() == [waiting]
        assert after.deliver(ticket, predictions).receipt == receipt.model_copy(
            update={"repeated": True}
        )
        assert after.read("ann", ticket).state == "done"
        assert again.ledger.count("submission") == 1
    assert requests.waiting() == []


class Killed:
    """An evaluator whose replies are lost, as if it, or the line to it, were killed at that
    moment."""

    def __init__(self, process, operation):
        self._process, self._operation, self.lost = process, operation, 0

    def call(self, operation, given=MappingProxyType({})):
        answer = self._process.call(operation, given)
        if operation == self._operation and self.lost < 1:
            self.lost += 1
            raise Transient("killed")
        return answer


@pytest.mark.long
def test_killed_server_and_new_worker_resume(bed, tmp_path, short, engines):
    """kill -9 of the server while a request runs; the worker is thrown away, too."""
    socket, campaign = short / "ann.sock", tmp_path / "campaign"
    source = source_of("naive")
    with EvaluatorProcess(bed.folder, campaign, policy="default", sockets=[socket]) as process:
        process.call(
            "add_entry", {"kind": "campaign", "who": "operator", "body": {"event": CODE_ONLY}}
        )
        ann = tools_of(socket, token := process.call("issue_token", {"name": "ann"})["token"])
        ticket = hand_in(ann, source)
        worker = CodeWorker(process, EngineRuns(*engines), at_once=2)
        worker.step()
        os.kill(
            json.loads((campaign / "server" / "address.json").read_text())["pid"], signal.SIGKILL
        )
        worker.finish()  # the run ends, and cannot be reported
    with EvaluatorProcess(bed.folder, campaign, policy="default", sockets=[socket]) as process:
        with pytest.raises(InvalidSubmission, match="code only"):
            tools_of(socket, token)(
                "submit_predictions", snapshot="0" * 64, family="other", predictions={"1": "0"}
            )
        for engine in engines:
            engine.make_sandbox = None  # whatever would be run anew would fail: the cache has it
        done = settled(
            CodeWorker(process, EngineRuns(*engines), at_once=2), tools_of(socket, token), ticket
        )
        assert done["state"] == "done"
        assert process.call("operator_campaign")["submissions"] == 1


def test_a_reply_that_is_lost_is_asked_for_again(lab, engines):
    process, ann = lab
    flaky = Killed(process, "settle_request")
    worker = CodeWorker(flaky, EngineRuns(*engines), at_once=1)
    ticket = hand_in(ann, source_of("zero-shot"))
    done = settled(worker, ann, ticket)
    worker.finish()
    assert flaky.lost == 1
    assert done["state"] == "done"
    assert process.call("ledger_summary")["by_kind"]["outcome"] == 1
