"""Submitted programs in real sandboxes: what they do to their grader, and what it makes of them."""

import contextlib
import time
from contextlib import closing, contextmanager

import pytest

from aarlab.core.author import ProgramFailed
from aarlab.problems.folder.folder_problem import read_problem
from aarlab.runs import program_relay
from aarlab.runs.endings import Processors
from aarlab.runs.grade_inside import LINE, Program
from aarlab.runs.grading import Grader, NotGraded, Refused, Scores
from aarlab.runs.prepared import prepare
from aarlab.runs.program_relay import ASKED, program
from aarlab.sandbox import Bubblewrap

pytestmark = pytest.mark.process
CONTRACT = """
name: doubling
card: Double the number that you are asked; one half of the units are asked on final.
submission: {kind: program, call_s: 1.0, total_s: 3.0, max_bytes: 4096}
objectives:
  - name: accuracy
    unit: share of units
    floor: {value: 0, source: no unit is right}
    ceiling: {value: 1, source: every unit is right}
baselines: [double]
"""
PREPARE = """
import json
def prepare(seed, public, sealed, secret):
    for n, split in enumerate(("feedback", "final")):
        (secret / split / "units.json").write_text(json.dumps([f"{split}-{k}" for k in range(3)]))
"""
GRADE = """
import json
from aarlab.core.author import Invalid, ProgramFailed
def check(submission):
    if "forbidden" in (submission / "program.py").read_text():
        raise Invalid("this word is forbidden")
def grade(submission, secret, trial):
    found = {}
    for n, unit in enumerate(json.loads((secret / "units.json").read_text())):
        try:
            found[unit] = float(submission.answer({"number": n}) == 2 * n)
        except ProgramFailed:
            found[unit] = 0.0
    return {"accuracy": found}
"""
DOUBLE = "def answer(request):\n    return 2 * request['number']\n"
SOCKET = """
import os, socket
for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        channel = socket.socket(fileno=os.dup(fd))
    except OSError:
        continue
"""


@pytest.fixture
def problem(tmp_path):
    folder = tmp_path / "doubling"
    (folder / "baselines").mkdir(parents=True)
    submit = (
        f"def submit(public, inputs, out, seed):\n    (out / 'program.py').write_text({DOUBLE!r})"
    )
    files = {"problem.yaml": CONTRACT, "prepare.py": PREPARE, "grade.py": GRADE}
    for name, text in {**files, "baselines/double.py": submit}.items():
        (folder / name).write_text(text)
    return read_problem(folder)


@contextmanager
def asking(problem, tmp_path, text):
    """A program that this process asks."""
    code = tmp_path / "code"
    code.mkdir(exist_ok=True)
    (code / "program.py").write_text(text)
    with (
        program(problem, code, Bubblewrap) as asked,
        closing(Program(asked.folder / ASKED)) as connection,
    ):
        yield connection, asked.relay


def idle(monkeypatch, left=1.0):
    """A machine on which others leave this many processors."""

    class Left(Processors):
        def left(self, own_s):
            return left

    monkeypatch.setattr(program_relay, "Processors", Left)


def test_a_program_keeps_its_state_and_a_failed_call_ends_nothing(problem, tmp_path):
    text = (
        "seen = []\ndef answer(request):\n    print('x' * 100000)\n    seen.append(request)\n"
        "    if request == 'raise':\n        raise KeyError('no such thing')\n"
        "    if request == 'set':\n        return {1, 2}\n    return seen\n"
    )
    with asking(problem, tmp_path, text) as (asked, _):
        assert asked.answer({"a": [1.5, None]}) == [{"a": [1.5, None]}]
        with pytest.raises(ProgramFailed, match="KeyError: 'no such thing'"):
            asked.answer("raise")
        with pytest.raises(ProgramFailed, match="TypeError"):
            asked.answer("set")
        assert len(asked.answer("ä")) == 4
        with pytest.raises(ValueError, match="may be sent"):
            asked.answer("x" * LINE)
        assert len(asked.answer("still there")) == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nothing_of_this_name", "cannot be loaded: ModuleNotFoundError"),
        ("x = 1", "cannot be loaded: AttributeError"),
        ("def answer(request", "cannot be loaded: SyntaxError"),
        ("raise SystemExit", "has ended"),
        ("import os\ndef answer(request):\n    os._exit(0)", "has ended"),
        ("def answer(request):\n    raise SystemExit", "has ended"),
        ("import os\ndef answer(request):\n    os.kill(os.getpid(), 9)", "has ended"),
        ("def answer(request):\n    return 'x' * (1 << 20)", "more than one line"),
        ("import time\ndef answer(request):\n    time.sleep(60)", "longer than 1 s"),
        ("def answer(request):\n    while True: pass", "longer than 1 s"),
        (
            f"{SOCKET}\ndef answer(request):\n    channel.sendall(b'1\\n2\\n')\n    return 1",
            "more than one line|answered what it was not asked",
        ),
        (
            f"{SOCKET}\nchannel.sendall(b'{{}}\\n1\\n')\ndef answer(request): pass",
            "more than one|not",
        ),
        (
            f"{SOCKET}\ndef answer(request):\n    while True: channel.sendall(b'x' * 65536)",
            "one line",
        ),
        (
            "import os\ndef answer(request):\n    while True:\n        try: os.fork()\n"
            "        except OSError: pass",
            "longer than 1 s",
        ),
    ],
)
def test_a_program_that_breaks_its_protocol_takes_no_more_calls(
    problem, tmp_path, monkeypatch, text, words
):
    idle(monkeypatch)
    begun = time.monotonic()
    with asking(problem, tmp_path, text) as (asked, relay):
        for _ in range(3):
            with pytest.raises(ProgramFailed):
                asked.answer({"number": 1})
            if relay.ended:
                break
        with pytest.raises(ProgramFailed, match=words):
            asked.answer({"number": 1})
        assert relay.machine is None
    assert time.monotonic() - begun < 25


@pytest.mark.parametrize(
    "line",
    ["nonsense", "[1]", "{}", '{"answer": NaN}', '{"answer": 1e999}', "[" * 100_000, "\\xff"],
)
def test_what_is_no_json_is_the_programs_failure(problem, tmp_path, line):
    text = f"{SOCKET}\ndef answer(request):\n    channel.sendall(b'{line}\\n')\n    os._exit(0)"
    with (
        asking(problem, tmp_path, text) as (asked, _),
        pytest.raises(ProgramFailed, match="no JSON"),
    ):
        asked.answer(1)


FORKS = """
import os, time
def go_on():
    while True:
        try:
            child = os.fork()
        except OSError:
            continue
        if child:
            until = time.monotonic() + 0.003
            while time.monotonic() < until:
                pass
            os._exit(0)
begun = []
def answer(request):
    for _ in range(0 if begun else 24):
        if os.fork() == 0:
            go_on()
    begun.append(request)
    time.sleep(0.05)
    return 1
"""


@pytest.mark.long
def test_processes_that_start_others_all_the_time_stand_still_too_or_end(problem, tmp_path):
    """They used the processors on which a grader then timed its reference: it took 1.7 times as
    long."""
    used = []
    with asking(problem, tmp_path, FORKS) as (asked, relay):
        with contextlib.suppress(ProgramFailed):
            for _ in range(5):
                assert asked.answer(1) == 1
                before = relay._sandbox.usage().cpu_s
                time.sleep(0.2)
                used.append(relay._sandbox.usage().cpu_s - before)
        assert max(used, default=0) < 0.02
        assert len(used) == 5 or relay.ended, "it has slowed itself, or was ended"


def test_a_program_stands_before_its_answer_is_passed_on(problem, tmp_path, monkeypatch):
    """Else it could disturb, for a moment, what the grader does next."""
    order, hold, send = [], program_relay.stopped, program_relay._Relay._answer

    @contextmanager
    def noted(pids):
        with hold(pids) as stand:
            order.append("stands")
            yield stand

    monkeypatch.setattr(program_relay, "stopped", noted)
    monkeypatch.setattr(
        program_relay._Relay,
        "_answer",
        lambda self, line: (send(self, line), order.append("passed on"))[0],
    )
    with asking(problem, tmp_path, DOUBLE) as (asked, _):
        assert [asked.answer({"number": n}) for n in (1, 2)] == [2, 4]
    assert order == ["stands", "stands", "passed on", "stands", "passed on"]


def test_a_program_stands_still_between_its_calls(problem, tmp_path):
    """Its threads and its children: both would use a processor."""
    text = (
        "import subprocess, sys, threading, time\n"
        "def run():\n    while True:\n        pass\n"
        "threading.Thread(target=run, daemon=True).start()\n"
        "beside = 'import time\\nwhile True: print(time.time(), flush=True)'\n"
        "child = subprocess.Popen([sys.executable, '-c', beside], stdout=subprocess.DEVNULL)\n"
        "def answer(request):\n    time.sleep(request)\n    return 1\n"
    )
    with asking(problem, tmp_path, text) as (asked, relay):
        used = relay._sandbox.usage
        assert asked.answer(0.5) == 1
        time.sleep(0.1)  # until it stands
        before = used().cpu_s
        assert before > 0.1
        time.sleep(1.0)
        assert used().cpu_s - before < 0.1
        assert asked.answer(0.5) == 1
        assert used().cpu_s - before > 0.1


@pytest.mark.long
def test_all_calls_together_have_a_limit(problem, tmp_path, monkeypatch):
    idle(monkeypatch)
    text = "import time\ndef answer(request):\n    time.sleep(0.7)\n"
    with asking(problem, tmp_path, text) as (asked, _):
        for _ in range(4):
            asked.answer(1)
        for _ in range(2):
            with pytest.raises(ProgramFailed, match="longer than"):
                asked.answer(1)


def test_a_program_sees_no_secret_and_no_network(problem, tmp_path):
    text = (
        "import os, socket\ndef answer(request):\n"
        "    seen = {n: os.path.exists(n) for n in request}\n"
        "    try: socket.create_connection(('127.0.0.1', 22), 0.5)\n"
        "    except OSError as error: seen['network'] = type(error).__name__\n    return seen\n"
    )
    places = ["/secret", "/public", "/problem", "/program", str(problem.folder.root), "/code"]
    with asking(problem, tmp_path, text) as (asked, _):
        seen = asked.answer(places)
    assert seen.pop("network")
    assert [place for place, there in seen.items() if there] == ["/code"]


def graded(problem, tmp_path, files, split="feedback"):
    made = prepare(problem, 1, tmp_path / "prepared", Bubblewrap)
    code = tmp_path / "submitted"
    code.mkdir()
    for name, text in files.items():
        (code / name).write_text(text)
    return Grader(problem, made, Bubblewrap).grade(code, split)


@pytest.mark.parametrize(
    ("text", "mean"),
    [
        (DOUBLE, 1.0),
        ("def answer(request):\n    return request['number']\n", 1 / 3),  # twice 0 is 0
        ("import time\ndef answer(request):\n    time.sleep(60)\n", 0.0),
        ("def answer(request):\n    return float('nan')\n", 0.0),
        ("no Python", 0.0),
    ],
)
def test_a_grading_asks_a_program_and_scores_what_fails(problem, tmp_path, monkeypatch, text, mean):
    idle(monkeypatch)
    found = graded(problem, tmp_path, {"program.py": text}, "final")
    assert isinstance(found, Scores)
    assert found.units == ("final-0", "final-1", "final-2")
    assert found.values_M["accuracy"].mean() == pytest.approx(mean)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"method.py": DOUBLE}, "There is no program.py"),
        ({"program.py": "# forbidden"}, "this word is forbidden"),
        ({"program.py": "#" * 5000}, "4,096 may be sent"),
    ],
)
def test_what_breaks_a_rule_is_refused_before_it_runs(problem, tmp_path, files, words):
    found = graded(problem, tmp_path, files)
    assert isinstance(found, Refused)
    assert words in found.words


def test_a_call_that_others_slow_down_is_no_result(problem, tmp_path, monkeypatch):
    idle(monkeypatch, left=0.3)
    text = "import time\ndef answer(request):\n    time.sleep(60)\n"
    found = graded(problem, tmp_path, {"program.py": text})
    assert isinstance(found, NotGraded)
    assert "others left it 0.30 processors" in found.words
