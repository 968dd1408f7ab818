from contextlib import contextmanager

import pytest

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.snapshot import snapshot_hash
from aarlab.methods.baselines import source_of
from aarlab.runs.engine import LocalEngine, RunSpec
from aarlab.runs.written_code import write_code
from aarlab.sandbox import Bubblewrap
from aarlab.sandbox.sandbox import Limits
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.student import Student
from aarlab.testbeds.task_data import read_inputs
from tests.idle_machine import Idle

pytestmark = pytest.mark.process


@pytest.fixture
def engine(bed, tmp_path):
    made = LocalEngine(bed, tmp_path / "runs", Bubblewrap, workers=2, timeout_s=5)
    yield made
    made.close()


def test_a_run_answers_every_item_and_the_second_comes_from_the_cache(engine, answers):
    files = {"method.py": source_of("naive")}
    first = engine.run(files, "feedback", (1, 2))
    assert not first.from_cache
    assert first.answers.keys() == {"1", "2"}
    assert first.answers["1"].keys() == answers["feedback"].keys()
    again = engine.run(files, "feedback", (1, 2))
    assert again.from_cache
    assert again.answers == first.answers
    assert not engine.run(files, "feedback", (3,)).from_cache


@pytest.mark.parametrize(
    "failed", [None, Transient("the worker ended"), Misconfigured("no memory")]
)
def test_what_fails_behind_the_door_is_no_result_of_the_method(bed, tmp_path, failed):
    """Code that ends with an error is its author's to mend, unless the strong model failed on our
    side meanwhile."""

    @contextmanager
    def strong_socket(testbed, split, folder, meter):
        yield lambda: failed

    student = Student("fails", read=None, open_socket=strong_socket)
    engine = LocalEngine(
        bed, tmp_path / "runs", Bubblewrap, workers=1, timeout_s=20, student=student
    )
    with pytest.raises(InvalidSubmission if failed is None else type(failed)):
        engine.run({"method.py": "def run(task, seed):\n    raise ValueError"}, "feedback", (1,))
    calm = "def run(task, seed):\n    return [0.4] * len(task.test)"
    # an answer counts, whatever failed
    assert engine.run({"method.py": calm}, "feedback", (1,)).answers
    engine.close()


def test_final_items_are_seen_only_by_runs_on_final(engine, answers):
    files = {"method.py": source_of("naive")}
    assert engine.run(files, "final", (1,)).answers["1"].keys() == answers["final"].keys()
    look = (
        "import pathlib\ndef run(task, seed):\n    raise ValueError(sorted(p.name for p in "
        "pathlib.Path('/test').iterdir()))\n"
    )
    with pytest.raises(InvalidSubmission) as caught:
        engine.run({"method.py": look}, "feedback", (1,))
    assert "final" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise RuntimeError('my own fault')", "RuntimeError: my own fault"),
        ("while True: pass", "did not finish within 5 s"),
        ("return [0.5]", "one number for each"),
        ("return [float('nan')] * len(task.test)", "not finite"),
        ("import os; os._exit(0)", "wrote no answers"),
    ],
)
def test_a_method_that_fails_is_its_authors_to_mend(engine, body, words):
    engine.processors = Idle
    with pytest.raises(InvalidSubmission, match=words):
        engine.run({"method.py": f"def run(task, seed):\n    {body}\n"}, "feedback", (1,))


@pytest.mark.parametrize(
    "leave",
    [
        "os.symlink('{secret}', '/out/answers.json')",
        "os.mkfifo('/out/answers.json')",
        "os.mkdir('/out/answers.json')",
        "open('/out/answers.json', 'w').write('[1]')",
        "open('/out/answers.json', 'w').truncate(1 << 27)",
    ],
)
def test_what_a_method_leaves_as_answers_is_not_trusted(engine, tmp_path, leave):
    """A link to a file of ours would be read with our rights, a pipe would hang us."""
    secret = tmp_path / "secret.json"
    secret.write_text('{"1": {"chat-0": 1}}')
    code = f"import os\n{leave.format(secret=secret)}\nos._exit(0)\n"
    with pytest.raises(InvalidSubmission, match="answers"):
        engine.run({"method.py": code}, "feedback", (1,))


def test_a_method_that_prints_gigabytes_still_counts(engine):
    noisy = "import sys\n" + source_of("zero-shot").replace(
        "    return", "    [sys.stdout.write('x' * (1 << 20)) for _ in range(1200)]\n    return"
    )
    engine.limits = Limits(timeout_s=60)
    result = engine.run({"method.py": noisy}, "feedback", (1,))
    assert len(result.log) <= engine.limits.output_bytes


@pytest.mark.parametrize("name", ["../escape.py", "/tmp/escape.py"])
def test_a_snapshot_cannot_write_outside_its_folder(engine, name):
    with pytest.raises(InvalidSubmission, match="leads outside its folder"):
        engine.run({"method.py": "", name: "x"}, "feedback", (1,))


@pytest.mark.parametrize("name", ["..", ".", "", "a/../b", "a//b", "a/", "a\0b", "/x", "a/./b"])
def test_writing_code_out_is_safe_by_itself(tmp_path, name):
    with pytest.raises(InvalidSubmission, match="leads outside its folder"):
        write_code(tmp_path / "code", {name: "x"})
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("files", [{"a": "", "a/b": ""}, {"a/b": "", "a": ""}, {"n" * 300: ""}])
def test_paths_that_collide_are_refused(tmp_path, files):
    with pytest.raises(InvalidSubmission, match="cannot be written"):
        write_code(tmp_path / "code", files)


def test_code_is_written_as_it_is_and_into_a_new_folder_only(tmp_path):
    write_code(tmp_path / "code", {"method.py": "x\r\n", "lib/deep/é.py": "ü"})
    assert (tmp_path / "code" / "method.py").read_bytes() == b"x\r\n"
    assert (tmp_path / "code" / "lib" / "deep" / "é.py").read_text(encoding="utf-8") == "ü"
    with pytest.raises(FileExistsError):
        write_code(tmp_path / "code", {})


class Planting(dict):
    """Files whose iteration plants a link before the next one is written: a race, made certain."""

    def __init__(self, files, plant):
        super().__init__(files)
        self._plant = plant

    def items(self):
        for item in super().items():
            self._plant()
            yield item


@pytest.mark.parametrize("name", ["victim", "sub/victim"])
def test_no_link_is_followed_and_nothing_is_written_over(tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("ours")

    def plant():
        link = tmp_path / "code" / name.split("/")[0]
        link.symlink_to(outside if "/" in name else outside / "victim")

    with pytest.raises(InvalidSubmission, match="cannot be written"):
        write_code(tmp_path / "code", Planting({name: "theirs"}, plant))
    assert (outside / "victim").read_text() == "ours"


def test_a_file_without_run_is_refused(engine):
    with pytest.raises(InvalidSubmission, match="must define a function run"):
        engine.run({"method.py": "x = 1\n"}, "feedback", (1,))


def test_the_cache_key_is_the_whole_spec():
    base = {"snapshot": "a", "testbed": "b", "split": "feedback", "seeds": (1,)}
    changes = [{}, {"snapshot": "c"}, {"testbed": "c"}, {"split": "final"}, {"seeds": (1, 2)}]
    assert len({RunSpec(**(base | c)).key for c in changes}) == len(changes)
    assert snapshot_hash({"a": "1", "b": "2"}) == snapshot_hash({"b": "2", "a": "1"})


def test_set_up_is_done_once(bed, home):
    def never(*_):
        raise AssertionError("features were extracted again")

    assert prepare(
        "generated-chat", 1, home=home, student=Student("double", never), progress=lambda *_: None
    ).from_cache


def test_a_split_that_is_not_there_is_the_operators_to_mend(bed):
    with pytest.raises(Misconfigured, match="no published split"):
        read_inputs(bed.public, "final")
