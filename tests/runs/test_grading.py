"""Gradings in real sandboxes: a score, a refusal, the author's fault, the machine's; never one in
place of another."""

import json
import os
from pathlib import Path

import pytest

from aarlab.bench.graded_files import grade_files
from aarlab.core.errors import CouldNotBeRun, InvalidSubmission, Misconfigured
from aarlab.problems.folder.folder_problem import read_problem
from aarlab.runs import folder_run
from aarlab.runs.grading import Fault, Grader, NotGraded, Refused, Scores, checked_scores
from aarlab.runs.prepared import prepare, submission
from aarlab.runs.trial_scores import digest_of_submission, measure_files, question_of
from aarlab.sandbox import Bubblewrap, Directory
from aarlab.sandbox.disk_usage import remove
from tests.problems.folders_made import CONTRACT, GRADE, GUESS, PREPARE, write_problem

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
CHECK = """
from aarlab.core.author import Invalid


def check(submission):
    if submission["feedback-0"] == 1:
        raise Invalid("the first value is 1")
"""


def grader(tmp_path, **texts) -> Grader:
    problem = read_problem(write_problem(tmp_path / "problem", **texts))
    return Grader(problem, prepare(problem, 1, tmp_path / "made", Bubblewrap), Bubblewrap)


def answers(tmp_path: Path, value=0.25, **changed) -> Path:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({f"feedback-{n}": value for n in range(8)} | changed))
    return path


def test_a_baseline_is_made_and_graded(tmp_path):
    made = grader(tmp_path)
    code = {"method.py": GUESS}
    for split in ("feedback", "final"):
        with submission(made.problem, made.prepared, code, split, 3, Bubblewrap) as given:
            found = made.grade(given, split)
        assert isinstance(found, Scores)
        assert found.units == tuple(f"{split}-{n}" for n in range(8))
        assert found.values_M["right"].tolist() == [0.5] * 8


def test_data_that_cannot_be_used_are_named_by_who_wrote_them(tmp_path):
    with pytest.raises(Misconfigured) as caught:
        grader(tmp_path, prepare=PREPARE.replace('"id": i,', '"id": 3,'))
    words = f"{tmp_path}/problem/prepare.py wrote public/feedback.jsonl, line 1: it is no object"
    assert str(caught.value).startswith(words)


def test_numbers_of_numpy_are_what_plain_ones_are(tmp_path):
    scored = GRADE.replace("1 - abs(submission[i] - y)", "np.float32(1 - abs(submission[i] - y))")
    made = grader(tmp_path, grade="import numpy as np\n" + scored)
    for value in ("np.float32(0.5)", "np.array(0.5)", "np.float64(0.5)", "np.int64(1) / 2"):
        code = {"method.py": "import numpy as np\n" + GUESS.replace(": 0.5", f": {value}")}
        with submission(made.problem, made.prepared, code, "final", 3, Bubblewrap) as given:
            found = made.grade(given, "final")
        assert isinstance(found, Scores)
        assert found.values_M["right"].tolist() == [0.5] * 8


def test_code_that_is_no_text_is_refused_and_other_submissions_are_graded(tmp_path):
    made, code = grader(tmp_path), {"a.py": b"\xff\xfe\x00", "b.py": GUESS.encode()}
    for name, data in code.items():
        (tmp_path / name).write_bytes(data)
    places = [tmp_path / "a.py", tmp_path / "none.py", tmp_path / "b.py"]
    rows = grade_files(made.problem, made.prepared, places, "final", Bubblewrap, lambda *_: None)
    assert [type(row.no_score) for row in rows] == [Refused, Refused, type(None)]
    assert "no UTF-8 text" in rows[0].no_score.words


def test_data_are_made_once_for_a_seed_and_differ_between_seeds(tmp_path):
    made = grader(tmp_path)
    again = prepare(made.problem, 1, tmp_path / "made", Bubblewrap)
    other = prepare(made.problem, 2, tmp_path / "made", Bubblewrap)
    assert again == made.prepared
    assert again.inputs("final").read_text() != other.inputs("final").read_text()
    assert again.secret.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('x')", r"grade.py, line 5: KeyError: 'x'"),
        ("return None", "exactly the objectives"),
        ("return {'right': {}}", "a value for each of the 8 units"),
        ("return {'right': {i: float('nan') for i in submission}}", "NaN"),
        ("return {'right': dict.fromkeys(submission, '1')}", "no finite number"),
        ("return {'right': dict.fromkeys(submission, True)}", "no finite number"),
        ("return {'right': {**dict.fromkeys(submission, 1), 'more': 1}}", "'more'"),
        ("return {'right': {i: {1} for i in submission}}", "line|TypeError"),
        ("import sys; sys.exit(3)", "status 3"),
        ("import os; os._exit(0)", "grade.py"),
        ("from aarlab.core.author import Invalid; raise Invalid(secret)", "Invalid is for check"),
        ("open('/out/result.json', 'w').write('{') and __import__('os')._exit(0)", "grade.py"),
        ("__import__('os').symlink('/secret/even.json', '/out/result.json')", "exactly|grade.py"),
    ],
)
def test_what_a_grader_does_wrong_is_its_authors_fault(tmp_path, body, words):
    text = f"import json\n\n\ndef grade(submission, secret, trial):\n    {body}\n"
    found = grader(tmp_path, grade=text).grade(answers(tmp_path), "feedback")
    assert isinstance(found, Fault), found
    import re

    assert re.search(words, found.words), found.words


@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(60)"])
def test_a_grader_that_never_ends_is_ended(tmp_path, body):
    text = f"def grade(submission, secret, trial):\n    {body}\n"
    made = grader(tmp_path, grade=text, contract=CONTRACT.replace("wall_s: 20", "wall_s: 2"))
    found = made.grade(answers(tmp_path), "feedback")
    # on a busy machine the time may be the machine's: that is no score either
    assert isinstance(found, Fault | NotGraded)
    assert "2 s" in found.words


def test_a_grader_may_print_and_fork_and_still_grades(tmp_path):
    noisy = GRADE.replace(
        "    even =",
        "    print('x' * 3_000_000)\n"
        "    import os, time\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(60)\n"
        "    even =",
    )
    found = grader(tmp_path, grade=noisy).grade(answers(tmp_path), "feedback")
    assert isinstance(found, Scores)


@pytest.mark.long
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("x = bytearray(3 << 30)", "grade.py, line 2: MemoryError"),
        ("open('/out/big', 'wb').write(bytes(400 << 20))", "File too large"),
    ],
    ids=["memory", "disk"],
)
def test_memory_and_disk_are_limited(tmp_path, body, words):
    text = f"def grade(submission, secret, trial):\n    {body}\n"
    found = grader(tmp_path, grade=text).grade(answers(tmp_path), "feedback")
    assert isinstance(found, Fault), found
    assert words in found.words


@pytest.mark.long
def test_what_is_graded_is_graded_by_the_files_that_were_read(tmp_path):
    """A campaign's level, and what confirms a claim, are of one grader: it is used where it is, and
    one that was changed meanwhile grades nothing. What is written again as it was is the same."""
    made, given = grader(tmp_path), answers(tmp_path)
    place = made.problem.folder
    assert isinstance(made.grade(given, "feedback"), Scores)
    place.card.write_text("{}")
    (place.root / "__pycache__").mkdir()
    (place.root / "__pycache__" / "grade.pyc").write_bytes(b"x")
    place.grade.write_text(GRADE)
    assert isinstance(made.grade(given, "feedback"), Scores)
    place.grade.write_text(GRADE + "#")
    with pytest.raises(Misconfigured, match="was changed since it was read"):
        made.grade(given, "feedback")
    place.grade.write_text(GRADE)
    (place.root / "beside.py").write_text("")
    with pytest.raises(Misconfigured, match="Put its files back"):
        made.grade(given, "feedback")
    (place.root / "beside.py").unlink()
    assert isinstance(made.grade(given, "feedback"), Scores)


def test_files_that_are_changed_while_they_grade_have_graded_nothing(tmp_path):
    made, given = grader(tmp_path), answers(tmp_path)
    in_sandbox = made._in_sandbox

    def and_then(*given):
        ended = in_sandbox(*given)
        made.problem.folder.grade.write_text(GRADE + "#")
        return ended

    made._in_sandbox = and_then
    with pytest.raises(Misconfigured, match="was changed"):
        made.grade(given, "feedback")


def test_check_refuses_in_its_own_words_and_sees_no_secret(tmp_path):
    made = grader(tmp_path, grade=GRADE + CHECK)
    assert made.grade(answers(tmp_path, **{"feedback-0": 1}), "feedback") == Refused(
        "the first value is 1"
    )
    assert isinstance(made.grade(answers(tmp_path), "feedback"), Scores)
    spying = CHECK.replace(
        '    if submission["feedback-0"] == 1:\n',
        "    import os\n    if not os.path.exists('/secret'):\n",
    ).replace("the first value is 1", "there is no secret here")
    (tmp_path / "spy").mkdir()
    found = grader(tmp_path / "spy", grade=GRADE + spying).grade(answers(tmp_path), "feedback")
    assert found == Refused("there is no secret here")


def test_hostile_submissions_are_refused_and_never_a_fault(tmp_path):
    made = grader(tmp_path)
    secret = made.prepared.secrets("feedback") / "even.json"
    link, pipe, folder = tmp_path / "link", tmp_path / "pipe", tmp_path / "folder"
    link.symlink_to(secret)
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (link, pipe, folder, tmp_path / "nothing"):
        assert isinstance(made.grade(path, "feedback"), Refused), path
    for text in ("", "{", "[]", "{}", '{"feedback-0": 1e999}', "[" * 10_000, "\x00" * 9):
        path = tmp_path / "text.json"
        path.write_text(text)
        assert isinstance(made.grade(path, "feedback"), Refused), text
    for value in (2.0, -1, 10**400, None, "1", True, [0.5]):
        assert isinstance(made.grade(answers(tmp_path, value), "feedback"), Refused), value


def test_an_artifact_is_copied_without_links(tmp_path):
    contract = CONTRACT.replace(
        "{kind: predictions, values: probability}", "{kind: artifact, max_bytes: 1000}"
    )
    grade = GRADE.replace("submission[i]", "len((submission / 'a').read_text())")
    made = grader(tmp_path, contract=contract, grade=grade)
    good, bad, large = (tmp_path / name for name in ("good", "bad", "large"))
    for folder in (good, bad, large):
        folder.mkdir()
    (good / "a").write_text("1")
    (bad / "a").symlink_to(made.prepared.secrets("feedback") / "even.json")
    (large / "a").write_text("1" * 1001)
    assert isinstance(made.grade(good, "feedback"), Scores)
    assert "regular file" in made.grade(bad, "feedback").words
    assert "1,000" in made.grade(large, "feedback").words


def _deep(folder: Path) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


MADE = "def prepare(seed, public, sealed, secret):\n"
ODD = {
    "no UTF-8": lambda folder: (folder / "\udcff").write_text("x"),
    "has 1,0": _deep,
    "no regular file": lambda folder: os.mkfifo(folder / "a"),
    "may be sent": lambda folder: (folder / "a").write_bytes(bytes(1001)),
}


@pytest.mark.long
@pytest.mark.parametrize("words", ODD)
def test_a_folder_that_no_grader_takes_is_refused_before_it_is_read(tmp_path, words):
    folder = tmp_path / "odd"
    folder.mkdir()
    ODD[words](folder)
    with pytest.raises(InvalidSubmission, match=words):
        digest_of_submission(folder, 1000)
    remove(folder)


def test_equal_folders_have_one_digest(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "d").mkdir(parents=True)
        for file in ("a", "d/b") if name == "one" else ("d/b", "a"):
            (tmp_path / name / file).write_text(file)
    one, two = (digest_of_submission(tmp_path / name, 99) for name in ("one", "two"))
    (tmp_path / "two" / "d" / "b").write_text("other")
    assert one == two != digest_of_submission(tmp_path / "two", 99)


def test_equal_predictions_are_one_question_however_they_are_written(tmp_path):
    made = grader(tmp_path)
    first = answers(tmp_path, 0.5, **{"feedback-0": 1})
    values = json.loads(first.read_text())
    other, different = tmp_path / "other.json", tmp_path / "different.json"
    values["feedback-0"] = 1.0
    turned = dict(reversed(values.items()))
    other.write_text(json.dumps(turned, indent=7).replace("0.5", "5.00e-1"))
    different.write_text(json.dumps(values | {"feedback-1": 0.25}))
    asked = [question_of(made, path, "feedback") for path in (first, other, different)]
    assert asked[0] == asked[1] != asked[2]


def test_no_submission_asks_whether_a_file_of_the_machine_exists(tmp_path):
    """A link is refused in the same words whether or not there is something at its other end."""
    made, found = grader(tmp_path), set()
    for target in (made.prepared.units("feedback"), tmp_path / "nothing"):
        method = "import os\ndef submit(public, inputs, out, seed):\n"
        method += f"    os.symlink({str(target)!r}, out / 'predictions.json')\n"
        one = measure_files(made, {"method.py": method}, "feedback", (1,), Bubblewrap)
        assert isinstance(one, Refused)
        found.add(one.words)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("(secret / split /", "0 and (secret / split /", "units.json"),
        ('f"{split}-{n}"', 'f"{n}"', "unit or a cluster of feedback and of final"),
        (
            "def prepare(seed, public, sealed, secret):\n",
            "def prepare(seed, public, sealed, secret):\n    1 / 0\n",
            "division by zero",
        ),
        ('folder / f"{split}.jsonl"', 'folder / "items.jsonl"', "feedback.jsonl"),
        (
            MADE,
            MADE + "    (public / 'baselines').symlink_to('/etc')\n",
            "'public/baselines' is no plain",
        ),
        (
            MADE,
            MADE + "    import os; os.mkfifo(secret / 'pipe')\n",
            "'secret/pipe' is no plain file",
        ),
        (
            MADE,
            MADE + "    (public / 'problem.json').write_text('[]')\n",
            "where the problem's card will",
        ),
        (
            MADE,
            MADE + "    (public / 'baselines').mkdir()\n",
            "where the problem's baselines will be",
        ),
    ],
)
def test_what_prepare_leaves_out_is_said(tmp_path, old, new, words):
    assert old in PREPARE
    with pytest.raises(Misconfigured, match=words):
        grader(tmp_path, prepare=PREPARE.replace(old, new))
    assert not [p for p in (tmp_path / "made").iterdir() if p.name.startswith(".partial")]


def test_where_prepare_needs_more_the_limits_that_hold_for_it_are_named(tmp_path):
    contract = CONTRACT.replace("memory_gib: 1}", "memory_gib: 0.001}")
    with pytest.raises(CouldNotBeRun, match="raise the limits `grading` in problem.yaml"):
        grader(tmp_path, contract=contract)


def test_scores_are_in_the_order_of_the_units():
    found = checked_scores({"a": {"y": 2, "x": 1.5}}, ["a"], {"x": "", "y": ""})
    assert found["a"].tolist() == [1.5, 2.0]


def test_a_whole_number_beyond_all_floats_is_no_score():
    with pytest.raises(ValueError, match="no finite number"):
        checked_scores({"a": {"x": 10**400}}, ["a"], {"x": ""})


READS = """
from aarlab.core.author import WEIGHTS

READ = (WEIGHTS / "source.json").read_text()
"""


def test_every_sandbox_of_a_problem_has_the_weights_that_it_names(tmp_path, monkeypatch):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "source.json").write_text("a model")
    (weights / "source.json").chmod(0o600)  # as a library leaves it
    monkeypatch.setattr(folder_run, "ensure_weights", lambda cache: weights)
    named = CONTRACT + "weights: SmolLM2-135M-Instruct\n"
    checks = 'def check(submission):\n    assert READ == "a model"\n'
    made = grader(
        tmp_path,
        contract=named,
        prepare=READS + PREPARE,
        grade=READS + GRADE + checks,
        guess=READS + GUESS,
    )
    code = {"method.py": READS + GUESS}
    with submission(made.problem, made.prepared, code, "feedback", 3, Bubblewrap) as given:
        assert isinstance(made.grade(given, "feedback"), Scores)
    with submission(made.problem, made.prepared, code, "final", 3, Directory) as given:
        found = Grader(made.problem, made.prepared, Directory).grade(given, "final")
    assert isinstance(found, Scores)


def test_without_weights_in_the_contract_there_are_none(tmp_path):
    found = grader(tmp_path, grade=READS + GRADE).grade(answers(tmp_path), "feedback")
    assert isinstance(found, Fault)
    assert "FileNotFoundError" in found.words


def test_weights_that_nobody_knows_are_refused(tmp_path):
    named = CONTRACT + "weights: another-model\n"
    with pytest.raises(Misconfigured, match=r"weights.*SmolLM2-135M-Instruct"):
        read_problem(write_problem(tmp_path / "problem", contract=named))
